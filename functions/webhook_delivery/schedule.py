"""When a message that an endpoint did not take is tried again, and when an endpoint that fails is spared."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SCHEDULE = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The wait before each attempt, the first included (the schedule that the Standard Webhooks specification suggests)."""

CAP = timedelta(hours=24)
"""The longest wait that a Retry-After can ask for."""
THROTTLED = frozenset({429, 502, 503, 504})
"""Answers of an endpoint that has too much to do: as after a timeout, the next wait is no shorter than `FLOOR`."""
FLOOR = timedelta(seconds=60)
MAX_RETRY_AFTER = 64
"""Characters of a Retry-After that are read: a date has 29."""
JITTER = 0.2
"""The largest part of a wait that is added to it, so that what failed together does not come back together."""


BREAKER_WINDOW = timedelta(minutes=5)
BREAKER_ATTEMPTS, BREAKER_SHARE = 10, 0.7
"""An endpoint is spared when so many attempts were made within a window, and this share of them failed."""
BREAKER_OPEN, BREAKER_OPEN_MOST = timedelta(seconds=30), timedelta(minutes=10)
"""How long nothing is sent to it; then one attempt finds out whether it is back. Twice as long after each that fails."""
FAILING, QUIET = timedelta(days=5), timedelta(hours=36)
"""An endpoint without a success for `FAILING` is probed, and disabled if the probe fails. A failure after `QUIET` without an
attempt restarts the count; `QUIET` is longer than any wait between two attempts of a message."""
BUSY = timedelta(seconds=1)
"""The least wait of a message whose endpoint has its share of an instance's slots."""


def delay(failed: int, asked: timedelta | None, throttled: bool, chance: float) -> timedelta | None:
    """The wait after attempt number `failed` (from 1); None after the last.

    `asked` is what the endpoint's Retry-After asks for: it lengthens a wait up to `CAP`, and never shortens one. A
    `throttled` endpoint is given `FLOOR` at least. `chance` in [0, 1) picks the jitter, added after the cap.
    """
    if failed >= len(SCHEDULE):
        return None
    least = FLOOR if throttled else timedelta(0)
    base = min(max(SCHEDULE[failed], least, asked or timedelta(0)), CAP)
    return base * (1 + JITTER * chance)


def probe(open_until: datetime, chance: float) -> datetime:
    """When to find out whether a spared endpoint is back: seconds after, as clocks differ, and not all endpoints at once."""
    return open_until + BREAKER_OPEN * 0.1 * (1 + chance)


def probed(now: datetime, chance: float) -> datetime:
    """When to try a message whose endpoint is being probed: once that has ended, and not all at once."""
    return now + BREAKER_OPEN * (0.1 + chance)


def busy(now: datetime, chance: float) -> datetime:
    """When to try a message whose endpoint has its share of the slots."""
    return now + BUSY * (1 + 2 * chance)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long a Retry-After header asks to wait (RFC 9110 section 10.2.3: seconds, or a date); None if it says nothing.

    At most `CAP`, at least zero. Never raises, whatever an endpoint sends.
    """
    text = (value or "").strip()[:MAX_RETRY_AFTER]
    if text.isascii() and text.isdigit():
        # A number of any length is valid; beyond the cap its size does not matter.
        return min(timedelta(seconds=int(text[:9])), CAP) if len(text) < 10 else CAP
    try:
        moment = parsedate_to_datetime(text)
        return min(max((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now, timedelta(0)), CAP)
    except (ValueError, OverflowError, TypeError, IndexError):  # what the library raises for text that is no date
        return None
