"""Use cases of webhooks: partners say where to be told of events; every event reaches each of these places."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, PreconditionFailed, VersionConflict
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role
from kapas.messaging import inbox, outbox
from kapas.messaging.events import CloudEvent, Event, EventData
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Task, Tasks
from kapas.privacy import restrictions
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring, Shredded
from kapas.schemas.common import PageQuery
from kapas.values import clock, ids

from . import batch_store, batches, dispatch, endpoint_store, guard, message_store, schedule, sending, signatures, store
from .dispatch import AttemptTask
from .event_models import Changed, EndpointChanged, EndpointCreated, EndpointDeleted, EndpointDisabled
from .schemas import (
    EndpointDisablement,
    MessageQuery,
    StatsQuery,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookEndpointPage,
    WebhookMessageDetail,
    WebhookMessagePage,
    WebhookRotation,
    WebhookSecretRotated,
    WebhookStats,
)
from .sending import LEASE, Sender
from .signatures import Secrets
from .slots import Slots

CONSUMER = "webhook-fan-out"

_CHANGEABLE: tuple[Changed, ...] = ("url", "event_types", "status", "headers")
"""What a partner can change, in the order in which the event lists it."""

MAX_ENDPOINTS = 20
"""Endpoints of one partner: each multiplies what every event costs."""
SHARED = timedelta(seconds=5)
"""Of the messages that come due within such a stretch of time and wait for one endpoint, one has a task."""
OVERDUE = timedelta(seconds=30)
"""How late a message is before the watchdog looks after it: until then its task is on its way."""
REAP_LIMIT = 1000
"""Messages that one run of the watchdog looks after."""

STATS_SPAN, STATS_MOST = timedelta(hours=24), timedelta(days=31)
"""The default and the longest period of statistics."""

MAX_PAYLOAD = 256 * 1024
"""Bytes of a message's body. No event comes near it; one that did would be discarded where its partner sees it."""


# Endpoints and messages, for partners


def create(
    db: Session, keyring: Keyring, caller: Identity, body: WebhookEndpointCreate, allowed: frozenset[str]
) -> Outcome:
    """A new endpoint of the caller's partner, with its secret. `allowed` are hosts exempt from the rules for URLs.

    Raises:
        Forbidden: the caller is not an owner or a member of a partner.
        Invalid: webhooks may not go to the URL.
        Conflict: the partner is not registered, is being erased, or has as many endpoints as it may.
    """
    partner_id = partner_of(caller)
    restrictions.refuse(db, partner_id)
    _check_url(body.url, allowed)
    if endpoint_store.count(db, partner_id) >= MAX_ENDPOINTS:
        raise Conflict(f"A partner may have at most {MAX_ENDPOINTS} webhook endpoints")
    now = clock.now()
    endpoint = WebhookEndpointCreated(
        id=ids.uuid7(),
        version=1,
        url=body.url,
        event_types=body.event_types,
        header_names=list(body.headers),
        status="enabled",
        disabled=None,
        failing_since=None,
        spared_until=None,
        created_at=now,
        updated_at=now,
        secret=body.secret or signatures.new_secret(),
    )
    try:
        plain = Secrets(endpoint.secret, headers=body.headers).dump()
        sealed = keyring.encrypt(SqlKeyStore(db), partner_id, endpoint_store.secret_field(endpoint.id), plain)
    except Shredded:
        raise Conflict("Register the partner first") from None
    data = EndpointCreated(endpoint_id=endpoint.id, partner_id=partner_id, actor=caller.subject)
    event = Event(endpoint.id, 1, data, (partner_id,), time=now)
    return Outcome(endpoint_store.insert(endpoint, partner_id, sealed, event), endpoint, 1)


def read(db: Session, caller: Identity, endpoint_id: UUID) -> WebhookEndpoint:
    """One endpoint of the caller's partner. Raises `NotFound` or `Forbidden`."""
    partner_of(caller)
    return find(db, endpoint_id)


def find(db: Session, endpoint_id: UUID) -> WebhookEndpoint:
    """An endpoint that the session may see. Raises `NotFound`."""
    endpoint = endpoint_store.find(db, endpoint_id)
    if endpoint is None:
        raise NotFound("Webhook endpoint not found; a partner sees its own only")
    return endpoint


def list_page(db: Session, caller: Identity, query: PageQuery) -> WebhookEndpointPage:
    """The endpoints of the caller's partner, newest first. Raises `Forbidden`."""
    return WebhookEndpointPage.of(
        endpoint_store.page(db, partner_of(caller), query.limit + 1, query.after_id()), query.limit
    )


