"""What several kinds of test use: one local cloud a test process, and a client of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from local_cloud.client import Client

ROOT = Path(__file__).parent

if TYPE_CHECKING:
    from local_cloud.cloud import LocalCloud

# A busy machine makes an example slow, not wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


LONGEST_FIRST = ("simulation", "acceptance", "integration")
"""Layers whose files take long, one test of them sometimes half a minute: begun last, it would run alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that the test processes end together."""

    def rank(item: pytest.Item) -> int:
        layer = item.path.relative_to(ROOT).parts[0] if item.path.is_relative_to(ROOT) else ""
        return LONGEST_FIRST.index(layer) if layer in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def cloud() -> "Iterator[LocalCloud]":
    """The whole system in this process, shared by the tests of a worker: each makes its own partners."""
    from local_cloud.cloud import LocalCloud  # every test process reads this file, and few start a cloud

    with LocalCloud() as running:
        yield running


@pytest.fixture
def client(cloud: "LocalCloud") -> Iterator[Client]:
    """Nobody's client of the local cloud. Faults that a test left are cleared after it."""
    yield Client(cloud.url)
    cloud.faults.clear()
    cloud.driver.settle()
