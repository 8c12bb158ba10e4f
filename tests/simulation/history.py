"""Rows of every age that a sweep finds, as they were written years ago: which of them are due is known beforehand."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.simulation.kernel import START

if TYPE_CHECKING:
    from tests.simulation.world import World

DAY, YEAR = timedelta(days=1), timedelta(days=366)
MARGIN = timedelta(days=3)
"""How far the age of a row is from its period. tests/unit/retention_sweep/test_periods.py tests the exact ends."""
HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is written for one place that is swept. `statements` take `id`, `of` (the partner) and `at`."""

    name: str
    table: str
    key: str
    period: timedelta
    statements: tuple[str, ...]
    children: tuple[tuple[str, str], ...] = ()
    """Tables whose rows go with it, and the column that leads to it."""
    bucket: str = ""
    path: str = ""
    documents: str = ""
    deletes: bool = True
    """Whether what is due goes; else it is reported."""
    rows_stay: bool = False
    """Whether only the file goes."""
    apart: bool = False
    """Whether it is of a partner of its own, whose number is its own."""


@dataclass(frozen=True, slots=True)
class Aged:
    """One row, and the moment that it is of."""

    kind: Kind
    id: Any
    partner_id: UUID
    at: datetime

    def due(self, now: datetime) -> bool | None:
        """Whether its period is over; None in the days around its end, when a sweep may have come or not."""
        if now < self.at + 0.9 * self.kind.period:
            return False
        return True if now > self.at + self.kind.period + MARGIN else None

    @property
    def path(self) -> str:
        return self.kind.path.format(id=self.id, of=self.partner_id) if self.kind.path else ""

    @property
    def key(self) -> str:
        """As a legal hold names it."""
        return "\\x" + self.id.hex() if isinstance(self.id, bytes) else str(self.id)

    def left(self, world: "World") -> list[str]:
        """What is there of it: its row, those that belong to it, its file and its document."""
        run = world.server.admin.run
        found: list[str] = []
        for table, column in ((self.kind.table, self.kind.key), *self.kind.children):
            if run(f"SELECT FROM {table} WHERE {column} = :id LIMIT 1", id=self.id):
                found.append(table)
        bucket = {"exports": world.archives, "uploads": world.uploads, "": None}[self.kind.bucket]
        if bucket is not None and self.path in bucket.bucket.stored:
            found.append(self.path)
        document = f"{self.kind.documents}/{self.id}"
        return found + [document] * (document in world.documents.stored)

    def whole(self) -> int:
        """How much of it there is at first."""
        return 1 + len(self.kind.children) + bool(self.path) + bool(self.kind.documents)


_TRADE = """INSERT INTO trades (id, version, status, seller_id, buyer_id, broker_ids, template, kind, variety, crop_year,
    station, ask_paise, ask_unit, state, created_at, updated_at)
  VALUES (:id, 1, '{status}', :of, {buyer}, '{{}}', 'kapas_spot', 'kapas', 'Shankar-6', '2016-17', 'Rajkot', 1, 'quintal',
    '{{}}', :at, :at)"""
_STEP = """INSERT INTO trade_events (trade_id, sequence, type, role, side, partner_id, broker_ids, data, occurred_at,
    recorded_at)
  VALUES (:id, 1, 'trade.offered.v1', 'partner', 'seller', :of, '{}', '{}', :at, :at)"""
_GRADING = """INSERT INTO gradings (id, version, partner_id, kind, status, trade_id, request, image, refusal, created_at,
    updated_at)
  VALUES (:id, 1, :of, 'image', 'refused', {trade}, '{{}}', '{{}}', '{{}}', :at, :at)"""
_EXPORT = """INSERT INTO exports (id, version, partner_id, status, requested_by, requested_role, attempt, ready_at,
    expires_at, sha256, created_at, updated_at)
  VALUES (:id, 3, :of, 'expired', 'owner', 'owner', 1, :at, :at, 'ab', :at, :at)"""
# Of a partner that was erased then: from that day on what proves who it was is kept.
_ERASED = "INSERT INTO restrictions VALUES (:id, 'erasure', :at)"
_IMAGE: dict[str, Any] = {"bucket": "uploads", "path": "gradings/{of}/{id}"}

