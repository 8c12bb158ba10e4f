"""Messages that are asked for: by a partner a test, and by operations too one once more, or all that failed since a time."""

from typing import Any
from uuid import UUID

from kapas.errors import Conflict
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role
from kapas.platform.db import Session
from kapas.platform.ports import Tasks
from kapas.privacy import restrictions
from kapas.schemas.events import example
from kapas.values import clock, ids

from . import dispatch, endpoint_store, service, store
from .schemas import (
    TEST_TYPE,
    WebhookEndpoint,
    WebhookMessage,
    WebhookRecover,
    WebhookRecovery,
    WebhookTest,
)

RECOVER_LIMIT = 1000
"""Messages that one request sends anew: what the watchdog takes up in a minute."""


def test(db: Session, caller: Identity, endpoint_id: UUID, wanted: WebhookTest) -> Outcome:
    """A message of the type `TEST_TYPE` for an endpoint, whatever it subscribes to. `send` has it sent.

    Its body is that of an example of the type that is wanted, if any. By its member `test` a receiver can tell.

    Raises:
        NotFound, Forbidden: as for reading the endpoint.
        Conflict: it is disabled, or the partner is being erased.
    """
    _may_be_sent_to(db, service.read(db, caller, endpoint_id))
    now, event_id = clock.now(), ids.uuid7()
    message = WebhookMessage(
        id=ids.uuid7(),
        endpoint_id=endpoint_id,
        event_id=event_id,
        event_type=TEST_TYPE,
        status="pending",
        attempt_count=0,
        next_attempt_at=now,
        last_status_code=None,
        last_failure=None,
        created_at=now,
    )
    # An aggregate of its own, so that who counts the events of a subject finds no gap.
    told = wanted.event_type or TEST_TYPE
    data = example(wanted.event_type) if wanted.event_type else {"endpoint_id": str(endpoint_id)}
    body = service.text(event_id, told, now, event_id, 1, data, test=True)
    return Outcome(store.add_test(message, body), message, 1)


def redeliver(db: Session, caller: Identity, message_id: UUID) -> Outcome:
    """Send a message once more, also one that was delivered, with the whole schedule before it. `send` has it sent.

    Raises:
        NotFound: there is no such message.
        Forbidden: the caller is neither of operations nor an owner or a member of a partner.
        Conflict: it is being sent, its endpoint is disabled or deleted, its body is too large, or the partner is being
            erased.
    """
    _check_role(caller)
    message = service.find_message(db, message_id)
    endpoint = endpoint_store.find(db, message.endpoint_id)
    if endpoint is None:
        raise Conflict("The webhook endpoint was deleted")
    _may_be_sent_to(db, endpoint)
    if len(message.payload.encode()) > service.MAX_PAYLOAD:
        raise Conflict(f"A webhook may have at most {service.MAX_PAYLOAD} bytes")
    now = clock.now()
    if store.is_leased(db, message_id, now):
        raise Conflict("The message is being sent; read it again in a minute")
    told: dict[str, Any] = message.model_dump(include=set(WebhookMessage.model_fields))
    told |= {"status": "pending", "next_attempt_at": now}
    return Outcome(store.send_anew(message_id, now), WebhookMessage(**told), message.attempt_count + 1)


def send(tasks: Tasks, outcome: Outcome) -> None:
    """Enqueue the next attempt of what `test` or `redeliver` committed. Killed before, the watchdog does."""
    message = outcome.resource
    if isinstance(message, WebhookMessage):
        number, at = message.attempt_count + 1, message.next_attempt_at
        dispatch.enqueue(tasks, [dispatch.task(message.id, number, again=at)])


def recover(db: Session, caller: Identity, endpoint_id: UUID, body: WebhookRecover) -> Outcome:
    """Send anew what failed of an endpoint within some time: exhausted, discarded, or failed and waiting. Within a
    transaction, which locks the messages. The watchdog has them sent.

    Raises:
        NotFound: there is no such endpoint.
        Forbidden: as for `redeliver`.
        Conflict: it is disabled, or the partner is being erased.
    """
    _check_role(caller)
    endpoint = service.find(db, endpoint_id)
    _may_be_sent_to(db, endpoint)
    now = clock.now()
    found = store.recoverable(db, endpoint_id, body.since, body.until, service.MAX_PAYLOAD, now, RECOVER_LIMIT + 1)
    chosen = found[:RECOVER_LIMIT]
    answer = WebhookRecovery(messages=len(chosen), has_more=len(found) > len(chosen))
    return Outcome(store.send_all_anew(endpoint_id, chosen, now), answer, endpoint.version)


def _check_role(caller: Identity) -> None:
    """Operations sends anew what failed for a reason of ours. It is told ids, no URL and no body."""
    if caller.role is not Role.OPS:
        service.partner_of(caller)


def _may_be_sent_to(db: Session, endpoint: WebhookEndpoint) -> None:
    if endpoint.status != "enabled":
        raise Conflict("The webhook endpoint is disabled; enable it first")
    owner = endpoint_store.owner(db, endpoint.id)
    if owner is not None:
        restrictions.refuse(db, owner)
