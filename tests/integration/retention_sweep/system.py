"""One deployment of the retention sweep on a real PostgreSQL, with fakes where Google would be, and rows of every age."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pg8000.native import Connection

from functions.retention_sweep import service, sweeping
from functions.retention_sweep.schemas import (
    HeldRow,
    LegalHold,
    LegalHoldCreate,
    RetentionLine,
    RetentionSweep,
    RetentionSweepCreate,
)
from functions.retention_sweep.sweeping import BatchTask, Dependencies
from kapas.errors import Unavailable
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Task
from kapas.privacy import legal_holds
from kapas.values import ids
from tests.fake_tasks import Queue
from tests.times import Time, moving_time

START = datetime(2036, 11, 24, 6, 30, tzinfo=UTC)
OPERATIONS = Identity("operations", None, Role.OPS, Tier.FREE)
OFFICER = Identity("officer", None, Role.DPO, Tier.FREE)
HASH = b"\0" * 32


@dataclass
class Outside:
    """Cloud Storage and Firestore, as far as the sweep uses them: what is there, by its path."""

    there: set[str] = field(default_factory=set[str])
    deleted: list[str] = field(default_factory=list[str])
    down: bool = False

    def stat(self, path: str) -> object | None:
        return path if path in self.there else None

    def delete(self, path: str) -> bool:
        if self.down:
            raise Unavailable
        self.deleted.append(path)
        found = path in self.there
        self.there.discard(path)
        return found


class Killed(BaseException):
    """The instance is gone in this moment."""


@dataclass
class System:
    """One deployment, and somebody (`admin`) who may write rows of any age."""

    database: Database
    admin: Connection
    time: Time
    queue: Queue = field(default_factory=Queue)
    outside: Outside = field(default_factory=Outside)

    @property
    def dependencies(self) -> Dependencies:
        return Dependencies(self.database, lambda: self.outside, lambda _: lambda: self.outside)

    # Sweeps

    def begin(self, **body: Any) -> UUID:
        sweep = service.plan(OPERATIONS, RetentionSweepCreate(**body))
        with self.database.session(PLATFORM) as db:
            outbox.commit(db, service.begin(sweep).change)
        service.enqueue(self.queue, sweep.id, 0)
        return sweep.id

    def work(self, task: Task) -> None:
        """What the function does with a task."""
        batch = BatchTask.model_validate_json(task.body)
        following = sweeping.run(self.dependencies, batch)
        if following is not None:
            service.enqueue(self.queue, batch.sweep_id, following)

    def drain(self) -> None:
        while self.queue.tasks:
            self.work(self.queue.tasks.pop(0))

    def sweep(self, **body: Any) -> RetentionSweep:
        """Begin a sweep and see it through."""
        sweep_id = self.begin(**body)
        self.drain()
        return self.read(sweep_id)

    def read(self, sweep_id: UUID) -> RetentionSweep:
        with self.database.session(PLATFORM) as db:
            return service.read(db, OFFICER, sweep_id)

    # Holds

    def hold(self, subject_id: UUID | None = None, table: str = "", row_id: object = "") -> LegalHold:
        row = HeldRow(table=table, id=str(row_id)) if table else None
        body = LegalHoldCreate(subject_id=subject_id, row=row, reason="Case 7 of 2036")
        with self.database.session(PLATFORM) as db, db.transaction():
            outcome = service.place_hold(db, OFFICER, body)
            outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, LegalHold)
        return outcome.resource

    def release(self, hold: LegalHold) -> None:
        with self.database.session(PLATFORM) as db:
            service.release_hold(db, OFFICER, hold.id)

    # Rows, each `days` old

    def count(self, table: str) -> int:
        return self.admin.run(f"SELECT count(*) FROM {table}")[0][0]

    def ago(self, days: float) -> datetime:
        return self.time.now - timedelta(days=days)

    def key(self, days: float) -> bytes:
        key = ids.random_bytes(32)
        sql = "INSERT INTO idempotency_keys VALUES (:key, :key, :key, :at)"
        self.admin.run(sql, key=key, at=self.ago(days))
        return key

    def audited(self, days: float, *partner_ids: UUID) -> UUID:
        event_id = ids.uuid7()
        self.admin.run(
            "INSERT INTO audit_log VALUES (:id, 'trade.offered.v1', '/trade_events', :id, 1, :of, '{}', :at, :at)",
            id=event_id,
            of=list(partner_ids) or [ids.uuid7()],
            at=self.ago(days),
        )
        return event_id

    def event(self, days: float, *, published: bool = True) -> UUID:
        event_id = ids.uuid7()
        self.admin.run(
            """INSERT INTO outbox VALUES (:id, 'trade-events', '/trade_events', 'trade.offered.v1', :id, 1, '{}', '{}',
                 NULL, :at, :published)""",
            id=event_id,
            at=self.ago(days),
            published=self.ago(days) if published else None,
        )
        return event_id

    def endpoint(self, days: float, partner_id: UUID, status: str = "deleted") -> UUID:
        """A webhook endpoint that has been so for so many days."""
        endpoint_id = ids.uuid7()
        self.admin.run(
            """INSERT INTO webhook_endpoints
                 (id, version, partner_id, url, event_types, secret, status, created_at, updated_at)
               VALUES (:id, 1, :of, 'https://hooks.example.com', '{*}', :secret, :status, :at, :at)""",
            id=endpoint_id,
            of=partner_id,
            secret=None if status == "deleted" else b"",
            status=status,
            at=self.ago(days),
        )
        return endpoint_id

    def message(self, days: float, partner_id: UUID, status: str = "delivered") -> UUID:
        """A webhook message with one attempt."""
        message_id, at = self.endpoint(days, partner_id, "enabled"), self.ago(days)
        self.admin.run(
            """INSERT INTO webhook_messages (id, endpoint_id, partner_id, event_id, event_type, payload, status,
                 attempt_count, next_attempt_at, created_at)
               VALUES (:id, :id, :of, :id, 'trade.offered.v1', '{}', :status, 1, :next, :at)""",
            id=message_id,
            of=partner_id,
            status=status,
            next=at if status == "pending" else None,
            at=at,
        )
        sql = "INSERT INTO webhook_attempts VALUES (:id, 1, :of, :at, 5, 204, NULL, '')"
        self.admin.run(sql, id=message_id, of=partner_id, at=at)
        return message_id

    def trade(self, days: float, seller_id: UUID, buyer_id: UUID | None = None, status: str = "") -> UUID:
        """A trade with one event, completed if it has a buyer, else expired, unless it is to have another status."""
        trade_id = ids.uuid7()
        open_status = status if status in ("offered", "negotiating") else ""
        ended = "" if open_status else status or ("completed" if buyer_id else "expired")
        self.admin.run(
            """INSERT INTO trades (id, version, status, seller_id, buyer_id, broker_ids, template, kind, variety, crop_year,
                 station, ask_paise, ask_unit, due_at, state, created_at, updated_at)
               VALUES (:id, 1, :status, :seller, :buyer, '{}', 'ex_gin_passing', 'bales', 'Shankar-6', '2026-27', 'Rajkot',
                 1, 'kg', :due_at, '{}', :at, :at)""",
            id=trade_id,
            status=ended or open_status,
            seller=seller_id,
            buyer=buyer_id,
            due_at=None if ended else self.ago(days),
            at=self.ago(days),
        )
        self.admin.run(
            """INSERT INTO trade_events (trade_id, sequence, type, role, side, partner_id, broker_ids, data, occurred_at,
                 recorded_at)
               VALUES (:id, 1, 'trade.offered.v1', 'partner', 'seller', :seller, '{}', '{}', :at, :at)""",
            id=trade_id,
            seller=seller_id,
            at=self.ago(days),
        )
        self.outside.there.add(f"trades/{trade_id}")
        return trade_id

    def grading(self, days: float, partner_id: UUID, trade_id: UUID | None = None) -> UUID:
        """A refused grading of an image, which is there."""
        grading_id, at = ids.uuid7(), self.ago(days)
        self.admin.run(
            """INSERT INTO gradings (id, version, partner_id, kind, status, trade_id, request, image, refusal, created_at,
                 updated_at)
               VALUES (:id, 1, :of, 'image', 'refused', :trade, '{}', '{}', '{}', :at, :at)""",
            id=grading_id,
            of=partner_id,
            trade=trade_id,
            at=at,
        )
        usage = "INSERT INTO grading_usage VALUES (:id, :of, :day, 'basic', :at)"
        self.admin.run(usage, id=grading_id, of=partner_id, day=at.date(), at=at)
        self.outside.there.add(f"gradings/{partner_id}/{grading_id}")
        return grading_id

    def export(self, days: float, partner_id: UUID) -> UUID:
        """A finished export, whose archive is there."""
        export_id, at = ids.uuid7(), self.ago(days)
        self.admin.run(
            """INSERT INTO exports (id, version, partner_id, status, requested_by, requested_role, attempt, ready_at,
                 expires_at, sha256, created_at, updated_at)
               VALUES (:id, 3, :of, 'ready', 'owner', 'owner', 1, :at, :at, 'ab', :at, :at)""",
            id=export_id,
            of=partner_id,
            at=at,
        )
        sql = """INSERT INTO export_shards (export_id, number, partner_id, table_name, planned)
          VALUES (:id, 0, :of, 'trades', 1)"""
        self.admin.run(sql, id=export_id, of=partner_id)
        self.outside.there.add(f"archives/{export_id}.zip")
        return export_id

    def partner(self, *, rejected: float | None = None, erased: float | None = None) -> UUID:
        """A partner of ten years ago, rejected or erased so many days ago, or active."""
        partner_id = ids.uuid7()
        self.admin.run(
            """INSERT INTO partners (id, version, status, type, constitution, submission, clarifications, legal_name, contact,
                 created_at, updated_at)
               VALUES (:id, 4, :status, 'farmer', 'individual', 1, '[]', '', '', :at, :updated)""",
            id=partner_id,
            status="active" if rejected is None else "rejected",
            at=self.ago(3653),
            updated=self.ago(3653 if rejected is None else rejected),
        )
        if erased is not None:
            sql = "INSERT INTO restrictions VALUES (:id, 'erasure', :at)"
            self.admin.run(sql, id=partner_id, at=self.ago(erased))
        return partner_id

    def document(self, days: float, partner_id: UUID, status: str = "uploaded", kind: str = "bank_proof") -> UUID:
        """A document of the registration, whose file is there."""
        document_id = ids.uuid7()
        self.admin.run(
            """INSERT INTO partner_documents (id, version, partner_id, kind, content_type, size, sha256, status, created_at)
               VALUES (:id, 1, :of, :kind, 'application/pdf', 1, repeat('0', 64), :status, :at)""",
            id=document_id,
            of=partner_id,
            kind=kind,
            status=status,
            at=self.ago(days),
        )
        self.outside.there.add(f"partners/{partner_id}/documents/{document_id}")
        return document_id

    def check(self, days: float, partner_id: UUID) -> UUID:
        check_id = ids.uuid7()
        self.admin.run(
            """INSERT INTO partner_checks (id, partner_id, submission, kind, attempts, explanation, created_at)
               VALUES (:id, :of, 1, 'screening', 0, '{}', :at)""",
            id=check_id,
            of=partner_id,
            at=self.ago(days),
        )
        return check_id

    def decision(self, days: float, partner_id: UUID, action: str = "request_clarification") -> UUID:
        decision_id = ids.uuid7()
        self.admin.run(
            """INSERT INTO partner_decisions (id, partner_id, action, accepted_checks, clarifications, risk, decided_by,
                 decided_at)
               VALUES (:id, :of, :action, '{}', '[]', '{}', 'operations', :at)""",
            id=decision_id,
            of=partner_id,
            action=action,
            at=self.ago(days),
        )
        return decision_id

    def consents(self, days: float, subject_id: UUID, valid_days: int = 0) -> None:
        """A chain of two records: a grant valid for `valid_days` from then, and, without them, its withdrawal."""
        at, until = self.ago(days), self.ago(days - valid_days)
        sql = self.admin.run
        sql("INSERT INTO receipt_keys VALUES ('key-1', 'public', :at) ON CONFLICT DO NOTHING", at=at)
        sql(
            "INSERT INTO consent_ledgers VALUES (:of, :id, 2, :h, :at, :at)",
            of=subject_id,
            id=ids.uuid7(),
            h=HASH,
            at=at,
        )
        decision_id = ids.uuid7()
        sql(
            "INSERT INTO consent_receipts VALUES (:id, :of, 1, 2, 'key-1', :signature, :at)",
            id=decision_id,
            of=subject_id,
            signature=HASH * 2,
            at=at,
        )
        for sequence, state in ((1, "granted"), (2, "granted" if valid_days else "withdrawn")):
            record_id = ids.uuid7()
            sql(
                """INSERT INTO consent_entries (subject_id, sequence, id, decision_id, schema_version, purpose, state,
                     notice_version, notice_language, notice_sha256, terms, actor, decided_at, valid_until, previous_hash,
                     hash)
                   VALUES (:of, :sequence, :id, :decision, '1', 'marketing', :state, '1', 'en', 'ab', '{}', '', :at, :until,
                     :h, :h)""",
                of=subject_id,
                sequence=sequence,
                id=record_id,
                decision=decision_id,
                state=state,
                at=at,
                until=until if state == "granted" else None,
                h=HASH,
            )
        sql(
            "INSERT INTO consent_states VALUES (:of, 'marketing', 2, :state, :until)",
            of=subject_id,
            state="granted" if valid_days else "withdrawn",
            until=until if valid_days else None,
        )
        sql(
            """INSERT INTO consent_dispatches (id, version, subject_id, sequence, record_id, purpose, processor, callback,
                 due_at, created_at)
               VALUES (:id, 1, :of, 2, :id, 'marketing', 'call-centre', 'event', :at, :at)""",
            id=record_id,
            of=subject_id,
            at=at,
        )


def line(sweep: RetentionSweep, place: str, policy: str = "") -> RetentionLine:
    """The report's line for a place, and of its policy if it has several."""
    [found] = [one for one in sweep.lines if one.place == place and policy in ("", one.policy)]
    return found


