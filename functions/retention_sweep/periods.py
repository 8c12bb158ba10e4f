"""From which day on a record may go, and the last day whose records may: days are days in India.

The periods are those of `kapas.privacy.retention`. A period counts whole days from the day after its anchor, so that
no record goes an hour early, whatever its time of day.
"""

import bisect
from datetime import date, datetime, time, timedelta

from kapas.privacy.retention import Policy
from kapas.values.clock import IST

_FIRST = date(1970, 1, 1)


def due_on(policy: Policy, day: date, today: date) -> date:
    """The first day on which a record of `day` is due: its period is over, and so is every floor in force `today`."""
    return max(policy.earliest_deletion(day), policy.floor_end(day, today))


def due_until(policy: Policy, today: date) -> date:
    """The last day whose records are due `today`; the day before 1970 if there is none.

    Found by bisection: a later record is never due before an earlier one.
    """
    days = range(_FIRST.toordinal(), today.toordinal() + 1)
    due = bisect.bisect_right(days, today, key=lambda ordinal: due_on(policy, date.fromordinal(ordinal), today))
    return _FIRST + timedelta(days=due - 1)


def end_of(day: date) -> datetime:
    """The moment at which `day` is over in India."""
    return datetime.combine(day + timedelta(days=1), time(), IST)
