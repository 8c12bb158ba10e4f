"""Webhook delivery on a real PostgreSQL, with fakes where Google and the partners would be."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pg8000.core import CoreConnection
from pg8000.native import Connection
from standardwebhooks import Webhook

import kapas.db
from functions.webhook_delivery import schedule, service, store
from functions.webhook_delivery.service import AttemptTask, Reply
from kapas import clock, ids, outbox
from kapas.db import PLATFORM, Database, DatabaseFailure
from kapas.db.key_store import SqlKeyStore
from kapas.db.migrate import migrate
from kapas.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed, Unavailable, VersionConflict
from kapas.events import CloudEvent, SequenceGap
from kapas.identity import Identity, Role, Tier
from kapas.keys import Keyring
from kapas.ports import Task
from kapas.schemas.common import PageQuery
from kapas.schemas.webhooks import (
    MessageQuery,
    WebhookEndpointChange,
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookMessageDetail,
)
from tests.unit.fake_keys import Kms
from tests.unit.times import Time, moving_time
from tools.local.postgres import Postgres

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
URL = "https://hooks.example.com/kapas"
NO_HOSTS: frozenset[str] = frozenset()


class Queue:
    """Cloud Tasks: a name is taken once, and stays taken."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.names: set[str] = set()
        self.down = False

    def enqueue(self, task: Task) -> bool:
        if self.down:
            raise Unavailable
        if task.name in self.names:
            return False
        self.names.add(task.name)
        self.tasks.append(task)
        return True

    def take(self) -> Task:
        """The one task that is queued."""
        [task] = self.tasks
        self.tasks = []
        return task


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
    time: Time
    kms: Kms = field(default_factory=Kms)
    queue: Queue = field(default_factory=Queue)
    partner: Partner = field(default_factory=Partner)

    def __post_init__(self) -> None:
        self.keyring = Keyring(self.kms)

    def register(self) -> Identity:
        """The owner of a new partner, which has a data key."""
        partner_id = ids.uuid7()
        with self.database.session(partner_id) as db, db.transaction():
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
            outbox.commit(db, service.change(db, caller, endpoint_id, version, body, NO_HOSTS).change)

    def delete(self, caller: Identity, endpoint_id: UUID) -> None:
        with self.database.session(caller.partner_id) as db:
            service.delete(db, caller, endpoint_id)

    def fan_out(self, event: CloudEvent) -> None:
        service.fan_out(self.database, self.queue, event)

    def attempt(self, task: Task) -> None:
        work = AttemptTask.model_validate_json(task.body)
        service.attempt(self.database, self.keyring, self.queue, self.partner, work)

    def reap(self) -> int:
        return service.reap(self.database, self.queue)

    def messages(self, caller: Identity, endpoint_id: UUID) -> list[WebhookMessageDetail]:
        with self.database.session(caller.partner_id) as db:
            page = service.list_messages(db, caller, MessageQuery(endpoint_id=endpoint_id))
            return [service.read_message(db, caller, message.id) for message in page.data]

    def message(self, caller: Identity, endpoint_id: UUID) -> WebhookMessageDetail:
        [message] = self.messages(caller, endpoint_id)
        return message

    def endpoint_status(self, caller: Identity, endpoint_id: UUID) -> str:
        with self.database.session(caller.partner_id) as db:
            return service.read(db, caller, endpoint_id).status


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        with Connection("postgres", host="127.0.0.1", port=server.port, database="postgres") as admin:
            migrate(admin, Path(kapas.db.__file__).parent / "migrations")
            admin.run("ALTER ROLE webhook_delivery LOGIN")
        yield server.port


@pytest.fixture
def system(port: int) -> Iterator[System]:
    """A database without the rows of other tests, which the reaper would find."""
    with Connection("postgres", host="127.0.0.1", port=port, database="postgres") as admin:
        admin.run("TRUNCATE webhook_endpoints, webhook_messages, webhook_attempts, inbox, subject_keys, epoch_keys")
    database = Database(
        lambda: CoreConnection("webhook_delivery", host="127.0.0.1", port=port, database="postgres"), size=4
    )
    with moving_time(START) as time:
        yield System(database, time)
    database.close()


@pytest.fixture
def caller(system: System) -> Identity:
    return system.register()


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


# Endpoints