KINDS = (
    Kind("key", "idempotency_keys", "key_hash", 2 * DAY, ("INSERT INTO idempotency_keys VALUES (:id, :id, :id, :at)",)),
    Kind(
        "event",
        "outbox",
        "event_id",
        YEAR,
        (
            """INSERT INTO outbox VALUES (:id, 'trade-events', '/trade_events', 'trade.offered.v1', :id, 1, '{}',
                 ARRAY[CAST(:of AS uuid)], NULL, :at, :at)""",
        ),
    ),
    Kind(
        "message",
        "webhook_messages",
        "id",
        YEAR,
        (
            """INSERT INTO webhook_messages (id, endpoint_id, partner_id, event_id, event_type, payload, status,
                 attempt_count, created_at)
               VALUES (:id, :of, :of, :id, 'trade.offered.v1', '{}', 'delivered', 1, :at)""",
            "INSERT INTO webhook_attempts VALUES (:id, 1, :of, :at, 5, 204, NULL, '')",
        ),
        children=(("webhook_attempts", "message_id"),),
    ),
    Kind(
        "archive",
        "exports",
        "id",
        7 * DAY,
        (_EXPORT,),
        bucket="exports",
        path="archives/{id}.zip",
        rows_stay=True,
    ),
    Kind(
        "export",
        "exports",
        "id",
        3 * YEAR,
        (
            _EXPORT,
            """INSERT INTO export_shards (export_id, number, partner_id, table_name, planned)
               VALUES (:id, 0, :of, 'trades', 1)""",
        ),
        children=(("export_shards", "export_id"),),
    ),
    Kind(
        "grading",
        "gradings",
        "id",
        YEAR,
        (
            _GRADING.format(trade="NULL"),
            "INSERT INTO grading_usage VALUES (:id, :of, CAST(CAST(:at AS timestamptz) AS date), 'basic', :at)",
        ),
        children=(("grading_usage", "grading_id"),),
        **_IMAGE,
    ),
    Kind("traded grading", "gradings", "id", YEAR, (_GRADING.format(trade=":id"),), rows_stay=True, **_IMAGE),
    Kind(
        "trade",
        "trades",
        "id",
        3 * YEAR,
        (_TRADE.format(status="expired", buyer="NULL"), _STEP),
        children=(("trade_events", "trade_id"),),
        documents="trades",
    ),
    Kind(
        "settled trade",
        "trades",
        "id",
        10 * YEAR,
        (_TRADE.format(status="completed", buyer=":id"), _STEP),
        children=(("trade_events", "trade_id"),),
        documents="trades",
        deletes=False,
    ),
    Kind(
        "ledger",
        "consent_ledgers",
        "subject_id",
        7 * YEAR,
        (
            "INSERT INTO consent_ledgers VALUES (:id, :id, 1, decode(repeat('00', 32), 'hex'), :at, :at)",
            "INSERT INTO consent_receipts VALUES (:id, :id, 1, 1, 'key-1', decode(repeat('00', 64), 'hex'), :at)",
            "INSERT INTO consent_states VALUES (:id, 'marketing', 1, 'withdrawn', NULL)",
        ),
        children=(("consent_receipts", "subject_id"), ("consent_states", "subject_id")),
        apart=True,
    ),
    Kind(
        "access",
        "audit_log",
        "event_id",
        7 * YEAR,
        (
            """INSERT INTO audit_log VALUES (:id, 'trade.offered.v1', '/trade_events', :id, 1, ARRAY[CAST(:of AS uuid)],
                 '{}', :at, :at)""",
        ),
    ),
    Kind(
        "document",
        "partner_documents",
        "id",
        3 * YEAR,
        (
            _ERASED,
            """INSERT INTO partner_documents (id, version, partner_id, kind, content_type, size, sha256, status, created_at)
               VALUES (:id, 1, :of, 'bank_proof', 'image/png', 3, repeat('0', 64), 'uploaded', :at)""",
        ),
        bucket="uploads",
        path="partners/{of}/documents/{id}",
        apart=True,
    ),
    Kind(
        "check",
        "partner_checks",
        "id",
        3 * YEAR,
        (
            _ERASED,
            """INSERT INTO partner_checks (id, partner_id, submission, kind, attempts, explanation, created_at)
               VALUES (:id, :of, 1, 'screening', 0, '{}', :at)""",
        ),
        apart=True,
    ),
    Kind(
        "decision",
        "partner_decisions",
        "id",
        3 * YEAR,
        (
            _ERASED,
            """INSERT INTO partner_decisions (id, partner_id, action, accepted_checks, clarifications, risk, decided_by,
                 decided_at)
               VALUES (:id, :of, 'activate', '{}', '[]', '{}', 'operations', :at)""",
        ),
        apart=True,
    ),
)


def write(world: "World") -> Iterator[Aged]:
    """Have some rows of each kind, due ones and others, of two partners that nobody else knows."""
    draw = random.Random(f"{world.kernel.seed}/history")
    run = world.server.admin.run
    partners = [_uuid(draw), _uuid(draw)]
    run("SET session_replication_role = replica")
    for kind in KINDS:
        count = draw.choice((2, 2, 3, 5))
        for number in range(count):
            due = number > 0  # the first is not
            at = START - kind.period + (-MARGIN - timedelta(days=number) if due else kind.period / 2)
            key: Any = draw.randbytes(32) if kind.key == "key_hash" else _uuid(draw)
            aged = Aged(kind, key, key if kind.apart else draw.choice(partners), at)
            for statement in kind.statements:
                parameters = {"id": key, "of": aged.partner_id, "at": at}
                run(statement, **{name: value for name, value in parameters.items() if f":{name}" in statement})
            if aged.path:
                {"exports": world.archives, "uploads": world.uploads}[kind.bucket].bucket.put(aged.path, b"old")
            if kind.documents:
                world.documents.stored[f"{kind.documents}/{key}"] = (1, {"sequence": 1})
            yield aged
    run("SET session_replication_role = origin")


def _uuid(draw: random.Random) -> UUID:
    return UUID(bytes=draw.randbytes(16), version=4)
