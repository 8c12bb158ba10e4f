"""Webhook endpoints, messages and attempts in SQL. Row level security decides which rows a session sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from kapas.db import Row, Session
from kapas.events import CloudEvent
from kapas.keys import Field
from kapas.outbox import Change
from kapas.schemas.webhooks import (
    ALL_EVENTS,
    AttemptFailure,
    MessageStatus,
    WebhookAttempt,
    WebhookEndpoint,
    WebhookMessage,
    WebhookMessageDetail,
)

_ENDPOINT = "id, version, url, event_types, status, created_at, updated_at"
_MESSAGE = "id, endpoint_id, event_id, event_type, status, attempt_count, next_attempt_at, created_at"

_INSERT = """INSERT INTO webhook_endpoints
    (id, version, partner_id, url, event_types, secret, status, created_at, updated_at)
  VALUES (:id, 1, :partner_id, :url, :event_types, :secret, :status, :at, :at) RETURNING id"""

_UPDATE = """UPDATE webhook_endpoints
  SET version = version + 1, url = :url, event_types = :event_types, status = :status, updated_at = :at
  WHERE id = :id AND version = :version AND status <> 'deleted' RETURNING id"""

_DELETE = """UPDATE webhook_endpoints SET version = version + 1, status = 'deleted', secret = NULL, updated_at = :at
  WHERE id = :id AND status <> 'deleted' RETURNING id"""

_SUBSCRIBERS = """SELECT id FROM webhook_endpoints
  WHERE partner_id = ANY(:partner_ids) AND status = 'enabled' AND event_types && :wanted::text[] ORDER BY id"""

_ADD_MESSAGES = """INSERT INTO webhook_messages
    (id, endpoint_id, partner_id, event_id, event_type, payload, status, attempt_count, next_attempt_at, created_at)
  SELECT m.id, e.id, e.partner_id, :event_id, :event_type, :payload, :status, 0,
    CASE WHEN :status = 'pending' THEN :at::timestamptz END, :at
  FROM unnest(:ids::uuid[], :endpoint_ids::uuid[]) AS m (id, endpoint_id)
  JOIN webhook_endpoints e ON e.id = m.endpoint_id
  ON CONFLICT ON CONSTRAINT webhook_messages_once DO NOTHING"""

# A message that comes due while its endpoint is disabled or deleted is discarded here, in the same statement that would
# have leased it: so no order of disabling and fanning out leaves one behind.
_CLAIM = """UPDATE webhook_messages m
  SET status = CASE WHEN e.status = 'enabled' THEN 'pending' ELSE 'discarded' END,
    next_attempt_at = CASE WHEN e.status = 'enabled' THEN m.next_attempt_at END,
    lease_token = CASE WHEN e.status = 'enabled' THEN :lease_token::uuid END,
    lease_until = CASE WHEN e.status = 'enabled' THEN :lease_until::timestamptz END
  FROM webhook_endpoints e
  WHERE m.id = :id AND m.status = 'pending' AND m.attempt_count = :number - 1 AND m.next_attempt_at <= :now
    AND (m.lease_until IS NULL OR m.lease_until < :now) AND e.id = m.endpoint_id
  RETURNING m.status, m.payload, e.id, e.partner_id, e.url, e.secret"""

_RECORD = """WITH message AS (
    UPDATE webhook_messages
    SET status = :status, attempt_count = :number, next_attempt_at = :next_attempt_at, lease_token = NULL,
      lease_until = NULL
    WHERE id = :id AND lease_token = :lease_token RETURNING id, endpoint_id, partner_id),
  endpoint AS (
    UPDATE webhook_endpoints SET version = version + 1, status = 'disabled', updated_at = :ended_at
    WHERE :disable AND status = 'enabled' AND id = (SELECT endpoint_id FROM message))
  INSERT INTO webhook_attempts
    (message_id, number, partner_id, started_at, milliseconds, status_code, failure, response)
  SELECT id, :number, partner_id, :started_at, :milliseconds, :status_code, :failure, :response FROM message
  RETURNING message_id"""

_DISCARD = """UPDATE webhook_messages
  SET status = 'discarded', next_attempt_at = NULL, lease_token = NULL, lease_until = NULL
  WHERE id = :id AND lease_token = :lease_token"""

_DUE = """SELECT id, attempt_count + 1 FROM webhook_messages
  WHERE status = 'pending' AND next_attempt_at <= :due AND (lease_until IS NULL OR lease_until < :now)
  ORDER BY next_attempt_at, id LIMIT :limit"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that this invocation alone may send and record. Safe by its token, whatever the clocks say."""

    message_id: UUID
    number: int
    """Of the attempt, from 1."""
    token: UUID
    payload: str
    endpoint_id: UUID
    partner_id: UUID
    url: str
    secret: bytes
    """Sealed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an attempt came to, and what becomes of its message."""

    started_at: datetime
    ended_at: datetime
    milliseconds: int
    status_code: int | None
    failure: AttemptFailure | None
    response: str
    status: MessageStatus
    next_attempt_at: datetime | None
    disable: bool
    """Whether the endpoint is disabled too."""