def test_shows_the_secret_once_and_stores_it_sealed(system: System, caller: Identity, port: int) -> None:
    created = system.create(caller, "trade.matched.v1")
    assert created.secret.startswith("whsec_")
    with system.database.session(caller.partner_id) as db:
        read = service.read(db, caller, created.id)
        [listed] = service.list_page(db, caller, PageQuery()).data
    assert read == listed
    assert read.model_dump() == {name: value for name, value in created.model_dump().items() if name != "secret"}
    with Connection("postgres", host="127.0.0.1", port=port, database="postgres") as admin:
        [[row]] = admin.run("SELECT e::text FROM webhook_endpoints e")
        [[sealed]] = admin.run("SELECT secret FROM webhook_endpoints")
    assert created.secret not in row
    assert created.secret.encode() not in bytes(sealed)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPS, Role.DPO, Role.INSPECTOR])
def test_only_owners_and_members_manage_webhooks(system: System, caller: Identity, role: Role) -> None:
    created = system.create(caller)
    other = Identity("user-2", caller.partner_id if role.of_partner else None, role, Tier.FREE)
    with system.database.session(caller.partner_id) as db:
        body = WebhookEndpointCreate(url=URL, event_types=["*"])
        for refused in (
            lambda: service.create(db, system.keyring, other, body, NO_HOSTS),
            lambda: service.read(db, other, created.id),
            lambda: service.list_page(db, other, PageQuery()),
            lambda: service.change(db, other, created.id, 1, WebhookEndpointChange(status="disabled"), NO_HOSTS),
            lambda: service.delete(db, other, created.id),
            lambda: service.list_messages(db, other, MessageQuery(endpoint_id=created.id)),
            lambda: service.read_message(db, other, created.id),
        ):
            with pytest.raises(Forbidden):
                refused()


def test_refuses_what_cannot_be_an_endpoint(system: System, caller: Identity) -> None:
    with pytest.raises(Invalid) as refused:
        system.create(caller, url="https://169.254.169.254/computeMetadata/v1/")
    assert [error.pointer for error in refused.value.errors] == ["/url"]
    created = system.create(caller)
    with pytest.raises(Invalid):
        system.change(caller, created.id, 1, WebhookEndpointChange(url="http://hooks.example.com/"))
    unregistered = Identity("user-3", ids.uuid7(), Role.OWNER, Tier.FREE)
    with pytest.raises(Conflict, match="Register"):
        system.create(unregistered)
    for _ in range(service.MAX_ENDPOINTS - 1):
        system.create(caller)
    with pytest.raises(Conflict, match="at most"):
        system.create(caller)


def test_changes_what_is_named_at_the_version_that_was_read(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(event_types=["trade.matched.v1"]))
    with system.database.session(caller.partner_id) as db:
        after = service.read(db, caller, created.id)
        assert (after.version, after.url, after.event_types) == (2, URL, ["trade.matched.v1"])
        with pytest.raises(PreconditionFailed):
            service.change(db, caller, created.id, 1, WebhookEndpointChange(status="disabled"), NO_HOSTS)
        # Somebody else changes it between our reading and our writing.
        ours = service.change(db, caller, created.id, 2, WebhookEndpointChange(status="disabled"), NO_HOSTS)
        system.change(caller, created.id, 2, WebhookEndpointChange(url="https://hooks.example.com/2"))
        with pytest.raises(VersionConflict):
            outbox.commit(db, ours.change)


def test_a_deleted_endpoint_keeps_its_messages_and_not_its_secret(system: System, caller: Identity, port: int) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.delete(caller, created.id)
    system.attempt(system.queue.take())
    assert system.partner.posts == []
    assert system.message(caller, created.id).status == "discarded"
    with pytest.raises(NotFound):
        system.delete(caller, created.id)
    with system.database.session(caller.partner_id) as db:
        with pytest.raises(NotFound):
            service.read(db, caller, created.id)
        assert service.list_page(db, caller, PageQuery()).data == []
    with Connection("postgres", host="127.0.0.1", port=port, database="postgres") as admin:
        assert admin.run("SELECT secret FROM webhook_endpoints") == [[None]]
    system.fan_out(matched(caller))
    assert system.queue.tasks == []