def figures(sweep: RetentionSweep, place: str, policy: str = "") -> tuple[int, int, int, int]:
    """Due, deleted, held and failed of one line."""
    found = line(sweep, place, policy)
    return found.due, found.deleted, found.held, found.failed


@contextmanager
def place_between(monkeypatch: Any, act: Callable[[], object]) -> Iterator[None]:
    """Do something after rows were read and before the first of them is deleted."""
    share = legal_holds.share

    def between(db: Any) -> None:
        monkeypatch.setattr(legal_holds, "share", share)
        act()
        share(db)

    monkeypatch.setattr(legal_holds, "share", between)
    yield


@contextmanager
def running(database: Database, admin: Connection) -> Iterator[System]:
    """A deployment without the rows of other tests, which a sweep would find."""
    admin.run(
        """TRUNCATE idempotency_keys, outbox, audit_log, webhook_endpoints, webhook_messages, webhook_attempts, exports,
             export_shards, erasures, statutory_records, gradings, grading_usage, grading_budgets, image_readings, trades,
             trade_events, consent_ledgers, consent_receipts, consent_entries, consent_states, consent_dispatches, partners,
             partner_checks, partner_decisions, partner_documents, restrictions, retention_sweeps, retention_findings,
             legal_holds"""
    )
    with moving_time(START) as time:
        yield System(database, admin, time)