def change(
    db: Session,
    keyring: Keyring,
    caller: Identity,
    endpoint_id: UUID,
    version: int,
    body: WebhookEndpointChange,
    allowed: frozenset[str],
) -> Outcome:
    """Change an endpoint. What happens or comes due while it is disabled is discarded, and can be recovered.

    Raises:
        NotFound, Forbidden: as for reading it.
        Conflict: the partner is being erased; it may still delete the endpoint.
        PreconditionFailed: it is not at `version`.
        Invalid: webhooks may not go to the URL.
    """
    endpoint, partner_id = read(db, caller, endpoint_id), partner_of(caller)
    restrictions.refuse(db, partner_id)
    if endpoint.version != version:
        raise PreconditionFailed(f"The webhook endpoint is now at version {endpoint.version}")
    if body.url is not None:
        _check_url(body.url, allowed)
    now = clock.now()
    changes = body.model_dump(exclude_none=True, exclude={"headers"}) | {"version": version + 1, "updated_at": now}
    if body.status == "enabled":
        changes["disabled"] = None
    elif body.status == "disabled" and endpoint.disabled is None:
        changes["disabled"] = EndpointDisablement(reason="requested", since=now)
    after = endpoint.model_copy(update=changes)
    afresh = body.status == "enabled" or after.url != endpoint.url
    forgotten = ["failing_since"] * afresh + ["spared_until"] * (afresh or after.status == "disabled")
    after = after.model_copy(update=dict.fromkeys(forgotten))
    sealed = None
    if body.headers is not None:
        after = after.model_copy(update={"header_names": list(body.headers)})
        sealed = _with_headers(db, keyring, partner_id, after, body.headers)
    data: EventData
    if after.status == "disabled" and endpoint.status == "enabled":
        data = EndpointDisabled(
            endpoint_id=endpoint_id, partner_id=partner_id, reason="requested", actor=caller.subject
        )
    else:
        sent = body.model_dump(exclude_none=True)
        changed: list[Changed] = [name for name in _CHANGEABLE if name in sent]
        data = EndpointChanged(endpoint_id=endpoint_id, partner_id=partner_id, actor=caller.subject, changed=changed)
    event = Event(endpoint_id, after.version, data, (partner_id,), time=now)
    return Outcome(endpoint_store.update(after, version, afresh, sealed, event), after, after.version)


def _with_headers(
    db: Session, keyring: Keyring, partner_id: UUID, endpoint: WebhookEndpoint, headers: Mapping[str, str]
) -> bytes:
    """The endpoint's secrets with other headers, sealed. The update's version check covers this read."""
    found = endpoint_store.secrets(db, endpoint.id)
    if found is None:
        raise NotFound("Webhook endpoint not found; a partner sees its own only")
    field, keys = endpoint_store.secret_field(endpoint.id), SqlKeyStore(db)
    secrets = Secrets.load(keyring.decrypt(keys, partner_id, field, found[1]))
    return keyring.encrypt(keys, partner_id, field, replace(secrets, headers=headers).dump())


def rotate_secret(db: Session, keyring: Keyring, caller: Identity, endpoint_id: UUID, body: WebhookRotation) -> Outcome:
    """Give an endpoint another secret. Deliveries are signed with both for `signatures.OVERLAP`, or at once with it alone.

    Raises:
        NotFound, Forbidden: as for reading it.
        Conflict: it was rotated within the overlap, and another rotation would end the secret that the partner may still
            use; or the partner is being erased.
    """
    partner_id, field = partner_of(caller), endpoint_store.secret_field(endpoint_id)
    found = endpoint_store.secrets(db, endpoint_id)
    if found is None:
        raise NotFound("Webhook endpoint not found; a partner sees its own only")
    restrictions.refuse(db, partner_id)
    version, sealed = found
    now, keys = clock.now(), SqlKeyStore(db)
    secrets = Secrets.load(keyring.decrypt(keys, partner_id, field, sealed))
    if secrets.previous_until is not None and secrets.overlapping(now) and not body.end_previous:
        raise Conflict(
            f"The secret was rotated recently; the previous one is valid until {clock.rfc3339(secrets.previous_until)}."
            " To end both, send end_previous"
        )
    until = now if body.end_previous else now + signatures.OVERLAP
    rotated = secrets.rotated(body.secret or signatures.new_secret(), until)
    sealed = keyring.encrypt(keys, partner_id, field, rotated.dump())
    data = EndpointChanged(endpoint_id=endpoint_id, partner_id=partner_id, actor=caller.subject, changed=["secret"])
    event = Event(endpoint_id, version + 1, data, (partner_id,), time=now)
    change = endpoint_store.rotate(endpoint_id, version, sealed, now, event)
    answer = WebhookSecretRotated(id=endpoint_id, version=version + 1, secret=rotated.current, previous_until=until)
    return Outcome(change, answer, answer.version)


