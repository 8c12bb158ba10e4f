"""What stays after an erasure, and why: for each place the law, the article and the days from which it may go."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from uuid import UUID

from kapas.platform.db import Session
from kapas.privacy.data_map import Table, data_map
from kapas.privacy.retention import Policy, day_of, policies

from . import subject_store
from .schemas import Retained

STATUTORY = "statutory_records"
"""The table of what the books keep of a partner."""

_REASONS = {
    "legal_obligation": "A law requires it to be kept",
    "legal_claims": "It may be needed to establish or defend legal claims",
    "proof_of_consent": "It proves what you consented to and when the consent ended",
    "accountability": "It proves that your rights were respected",
    "purpose_served": "It is deleted as soon as its purpose is served",
    "consent": "It is kept for the minimum period required by law",
}


def retained(db: Session, subject: UUID, today: date) -> Iterator[Retained]:
    """What stays of the partner after everything that may go is deleted, table by table."""
    for table in data_map().of_partners():
        if table.erase not in ("retain", "delete") or table.name == STATUTORY:
            continue
        end = _end_of_retention if table.erase == "retain" else _end_of_floor(today)
        rules = data_map().retention(table)
        if not table.counted:
            yield _entry(table, policies()[rules[-1].policy], None, [end(policies()[rules[-1].policy], today)])
            continue
        left = subject_store.count(db, table, subject)
        for rule in rules:
            policy = policies()[rule.policy]
            if days := subject_store.retention_days(db, table, rule, subject, today):
                left -= (count := sum(rows for _, rows in days))
                yield _entry(table, policy, count, [end(policy, day) for day, _ in days])
        if left:  # they go with rows of others, a bid with the lot of the seller: by the first rule at the latest
            policy = policies()[rules[0].policy]
            yield _entry(table, policy, left, [end(policy, today)])


def statutory(count: int, anchored_on: datetime) -> Retained:
    """The entry for what the books keep of a partner, whose last retained record is of `anchored_on`."""
    table = data_map().tables[STATUTORY]
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
