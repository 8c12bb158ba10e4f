"""A bench for the tests of a module: one PostgreSQL, one set of functions."""

from collections.abc import Iterator

import pytest

from tests.simulation.bench import postgres


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A PostgreSQL that benches copy their database from."""
    with postgres() as port:
        yield port