def delete(db: Session, caller: Identity, endpoint_id: UUID) -> None:
    """Delete an endpoint and its secret; its messages remain, and those pending are discarded as they come due.

    Raises `NotFound` or `Forbidden`.
    """
    data = EndpointDeleted(endpoint_id=endpoint_id, partner_id=partner_of(caller), actor=caller.subject)
    try:
        outbox.commit(db, endpoint_store.delete(endpoint_id, clock.now(), data))
    except VersionConflict:
        raise NotFound("Webhook endpoint not found; a partner sees its own only") from None


def list_messages(db: Session, caller: Identity, query: MessageQuery) -> WebhookMessagePage:
    """Matching messages of one endpoint or of all, newest first, including those of deleted endpoints.

    Raises `NotFound` or `Forbidden`.
    """
    messages = message_store.page(db, partner_of(caller), query, query.limit + 1)
    if not messages and query.endpoint_id is not None and endpoint_store.owner(db, query.endpoint_id) is None:
        raise NotFound("Webhook endpoint not found; a partner sees its own only")
    return WebhookMessagePage.of(messages, query.limit)


def stats(db: Session, caller: Identity, endpoint_id: UUID, query: StatsQuery) -> WebhookStats:
    """Counts of the messages that an endpoint was sent in a period, and of their attempts.

    Raises:
        NotFound, Forbidden: as for reading it.
        Invalid: the period is empty or longer than `STATS_MOST`.
    """
    partner_of(caller)
    until = query.until or clock.now()
    since = query.since or max(until, datetime.min.replace(tzinfo=UTC) + STATS_SPAN) - STATS_SPAN
    if not timedelta(0) < until - since <= STATS_MOST:
        message = f"since must be before until, and at most {STATS_MOST.days} days before it"
        raise Invalid(message, errors=[FieldError("query:since", "range", message)])
    found = message_store.stats(db, endpoint_id, since, until)
    if found is None:
        raise NotFound("Webhook endpoint not found; a partner sees its own only")
    return found


def read_message(db: Session, caller: Identity, message_id: UUID) -> WebhookMessageDetail:
    """A message with its attempts. Raises `NotFound` or `Forbidden`."""
    partner_of(caller)
    return find_message(db, message_id)


def find_message(db: Session, message_id: UUID) -> WebhookMessageDetail:
    """A message that the session may see. Raises `NotFound`."""
    message = message_store.find(db, message_id)
    if message is None:
        raise NotFound("Webhook message not found; a partner sees its own only")
    return message


def partner_of(caller: Identity) -> UUID:
    """The partner whose webhooks the caller manages. Raises `Forbidden`."""
    partner_id = caller.partner_id
    if partner_id is None or caller.role not in (Role.OWNER, Role.MEMBER):
        raise Forbidden("Only an owner or a member of a partner may manage its webhooks")
    return partner_id


# Delivery


def fan_out(database: Database, tasks: Tasks, event: CloudEvent) -> None:
    """Write one message for each endpoint that the event is for, once, and have them sent.

    That of a disabled endpoint is discarded from the first: nothing is sent, and the partner may recover it.

    A message needs no task of its own where another waits to be claimed: whoever claims that one sends this one too.

    Raises `kapas.messaging.events.SequenceGap` when an earlier event of the aggregate is still to come.
    """
    body = payload(event)
    fits = len(body) <= MAX_PAYLOAD
    with database.session(PLATFORM) as db, db.transaction():
        if not inbox.accept(db, CONSUMER, event):
            return
        enabled, disabled = store.subscribers(db, event)
        now = clock.now()
        began = now - timedelta(seconds=now.timestamp() % SHARED.total_seconds())
        waiting = batch_store.waiting(db, enabled, now, began) if fits else set[UUID]()
        messages = [(ids.uuid7(), endpoint_id) for endpoint_id in enabled]
        store.add_messages(db, messages, event, body, "pending" if fits else "discarded", now)
        missed = [(ids.uuid7(), endpoint_id) for endpoint_id in disabled]
        store.add_messages(db, missed, event, body, "discarded", now)
    if fits:
        alone = [message_id for message_id, endpoint_id in messages if endpoint_id not in waiting]
        dispatch.enqueue(tasks, [dispatch.task(message_id, 1) for message_id in alone])
    else:
        log.error("webhook_payload_too_large", event_id=event.id, type=event.type, bytes=len(body))


def payload(event: CloudEvent) -> str:
    """What a partner is sent of an event: its public members, as `text`."""
    return text(event.id, event.type, event.time, event.subject, event.sequence, event.data)


