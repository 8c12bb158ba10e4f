"""The delivery of webhook messages in SQL. Row level security decides which rows a session sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.messaging.outbox import Change
from kapas.platform.db import Session
from kapas.privacy.restrictions import UNRESTRICTED

from . import schedule
from .event_models import OPERATIONAL, SOURCE, EndpointDisabled, MessageExhausted
from .schemas import ALL_EVENTS, AttemptFailure, MessageStatus, WebhookMessage

_SUBSCRIBERS = """SELECT id, status FROM webhook_endpoints
  WHERE partner_id = ANY(:partner_ids) AND status <> 'deleted' AND event_types && :wanted::text[]
    AND id IS DISTINCT FROM :about::uuid ORDER BY id"""

# Held until the transaction ends: whoever enables such an endpoint meanwhile waits, and finds the message to recover.
_STAY_DISABLED = """SELECT id FROM webhook_endpoints WHERE id = ANY(:ids::uuid[]) AND status = 'disabled'
  ORDER BY id FOR SHARE"""

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
  RETURNING m.status, m.payload, m.earlier_attempts, m.event_id, m.event_type, e.id, e.partner_id, e.url, e.secret,
    e.open_until"""

# The row's lock decides who of several has the probe.
_PROBE = """UPDATE webhook_endpoints SET probe_token = :lease_token, probe_until = :lease_until
  WHERE id = :id AND open_until <= :now AND (probe_until IS NULL OR probe_until < :now) RETURNING id"""

# No success for days, with no quiet time between failures.
_FAILING = """coalesce(NOT :taken AND e.first_failed_at <= :failing_since::timestamptz
  AND e.last_failed_at > :quiet_since, false)"""

_POSTPONE = """UPDATE webhook_messages SET next_attempt_at = :at, lease_token = NULL, lease_until = NULL
  WHERE id = :id AND lease_token = :lease_token RETURNING id"""

# What an attempt says of its endpoint is worked out from the row itself, so that attempts which end at once all count.
# While nothing fails, the row is not written. A window begins with a failure. After days of failures the breaker opens, so
# that the next attempt is a probe; the failure of that probe disables the endpoint.
_RECORD = f"""WITH message AS (
    UPDATE webhook_messages
    SET status = :status, attempt_count = :number, next_attempt_at = :next_attempt_at, lease_token = NULL,
      lease_until = NULL, exhaustions = exhaustions + :announced::boolean::integer
    WHERE id = :id AND lease_token = :lease_token RETURNING id, endpoint_id, partner_id, exhaustions),
  endpoint AS (
    UPDATE webhook_endpoints e
    SET first_failed_at = CASE WHEN NOT :taken::boolean THEN
        CASE WHEN e.last_failed_at > :quiet_since::timestamptz THEN e.first_failed_at ELSE :ended_at::timestamptz END END,
      last_failed_at = CASE WHEN NOT :taken THEN :ended_at END,
      (version, status, disabled_reason, disabled_at, updated_at) = (
        SELECT e.version + (reason IS NOT NULL)::integer, CASE WHEN reason IS NULL THEN e.status ELSE 'disabled' END,
          reason, CASE WHEN reason IS NOT NULL THEN :ended_at END,
          CASE WHEN reason IS NULL THEN e.updated_at ELSE :ended_at END
        FROM (SELECT CASE WHEN :gone::boolean THEN 'gone'
          WHEN {_FAILING} AND e.probe_token = :lease_token THEN 'failing' END) AS a (reason)),
      (open_until, open_seconds, probe_token, probe_until, window_started_at, window_attempts, window_failures) = (
        SELECT CASE WHEN opens THEN :ended_at + make_interval(secs => longer) WHEN NOT probe THEN e.open_until END,
          CASE WHEN opens THEN longer WHEN open AND NOT probe THEN e.open_seconds ELSE 0 END,
          CASE WHEN NOT probe THEN e.probe_token END, CASE WHEN NOT probe THEN e.probe_until END,
          CASE WHEN counts THEN started_at END, CASE WHEN counts THEN attempts ELSE 0 END,
          CASE WHEN counts THEN failures ELSE 0 END
        FROM (SELECT coalesce(e.probe_token = :lease_token, false),
            e.open_until IS NOT NULL,
            coalesce(e.window_started_at > :window_start::timestamptz, false),
            least(greatest(2 * e.open_seconds, :open_least::integer), :open_most::integer)) AS a (probe, open, going, longer),
          LATERAL (SELECT CASE WHEN going THEN e.window_started_at ELSE :ended_at END,
            CASE WHEN going THEN e.window_attempts ELSE 0 END + 1,
            CASE WHEN going THEN e.window_failures ELSE 0 END + (NOT :taken)::integer) AS b (started_at, attempts, failures),
          LATERAL (SELECT CASE WHEN open THEN probe AND NOT :taken
            ELSE {_FAILING} OR (attempts >= :least::integer AND failures >= :share::float8 * attempts) END) AS c (opens),
          LATERAL (SELECT NOT open AND NOT opens AND failures > 0) AS d (counts))
    WHERE e.id = (SELECT endpoint_id FROM message) AND e.status = 'enabled'
      AND NOT (:taken AND e.first_failed_at IS NULL AND e.window_started_at IS NULL AND e.open_until IS NULL)
    RETURNING e.version, e.status),
  disabled AS ({outbox.publishing("disabled", "SELECT version FROM endpoint WHERE status = 'disabled'")}),
  exhausted AS ({outbox.publishing("exhausted", "SELECT exhaustions FROM message WHERE :announced")}),
  attempt AS (
    INSERT INTO webhook_attempts
      (message_id, number, partner_id, started_at, milliseconds, status_code, failure, response)
    SELECT id, :number, partner_id, :started_at, :milliseconds, :status_code, :failure, :response FROM message
    RETURNING message_id)
  SELECT :announced OR EXISTS (SELECT FROM endpoint WHERE status = 'disabled') FROM attempt"""