def secret_field(endpoint_id: UUID) -> Field:
    """Where an endpoint's secret is stored encrypted."""
    return Field("webhook_endpoints", "secret", endpoint_id)


# Endpoints


def insert(endpoint: WebhookEndpoint, partner_id: UUID, secret: bytes) -> Change:
    """A new endpoint with its sealed secret."""
    return Change(
        _INSERT,
        {
            "id": endpoint.id,
            "partner_id": partner_id,
            "url": endpoint.url,
            "event_types": endpoint.event_types,
            "secret": secret,
            "status": endpoint.status,
            "at": endpoint.created_at,
        },
    )


def update(endpoint: WebhookEndpoint, version: int) -> Change:
    """The endpoint as it will be, provided that it still is at `version`."""
    return Change(
        _UPDATE,
        {
            "id": endpoint.id,
            "url": endpoint.url,
            "event_types": endpoint.event_types,
            "status": endpoint.status,
            "version": version,
            "at": endpoint.updated_at,
        },
    )


def delete(db: Session, endpoint_id: UUID, at: datetime) -> bool:
    """Delete the endpoint and its secret, keeping the row for its messages; whether there was one."""
    return db.one(_DELETE, id=endpoint_id, at=at) is not None


def find(db: Session, endpoint_id: UUID) -> WebhookEndpoint | None:
    row = db.one(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE id = :id AND status <> 'deleted'", id=endpoint_id)
    return _endpoint(row) if row else None


def page(db: Session, partner_id: UUID, limit: int, after: UUID | None) -> list[WebhookEndpoint]:
    """The partner's `limit` newest endpoints older than `after`."""
    rows = db.run(
        f"""SELECT {_ENDPOINT} FROM webhook_endpoints WHERE partner_id = :partner_id AND status <> 'deleted'
              AND (:after::uuid IS NULL OR id < :after::uuid) ORDER BY id DESC LIMIT :limit""",
        partner_id=partner_id,
        after=after,
        limit=limit,
    )
    return [_endpoint(row) for row in rows]


def count(db: Session, partner_id: UUID) -> int:
    """How many endpoints the partner has."""
    row = db.one(
        "SELECT count(*) FROM webhook_endpoints WHERE partner_id = :partner_id AND status <> 'deleted'",
        partner_id=partner_id,
    )
    return row[0] if row else 0


# Messages


def subscribers(db: Session, event: CloudEvent) -> list[UUID]:
    """The enabled endpoints that the event is for: subscribed to its type, and of a partner who may see it."""
    rows = db.run(_SUBSCRIBERS, partner_ids=list(event.partner_ids), wanted=[event.type, ALL_EVENTS])
    return [row[0] for row in rows]


def add_messages(
    db: Session,
    messages: Sequence[tuple[UUID, UUID]],
    event: CloudEvent,
    payload: str,
    status: MessageStatus,
    at: datetime,
) -> None:
    """One message for each pair of a message id and an endpoint id; a pending one is due at once."""
    if not messages:
        return
    db.run(
        _ADD_MESSAGES,
        ids=[message_id for message_id, _ in messages],
        endpoint_ids=[endpoint_id for _, endpoint_id in messages],
        event_id=event.id,
        event_type=event.type,
        payload=payload,
        status=status,
        at=at,
    )


def messages(db: Session, endpoint_id: UUID, limit: int, after: UUID | None) -> list[WebhookMessage]:
    """The endpoint's `limit` newest messages older than `after`."""
    rows = db.run(
        f"""SELECT {_MESSAGE} FROM webhook_messages
            WHERE endpoint_id = :endpoint_id AND (:after::uuid IS NULL OR id < :after::uuid)
            ORDER BY id DESC LIMIT :limit""",
        endpoint_id=endpoint_id,
        after=after,
        limit=limit,
    )
    return [WebhookMessage(**_message(row)) for row in rows]


def message(db: Session, message_id: UUID) -> WebhookMessageDetail | None:
    """A message with its attempts, oldest first."""
    row = db.one(f"SELECT {_MESSAGE}, payload FROM webhook_messages WHERE id = :id", id=message_id)
    if row is None:
        return None
    attempts = db.run(
        """SELECT number, started_at, milliseconds, status_code, failure, response
           FROM webhook_attempts WHERE message_id = :id ORDER BY number""",
        id=message_id,
    )
    return WebhookMessageDetail(**_message(row), payload=row[8], attempts=[_attempt(attempt) for attempt in attempts])


# Delivery


def claim(db: Session, message_id: UUID, number: int, token: UUID, now: datetime, until: datetime) -> Lease | None:
    """Lease the message for its attempt `number`, until `until`.

    None if that attempt was made, is not due, or is under way elsewhere; or if the endpoint is disabled or deleted, in
    which case the message is discarded.
    """
    row = db.one(_CLAIM, id=message_id, number=number, lease_token=token, lease_until=until, now=now)
    if row is None or row[0] == "discarded":
        return None
    return Lease(message_id, number, token, row[1], row[2], row[3], row[4], bytes(row[5]))


def record(db: Session, lease: Lease, result: Result) -> bool:
    """Write what the attempt came to and end the lease; False, with nothing written, if the lease is another's by now."""
    recorded = db.one(
        _RECORD,
        id=lease.message_id,
        number=lease.number,
        lease_token=lease.token,
        status=result.status,
        next_attempt_at=result.next_attempt_at,
        disable=result.disable,
        started_at=result.started_at,
        ended_at=result.ended_at,
        milliseconds=result.milliseconds,
        status_code=result.status_code,
        failure=result.failure,
        response=result.response.replace("\0", "\ufffd"),  # PostgreSQL's text holds no NUL
    )
    return recorded is not None


def discard(db: Session, lease: Lease) -> None:
    """Give a leased message up, without an attempt."""
    db.run(_DISCARD, id=lease.message_id, lease_token=lease.token)


def due(db: Session, now: datetime, overdue_since: datetime, limit: int) -> list[tuple[UUID, int]]:
    """At most `limit` messages due since `overdue_since` that nobody is sending, and the number of their next attempt."""
    return [(row[0], row[1]) for row in db.run(_DUE, now=now, due=overdue_since, limit=limit)]


def _endpoint(row: Row) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=row[0],
        version=row[1],
        url=row[2],
        event_types=row[3],
        status=row[4],
        created_at=row[5],
        updated_at=row[6],
    )


def _message(row: Row) -> dict[str, Any]:
    """What a message and its detail have in common."""
    return {
        "id": row[0],
        "endpoint_id": row[1],
        "event_id": row[2],
        "event_type": row[3],
        "status": row[4],
        "attempt_count": row[5],
        "next_attempt_at": row[6],
        "created_at": row[7],
    }


def _attempt(row: Row) -> WebhookAttempt:
    return WebhookAttempt(
        number=row[0],
        started_at=row[1],
        milliseconds=row[2],
        status_code=row[3],
        failure=row[4],
        response=row[5],
    )
