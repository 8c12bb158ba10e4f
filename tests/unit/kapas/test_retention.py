"""The calendar of retention: financial years, leap days, laws that are not in force yet."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapas.privacy.retention import Period, day_of, financial_year_end, policies

DAYS = st.dates(date(2000, 1, 1), date(2150, 12, 31))
PERIODS = st.builds(Period, years=st.integers(0, 10), months=st.integers(0, 90), days=st.integers(0, 400))


@pytest.mark.parametrize(
    ("day", "end"),
    [
        (date(2026, 3, 31), date(2026, 3, 31)),
        (date(2026, 4, 1), date(2027, 3, 31)),
        (date(2026, 12, 20), date(2027, 3, 31)),
        (date(2028, 2, 29), date(2028, 3, 31)),
    ],
)
def test_a_financial_year_ends_on_31_march(day: date, end: date) -> None:
    assert financial_year_end(day) == end


@pytest.mark.parametrize(
    ("day", "earliest"),
    [
        (date(2026, 4, 1), date(2035, 4, 1)),
        (date(2027, 3, 31), date(2035, 4, 1)),
        (date(2027, 4, 1), date(2036, 4, 1)),
        (date(2028, 2, 29), date(2036, 4, 1)),
        (date(2095, 12, 1), date(2104, 4, 1)),  # 2100 is no leap year: 2922 days would end a day late
    ],
)
def test_books_are_kept_for_eight_financial_years(day: date, earliest: date) -> None:
    assert policies()["books_of_account"].earliest_deletion(day) == earliest


@pytest.mark.parametrize(
    ("day", "period", "first"),
    [
        (date(2028, 2, 29), Period(years=1), date(2029, 3, 1)),
        (date(2028, 2, 28), Period(years=1), date(2029, 3, 1)),
        (date(2027, 2, 28), Period(years=1), date(2028, 3, 1)),
        (date(2026, 11, 24), Period(years=1), date(2027, 11, 25)),
        (date(2027, 12, 31), Period(months=72), date(2034, 1, 1)),
        (date(2027, 1, 30), Period(months=1), date(2027, 3, 1)),
        (date(2026, 11, 24), Period(days=7), date(2026, 12, 2)),
        (date(2026, 11, 24), Period(), date(2026, 11, 25)),
    ],
)
def test_a_period_is_over_on_its_day(day: date, period: Period, first: date) -> None:
    assert period.after(day) == first


@given(DAYS, PERIODS)
def test_a_later_record_never_goes_first(day: date, period: Period) -> None:
    assert period.after(day) <= period.after(day + timedelta(days=1))


@given(st.sampled_from(sorted(policies())), DAYS, st.dates(date(2026, 1, 1), date(2100, 12, 31)))
def test_what_may_be_deleted_is_what_no_floor_forbids(name: str, day: date, today: date) -> None:
    policy = policies()[name]
    until = policy.deletable_until(today)
    if until is not None and day <= today:
        assert (day <= until) == (policy.floor_end(day, today) <= today)


def test_a_floor_counts_from_the_day_it_is_in_force() -> None:
    policy = policies()["processing_and_traffic_log"]
    assert policy.deletable_until(date(2027, 5, 12)) is None
    assert policy.deletable_until(date(2027, 5, 13)) == date(2026, 5, 12)


def test_the_day_is_that_of_india() -> None:
    assert day_of(datetime(2027, 3, 31, 18, 29, tzinfo=UTC)) == date(2027, 3, 31)
    assert day_of(datetime(2027, 3, 31, 18, 30, tzinfo=UTC)) == date(2027, 4, 1)


def test_the_later_of_several_laws_wins() -> None:
    policy = policies()["books_of_account"]
    assert len(policy.also) == 2
    for rule in policy.also:
        assert rule.period.after(date(2027, 12, 31)) <= policy.earliest_deletion(date(2026, 12, 20))


@pytest.mark.parametrize(("period", "text"), [(Period(years=8), "8 years"), (Period(), "no minimum")])
def test_a_period_reads_as_one_says_it(period: Period, text: str) -> None:
    assert str(period) == text