_DISCARD = """UPDATE webhook_messages
  SET status = 'discarded', next_attempt_at = NULL, lease_token = NULL, lease_until = NULL
  WHERE id = :id AND lease_token = :lease_token"""

# What has failed since it was sent, or last sent anew, and that nobody is sending now.
_RECOVERABLE = """SELECT id FROM webhook_messages
  WHERE endpoint_id = :endpoint_id AND created_at >= :since AND (:until::timestamptz IS NULL OR created_at < :until)
    AND octet_length(payload) <= :most
    AND (status IN ('exhausted', 'discarded') OR (status = 'pending' AND attempt_count > earlier_attempts
      AND (lease_until IS NULL OR lease_until < :now)))
  ORDER BY created_at, id LIMIT :limit FOR UPDATE"""

_ANEW = f"""UPDATE webhook_messages m
  SET status = 'pending', earlier_attempts = m.attempt_count, next_attempt_at = :now::timestamptz, lease_token = NULL,
    lease_until = NULL
  FROM webhook_endpoints e
  WHERE m.id = ANY(:ids::uuid[]) AND e.id = m.endpoint_id AND e.status = 'enabled'
    AND (m.lease_until IS NULL OR m.lease_until < :now) AND {UNRESTRICTED.format("e.partner_id")}
  RETURNING m.id"""

_ENABLED = f"""SELECT id FROM webhook_endpoints
  WHERE id = :endpoint_id AND status = 'enabled' AND {UNRESTRICTED.format("partner_id")} ORDER BY id"""

_TEST = f"""INSERT INTO webhook_messages
    (id, endpoint_id, partner_id, event_id, event_type, payload, status, attempt_count, next_attempt_at, created_at)
  SELECT :id::uuid, id, partner_id, :event_id::uuid, :event_type, :payload, 'pending', 0, :at::timestamptz,
    :at::timestamptz
  FROM webhook_endpoints
  WHERE id = :endpoint_id AND status = 'enabled' AND {UNRESTRICTED.format("partner_id")} RETURNING id"""

_DUE = """SELECT id, attempt_count + 1 FROM webhook_messages m
  WHERE status = 'pending' AND next_attempt_at <= :due AND (lease_until IS NULL OR lease_until < :now)
    AND NOT EXISTS (SELECT FROM webhook_endpoints e
      WHERE e.id = m.endpoint_id AND e.status = 'enabled' AND e.open_until IS NOT NULL)
  ORDER BY next_attempt_at, id LIMIT :limit"""

