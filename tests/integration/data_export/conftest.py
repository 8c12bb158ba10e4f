"""Exports and erasures on a real PostgreSQL, on one day in November."""

from collections.abc import Callable, Iterator

import pytest
from pg8000.native import Connection

from kapas.platform.db import Database
from tests.integration.data_export.system import START, System
from tests.times import Time, moving_time


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(START) as time:
        yield time


@pytest.fixture
def system(time: Time, open_as: Callable[..., Database], admin: Connection) -> System:
    # What other tests began is due here, too, for watchdogs.
    admin.run("TRUNCATE exports, export_shards, erasures, statutory_records")
    return System(open_as("data_export"), admin.run)
