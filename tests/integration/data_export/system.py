"""Exports and erasures on a real PostgreSQL, with fakes where Google would be; partners are written as rows."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from functions.data_export import erasing, erasure_store, preparing, service, store
from functions.data_export.erasing import ErasureTask
from functions.data_export.preparing import ExportTask
from functions.data_export.schemas import Erasure, ErasureCreate, Export, ExportCreate
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.platform.db import Database
from kapas.platform.ports import Document, SignedUpload, StoredFile, Task
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring
from kapas.values import clock, ids
from tests import fake_tasks
from tests.unit.kapas.fake_keys import Kms

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
SECRETS = {"legal_name": "Example Ginning", "contact": '{"phone":"+919876543210"}', "pan": "AAAFE1234K"}


class Killed(BaseException):
    """The instance is gone in this moment."""


class Faults:
    """Kills the process at the nth call of whatever is counted."""

    def __init__(self) -> None:
        self.at = 0
        self.calls = 0

    def step(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise Killed


@dataclass
class Bucket:
    """Cloud Storage: a path is written once."""

    faults: Faults
    objects: dict[str, bytes] = field(default_factory=dict)

    def stat(self, path: str) -> StoredFile | None:
        data = self.objects.get(path)
        return None if data is None else StoredFile(path, len(data), "", clock.now())

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        if path not in self.objects:
            raise FileNotFoundError(path)
        yield io.BytesIO(self.objects[path])

    @contextmanager
    def create(self, path: str, content_type: str) -> Iterator[BinaryIO]:
        stream = io.BytesIO()
        yield stream
        self.faults.step()
        if path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = stream.getvalue()
        self.faults.step()

    def write(self, path: str, data: bytes, content_type: str) -> bool:
        return self.objects.setdefault(path, data) is data

    def delete(self, path: str) -> bool:
        self.faults.step()
        return self.objects.pop(path, None) is not None

    def download_url(self, path: str, *, lifetime: timedelta, filename: str | None = None) -> str:
        return f"https://storage.example.com/{path}?filename={filename}&seconds={lifetime.total_seconds():.0f}"

    def upload_url(self, path: str, *, content_type: str, size: int, sha256: str, lifetime: timedelta) -> SignedUpload:
        raise AssertionError("an export takes no uploads")


class Queue(fake_tasks.Queue):
    """Cloud Tasks, which may kill who enqueues."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def enqueue(self, task: Task) -> bool:
        if not self.down:
            self._faults.step()
        return super().enqueue(task)


@dataclass
class Collection:
    """Firestore."""

    faults: Faults
    documents: dict[str, Document] = field(default_factory=dict)

    def update(self, path: str, change: Callable[[Document | None], Document | None]) -> None:
        self.faults.step()
        changed = change(self.documents.get(path))
        if changed is not None:
            self.documents[path] = changed