# For all that waits at a spared endpoint one task is enough.
_PROBES = """SELECT m.id, m.number FROM webhook_endpoints e, LATERAL (
    SELECT id, attempt_count + 1 AS number FROM webhook_messages
    WHERE endpoint_id = e.id AND status = 'pending' AND next_attempt_at <= :due
      AND (lease_until IS NULL OR lease_until < :now)
    ORDER BY next_attempt_at, id LIMIT 1) AS m
  WHERE e.status = 'enabled' AND e.open_until <= :due ORDER BY e.id"""


@dataclass(frozen=True, slots=True)
class Lease:
    """A message that this invocation alone may send and record. Safe by its token, whatever the clocks say."""

    message_id: UUID
    number: int
    """Of the attempt, from 1."""
    token: UUID
    until: datetime
    payload: str
    earlier: int
    """Attempts before the message was last sent anew."""
    event_id: UUID
    event_type: str
    endpoint_id: UUID
    partner_id: UUID
    url: str
    secrets: bytes
    """Sealed."""
    open_until: datetime | None
    """Set while the endpoint is spared: only a probe may be sent then, see `probe`."""


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
    taken: bool
    """Whether the endpoint took the message."""
    gone: bool
    """Whether it said that it wants no more: it is disabled."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An attempt was recorded; `published` says whether with events."""

    published: bool


# Messages


def subscribers(db: Session, event: CloudEvent) -> tuple[list[UUID], list[UUID]]:
    """The endpoints that the event is for: subscribed to its type, and of a partner who may see it.

    Those to send it to, and those that are disabled. Within a transaction, until whose end the latter are not enabled.
    """
    about = event.data["endpoint_id"] if event.source == SOURCE else None  # an endpoint gets no events about itself
    wanted = [event.type, ALL_EVENTS]
    rows = db.run(_SUBSCRIBERS, partner_ids=list(event.partner_ids), wanted=wanted, about=about)
    seen = [row[0] for row in rows if row[1] == "disabled"]
    disabled = [row[0] for row in db.run(_STAY_DISABLED, ids=seen)] if seen else []
    return [row[0] for row in rows if row[0] not in disabled], disabled


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


# Sent because a partner asks for it


def add_test(message: WebhookMessage, payload: str) -> Change:
    """A message that no event gave rise to, provided that its endpoint is enabled."""
    return Change(
        _TEST,
        {
            "id": message.id,
            "endpoint_id": message.endpoint_id,
            "event_id": message.event_id,
            "event_type": message.event_type,
            "payload": payload,
            "at": message.created_at,
        },
    )


def recoverable(
    db: Session, endpoint_id: UUID, since: datetime, until: datetime | None, most: int, now: datetime, limit: int
) -> list[UUID]:
    """The `limit` oldest messages created `since` then, and before `until`, that failed, locked; none with a body of more
    than `most` bytes."""
    rows = db.run(_RECOVERABLE, endpoint_id=endpoint_id, since=since, until=until, most=most, now=now, limit=limit)
    return [row[0] for row in rows]


def is_leased(db: Session, message_id: UUID, now: datetime) -> bool:
    """Whether somebody is sending the message."""
    sql = "SELECT FROM webhook_messages WHERE id = :id AND lease_until >= :now"
    return db.one(sql, id=message_id, now=now) is not None


def send_anew(message_id: UUID, now: datetime) -> Change:
    """Have a message sent `now` with the whole schedule before it, provided that nobody is sending it and that its
    endpoint is enabled."""
    return Change(_ANEW, {"ids": [message_id], "now": now})


def send_all_anew(endpoint_id: UUID, message_ids: Sequence[UUID], now: datetime) -> Change:
    """The same for messages of one endpoint, which may be none. Provided that the endpoint is enabled."""
    return Change(_ENABLED, {"endpoint_id": endpoint_id, "ids": list(message_ids), "now": now}, also=(_ANEW,))


# Delivery


