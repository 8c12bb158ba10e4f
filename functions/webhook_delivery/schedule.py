"""When a message that an endpoint did not take is tried again."""

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
JITTER = 0.2
"""The largest part of a wait that is added to it, so that what failed together does not come back together."""


def delay(failed: int, asked: timedelta | None, chance: float) -> timedelta | None:
    """The wait after attempt number `failed` (from 1); None after the last.

    `asked` is what the endpoint's Retry-After asks for: it lengthens a wait up to `CAP`, and never shortens one. `chance`
    in [0, 1) picks the jitter, added after the cap.
    """
    if failed >= len(SCHEDULE):
        return None
    base = min(max(SCHEDULE[failed], asked or timedelta(0)), CAP)
    return base * (1 + JITTER * chance)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """How long a Retry-After header asks to wait (RFC 9110 section 10.2.3: seconds, or a date); None if it says nothing.

    At most `CAP`, at least zero.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # A number of any length is valid; beyond the cap its size does not matter.
        return min(timedelta(seconds=int(text[:9])), CAP) if len(text) < 10 else CAP
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta(0)), CAP)
