"""Where the sweep looks: places of the data map, and what goes with a row of each.

Which policy keeps a row, from when it counts and whose the row is, the data map says. What a policy lets go by itself is
either in `SWEPT` or in `NOT_SWEPT`: a contract test compares both with the data map.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from kapas.privacy.data_map import DataMap, FileOf, RetentionRule, Table, data_map
from kapas.privacy.retention import Policy, policies


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
    """The condition, in SQL on `t`, for a row to be swept at all. `:cutoff` is the moment before which rows are due."""
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
        """The column by which the rows that go with one lead to it: the whole key, where there are any."""
        return next(iter(self.table.key))

    @property
    def outside(self) -> bool:
        """Whether something outside the database goes with a row."""
        return self.file is not None or bool(self.documents)


_ENDED = """least((SELECT p.updated_at FROM partners p WHERE p.id = t.partner_id AND p.status = 'rejected'),
  (SELECT r.restricted_at FROM restrictions r WHERE r.subject_id = t.partner_id))"""
"""When the relationship with the row's partner ended: it was rejected, which is for good, or asked to be erased."""

# Two sides of a card are uploaded together. Only what came after somebody had asked for it takes the place of another.
_SUPERSEDED = """(t.status = 'awaiting_upload' OR EXISTS (SELECT FROM partner_documents n JOIN partner_decisions d
    ON d.partner_id = t.partner_id AND d.decided_at > t.created_at AND d.decided_at < n.created_at
  WHERE n.partner_id = t.partner_id AND n.kind = t.kind AND n.status = 'uploaded'))"""
"""That a document was never confirmed, or that the partner was asked for another one and uploaded it."""

# Its messages go before it, if they are due: asked like this, a dry run finds what the real one does.
_NOTHING_SENT_STAYS = """NOT EXISTS (SELECT FROM webhook_messages m WHERE m.endpoint_id = t.id
  AND (m.status = 'pending' OR m.created_at >= :cutoff OR EXISTS (SELECT FROM legal_holds h
    WHERE h.released_at IS NULL AND h.table_name = 'webhook_messages' AND h.row_id = m.id::text)))"""

_OF_ENDED = f"{_ENDED} IS NOT NULL"
_OF_SUBJECT = ("consent_dispatches", "consent_states", "consent_entries", "consent_receipts")

SWEPT = (
    Swept("idempotency_keys"),
    Swept("outbox", only="t.published_at IS NOT NULL"),
    Swept("webhook_messages", only="t.status <> 'pending'", children=(Child("webhook_attempts", "message_id"),)),
    Swept("webhook_endpoints", only=f"t.status = 'deleted' AND {_NOTHING_SENT_STAYS}"),
    Swept(
        "exports",
        only="t.status IN ('ready', 'expired')",
        anchor="t.ready_at",
        file=FileOf("exports", "archives/{id}.zip"),
        policy="export_archive",
    ),
    Swept("exports", only="t.status <> 'preparing'", children=(Child("export_shards", "export_id"),)),
    Swept(
        "gradings",
        # What a trade was settled by stays with the books; the photograph goes when its notice says, a year after it.
        only="t.kind = 'image' AND t.trade_id IS NOT NULL AND t.status <> 'queued'",
        file=FileOf("uploads", "gradings/{partner_id}/{id}"),
        policy="ai_prompt_and_output",
    ),
    Swept("gradings", only="t.status <> 'queued'", children=(Child("grading_usage", "grading_id"),)),
    Swept("image_readings"),
    Swept("grading_budgets", anchor="t.day::timestamp AT TIME ZONE 'Asia/Kolkata'"),
    Swept("trades", children=(Child("trade_events", "trade_id"),)),
    Swept(
        "consent_ledgers",
        # A chain goes as a whole or not at all: when its last decision, and its last grant, have ended long enough ago.
        anchor="greatest(t.updated_at, (SELECT max(s.valid_until) FROM consent_states s WHERE s.subject_id = t.subject_id))",
        children=tuple(Child(table, "subject_id") for table in _OF_SUBJECT),
    ),
    Swept(
        "partner_documents",
        only=f"t.created_at < :cutoff AND ({_SUPERSEDED} OR {_ENDED} IS NOT NULL)",
        anchor=f"CASE WHEN {_SUPERSEDED} THEN t.created_at ELSE greatest(t.created_at, {_ENDED}) END",
    ),
    Swept("partner_checks", only=_OF_ENDED, anchor=f"greatest(t.created_at, {_ENDED})"),
    Swept("partner_decisions", only=_OF_ENDED, anchor=f"greatest(t.decided_at, {_ENDED})"),
    Swept("legal_holds", only="t.released_at IS NOT NULL"),
    Swept("retention_sweeps", only="t.status = 'completed'", children=(Child("retention_findings", "sweep_id"),)),
    Swept("audit_log"),
)
"""In the order in which they are swept: the audit trail last, so that it can tell of all else while it is there."""

NOT_SWEPT: Mapping[str, str] = {
    "table partners": "All other records refer to the row; an erasure leaves only its id and type of business",
    "collection partners": "Mirrors the row, which stays. Nothing records a partner's last visit, so nobody can be notified "
    "48 hours before; an erasure overwrites it",
    "table subject_keys": "Data encrypted with it would become unreadable; an erasure destroys it",
    "table epoch_keys": "Partners' keys could no longer be unwrapped; it holds no personal data",
    "table receipt_keys": "Partners verify their receipts with it at any later time; it is public",
    "table inbox": "A counter for an opaque id; without it a redelivered event would be processed again",
    "table erasures": "The books keep an erased partner's details under its id; it prevents a second erasure",
    "table restrictions": "The partner's row stays, and without this one it could be processed again",
    "table export_shards": "Deleted with their export; until then they lead to the parts that a crash left behind",
    "bucket exports/parts/": "The export deletes them when it ends; the bucket deletes every file after 30 days",
    "table schema_migrations": "Every migration would be applied again; it holds no personal data",
}
"""What is not swept though its policy lets it go by itself, and why."""


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
