"""Webhook delivery on a real PostgreSQL."""

from collections.abc import Callable, Iterator

import pytest
from pg8000.native import Connection

from kapas.db import Database
from kapas.identity import Identity
from tests.integration.webhooks.system import System, running


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    with running(open_as, admin) as system:
        yield system


@pytest.fixture
def caller(system: System) -> Identity:
    """The owner of a partner that was registered for this test."""
    return system.register()