def claim(db: Session, message_id: UUID, number: int, token: UUID, now: datetime, until: datetime) -> Lease | None:
    """Lease the message for its attempt `number`, until `until`.

    None if that attempt was made, is not due, or is under way elsewhere; or if the endpoint is disabled or deleted, in
    which case the message is discarded.
    """
    row = db.one(_CLAIM, id=message_id, number=number, lease_token=token, lease_until=until, now=now)
    if row is None or row[0] == "discarded":
        return None
    _, payload, earlier, event_id, event_type, endpoint_id, partner_id, url, secrets, open_until = row
    return Lease(
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
        open_until=open_until,
    )


def probe(db: Session, lease: Lease, now: datetime) -> bool:
    """Whether this attempt may find out if its spared endpoint is back: one at a time, none before `open_until`. It is so
    for as long as the lease; what `record` writes of it decides."""
    taken = db.one(_PROBE, id=lease.endpoint_id, lease_token=lease.token, lease_until=lease.until, now=now)
    return taken is not None


def postpone(db: Session, lease: Lease, at: datetime) -> bool:
    """End the lease without an attempt, the next being due `at`; False if the lease is another's by now."""
    return db.one(_POSTPONE, id=lease.message_id, lease_token=lease.token, at=at) is not None


def record(db: Session, lease: Lease, result: Result) -> Recorded | None:
    """Write what the attempt came to and end the lease; None, with nothing written, if the lease is another's by now.

    The same statement publishes the event of an endpoint that this disables and of a message that this exhausts, except
    for a message of such an event: each would cause the next.
    """
    announced = result.status == "exhausted" and not lease.event_type.startswith(OPERATIONAL)
    recorded = db.one(
        _RECORD,
        id=lease.message_id,
        number=lease.number,
        lease_token=lease.token,
        status=result.status,
        next_attempt_at=result.next_attempt_at,
        taken=result.taken,
        gone=result.gone,
        started_at=result.started_at,
        ended_at=result.ended_at,
        announced=announced,
        failing_since=result.ended_at - schedule.FAILING,
        quiet_since=result.ended_at - schedule.QUIET,
        window_start=result.ended_at - schedule.BREAKER_WINDOW,
        open_least=schedule.BREAKER_OPEN // timedelta(seconds=1),
        open_most=schedule.BREAKER_OPEN_MOST // timedelta(seconds=1),
        least=schedule.BREAKER_ATTEMPTS,
        share=schedule.BREAKER_SHARE,
        milliseconds=result.milliseconds,
        status_code=result.status_code,
        failure=result.failure,
        response=storable(result.response),
        **_disabled(lease, result),
        **_exhausted(lease, result),
    )
    return None if recorded is None else Recorded(recorded[0])


def _disabled(lease: Lease, result: Result) -> dict[str, Any]:
    data = EndpointDisabled(
        endpoint_id=lease.endpoint_id,
        partner_id=lease.partner_id,
        reason="gone" if result.gone else "failing",
        actor=None,
    )
    return outbox.publication("disabled", lease.endpoint_id, data, (lease.partner_id,))


def _exhausted(lease: Lease, result: Result) -> dict[str, Any]:
    data = MessageExhausted(
        endpoint_id=lease.endpoint_id,
        partner_id=lease.partner_id,
        message_id=lease.message_id,
        event_id=lease.event_id,
        event_type=lease.event_type,
        attempt_count=lease.number,
        last_status_code=result.status_code,
        last_failure=result.failure,
    )
    return outbox.publication("exhausted", lease.message_id, data, (lease.partner_id,))


def discard(db: Session, lease: Lease) -> None:
    """Give a leased message up, without an attempt."""
    db.run(_DISCARD, id=lease.message_id, lease_token=lease.token)


def due(db: Session, now: datetime, overdue_since: datetime, limit: int) -> list[tuple[UUID, int]]:
    """At most `limit` messages due since `overdue_since` that nobody is sending, and the number of their next attempt; of
    those that wait for a spared endpoint one, once it should have been probed."""
    rows = db.run(_DUE, now=now, due=overdue_since, limit=limit) + db.run(_PROBES, now=now, due=overdue_since)
    return [(row[0], row[1]) for row in rows]


def storable(text: str) -> str:
    """PostgreSQL's text holds no NUL."""
    return text.replace("\0", "\ufffd")
