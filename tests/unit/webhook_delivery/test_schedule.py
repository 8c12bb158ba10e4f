"""When a failed webhook is tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.webhook_delivery.schedule import (
    BREAKER_OPEN,
    CAP,
    FLOOR,
    SCHEDULE,
    busy,
    delay,
    probe,
    probed,
    retry_after,
)

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)

chances = st.floats(0, 1, exclude_max=True)
asked_for = st.none() | st.timedeltas(timedelta(0), timedelta(days=400))


def test_is_the_published_one() -> None:
    waits = [delay(failed, None, False, 0.0) for failed in range(1, 10)]
    hours = [timedelta(hours=count) for count in (2, 5, 10, 14, 20, 24)]
    assert waits == [timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), *hours]
    assert delay(10, None, False, 0.0) is None


@given(failed=st.integers(1, 9), asked=asked_for, throttled=st.booleans(), chance=chances)
def test_waits_as_long_as_asked_within_the_cap_and_never_shorter_than_the_schedule(
    failed: int, asked: timedelta | None, throttled: bool, chance: float
) -> None:
    wait = delay(failed, asked, throttled, chance)
    assert wait is not None
    least = FLOOR if throttled else timedelta(0)
    base = min(max(SCHEDULE[failed], least, asked or timedelta(0)), CAP)
    assert base <= wait <= base * 1.2


@given(failed=st.integers(10, 1000), asked=asked_for, throttled=st.booleans(), chance=chances)
def test_no_retry_after_brings_back_what_is_exhausted(
    failed: int, asked: timedelta | None, throttled: bool, chance: float
) -> None:
    assert delay(failed, asked, throttled, chance) is None


def test_a_throttled_endpoint_is_given_a_minute_and_longer_where_the_schedule_is() -> None:
    waits = [delay(failed, None, True, 0.0) for failed in (1, 2)]
    assert waits == [timedelta(seconds=60), timedelta(minutes=5)]


@given(chance=chances)
def test_a_spared_endpoint_is_probed_seconds_later_and_what_meets_the_probe_waits_for_its_end(chance: float) -> None:
    assert NOW + BREAKER_OPEN * 0.1 <= probe(NOW, chance) <= NOW + BREAKER_OPEN * 0.2
    assert NOW + BREAKER_OPEN * 0.1 <= probed(NOW, chance) <= NOW + BREAKER_OPEN * 1.1


@given(chance=chances)
def test_what_waits_for_a_slot_comes_back_soon(chance: float) -> None:
    assert NOW + timedelta(seconds=1) <= busy(NOW, chance) <= NOW + timedelta(seconds=3)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", timedelta(minutes=2)),
        (" 0 ", timedelta(0)),
        ("86401", CAP),
        ("9" * 5000, CAP),
        ("Tue, 24 Nov 2026 06:35:00 GMT", timedelta(minutes=5)),
        ("Tuesday, 24-Nov-26 06:35:00 GMT", timedelta(minutes=5)),
        ("Tue Nov 24 06:35:00 2026", timedelta(minutes=5)),
        ("Tue, 24 Nov 2026 12:05:00 +0530", timedelta(minutes=5)),
        ("Tue, 24 Nov 2026 06:29:00 GMT", timedelta(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", CAP),
        ("Tue, 01 Dec 99999999999 00:00:00 GMT", None),
        ("Tue, 01 Dec 2026 99999999999:00:00 GMT", None),
        ("Sat, 01 Jan 0001 00:00:00 +2359", timedelta(0)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_reads_retry_after_in_its_two_forms(header: str | None, expected: timedelta | None) -> None:
    assert retry_after(header, NOW) == expected


DATES = (
    r"\A(?:[A-Z][a-z]{2}, )?\d{0,20}[ -](?:Jan|Feb|Dec|[A-Z][a-z]{2})[ -]\d{0,20}"
    r" \d{0,12}:\d{0,12}:?\d{0,12} ?(?:GMT|[+-]\d{0,12})?\Z"
)


@given(st.text() | st.binary().map(lambda sent: sent.decode("latin-1")) | st.from_regex(DATES))
def test_no_retry_after_can_break_it(header: str) -> None:
    asked = retry_after(header, NOW)
    assert asked is None or timedelta(0) <= asked <= CAP


@given(st.integers(-100, 86_400))
def test_a_date_is_waited_for(seconds: int) -> None:
    header = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(header, NOW) == timedelta(seconds=max(seconds, 0))
