"""What stays after an erasure, and why: for each place the law, the article and the days from which it may go."""

from collections.abc import Callable, Iterator
from datetime import date, datetime

from kapas.platform.db import Session
from kapas.privacy.data_map import DataMap, RetentionRule, Table
from kapas.privacy.retention import Policy, day_of, policies

from . import selection
from .schemas import Retained

STATUTORY = "statutory_records"
"""The table of what the books keep of a partner."""

Days = list[tuple[date, int]]
"""A day, and how many rows retention counts from it; ordered."""

_REASONS = {
    "legal_obligation": "A law requires it to be kept",
    "legal_claims": "It may be needed to establish or defend legal claims",
    "proof_of_consent": "It proves what you consented to and when the consent ended",
    "accountability": "It proves that your rights were respected",
    "purpose_served": "It is deleted as soon as its purpose is served",
    "consent": "It is kept for the minimum period required by law",
}


def retained(db: Session, data_map: DataMap, subject: object, today: date) -> Iterator[Retained]:
    """What is there of the subject once all has gone that may go, table by table."""
    for table in data_map.of_partners():
        if table.erase not in ("retain", "delete") or table.name == STATUTORY:
            continue
        end = _end_of_retention if table.erase == "retain" else _end_of_floor(today)
        rules = data_map.retention(table)
        if not table.counted:
            yield _entry(table, policies()[rules[-1].policy], None, [end(policies()[rules[-1].policy], today)])
            continue
        left = selection.count(db, table, selection.about_subject(data_map, table), subject)
        for rule in rules:
            policy = policies()[rule.policy]
            if days := _days(db, data_map, table, rule, subject, today):
                left -= (count := sum(rows for _, rows in days))
                yield _entry(table, policy, count, [end(policy, day) for day, _ in days])
        if left:  # they go with rows of others, a bid with the lot of the seller: by the first rule at the latest
            policy = policies()[rules[0].policy]
            yield _entry(table, policy, left, [end(policy, today)])


def statutory(data_map: DataMap, count: int, anchored_on: datetime) -> Retained:
    """The entry for what the books keep of a partner, whose last retained record is of `anchored_on`."""
    table = data_map.tables[STATUTORY]
    policy = policies()[table.retention[0].policy]
    return _entry(table, policy, count, [policy.earliest_deletion(day_of(anchored_on))])


def _entry(table: Table, policy: Policy, count: int | None, ends: list[date]) -> Retained:
    because = f": {table.because[:1].lower()}{table.because[1:]}" if table.because and table.exported else ""
    return Retained(
        store=f"table {table.name}",
        title=table.title,
        count=count,
        law=policy.law,
        article=policy.article,
        reason=_REASONS[policy.basis] + because,
        earliest_deletion=min(ends),
        latest_deletion=max(ends),
    )


def _end_of_retention(policy: Policy, day: date) -> date:
    return policy.earliest_deletion(day)


def _end_of_floor(today: date) -> Callable[[Policy, date], date]:
    return lambda policy, day: policy.floor_end(day, today)


def _days(db: Session, data_map: DataMap, table: Table, rule: RetentionRule, subject: object, today: date) -> Days:
    """From which days retention counts, of the rows that fall under `rule`."""
    origin = data_map.followed(table)
    condition = selection.about_subject(data_map, table)
    source = f"{table.name} t"
    if table.follows:
        source += f" JOIN {origin.name} o ON o.{next(iter(origin.key))} = t.{table.follows.column}"
        condition += f" AND {selection.about_subject(data_map, origin, 'o')}"
    alias = "o" if table.follows else "t"
    day = f"({alias}.{origin.anchor} AT TIME ZONE 'Asia/Kolkata')::date" if origin.anchor else ":today::date"
    rows = db.run(
        f"SELECT {day} AS day, count(*) FROM {source} WHERE {condition} AND {selection.of_rule(origin, rule, alias)}"
        " GROUP BY 1 ORDER BY 1",
        subject=subject,
        **({} if origin.anchor else {"today": today}),
    )
    return [(row[0], row[1]) for row in rows]
