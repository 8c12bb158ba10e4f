"""One deployment of webhook delivery on a real PostgreSQL, with fakes where Google and the partners would be."""

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import batch_store, batches, resend, service
from functions.webhook_delivery.dispatch import AttemptTask
from functions.webhook_delivery.schemas import (
    MessageQuery,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookMessage,
    WebhookMessageDetail,
    WebhookRecover,
    WebhookRecovery,
    WebhookRotation,
    WebhookSecretRotated,
    WebhookTest,
)
from functions.webhook_delivery.sending import Reply
from functions.webhook_delivery.slots import Slots
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Task
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring
from kapas.values import clock, ids
from tests.fake_tasks import Queue
from tests.times import Time, eventually, moving_time
from tests.unit.kapas.fake_keys import Kms

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
URL = "https://hooks.example.com/kapas"
NO_HOSTS: frozenset[str] = frozenset()


@dataclass
class Partner:
    """The other end: records what comes and answers `reply`, after `meanwhile`."""

    reply: Reply = field(default_factory=lambda: Reply(200, body="ok"))
    meanwhile: Callable[[], None] = lambda: None
    posts: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.posts.append((url, headers, body))
        self.meanwhile()
        return self.reply

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.posts]


class Killed(BaseException):
    """The instance is gone in this moment."""


@dataclass
class System:
    """One deployment: the database, the queue, the keys and the partner's server."""

    database: Database
    onboarding: Database
    """The same database as the role that registers partners."""
    time: Time
    kms: Kms = field(default_factory=Kms)
    queue: Queue = field(default_factory=Queue)
    partner: Partner = field(default_factory=Partner)
    slots: Slots = field(default_factory=lambda: Slots(16))

    def __post_init__(self) -> None:
        self.keyring = Keyring(self.kms)

    def register(self) -> Identity:
        """The owner of a new partner, which has a data key."""
        partner_id = ids.uuid7()
        with self.onboarding.session(partner_id) as db, db.transaction():
            self.keyring.create_subject(SqlKeyStore(db), partner_id)
        return Identity("user-1", partner_id, Role.OWNER, Tier.FREE)

    def create(self, caller: Identity, *event_types: str, url: str = URL) -> WebhookEndpointCreated:
        with self.database.session(caller.partner_id) as db:
            body = WebhookEndpointCreate(url=url, event_types=list(event_types or ("*",)))
            outcome = service.create(db, self.keyring, caller, body, NO_HOSTS)
            outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, WebhookEndpointCreated)
        return outcome.resource

    def change(self, caller: Identity, endpoint_id: UUID, version: int, body: WebhookEndpointChange) -> None:
        with self.database.session(caller.partner_id) as db:
            outbox.commit(db, service.change(db, self.keyring, caller, endpoint_id, version, body, NO_HOSTS).change)

    def delete(self, caller: Identity, endpoint_id: UUID) -> None:
        with self.database.session(caller.partner_id) as db:
            service.delete(db, caller, endpoint_id)

    def fan_out(self, event: CloudEvent) -> None:
        service.fan_out(self.database, self.queue, event)

    def attempt(self, task: Task) -> bool:
        work = AttemptTask.model_validate_json(task.body)
        return service.attempt(self.database, self.keyring, self.queue, self.partner, self.slots, work)

    def watch(self) -> int:
        return service.watch(self.database, self.queue)

    def rotate(self, caller: Identity, endpoint_id: UUID, *, end_previous: bool = False) -> WebhookSecretRotated:
        with self.database.session(caller.partner_id) as db:
            outcome = service.rotate_secret(
                db, self.keyring, caller, endpoint_id, WebhookRotation(end_previous=end_previous)
            )
            outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, WebhookSecretRotated)
        return outcome.resource

    def test(self, caller: Identity, endpoint_id: UUID, event_type: str | None = None) -> WebhookMessage:
        with self.database.session(caller.partner_id) as db:
            outcome = resend.test(db, caller, endpoint_id, WebhookTest(event_type=event_type))
            outbox.commit(db, outcome.change)
        resend.send(self.queue, outcome)
        assert isinstance(outcome.resource, WebhookMessage)
        return outcome.resource

    def redeliver(self, caller: Identity, message_id: UUID) -> None:
        with self.database.session(caller.partner_id or PLATFORM) as db:
            outcome = resend.redeliver(db, caller, message_id)
            outbox.commit(db, outcome.change)
        resend.send(self.queue, outcome)

    def recover(
        self, caller: Identity, endpoint_id: UUID, since: datetime, until: datetime | None = None
    ) -> WebhookRecovery:
        with self.database.session(caller.partner_id or PLATFORM) as db, db.transaction():
            outcome = resend.recover(db, caller, endpoint_id, WebhookRecover(since=since, until=until))
            outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, WebhookRecovery)
        return outcome.resource

    def endpoint(self, caller: Identity, endpoint_id: UUID) -> WebhookEndpoint:
        with self.database.session(caller.partner_id) as db:
            return service.read(db, caller, endpoint_id)

    def messages(self, caller: Identity, endpoint_id: UUID) -> list[WebhookMessageDetail]:
        with self.database.session(caller.partner_id) as db:
            page = service.list_messages(db, caller, MessageQuery(endpoint_id=endpoint_id, limit=100))
            return [service.read_message(db, caller, message.id) for message in page.data]

    def message(self, caller: Identity, endpoint_id: UUID) -> WebhookMessageDetail:
        [message] = self.messages(caller, endpoint_id)
        return message

    def message_of(self, caller: Identity, task: Task) -> WebhookMessageDetail:
        """The message that a task is to send."""
        with self.database.session(caller.partner_id) as db:
            return service.read_message(db, caller, AttemptTask.model_validate_json(task.body).message_id)

    def endpoint_status(self, caller: Identity, endpoint_id: UUID) -> str:
        return self.endpoint(caller, endpoint_id).status


@contextmanager
def running(open_as: Callable[..., Database], admin: Connection) -> Generator[System]:
    """A deployment without the rows of other tests, which the watchdog would find."""
    admin.run("TRUNCATE webhook_endpoints, webhook_messages, webhook_attempts, inbox, outbox, subject_keys, epoch_keys")
    with moving_time(START) as time:
        yield System(open_as("webhook_delivery", 4), open_as("partner_onboarding"), time)


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message has a task, and a task makes one attempt: what comes in batches is in `test_webhook_batches.py`."""
    monkeypatch.setattr(batch_store, "waiting", lambda *_: set[UUID]())
    monkeypatch.setattr(batches, "drain", lambda *_: ([], False))
    monkeypatch.setattr(batches, "hand_on", lambda *_: [])


def wait_for_a_lock(admin: Connection, other: Future[Any]) -> None:
    """Until the other one waits for a row, or has ended."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'webhook_delivery' AND wait_event_type = 'Lock'"
    eventually(lambda: other.done() or admin.run(waiting) == [[1]], "a wait for a lock")


def matched(*partners: Identity, subject: UUID | None = None, sequence: int = 1) -> CloudEvent:
    """A trade was matched between these."""
    subject = subject or ids.uuid7()
    return CloudEvent(
        specversion="1.0",
        id=ids.uuid7(),
        type="trade.matched.v1",
        source="/trade_events",
        subject=subject,
        time=clock.now(),
        dataschema="https://kapas.example.com/schemas/trade.matched.v1.json",
        partitionkey=subject,
        sequence=sequence,
        partnerids=",".join(str(partner.partner_id) for partner in partners),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        data={"trade_id": str(subject), "note": "कपास"},
    )
