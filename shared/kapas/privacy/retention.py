"""How long records are kept: the policies of `retention.json`, and their calendar.

Days are days in India. A period of years begins on the day after its anchor (General Clauses Act 1897 s.9: "from" leaves
the first day out) and is counted by the calendar, not in days; where it would end on a 29 February that a year lacks, the
record may go on 1 March. So what is anchored on 31 March 2027 for eight years may go on 1 April 2035.
"""

import calendar
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from kapas.values import clock

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar period: years and months by the calendar, then days."""

    years: int = 0
    months: int = 0
    days: int = 0

    def __str__(self) -> str:
        parts = [f"{count} {name}" for name, count in self._parts() if count]
        return ", ".join(parts) or "no minimum"

    def after(self, day: date) -> date:
        """The first day on which this period, begun on the day after `day`, is over."""
        first = day + _DAY
        month = first.month - 1 + self.months + 12 * self.years
        year, month = first.year + month // 12, month % 12 + 1
        if first.day > calendar.monthrange(year, month)[1]:
            return date(year, month, calendar.monthrange(year, month)[1]) + (1 + self.days) * _DAY
        return date(year, month, first.day) + self.days * _DAY

    def _parts(self) -> tuple[tuple[str, int], ...]:
        return ("years", self.years), ("months", self.months), ("days", self.days)


@dataclass(frozen=True, slots=True)
class Rule:
    """A further law on the same records; the later date wins."""

    law: str
    article: str
    anchor: str
    period: Period


@dataclass(frozen=True, slots=True)
class Policy:
    """One retention policy.

    `anchor` says from when the period runs: `fy_end` and `annual_return_due` are derived from the record's day, any other
    is that day itself (which column of a table it is, the data map says). `floor` is what a statute demands, from
    `floor_from` on where it is not in force yet; `keep` is how long the platform keeps.
    """

    name: str
    law: str
    article: str
    basis: str
    anchor: str
    floor: Period
    keep: Period
    also: tuple[Rule, ...]
    floor_from: date | None
    auto_delete: bool
    active: bool

    def earliest_deletion(self, day: date) -> date:
        """The first day on which a record of `day` may be deleted."""
        own = self.keep.after(_anchored(self.anchor, day))
        return max([own, *(rule.period.after(_anchored(rule.anchor, day)) for rule in self.also)])

    def floor_end(self, day: date, today: date) -> date:
        """The first day on which no statute in force `today` forbids to delete a record of `day`."""
        in_force = self.floor_from is None or self.floor_from <= today
        return (self.floor if in_force else Period()).after(_anchored(self.anchor, day))

    def deletable_until(self, today: date) -> date | None:
        """The last day whose records no statute in force `today` forbids to delete; None if there is no such statute."""
        if self.floor_end(today, today) <= today + _DAY:
            return None
        day = today - self.floor.years * timedelta(days=366) - self.floor.months * timedelta(days=31)
        day -= timedelta(days=self.floor.days + 366)  # surely late enough, whatever the anchor
        while self.floor_end(day + _DAY, today) <= today:
            day += _DAY
        return day


@functools.cache
def policies() -> Mapping[str, Policy]:
    """Every policy by its name, read at the first use."""
    data = json.loads((Path(__file__).with_suffix(".json")).read_text("utf-8"))
    return {name: _policy(name, entry) for name, entry in data["policies"].items()}


def day_of(at: datetime) -> date:
    """The day of `moment` in India."""
    return at.astimezone(clock.IST).date()


def financial_year_end(day: date) -> date:
    """The 31 March that ends the financial year of `day` (Companies Act 2013 s.2(41))."""
    return date(day.year + (day.month > 3), 3, 31)


def _anchored(anchor: str, day: date) -> date:
    if anchor == "fy_end":
        return financial_year_end(day)
    if anchor == "annual_return_due":  # CGST Act s.44, CGST Rules r.80: 31 December after the financial year
        return date(financial_year_end(day).year, 12, 31)
    return day


def _policy(name: str, entry: dict[str, Any]) -> Policy:
    return Policy(
        name=name,
        law=entry["law"],
        article=entry["article"],
        basis=entry["basis"],
        anchor=entry["anchor"],
        floor=Period(**entry["floor"]),
        keep=Period(**entry["keep"]),
        also=tuple(
            Rule(rule["law"], rule["article"], rule["anchor"], Period(**rule["period"]))
            for rule in entry.get("also", ())
        ),
        floor_from=date.fromisoformat(entry["floor_from"]) if "floor_from" in entry else None,
        auto_delete=entry["auto_delete"],
        active=entry["active"],
    )
