"""Webhook delivery on a real PostgreSQL."""

from collections.abc import Callable, Iterator

import pytest
from pg8000.native import Connection

from kapas.http.identity import Identity
from kapas.platform.db import Database
from tests.integration.webhook_delivery.system import System, running


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    with running(open_as, admin) as system:
        yield system


@pytest.fixture
def caller(system: System) -> Identity:
    """The owner of a partner that was registered for this test."""
    return system.register()
