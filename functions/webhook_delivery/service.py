"""Use cases of webhooks: partners say where to be told of events; every event reaches each of these places."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from pydantic import BaseModel

from kapas import clock, ids, inbox, log, trace
from kapas.api import Outcome
from kapas.db import PLATFORM, Database, Session
from kapas.db.key_store import SqlKeyStore
from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, PreconditionFailed
from kapas.events import CloudEvent
from kapas.identity import Identity, Role
from kapas.keys import Keyring, Shredded
from kapas.ports import Task, Tasks
from kapas.schemas.common import PageQuery, cursor
from kapas.schemas.webhooks import (
    AttemptFailure,
    MessageQuery,
    MessageStatus,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookEndpointPage,
    WebhookMessageDetail,
    WebhookMessagePage,
)

from . import guard, schedule, signatures, store

CONSUMER = "webhook-fan-out"
QUEUE, HANDLER = "webhook-attempts", "webhook-attempt"

MAX_ENDPOINTS = 20
"""Endpoints of one partner: each multiplies what every event costs."""
LEASE = timedelta(seconds=60)
"""Longer than an attempt can take, so that a lease expires only when its holder was killed."""
OVERDUE = timedelta(seconds=30)
"""How late a message is before the reaper looks after it: until then its task is on its way."""
REAP_LIMIT = 1000
"""Messages that one run of the reaper looks after."""

MAX_PAYLOAD = 256 * 1024
"""Bytes of a message's body. No event comes near it; one that did would be discarded where its partner sees it."""
HEADERS = {"Content-Type": "application/json", "User-Agent": "Kapas-Webhooks/1"}

_GONE = 410


class AttemptTask(BaseModel):
    """What a task of the queue says: make this attempt, if it has not been made."""

    message_id: UUID
    number: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one POST. Without a complete answer `failure` says why, and `status` is None unless it came."""

    status: int | None
    failure: AttemptFailure | None = None
    retry_after: str | None = None
    body: str = ""
    """The beginning of the answer, at most 16 KiB."""
    milliseconds: int = 0

    @property
    def taken(self) -> bool:
        """Whether the endpoint took the message: 200 to 299, nothing else."""
        return self.failure is None and self.status is not None and 200 <= self.status <= 299


class Sender(Protocol):
    """The way to the partners' endpoints."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply: ...


# Endpoints and messages, for partners


def create(
    db: Session, keyring: Keyring, caller: Identity, body: WebhookEndpointCreate, allowed: frozenset[str]
) -> Outcome:
    """A new endpoint of the caller's partner, with its secret. `allowed` are hosts exempt from the rules for URLs.

    Raises:
        Forbidden: the caller is not an owner or a member of a partner.
        Invalid: webhooks may not go to the URL.
        Conflict: the partner is not registered, or has as many endpoints as it may.
    """
    partner_id = _partner(caller)
    _check_url(body.url, allowed)
    if store.count(db, partner_id) >= MAX_ENDPOINTS:
        raise Conflict(f"A partner has at most {MAX_ENDPOINTS} webhook endpoints")
    now = clock.now()
    endpoint = WebhookEndpointCreated(
        id=ids.uuid7(),
        version=1,
        url=body.url,
        event_types=body.event_types,
        status="enabled",
        created_at=now,
        updated_at=now,
        secret=signatures.new_secret(),
    )
    try:
        sealed = keyring.encrypt(SqlKeyStore(db), partner_id, store.secret_field(endpoint.id), endpoint.secret)
    except Shredded:
        raise Conflict("Register the partner first") from None
    return Outcome(store.insert(endpoint, partner_id, sealed), endpoint, 1)


def read(db: Session, caller: Identity, endpoint_id: UUID) -> WebhookEndpoint:
    """One endpoint of the caller's partner. Raises `NotFound` or `Forbidden`."""
    _partner(caller)
    endpoint = store.find(db, endpoint_id)
    if endpoint is None:
        raise NotFound("There is no such webhook endpoint")
    return endpoint