def test_another_partner_sees_nothing(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    other = system.register()
    with system.database.session(other.partner_id) as db:
        assert service.list_page(db, other, PageQuery()).data == []
        assert service.list_messages(db, other, MessageQuery(endpoint_id=created.id)).data == []
        for hidden in (
            lambda: service.read(db, other, created.id),
            lambda: service.read_message(db, other, message.id),
            lambda: service.change(db, other, created.id, 1, WebhookEndpointChange(status="disabled"), NO_HOSTS),
            lambda: service.delete(db, other, created.id),
        ):
            with pytest.raises(NotFound):
                hidden()
        for table in ("webhook_endpoints", "webhook_messages", "webhook_attempts"):
            assert db.run(f"SELECT count(*) FROM {table}") == [[0]]
    with system.database.session(None) as db, pytest.raises(DatabaseFailure):
        db.run("DELETE FROM webhook_attempts")


def test_pages_from_the_newest(system: System, caller: Identity) -> None:
    created: list[UUID] = []
    for _ in range(3):
        created.append(system.create(caller).id)
        system.time.advance(seconds=1)
    with system.database.session(caller.partner_id) as db:
        first = service.list_page(db, caller, PageQuery(limit=2))
        rest = service.list_page(db, caller, PageQuery(limit=2, after=first.next))
    assert [endpoint.id for endpoint in [*first.data, *rest.data]] == created[::-1]
    assert (first.has_more, rest.has_more, rest.next) == (True, False, None)


# Fan-out


def test_delivers_to_whom_it_may_concern(system: System, caller: Identity) -> None:
    other, bystander = system.register(), system.register()
    wanted = [system.create(caller, "trade.matched.v1"), system.create(caller), system.create(other)]
    system.create(caller, "trade.offered.v1")
    system.create(bystander)
    disabled = system.create(caller)
    system.change(caller, disabled.id, 1, WebhookEndpointChange(status="disabled"))
    event = matched(caller, other)
    system.fan_out(event)
    assert {task.queue for task in system.queue.tasks} == {"webhook-attempts"}
    for task in list(system.queue.tasks):
        system.attempt(task)
    secrets = [endpoint.secret for endpoint in wanted]
    assert len(system.partner.posts) == 3
    for url, headers, body in system.partner.posts:
        assert url == URL
        assert headers["User-Agent"] == "Kapas-Webhooks/1"
        assert headers["webhook-timestamp"] == str(int(START.timestamp()))
        signed = [Webhook(secret).sign(headers["webhook-id"], START, body.decode()) for secret in secrets]
        assert headers["webhook-signature"] in signed
        assert json.loads(body) == {
            "id": str(event.id),
            "type": "trade.matched.v1",
            "time": "2026-11-24T06:30:00.000000Z",
            "subject": str(event.subject),
            "sequence": 1,
            "data": event.data,
        }
    assert len({headers["webhook-signature"] for _, headers, _ in system.partner.posts}) == 3
    assert len(set(system.partner.ids)) == 3


def test_a_duplicate_event_adds_nothing(system: System, caller: Identity) -> None:
    created = system.create(caller)
    event = matched(caller)
    for _ in range(2):
        system.fan_out(event)
    assert len(system.messages(caller, created.id)) == 1
    assert len(system.queue.tasks) == 1


def test_two_deliveries_at_once_add_one_message(system: System, caller: Identity) -> None:
    created = system.create(caller)
    event = matched(caller)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(system.fan_out, [event, event]))
    assert len(system.messages(caller, created.id)) == 1


def test_a_gap_is_asked_for_again(system: System, caller: Identity) -> None:
    created = system.create(caller)
    first = matched(caller)
    second = matched(caller, subject=first.subject, sequence=2)
    with pytest.raises(SequenceGap):
        system.fan_out(second)
    assert system.messages(caller, created.id) == []
    system.fan_out(first)
    system.fan_out(second)
    assert [json.loads(message.payload)["sequence"] for message in system.messages(caller, created.id)] in (
        [2, 1],
        [1, 2],
    )


def test_a_body_beyond_the_bound_is_discarded_where_its_partner_sees_it(system: System, caller: Identity) -> None:
    created = system.create(caller)
    event = matched(caller)
    system.fan_out(event.model_copy(update={"data": {"note": "x" * service.MAX_PAYLOAD}}))
    assert system.queue.tasks == []
    assert system.message(caller, created.id).status == "discarded"
    system.fan_out(matched(caller, subject=event.subject, sequence=2))
    assert len(system.queue.tasks) == 1


