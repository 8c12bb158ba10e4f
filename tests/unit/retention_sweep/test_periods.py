"""When a record may go, held against an oracle that walks the calendar day by day and knows no formula."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.retention_sweep.periods import due_on, due_until, end_of
from kapas.privacy.retention import Period, day_of, policies

DAY = timedelta(days=1)
BOOKS = policies()["books_of_account"]
YEARLY = ["privacy_audit_log", "consent_ledger", "processing_and_traffic_log", "negotiation_message_unconcluded"]
DAYS = st.dates(date(1990, 1, 1), date(2110, 12, 31))
LEAP_DAYS = st.sampled_from([date(year, 2, 29) for year in range(1992, 2100, 4)])
FINANCIAL_YEAR_ENDS = st.builds(
    lambda year, off: date(year, 3, 31) + off * DAY, st.integers(1990, 2110), st.integers(-1, 1)
)
ANY_DAY = DAYS | LEAP_DAYS | FINANCIAL_YEAR_ENDS


def days_after(day: date) -> Iterator[date]:
    while True:
        day += DAY
        yield day


def of_books(day: date) -> date:
    """Eight financial years after the one of the day: the ninth 1 April that comes after it."""
    firsts = (after for after in days_after(day) if (after.month, after.day) == (4, 1))
    return [next(firsts) for _ in range(9)][-1]


def of_years(day: date, years: int) -> date:
    """The day that has passed as many anniversaries of the day after: a missing 29 February is passed by 1 March."""
    begun = day + DAY
    for after in days_after(day):
        if after.year == begun.year + years and (after.month, after.day) >= (begun.month, begun.day):
            return after
    raise AssertionError


@given(ANY_DAY)
@settings(max_examples=60)
def test_books_go_after_eight_financial_years(day: date) -> None:
    assert due_on(BOOKS, day, date(2200, 1, 1)) == of_books(day)


@given(ANY_DAY, st.sampled_from(YEARLY))
@settings(max_examples=100)
def test_years_are_those_of_the_calendar(day: date, name: str) -> None:
    policy = policies()[name]
    assert due_on(policy, day, date(2200, 1, 1)) == of_years(day, policy.keep.years)


@given(ANY_DAY, st.integers(0, 400))
def test_days_are_counted_in_full(day: date, count: int) -> None:
    policy = replace(policies()["export_archive"], keep=Period(days=count))
    due = due_on(policy, day, date(2200, 1, 1))
    # From the last moment of the day to the first on which it may go.
    ended = datetime.combine(day + DAY, datetime.min.time())
    assert datetime.combine(due, datetime.min.time()) - ended == count * DAY


@given(st.sampled_from(sorted(policies())), ANY_DAY, ANY_DAY)
def test_the_last_day_that_is_due_is_the_last(name: str, today: date, day: date) -> None:
    policy = policies()[name]
    until = due_until(policy, today)
    assert due_on(policy, until, today) <= today < due_on(policy, until + DAY, today)
    assert (day <= until) == (due_on(policy, day, today) <= today)


@given(st.sampled_from(sorted(policies())), ANY_DAY, st.integers(0, 400))
def test_a_floor_is_never_undercut(name: str, day: date, kept: int) -> None:
    """Whatever a policy says of its own period, the statute's is kept from the day that it is in force."""
    policy = replace(policies()[name], keep=Period(days=kept), also=())
    today = date(2200, 1, 1)
    assert due_on(policy, day, today) >= policy.floor_end(day, today)


@pytest.mark.parametrize(
    ("name", "day", "due"),
    [
        ("books_of_account", date(2027, 3, 31), date(2035, 4, 1)),
        ("books_of_account", date(2027, 4, 1), date(2036, 4, 1)),
        ("books_of_account", date(2028, 2, 29), date(2036, 4, 1)),
        ("privacy_audit_log", date(2028, 2, 28), date(2035, 3, 1)),
        ("privacy_audit_log", date(2028, 2, 29), date(2035, 3, 1)),
        ("privacy_audit_log", date(2028, 3, 1), date(2035, 3, 2)),
        ("idempotency_key", date(2026, 11, 24), date(2026, 11, 27)),
        ("export_archive", date(2026, 12, 25), date(2027, 1, 2)),
    ],
)
def test_known_days(name: str, day: date, due: date) -> None:
    assert due_on(policies()[name], day, date(2040, 1, 1)) == due


def test_a_day_ends_at_midnight_in_india() -> None:
    assert end_of(date(2027, 3, 31)) == datetime(2027, 3, 31, 18, 30, tzinfo=UTC)
    assert day_of(end_of(date(2027, 3, 31))) == date(2027, 4, 1)


def test_nothing_is_due_before_anything_was_kept() -> None:
    assert due_until(BOOKS, date(1975, 1, 1)) == date(1969, 12, 31)