class Signer:
    """Cloud KMS, the signing side."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._key = ec.generate_private_key(ec.SECP256R1())

    def public_key(self) -> str:
        public = self._key.public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return public.public_bytes(serialization.Encoding.PEM, form).decode()

    def sign(self, message: bytes) -> bytes:
        self._faults.step()
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class System:
    """One deployment. `database` is that of the role `data_export`, `run` a superuser's statement."""

    def __init__(self, database: Database, run: Callable[..., list[list[Any]]]) -> None:
        self.faults = Faults()
        self.database = database
        self.run = run
        self.kms = Kms()
        self.keyring = Keyring(self.kms)
        self.archives, self.uploads = Bucket(self.faults), Bucket(self.faults)
        self.queue, self.documents = Queue(self.faults), Collection(self.faults)
        self.signer = Signer(self.faults)

    @property
    def dependencies(self) -> preparing.Dependencies:
        return preparing.Dependencies(
            database=self.database,
            keyring=self.keyring,
            archives=self.archives,
            bucket=lambda name: {"uploads": self.uploads}[name],
            tasks=self.queue,
            signer=self.signer,
        )

    def register(self) -> Identity:
        """The owner of a new partner, with a document of its own."""
        partner_id, document_id, now = ids.uuid7(), ids.uuid7(), clock.now()
        with self.database.session(partner_id) as db, db.transaction():
            cipher = self.keyring.create_subject(SqlKeyStore(db), partner_id)
        sealed = {name: cipher.encrypt(Field("partners", name, partner_id), value) for name, value in SECRETS.items()}
        self.run(
            """INSERT INTO partners (id, version, status, type, constitution, submission, clarifications, legal_name,
                 contact, pan, pan_index, created_at, updated_at)
               VALUES (:id, 1, 'active', 'ginner', 'partnership', 0, '[]', :legal_name, :contact, :pan, :index, :at, :at)""",
            id=partner_id,
            index=partner_id.bytes,
            at=now,
            **sealed,
        )
        self.run(
            """INSERT INTO partner_documents (id, version, partner_id, kind, content_type, size, sha256, status, created_at)
               VALUES (:id, 1, :partner_id, 'pan_card', 'image/png', 3, :sha256, 'uploaded', :at)""",
            id=document_id,
            partner_id=partner_id,
            sha256="0" * 64,
            at=now,
        )
        self.uploads.objects[f"partners/{partner_id}/documents/{document_id}"] = b"png"
        self.documents.documents[f"partners/{partner_id}"] = {
            "status": "active",
            "type": "ginner",
            "partner_ids": [str(partner_id)],
            "open": False,
            "sequence": 2,
            "updated_at": clock.rfc3339(now),
        }
        return Identity(f"user-{partner_id}", partner_id, Role.OWNER, Tier.FREE)

    def trade(self, seller: UUID, buyer: UUID | None, at: datetime | None = None, status: str = "") -> UUID:
        """A trade with one step: contracted, or without a buyer an open lot, unless it is to have another status."""
        trade_id, at = ids.uuid7(), at or clock.now()
        self.run(
            """INSERT INTO trades (id, version, status, seller_id, buyer_id, broker_ids, template, kind, variety, crop_year,
                 station, ask_paise, ask_unit, due_at, state, created_at, updated_at)
               VALUES (:id, 1, :status, :seller, :buyer, '{}', 'ex_gin_passing', 'bales', 'Shankar-6', '2026-27', 'Rajkot',
                 1, 'kg', :due_at, '{}', :at, :at)""",
            id=trade_id,
            status=status or ("contracted" if buyer else "offered"),
            seller=seller,
            buyer=buyer,
            due_at=None if status == "cancelled" else at,
            at=at,
        )
        self.step(trade_id, 1, seller, "seller", at)
        return trade_id

    def step(self, trade_id: UUID, sequence: int, partner_id: UUID, party: str, at: datetime) -> None:
        """A step of a trade; of a `bidder`, a bid."""
        self.run(
            """INSERT INTO trade_events
                 (trade_id, sequence, type, role, side, partner_id, bidder_id, broker_ids, data, occurred_at, recorded_at)
               VALUES (:id, :sequence, 'step', 'partner', :side, :partner_id, :bidder_id, '{}', '{}', :at, :at)""",
            id=trade_id,
            sequence=sequence,
            side="seller" if party == "seller" else "buyer",
            partner_id=partner_id,
            bidder_id=partner_id if party == "bidder" else None,
            at=at,
        )

    def grading(self, partner_id: UUID, trade_id: UUID | None, *, image: bool) -> UUID:
        """A completed grading, which counted to the budget of its day."""
        grading_id, now = ids.uuid7(), clock.now()
        self.run(
            """INSERT INTO gradings
                 (id, version, partner_id, kind, status, trade_id, request, image, result, created_at, updated_at)
               VALUES (:id, 1, :partner_id, :kind, 'completed', :trade_id, '{}', :image, '{}', :at, :at)""",
            id=grading_id,
            partner_id=partner_id,
            kind="image" if image else "lab",
            trade_id=trade_id,
            image='{"size": 3}' if image else None,
            at=now,
        )
        self.run(
            """INSERT INTO grading_usage (grading_id, partner_id, day, tier, used_at)
               VALUES (:id, :partner_id, :day, 'free', :at)""",
            id=grading_id,
            partner_id=partner_id,
            day=now.date(),
            at=now,
        )
        if image:
            self.uploads.objects[f"gradings/{partner_id}/{grading_id}"] = b"jpg"
        return grading_id

    def accesses(self, partner_id: UUID, count: int) -> None:
        """As many rows in the audit trail, one a second from now on."""
        self.run(
            """INSERT INTO audit_log (event_id, type, source, subject, sequence, partner_ids, data, occurred_at, recorded_at)
               SELECT md5(:partner || n)::uuid, 'audit.data_accessed.v1', '/partner_onboarding', CAST(:partner AS uuid), n,
                 ARRAY[CAST(:partner AS uuid)], '{"actor": "operations", "fields": ["pan_ending"]}',
                 CAST(:at AS timestamptz) + n * interval '1 second', CAST(:at AS timestamptz)
               FROM generate_series(1, CAST(:count AS integer)) AS n""",
            partner=str(partner_id),
            count=count,
            at=clock.now(),
        )

    def webhook(self, partner_id: UUID, messages: int = 2) -> UUID:
        """An endpoint that was sent messages, each with one attempt."""
        endpoint_id, now = ids.uuid7(), clock.now()
        self.run(
            """INSERT INTO webhook_endpoints
                 (id, version, partner_id, url, event_types, secret, status, created_at, updated_at)
               VALUES (:id, 1, :partner_id, 'https://hooks.example.com/me', '{*}', :secret, 'enabled', :at, :at)""",
            id=endpoint_id,
            partner_id=partner_id,
            secret=b"sealed",
            at=now,
        )
        for _ in range(messages):
            message_id = ids.uuid7()
            self.run(
                """INSERT INTO webhook_messages
                     (id, endpoint_id, partner_id, event_id, event_type, payload, status, attempt_count, created_at)
                   VALUES (:id, :endpoint_id, :partner_id, :id, 'trade.offered.v1', '{}', 'delivered', 1, :at)""",
                id=message_id,
                endpoint_id=endpoint_id,
                partner_id=partner_id,
                at=now,
            )
            self.run(
                """INSERT INTO webhook_attempts
                     (message_id, number, partner_id, started_at, milliseconds, status_code, response)
                   VALUES (:id, 1, :partner_id, :at, 12, 200, 'ok')""",
                id=message_id,
                partner_id=partner_id,
                at=now,
            )
        return endpoint_id

    # What clients and Google call

    def commit(self, caller: Identity, use_case: Callable[..., Outcome], *arguments: Any) -> Any:
        with self.database.session(caller.partner_id) as db:
            outcome = use_case(db, *arguments)
            outbox.commit(db, outcome.change)
        return outcome.resource

    def request_export(self, caller: Identity) -> Export:
        return self.commit(caller, service.request_export, caller, ExportCreate())

    def request_erasure(self, caller: Identity) -> Erasure:
        return self.commit(caller, service.request_erasure, caller, ErasureCreate(confirm="erase"))

    def export_to_assemble(self, caller: Identity) -> tuple[Export, Task]:
        """An export whose parts are all written, and the task that puts them together, which nothing delivers."""
        export = self.request_export(caller)
        self.queue.enqueue(preparing.task(export.id, "plan"))
        while (task := self.queue.tasks.pop(0)) and b"assemble" not in task.body:
            self.deliver(task)
        return export, task

    def work(self, *, times: int = 1) -> None:
        """Deliver every task until there is none, each `times` times."""
        while self.queue.tasks:
            task = self.queue.tasks.pop(0)
            for _ in range(times):
                self.deliver(task)

    def deliver(self, task: Task) -> None:
        if task.function == erasing.HANDLER:
            dependencies = erasing.Dependencies(self.dependencies, self.documents)
            erasing.erase(dependencies, ErasureTask.model_validate_json(task.body))
        else:
            preparing.work(self.dependencies, ExportTask.model_validate_json(task.body))

    def work_with_kills(self, at: int) -> bool:
        """Work as `work` does, killed once at the `at`-th thing that it does to another service; whether it came to that."""
        self.faults.at, self.faults.calls = at, 0
        while self.queue.tasks:
            task = self.queue.tasks[0]
            try:
                self.deliver(task)
            except Killed:
                continue  # no answer: Cloud Tasks delivers it again
            self.queue.tasks.remove(task)
        return self.faults.calls >= at

    def export(self, caller: Identity, export_id: UUID) -> Export:
        with self.database.session(caller.partner_id) as db:
            found = store.find_export(db, export_id)
        assert found is not None
        return found

    def erasure(self, caller: Identity, erasure_id: UUID) -> Erasure:
        with self.database.session(caller.partner_id) as db:
            found = erasure_store.find(db, erasure_id)
        assert found is not None
        return found

    def events(self, subject: UUID) -> list[tuple[str, dict[str, Any]]]:
        """What was published of an export or an erasure, in order."""
        rows = self.run("SELECT type, data FROM outbox WHERE subject = :subject ORDER BY sequence", subject=subject)
        return [(row[0], row[1] if isinstance(row[1], dict) else json.loads(row[1])) for row in rows]
