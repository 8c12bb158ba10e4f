"""Messages that a partner asks for: a test, one once more, or all that failed since some time."""

from typing import Any
from uuid import UUID

from kapas import clock, ids, restrictions
from kapas.api import Outcome
from kapas.db import Session
from kapas.errors import Conflict
from kapas.identity import Identity
from kapas.ports import Tasks
from kapas.schemas.webhooks import TEST_TYPE, WebhookEndpoint, WebhookMessage, WebhookRecover, WebhookRecovery

from . import dispatch, endpoint_store, service, store

RECOVER_LIMIT = 1000
"""Messages that one request sends anew: what the reaper takes up in a minute."""


def test(db: Session, caller: Identity, endpoint_id: UUID) -> Outcome:
    """A message of the type `TEST_TYPE` for an endpoint, whatever it subscribes to. `send` has it sent.

    Raises:
        NotFound, Forbidden: as for reading the endpoint.
        Conflict: it is disabled, or the partner is being erased.
    """
    _enabled(service.read(db, caller, endpoint_id))
    restrictions.refuse(db, service.partner_of(caller))
    now, event_id = clock.now(), ids.uuid7()
    message = WebhookMessage(
        id=ids.uuid7(),
        endpoint_id=endpoint_id,
        event_id=event_id,
        event_type=TEST_TYPE,
        status="pending",
        attempt_count=0,
        next_attempt_at=now,
        created_at=now,
    )
    # An aggregate of its own, so that who counts the events of a subject finds no gap.
    body = service.text(event_id, TEST_TYPE, now, event_id, 1, {"endpoint_id": str(endpoint_id)})
    return Outcome(store.add_test(message, body), message, 1)


def redeliver(db: Session, caller: Identity, message_id: UUID) -> Outcome:
    """Send a message once more, also one that was delivered, with the whole schedule before it. `send` has it sent.

    Raises:
        NotFound, Forbidden: as for reading the message.
        Conflict: it is being sent, its endpoint is disabled or deleted, its body is too large, or the partner is being
            erased.
    """
    message = service.read_message(db, caller, message_id)
    restrictions.refuse(db, service.partner_of(caller))
    endpoint = endpoint_store.find(db, message.endpoint_id)
    if endpoint is None:
        raise Conflict("The webhook endpoint was deleted")
    _enabled(endpoint)
    if len(message.payload.encode()) > service.MAX_PAYLOAD:
        raise Conflict(f"A webhook has at most {service.MAX_PAYLOAD} bytes")
    now = clock.now()
    if store.is_leased(db, message_id, now):
        raise Conflict("The message is being sent; read it in a minute")
    told: dict[str, Any] = message.model_dump(include=set(WebhookMessage.model_fields))
    told |= {"status": "pending", "next_attempt_at": now}
    return Outcome(store.send_anew(message_id, now), WebhookMessage(**told), message.attempt_count + 1)


def send(tasks: Tasks, outcome: Outcome) -> None:
    """Enqueue the next attempt of what `test` or `redeliver` committed. Killed before, the reaper does."""
    message = outcome.resource
    if isinstance(message, WebhookMessage):
        number, at = message.attempt_count + 1, message.next_attempt_at
        dispatch.enqueue(tasks, [dispatch.task(message.id, number, again=at)])


def recover(db: Session, caller: Identity, endpoint_id: UUID, body: WebhookRecover) -> Outcome:
    """Send anew what failed of an endpoint since some time: exhausted, discarded, or failed and waiting. Within a
    transaction, which locks the messages. The reaper has them sent.

    Raises:
        NotFound, Forbidden: as for reading the endpoint.
        Conflict: it is disabled, or the partner is being erased.
    """
    endpoint = service.read(db, caller, endpoint_id)
    _enabled(endpoint)
    restrictions.refuse(db, service.partner_of(caller))
    now = clock.now()
    found = store.recoverable(db, endpoint_id, body.since, service.MAX_PAYLOAD, now, RECOVER_LIMIT + 1)
    chosen = found[:RECOVER_LIMIT]
    answer = WebhookRecovery(messages=len(chosen), has_more=len(found) > len(chosen))
    return Outcome(store.send_all_anew(endpoint_id, chosen, now), answer, endpoint.version)


def _enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.status != "enabled":
        raise Conflict("The webhook endpoint is disabled; enable it first")