# Attempts


def test_success_is_recorded_and_final(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    system.partner.reply = Reply(204, body="nul \0 is not text", milliseconds=12)
    system.attempt(task)
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count, message.next_attempt_at) == ("delivered", 1, None)
    [attempt] = message.attempts
    assert (attempt.number, attempt.status_code, attempt.failure, attempt.milliseconds) == (1, 204, None, 12)
    assert (attempt.started_at, attempt.response) == (START, "nul \ufffd is not text")
    system.time.advance(days=2)
    system.attempt(task)
    assert (system.reap(), len(system.partner.posts)) == (0, 1)


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
def test_what_is_not_2xx_is_tried_again_by_a_task_at_its_time(system: System, caller: Identity, status: int) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    first = system.queue.take()
    system.partner.reply = Reply(status)
    system.attempt(first)
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count) == ("pending", 1)
    second = system.queue.take()
    assert second.name != first.name
    assert AttemptTask.model_validate_json(second.body) == AttemptTask(message_id=message.id, number=2)
    assert second.schedule_time == message.next_attempt_at
    assert second.schedule_time is not None
    assert START + timedelta(seconds=5) <= second.schedule_time < START + timedelta(seconds=6)
    # Neither a duplicate of the first task nor one that comes early sends anything.
    system.attempt(first)
    system.attempt(second)
    assert len(system.partner.posts) == 1
    system.time.now = second.schedule_time
    system.attempt(first)
    assert len(system.partner.posts) == 1
    system.partner.reply = Reply(200)
    system.attempt(second)
    assert system.partner.ids == [str(message.id)] * 2
    times = [headers["webhook-timestamp"] for _, headers, _ in system.partner.posts]
    assert int(times[1]) - int(times[0]) in (5, 6)
    assert system.message(caller, created.id).status == "delivered"


def test_waits_as_long_as_retry_after_asks(system: System, caller: Identity) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    system.partner.reply = Reply(503, retry_after="3600")
    system.attempt(system.queue.take())
    at = system.queue.take().schedule_time
    assert at is not None
    assert START + timedelta(hours=1) <= at <= START + timedelta(hours=1.2)


def test_gives_up_after_the_schedule(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.partner.reply = Reply(None, "timeout")
    for number in range(1, len(schedule.SCHEDULE) + 1):
        task = system.queue.take()
        assert AttemptTask.model_validate_json(task.body).number == number
        system.time.now = task.schedule_time or system.time.now
        system.attempt(task)
    assert system.queue.tasks == []
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count, message.next_attempt_at) == ("exhausted", 10, None)
    assert [attempt.failure for attempt in message.attempts] == ["timeout"] * 10
    span = sum(schedule.SCHEDULE, timedelta(0))
    assert span <= system.time.now - START <= span * 1.2
    system.time.advance(days=7)
    assert system.reap() == 0


def test_410_disables_the_endpoint(system: System, caller: Identity) -> None:
    created, other = system.create(caller), system.create(caller)
    system.fan_out(matched(caller))
    first, second = system.queue.tasks
    system.queue.tasks = []
    later = matched(caller)
    system.fan_out(later)
    system.partner.reply = Reply(410)
    system.attempt(first)
    statuses = {endpoint.id: system.endpoint_status(caller, endpoint.id) for endpoint in (created, other)}
    assert sorted(statuses.values()) == ["disabled", "enabled"]
    system.partner.reply = Reply(200)
    for task in [second, *system.queue.tasks]:
        system.attempt(task)
    gone = next(endpoint_id for endpoint_id, status in statuses.items() if status == "disabled")
    kept = next(endpoint_id for endpoint_id, status in statuses.items() if status == "enabled")
    assert [message.status for message in system.messages(caller, gone)] == ["discarded"] * 2
    assert [message.status for message in system.messages(caller, kept)] == ["delivered"] * 2
    assert len(system.partner.posts) == 3


