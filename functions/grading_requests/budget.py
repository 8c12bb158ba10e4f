"""What a partner may have graded in a day: a day of India, from midnight to midnight."""

from datetime import date, datetime, time, timedelta

from kapas.errors import RateLimited
from kapas.http.identity import Tier
from kapas.values.clock import IST

DAILY: dict[Tier, int] = {Tier.FREE: 5, Tier.BASIC: 50, Tier.PREMIUM: 500, Tier.ENTERPRISE: 5000}
"""Gradings a day, of whatever kind, by the tier of the caller's token."""


def day(now: datetime) -> date:
    """The day that a grading at `now` counts to."""
    return now.astimezone(IST).date()


def spent(tier: Tier, now: datetime) -> RateLimited:
    """What to tell a partner whose budget is used up: when the next day begins."""
    tomorrow = datetime.combine(day(now) + timedelta(days=1), time(), IST)
    seconds = int((tomorrow - now).total_seconds()) + 1
    return RateLimited(
        f"The {DAILY[tier]} gradings per day of this plan are used up; the next day starts at midnight in India",
        retry_after=seconds,
    )
