"""What partners read of messages and attempts, in SQL. Row level security decides which rows a session sees."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from kapas.platform.db import Row, Session

from .schemas import (
    MessageQuery,
    WebhookAttempt,
    WebhookAttemptCounts,
    WebhookMessage,
    WebhookMessageCounts,
    WebhookMessageDetail,
    WebhookStats,
)

LATE = timedelta(minutes=1)
"""By how much the time in a message's id may be later than `created_at`: a fan-out that waits draws its ids afterwards."""

_MESSAGE = """m.id, m.endpoint_id, m.event_id, m.event_type, m.status, m.attempt_count, m.next_attempt_at, m.created_at,
  a.status_code, a.failure"""
_LAST = "LEFT JOIN webhook_attempts a ON a.message_id = m.id AND a.number = m.attempt_count"


# Per endpoint, because the indexes are: a partner has few endpoints.
_NEWEST = """SELECT n.* FROM webhook_endpoints e, LATERAL (
    SELECT * FROM webhook_messages WHERE {fits} ORDER BY id DESC LIMIT :limit) AS n
  WHERE e.partner_id = :partner_id AND {of} ORDER BY n.id DESC LIMIT :limit"""

_STATS = """WITH m AS (
    SELECT id, status FROM webhook_messages
    WHERE endpoint_id = :endpoint_id AND created_at >= :since AND created_at < :until
      AND id >= :first::uuid AND id < :last::uuid),
  a AS (SELECT status_code, failure, milliseconds FROM webhook_attempts WHERE message_id IN (SELECT id FROM m))
  SELECT m.*, a.* FROM webhook_endpoints e, (
    SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'delivered'),
      count(*) FILTER (WHERE status = 'exhausted'), count(*) FILTER (WHERE status = 'discarded') FROM m) AS m, (
    SELECT count(*), count(*) FILTER (WHERE failure IS NOT NULL OR status_code NOT BETWEEN 200 AND 299),
      count(*) FILTER (WHERE failure = 'timeout'),
      percentile_disc(0.5) WITHIN GROUP (ORDER BY milliseconds) FILTER (WHERE failure IS NULL),
      max(milliseconds) FILTER (WHERE failure IS NULL) FROM a) AS a
  WHERE e.id = :endpoint_id AND e.status <> 'deleted'"""


def page(db: Session, partner_id: UUID, query: MessageQuery, limit: int) -> list[WebhookMessage]:
    """The `limit` newest messages that match the query, of one endpoint or of all of the partner's."""
    fits = ["endpoint_id = e.id"]
    parameters: dict[str, Any] = {"partner_id": partner_id, "limit": limit}
    of = "true"
    if query.endpoint_id is not None:
        of = "e.id = :endpoint_id"
        parameters["endpoint_id"] = query.endpoint_id
    after = query.after_id()
    if after is not None:
        fits.append("id < :after::uuid")
        parameters["after"] = after
    if query.status is not None:
        # What failed is indexed: it is looked for among all that was delivered.
        failed = query.status in ("exhausted", "discarded")
        fits.append("status = :status" + (" AND status IN ('exhausted', 'discarded')" if failed else ""))
        parameters["status"] = query.status
    if query.event_type is not None:
        fits.append("event_type = :event_type")
        parameters["event_type"] = query.event_type
    if query.since is not None:  # ids are ordered by time, and indexed
        fits.append("created_at >= :since AND id >= :first::uuid")
        parameters |= {"since": query.since, "first": _first(query.since)}
    if query.until is not None:
        fits.append("created_at < :until AND id < :last::uuid")
        parameters |= {"until": query.until, "last": _first(query.until + LATE)}
    newest = _NEWEST.format(fits=" AND ".join(fits), of=of)
    rows = db.run(f"SELECT {_MESSAGE} FROM ({newest}) AS m {_LAST} ORDER BY m.id DESC", **parameters)
    return [WebhookMessage(**_message(row)) for row in rows]


def find(db: Session, message_id: UUID) -> WebhookMessageDetail | None:
    """A message with its attempts, oldest first."""
    row = db.one(f"SELECT {_MESSAGE}, m.payload FROM webhook_messages m {_LAST} WHERE m.id = :id", id=message_id)
    if row is None:
        return None
    attempts = db.run(
        """SELECT number, started_at, milliseconds, status_code, failure, response
           FROM webhook_attempts WHERE message_id = :id ORDER BY number""",
        id=message_id,
    )
    return WebhookMessageDetail(**_message(row), payload=row[10], attempts=[_attempt(attempt) for attempt in attempts])


def stats(db: Session, endpoint_id: UUID, since: datetime, until: datetime) -> WebhookStats | None:
    """Counts of the endpoint's messages created in a period, and of their attempts; None if there is no endpoint."""
    row = db.one(
        _STATS,
        endpoint_id=endpoint_id,
        since=since,
        until=until,
        first=_first(since),
        last=_first(until + LATE),
    )
    if row is None:
        return None
    pending, delivered, exhausted, discarded, made, failed, timed_out, median, slowest = row
    return WebhookStats(
        endpoint_id=endpoint_id,
        since=since,
        until=until,
        messages=WebhookMessageCounts(pending=pending, delivered=delivered, exhausted=exhausted, discarded=discarded),
        attempts=WebhookAttemptCounts(
            made=made, failed=failed, timed_out=timed_out, median_milliseconds=median, slowest_milliseconds=slowest
        ),
    )


def _first(moment: datetime) -> UUID:
    """The least UUIDv7 of a time."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


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
        "last_status_code": row[8],
        "last_failure": row[9],
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