def text(
    event_id: UUID,
    event_type: str,
    time: datetime,
    subject: UUID,
    sequence: int,
    data: Mapping[str, Any],
    *,
    test: bool = False,
) -> str:
    """The body of a webhook, as ASCII JSON; by its member `test` a test is told. This exact text is stored and signed."""
    members = {
        "id": str(event_id),
        "type": event_type,
        "time": clock.rfc3339(time),
        "subject": str(subject),
        "sequence": sequence,
        "data": data,
        **({"test": True} if test else {}),
    }
    return json.dumps(members, separators=(",", ":"))


def attempt(
    database: Database, keyring: Keyring, tasks: Tasks, sender: Sender, slots: Slots, task: AttemptTask
) -> bool:
    """Make one attempt to deliver a message, unless it was made or is under way, and schedule the next if it failed.
    Returns whether it wrote events.

    An endpoint that takes it is sent what else is due there, in batches that are leased and recorded together.

    While its endpoint is spared or has its share of the slots, the message waits, and no attempt is used up: the queue is
    told of success and given another task, for its own retries are few.

    Killed before the result is written, the attempt is made again when its lease has expired: with the same webhook-id,
    by which the endpoint knows the duplicate. So is one for which the key service did not answer.
    """
    started = clock.now()
    with database.session(PLATFORM) as db:
        lease = store.claim(db, task.message_id, task.number, ids.uuid7(), started, started + LEASE)
    if lease is None:
        return False
    published = False
    with slots.take(lease.endpoint_id) as free:
        if free:
            later, published = _deliver(database, keyring, sender, lease, started)
        else:
            later = [_postpone(database, lease, schedule.busy(started, sending.chance()))]
    dispatch.enqueue(tasks, [one for one in later if one is not None])
    return published


def _deliver(
    database: Database, keyring: Keyring, sender: Sender, lease: store.Lease, started: datetime
) -> tuple[list[Task | None], bool]:
    """Send what is leased and record the result, then what else is due at its endpoint; the next tasks, and whether events
    were written."""
    if lease.open_until is not None and lease.open_until > started:
        return [_turn_away(database, lease, lease.open_until)], False
    with database.session(PLATFORM) as db:
        secrets = sending.secrets(keyring, db, lease)
        if secrets is None:
            store.discard(db, lease)
            return [], False
        sendable = lease.open_until is None or store.probe(db, lease, started)
    if not sendable:
        return [_postpone(database, lease, schedule.probed(started, sending.chance()))], False
    result = sending.send(sender, lease, secrets, started)
    result, recorded = sending.record(database, lease, result)
    sending.tell(lease, result, recorded is not None)
    if result.taken:
        return batches.drain(database, keyring, sender, lease.endpoint_id, started)
    again = sending.retry(lease, result) if recorded else None
    return [again, *batches.hand_on(database, lease.endpoint_id)], recorded is not None and recorded.published


def _turn_away(database: Database, lease: store.Lease, open_until: datetime) -> Task:
    """Let go of a message whose endpoint is spared: it stays due, and the endpoint's one task has it sent with the rest."""
    with database.session(PLATFORM) as db:
        batch_store.release(db, [lease])
    log.info("webhook_turned_away", message_id=lease.message_id, endpoint_id=lease.endpoint_id)
    at = schedule.probe(open_until, sending.chance())
    return dispatch.probe(lease.endpoint_id, lease.message_id, lease.number, open_until, at)


def _postpone(database: Database, lease: store.Lease, at: datetime) -> Task | None:
    """Have the message wait until `at`; the task for then, unless somebody else has it by now."""
    with database.session(PLATFORM) as db:
        postponed = store.postpone(db, lease, at)
    log.info("webhook_postponed", message_id=lease.message_id, endpoint_id=lease.endpoint_id, postponed=postponed)
    return dispatch.task(lease.message_id, lease.number, at=at, again=at) if postponed else None


def watch(database: Database, tasks: Tasks) -> int:
    """Have those messages sent that are overdue and that nobody is sending; how many there were.

    Their task was never made, or its attempt was killed.
    """
    now = clock.now()
    with database.session(PLATFORM) as db:
        due = store.due(db, now, now - OVERDUE, REAP_LIMIT)
    minute = now.replace(second=0, microsecond=0)  # a schedule that fires twice makes one task
    dispatch.enqueue(tasks, [dispatch.task(message_id, number, again=minute) for message_id, number in due])
    if due:
        log.info("webhooks_reaped", messages=len(due))
    return len(due)


def _check_url(url: str, allowed: frozenset[str]) -> None:
    try:
        guard.check(url, allowed)
    except guard.Refused as refused:
        raise Invalid(str(refused), errors=[FieldError("/url", "url", str(refused))]) from None
