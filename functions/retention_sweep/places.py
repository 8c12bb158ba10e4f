"""Where the sweep looks: places of the data map, and what goes with a row of each.

Which policy keeps a row, from when it counts and whose the row is, the data map says. What is not here is not swept: rows
that everything else refers to (partners, keys, the inbox), and those that go with an erasure.
"""

import functools
from dataclasses import dataclass

from kapas.data_map import DataMap, FileOf, RetentionRule, Table, data_map
from kapas.retention import Policy, policies


@dataclass(frozen=True, slots=True)
class Child:
    """A table whose rows go with a row of another: `column` names that row's key."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What the sweep knows of a table beyond the data map."""

    table: str
    only: str = "true"
    """The condition, in SQL on `t`, for a row to be swept at all."""
    anchor: str = ""
    """The moment, in SQL on `t`, that retention counts from, where it is not just the anchor column."""
    children: tuple[Child, ...] = ()
    file: FileOf | None = None
    """The file that is swept while its row stays, by `policy`."""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What one policy governs in one place."""

    name: str
    table: Table
    rule: RetentionRule
    before: tuple[RetentionRule, ...]
    """The rules that took their rows before this one."""
    policy: Policy
    only: str
    anchor: str
    children: tuple[Child, ...]
    file: FileOf | None
    """The file that each row has."""
    rows_stay: bool
    """Whether only the file is deleted."""
    documents: tuple[str, ...]
    """The Firestore collections that have a document for each row."""

    @property
    def deletes(self) -> bool:
        """Whether what is due is deleted, and not only reported."""
        return self.policy.auto_delete

    @property
    def key(self) -> str:
        return next(iter(self.table.key))

    @property
    def key_type(self) -> str:
        return self.table.key[self.key]

    @property
    def outside(self) -> bool:
        """Whether something outside the database goes with a row."""
        return self.file is not None or bool(self.documents)


_OF_SUBJECT = ("consent_dispatches", "consent_states", "consent_entries", "consent_receipts")

SWEPT = (
    Swept("idempotency_keys"),
    Swept("outbox", only="t.published_at IS NOT NULL"),
    Swept("webhook_messages", only="t.status <> 'pending'", children=(Child("webhook_attempts", "message_id"),)),
    Swept(
        "exports",
        only="t.status IN ('ready', 'expired')",
        anchor="t.ready_at",
        file=FileOf("exports", "archives/{id}.zip"),
        policy="export_archive",
    ),
    Swept("exports", only="t.status <> 'preparing'", children=(Child("export_shards", "export_id"),)),
    Swept("gradings", only="t.status <> 'queued'", children=(Child("grading_usage", "grading_id"),)),
    Swept("trades", children=(Child("trade_events", "trade_id"),)),
    Swept(
        "consent_ledgers",
        # A chain goes as a whole or not at all: when its last decision, and its last grant, have ended long enough ago.
        anchor="greatest(t.updated_at, (SELECT max(s.valid_until) FROM consent_states s WHERE s.subject_id = t.subject_id))",
        children=tuple(Child(table, "subject_id") for table in _OF_SUBJECT),
    ),
    Swept("audit_log"),
)
"""In the order in which they are swept: the audit trail last, so that it can tell of all else while it is there."""


@functools.cache
def places() -> tuple[Place, ...]:
    """Every place under a policy that is in force."""
    found = (place for swept in SWEPT for place in _places(data_map(), swept))
    return tuple(place for place in found if place.policy.active)


def tables() -> tuple[str, ...]:
    """The tables whose rows can be named in a legal hold."""
    return tuple(dict.fromkeys(swept.table for swept in SWEPT))


def _places(mapped: DataMap, swept: Swept) -> list[Place]:
    table = mapped.tables[swept.table]
    rules = (RetentionRule(swept.policy),) if swept.policy else table.retention
    name = f"bucket {swept.file.bucket}/{swept.file.path.partition('{')[0]}" if swept.file else f"table {table.name}"
    return [
        Place(
            name=name,
            table=table,
            rule=rule,
            before=rules[:n],
            policy=policies()[rule.policy],
            only=swept.only,
            anchor=swept.anchor or f"t.{table.anchor}",
            children=swept.children,
            file=swept.file or table.files,
            rows_stay=swept.file is not None,
            documents=() if swept.file else _documents(mapped, table, rule),
        )
        for n, rule in enumerate(rules)
    ]


def _documents(mapped: DataMap, table: Table, rule: RetentionRule) -> tuple[str, ...]:
    return tuple(
        collection.name
        for collection in mapped.collections.values()
        if collection.rows_of == table.name and collection.with_policy in ("", rule.policy)
    )
