"""Several messages of one endpoint in one statement each."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from kapas.platform.db import Session

from . import schedule
from .store import Lease, Result, storable

# What else is due at an endpoint that is not spared. A row that a fan-out holds (`_WAITING`) is waited for, not skipped:
# that fan-out relies on whoever comes here.
_CLAIM = """WITH claimed AS (UPDATE webhook_messages m
  SET lease_token = :lease_token::uuid, lease_until = :lease_until::timestamptz
  FROM webhook_endpoints e
  WHERE m.id = ANY(ARRAY(SELECT id FROM webhook_messages
      WHERE endpoint_id = :endpoint_id AND status = 'pending' AND next_attempt_at <= :now
        AND (lease_until IS NULL OR lease_until < :now)
      ORDER BY next_attempt_at, id LIMIT :limit FOR UPDATE))
    AND e.id = m.endpoint_id AND e.status = 'enabled' AND e.open_until IS NULL
  RETURNING m.id, m.attempt_count + 1 AS number, m.payload, m.earlier_attempts, m.event_id, m.event_type, e.partner_id,
    e.url, e.secret)
  SELECT * FROM claimed ORDER BY id"""

# One of an endpoint's messages that are due since a time and free, held until this transaction ends: who claims it then,
# and looks for more, sees what this transaction wrote.
_WAITING = """SELECT e.id FROM unnest(:endpoint_ids::uuid[]) AS e (id), LATERAL (
    SELECT FROM webhook_messages
    WHERE endpoint_id = e.id AND status = 'pending' AND next_attempt_at BETWEEN :since::timestamptz AND :now::timestamptz
      AND (lease_until IS NULL OR lease_until < :now)
    ORDER BY next_attempt_at, id LIMIT 1 FOR SHARE SKIP LOCKED) AS m"""

# As `_RECORD`, for several messages of one endpoint that took them. No attempt of a batch is a probe.
_RECORD_TAKEN = """WITH message AS (
    UPDATE webhook_messages m
    SET status = 'delivered', attempt_count = m.attempt_count + 1, next_attempt_at = NULL, lease_token = NULL,
      lease_until = NULL
    FROM unnest(:ids::uuid[], :started::timestamptz[], :milliseconds::integer[], :codes::integer[], :responses::text[])
      AS r (id, started_at, milliseconds, status_code, response)
    WHERE m.id = r.id AND m.lease_token = :lease_token
    RETURNING m.id, m.attempt_count, m.partner_id, r.started_at, r.milliseconds, r.status_code, r.response),
  endpoint AS (
    UPDATE webhook_endpoints e
    SET first_failed_at = NULL, last_failed_at = NULL, (window_started_at, window_attempts, window_failures) = (
        SELECT CASE WHEN going THEN e.window_started_at END,
          CASE WHEN going THEN e.window_attempts + (SELECT count(*) FROM message) ELSE 0 END,
          CASE WHEN going THEN e.window_failures ELSE 0 END
        FROM (SELECT coalesce(e.window_started_at > :window_start::timestamptz, false)) AS a (going))
    WHERE e.id = :endpoint_id AND e.status = 'enabled'
      AND (e.first_failed_at IS NOT NULL OR e.window_started_at IS NOT NULL)),
  attempt AS (
    INSERT INTO webhook_attempts
      (message_id, number, partner_id, started_at, milliseconds, status_code, failure, response)
    SELECT id, attempt_count, partner_id, started_at, milliseconds, status_code, NULL, response FROM message
    RETURNING message_id)
  SELECT message_id FROM attempt ORDER BY message_id"""

_RELEASE = """UPDATE webhook_messages SET lease_token = NULL, lease_until = NULL
  WHERE id = ANY(:ids::uuid[]) AND lease_token = :lease_token"""

_NEXT = """SELECT m.id, m.attempt_count + 1, e.open_until FROM webhook_messages m
  JOIN webhook_endpoints e ON e.id = m.endpoint_id
  WHERE m.endpoint_id = :endpoint_id AND m.status = 'pending' AND m.next_attempt_at <= :now
    AND (m.lease_until IS NULL OR m.lease_until < :now)
  ORDER BY m.next_attempt_at, m.id LIMIT 1"""


def waiting(db: Session, endpoint_ids: Sequence[UUID], now: datetime, since: datetime) -> set[UUID]:
    """Those of the endpoints for which a message due since a time waits to be claimed. Within a transaction, until whose
    end nobody claims it."""
    rows = db.run(_WAITING, endpoint_ids=list(endpoint_ids), now=now, since=since) if endpoint_ids else []
    return {row[0] for row in rows}


def claim(db: Session, endpoint_id: UUID, token: UUID, now: datetime, until: datetime, limit: int) -> list[Lease]:
    """Lease at most `limit` messages of an endpoint that are due, in the order they were made; none if it is spared."""
    rows = db.run(_CLAIM, endpoint_id=endpoint_id, lease_token=token, lease_until=until, now=now, limit=limit)
    return [
        Lease(
            message_id=message_id,
            number=number,
            token=token,
            until=until,
            payload=payload,
            earlier=earlier,
            event_id=event_id,
            event_type=event_type,
            endpoint_id=endpoint_id,
            partner_id=partner_id,
            url=url,
            secrets=bytes(secrets),
            open_until=None,
        )
        for message_id, number, payload, earlier, event_id, event_type, partner_id, url, secrets in rows
    ]


def record_taken(db: Session, results: Sequence[tuple[Lease, Result]]) -> set[UUID]:
    """As `record`, for attempts of one `claim` that the endpoint took; the messages whose lease was still ours."""
    if not results:
        return set()
    lease = results[0][0]
    recorded = db.run(
        _RECORD_TAKEN,
        ids=[one.message_id for one, _ in results],
        started=[result.started_at for _, result in results],
        milliseconds=[result.milliseconds for _, result in results],
        codes=[result.status_code for _, result in results],
        responses=[storable(result.response) for _, result in results],
        lease_token=lease.token,
        endpoint_id=lease.endpoint_id,
        window_start=results[-1][1].ended_at - schedule.BREAKER_WINDOW,
    )
    return {row[0] for row in recorded}


def release(db: Session, leases: Sequence[Lease]) -> None:
    """End leases without an attempt: the messages stay due."""
    if leases:
        db.run(_RELEASE, ids=[lease.message_id for lease in leases], lease_token=leases[0].token)


def following(db: Session, endpoint_id: UUID, now: datetime) -> tuple[UUID, int, datetime | None] | None:
    """The first message due at an endpoint that nobody is sending, the number of its next attempt, and until when the
    endpoint is spared, if it is."""
    row = db.one(_NEXT, endpoint_id=endpoint_id, now=now)
    return (row[0], row[1], row[2]) if row else None
