"""The one source of the current time.

Nothing else reads the system clock: the local cloud moves this clock (three days of retries play in moments) and the
simulation replaces it per invocation. SQL takes its times from here as parameters.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]

IST = ZoneInfo("Asia/Kolkata")
"""Indian Standard Time: the zone of financial years and of every statutory period."""


def _system() -> datetime:
    return datetime.now(UTC)


_process: list[Clock] = [_system]
_invocation: ContextVar[Clock | None] = ContextVar("kapas.values.clock", default=None)


def now() -> datetime:
    """The current time, aware, in UTC."""
    return (_invocation.get() or _process[0])()


@contextmanager
def use(clock: Clock) -> Generator[None]:
    """Read the time from `clock` within this context (one invocation)."""
    token = _invocation.set(clock)
    try:
        yield
    finally:
        _invocation.reset(token)


def install(clock: Clock) -> Clock:
    """Read the time from `clock` in the whole process; the clock it was read from before."""
    before, _process[0] = _process[0], clock
    return before


def rfc3339(at: datetime) -> str:
    """`moment` as an RFC 3339 timestamp in UTC with microseconds, `2026-11-24T06:30:00.000000Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
