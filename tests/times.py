"""A clock that a test moves, and waiting for what another thread or process does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from kapas.values import clock

PATIENCE = 60.0
"""Seconds until a test fails that waits for what does not happen, long for a busy machine. No test passes by waiting them."""


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for a state that only its owner knows: a process, PostgreSQL's locks. Raises AssertionError with `what`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.005)


class Time:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def advance(self, **by: float) -> None:
        """Move on by the given `timedelta` arguments."""
        self.now += timedelta(**by)


@contextmanager
def moving_time(start: datetime) -> Iterator[Time]:
    """Read the process's time from the `Time` this yields."""
    moved = Time(start)
    before = clock.install(lambda: moved.now)
    try:
        yield moved
    finally:
        clock.install(before)