def list_page(db: Session, caller: Identity, query: PageQuery) -> WebhookEndpointPage:
    """The endpoints of the caller's partner, newest first. Raises `Forbidden`."""
    endpoints = store.page(db, _partner(caller), query.limit + 1, query.after_id())
    more = len(endpoints) > query.limit
    data = endpoints[: query.limit]
    return WebhookEndpointPage(data=data, has_more=more, next=cursor(data[-1].id) if more else None)


def change(
    db: Session,
    caller: Identity,
    endpoint_id: UUID,
    version: int,
    body: WebhookEndpointChange,
    allowed: frozenset[str],
) -> Outcome:
    """Change an endpoint. What comes due while it is disabled is discarded.

    Raises:
        NotFound, Forbidden: as for reading it.
        PreconditionFailed: it is not at `version`.
        Invalid: webhooks may not go to the URL.
    """
    endpoint = read(db, caller, endpoint_id)
    if endpoint.version != version:
        raise PreconditionFailed(f"The webhook endpoint is at version {endpoint.version}")
    if body.url is not None:
        _check_url(body.url, allowed)
    changes = body.model_dump(exclude_none=True)
    after = endpoint.model_copy(update={**changes, "version": version + 1, "updated_at": clock.now()})
    return Outcome(store.update(after, version), after, after.version)


def delete(db: Session, caller: Identity, endpoint_id: UUID) -> None:
    """Delete an endpoint and its secret; its messages remain, and those pending are discarded as they come due.

    Raises `NotFound` or `Forbidden`.
    """
    _partner(caller)
    if not store.delete(db, endpoint_id, clock.now()):
        raise NotFound("There is no such webhook endpoint")


def list_messages(db: Session, caller: Identity, query: MessageQuery) -> WebhookMessagePage:
    """The messages of an endpoint, newest first; of a deleted one as well. Raises `Forbidden`."""
    _partner(caller)
    messages = store.messages(db, query.endpoint_id, query.limit + 1, query.after_id())
    more = len(messages) > query.limit
    data = messages[: query.limit]
    return WebhookMessagePage(data=data, has_more=more, next=cursor(data[-1].id) if more else None)


def read_message(db: Session, caller: Identity, message_id: UUID) -> WebhookMessageDetail:
    """A message with its attempts. Raises `NotFound` or `Forbidden`."""
    _partner(caller)
    message = store.message(db, message_id)
    if message is None:
        raise NotFound("There is no such webhook message")
    return message


# Delivery


def fan_out(database: Database, tasks: Tasks, event: CloudEvent) -> None:
    """Write one message for each endpoint that the event is for, once, and have them sent.

    Raises `kapas.events.SequenceGap` when an earlier event of the aggregate is still to come.
    """
    text = payload(event)
    fits = len(text) <= MAX_PAYLOAD
    with database.session(PLATFORM) as db, db.transaction():
        if not inbox.accept(db, CONSUMER, event):
            return
        messages = [(ids.uuid7(), endpoint_id) for endpoint_id in store.subscribers(db, event)]
        store.add_messages(db, messages, event, text, "pending" if fits else "discarded", clock.now())
    if fits:
        _enqueue(tasks, [_task(message_id, 1) for message_id, _ in messages])
    else:
        log.error("webhook_payload_too_large", event_id=event.id, type=event.type, bytes=len(text))


def payload(event: CloudEvent) -> str:
    """What a partner is sent of an event: its public members, as ASCII JSON. This exact text is stored and signed."""
    members = {
        "id": str(event.id),
        "type": event.type,
        "time": clock.rfc3339(event.time),
        "subject": str(event.subject),
        "sequence": event.sequence,
        "data": event.data,
    }
    return json.dumps(members, separators=(",", ":"))


