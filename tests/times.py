"""A clock that a test moves."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from kapas.values import clock


class Time:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def advance(self, **by: float) -> None:
        """Move on by the given `timedelta` arguments."""
        self.now += timedelta(**by)


@contextmanager
def moving_time(start: datetime) -> Iterator[Time]:
    """Read the process's time from the `Time` this yields."""
    time = Time(start)
    before = clock.install(lambda: time.now)
    try:
        yield time
    finally:
        clock.install(before)