def test_an_endpoint_that_is_enabled_again_gets_what_comes_then(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    system.fan_out(matched(caller))
    assert system.queue.tasks == []
    system.change(caller, created.id, 2, WebhookEndpointChange(status="enabled"))
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    assert [message.status for message in system.messages(caller, created.id)] == ["delivered"]


def test_a_shredded_partner_s_messages_are_discarded(system: System, caller: Identity, port: int) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    with Connection("postgres", host="127.0.0.1", port=port, database="postgres") as admin:
        admin.run("DELETE FROM subject_keys")
    system.keyring = Keyring(system.kms)
    system.attempt(system.queue.take())
    assert system.partner.posts == []
    assert system.message(caller, created.id).status == "discarded"


# Killed, twice, at once


def test_killed_between_the_commit_and_the_task_the_reaper_has_it_sent(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.queue.down = True
    system.fan_out(matched(caller))
    system.queue.down = False
    assert (system.reap(), system.queue.tasks) == (0, [])  # its task may still be on its way
    system.time.advance(seconds=31)
    assert system.reap() == 1
    system.attempt(system.queue.take())
    assert system.message(caller, created.id).status == "delivered"


def test_killed_between_the_result_and_the_next_task_the_reaper_has_it_sent(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    system.partner.reply = Reply(500)
    system.queue.down = True
    system.attempt(task)
    system.queue.down = False
    system.time.advance(minutes=1)
    assert system.reap() == 1
    system.partner.reply = Reply(200)
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count) == ("delivered", 2)


def test_killed_after_the_send_it_is_sent_again_with_the_same_id(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()

    def kill() -> None:
        raise Killed

    system.partner.meanwhile = kill
    with pytest.raises(Killed):
        system.attempt(task)
    system.partner.meanwhile = lambda: None
    system.attempt(task)  # Cloud Tasks tries again at once, while the lease is live
    assert len(system.partner.posts) == 1
    system.time.advance(seconds=59)
    assert system.reap() == 0
    system.time.advance(seconds=2)
    assert system.reap() == 1
    assert system.reap() == 1  # the same minute, from a schedule that fired twice: the same name, one task
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    assert system.partner.ids == [str(message.id)] * 2
    assert (message.status, message.attempt_count, len(message.attempts)) == ("delivered", 1, 1)


def test_of_two_attempts_at_once_one_sends(system: System, caller: Identity) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    other_is_done = threading.Event()
    system.partner.meanwhile = lambda: other_is_done.wait(10) and None

    def run() -> None:
        system.attempt(task)
        other_is_done.set()  # the one that found a lease ends first

    with ThreadPoolExecutor(2) as threads:
        for attempt in [threads.submit(run), threads.submit(run)]:
            attempt.result(20)
    assert len(system.partner.posts) == 1


def test_a_late_writer_loses(system: System, caller: Identity) -> None:
    """An attempt outlives its lease, and another one is made and recorded meanwhile."""
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()

    def overtake() -> None:
        system.partner.meanwhile = lambda: None
        system.time.advance(seconds=61)
        system.attempt(task)
        system.partner.reply = Reply(500, body="late")

    system.partner.meanwhile = overtake
    system.attempt(task)
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count) == ("delivered", 1)
    assert [attempt.response for attempt in message.attempts] == ["ok"]
    assert system.queue.tasks == []


def test_an_expired_lease_that_nobody_took_still_records(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.partner.meanwhile = lambda: system.time.advance(seconds=120)
    system.attempt(system.queue.take())
    assert system.message(caller, created.id).status == "delivered"


def test_keys_that_cannot_be_had_leave_the_message_for_later(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    system.keyring, system.kms.down = Keyring(system.kms), True
    with pytest.raises(Unavailable):
        system.attempt(task)
    system.kms.down = False
    system.time.advance(seconds=61)
    assert system.reap() == 1
    system.attempt(system.queue.take())
    assert (system.message(caller, created.id).status, len(system.partner.posts)) == ("delivered", 1)


def test_the_reaper_takes_the_longest_overdue_first_and_no_more_than_it_may(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.create(caller)
    system.queue.down = True
    for _ in range(3):
        system.fan_out(matched(caller))
        system.time.advance(minutes=1)
    system.queue.down = False
    monkeypatch.setattr(service, "REAP_LIMIT", 2)
    assert system.reap() == 2
    with system.database.session(PLATFORM) as db:
        waiting = [message_id for message_id, _ in store.due(db, clock.now(), clock.now(), 3)]
    assert [AttemptTask.model_validate_json(task.body).message_id for task in system.queue.tasks] == waiting[:2]
    assert waiting == sorted(waiting)