def attempt(database: Database, keyring: Keyring, tasks: Tasks, sender: Sender, task: AttemptTask) -> None:
    """Make one attempt to deliver a message, unless it was made or is under way, and plan the next if it failed.

    Killed before the result is written, the attempt is made again when its lease has expired: with the same webhook-id,
    by which the endpoint knows the duplicate. So is one for which the key service did not answer.
    """
    started = clock.now()
    with database.session(PLATFORM) as db:
        lease = store.claim(db, task.message_id, task.number, ids.uuid7(), started, started + LEASE)
        if lease is None:
            return
        try:
            secret = keyring.decrypt(
                SqlKeyStore(db), lease.partner_id, store.secret_field(lease.endpoint_id), lease.secret
            )
        except Shredded:
            store.discard(db, lease)
            return
    body = lease.payload.encode()
    signed = signatures.headers(secret.decode(), str(lease.message_id), started, body)
    reply = sender.post(lease.url, {**HEADERS, **signed}, body)
    result = _result(reply, lease.number, started, clock.now())
    with database.session(PLATFORM) as db:
        recorded = store.record(db, lease, result)
    log.info(
        "webhook_attempted",
        message_id=lease.message_id,
        endpoint_id=lease.endpoint_id,
        number=lease.number,
        status_code=reply.status,
        failure=reply.failure,
        message_status=result.status,
        recorded=recorded,
    )
    if recorded and result.next_attempt_at is not None:
        _enqueue(tasks, [_task(lease.message_id, lease.number + 1, at=result.next_attempt_at)])


def reap(database: Database, tasks: Tasks) -> int:
    """Have those messages sent that are overdue and that nobody is sending; how many there were.

    Their task was never made, or its attempt was killed. The task gets a name of its own: one that was used stays taken
    for hours.
    """
    now = clock.now()
    with database.session(PLATFORM) as db:
        due = store.due(db, now, now - OVERDUE, REAP_LIMIT)
    _enqueue(tasks, [_task(message_id, number, suffix=f"-{now:%Y%m%d%H%M}") for message_id, number in due])
    if due:
        log.info("webhooks_reaped", messages=len(due))
    return len(due)


def _result(reply: Reply, number: int, started: datetime, now: datetime) -> store.Result:
    """What becomes of a message after attempt `number` got this reply."""
    status: MessageStatus
    gone = reply.status == _GONE
    next_attempt_at: datetime | None = None
    if reply.taken:
        status = "delivered"
    elif gone:
        status = "discarded"
    else:
        chance = int.from_bytes(ids.random_bytes(4), "big") / 2**32
        wait = schedule.delay(number, schedule.retry_after(reply.retry_after, now), chance)
        status = "exhausted" if wait is None else "pending"
        next_attempt_at = None if wait is None else now + wait
    return store.Result(
        started_at=started,
        ended_at=now,
        milliseconds=reply.milliseconds,
        status_code=reply.status,
        failure=reply.failure,
        response=reply.body,
        status=status,
        next_attempt_at=next_attempt_at,
        disable=gone,
    )


def _task(message_id: UUID, number: int, *, at: datetime | None = None, suffix: str = "") -> Task:
    current = trace.current()
    return Task(
        queue=QUEUE,
        function=HANDLER,
        # Random digits first: Cloud Tasks is slow with names in sequence, which time-ordered ids are.
        name=f"{message_id.hex[-8:]}-{message_id}-{number}{suffix}",
        body=AttemptTask(message_id=message_id, number=number).model_dump_json().encode(),
        schedule_time=at,
        headers={"traceparent": str(current)} if current else {},
    )


def _enqueue(tasks: Tasks, wanted: Iterable[Task]) -> None:
    """Enqueue, as far as Cloud Tasks answers. Failing is harmless: the reaper finds what has no task."""
    try:
        for task in wanted:
            tasks.enqueue(task)
    except Exception as error:
        log.warning("webhook_enqueue_failed", exception=type(error).__name__)


def _partner(caller: Identity) -> UUID:
    partner_id = caller.partner_id
    if partner_id is None or caller.role not in (Role.OWNER, Role.MEMBER):
        raise Forbidden("Only an owner or a member of a partner manages its webhooks")
    return partner_id


def _check_url(url: str, allowed: frozenset[str]) -> None:
    try:
        guard.check(url, allowed)
    except guard.Refused as refused:
        raise Invalid(str(refused), errors=[FieldError("/url", "url", str(refused))]) from None
