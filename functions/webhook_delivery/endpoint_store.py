"""Webhook endpoints in SQL. Row level security decides which rows a session sees."""

from datetime import datetime
from uuid import UUID

from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.keys import Field
from kapas.privacy.restrictions import UNRESTRICTED

from .event_models import EndpointDeleted
from .schemas import EndpointDisablement, WebhookEndpoint

_ENDPOINT = """id, version, url, event_types, status, disabled_reason, disabled_at, created_at, updated_at, first_failed_at,
  CASE WHEN status = 'enabled' THEN open_until END, coalesce(header_names, '{}')"""

_INSERT = f"""INSERT INTO webhook_endpoints
    (id, version, partner_id, url, event_types, secret, header_names, status, created_at, updated_at)
  SELECT :id::uuid, 1, :partner_id::uuid, :url, :event_types::text[], :secret::bytea, :header_names::text[], :status,
    :at::timestamptz, :at::timestamptz
  WHERE {UNRESTRICTED.format(":partner_id::uuid")} RETURNING id"""

# With `afresh` the failures of before are forgotten, and a probe that is under way decides nothing.
_UPDATE = f"""UPDATE webhook_endpoints
  SET version = version + 1, url = :url, event_types = :event_types, status = :status, updated_at = :at,
    disabled_reason = :disabled_reason, disabled_at = :disabled_at,
    secret = coalesce(:secret::bytea, secret), header_names = :header_names,
    first_failed_at = CASE WHEN NOT :afresh::boolean THEN first_failed_at END,
    last_failed_at = CASE WHEN NOT :afresh THEN last_failed_at END,
    window_started_at = CASE WHEN NOT :afresh THEN window_started_at END,
    window_attempts = CASE WHEN :afresh THEN 0 ELSE window_attempts END,
    window_failures = CASE WHEN :afresh THEN 0 ELSE window_failures END,
    open_until = CASE WHEN NOT :afresh THEN open_until END,
    open_seconds = CASE WHEN :afresh THEN 0 ELSE open_seconds END,
    probe_token = CASE WHEN NOT :afresh THEN probe_token END,
    probe_until = CASE WHEN NOT :afresh THEN probe_until END
  WHERE id = :id AND version = :version AND status <> 'deleted' AND {UNRESTRICTED.format("partner_id")} RETURNING id"""

_ROTATE = f"""UPDATE webhook_endpoints SET version = version + 1, secret = :secret, updated_at = :at
  WHERE id = :id AND version = :version AND status <> 'deleted' AND {UNRESTRICTED.format("partner_id")} RETURNING id"""

_DELETE = """UPDATE webhook_endpoints
  SET version = version + 1, status = 'deleted', secret = NULL, header_names = NULL, updated_at = :at
  WHERE id = :id AND status <> 'deleted' RETURNING version"""
_PUBLISH_DELETED = outbox.publishing("deleted", "SELECT version FROM change")


def secret_field(endpoint_id: UUID) -> Field:
    """Where an endpoint's `Secrets` are stored encrypted."""
    return Field("webhook_endpoints", "secret", endpoint_id)


def insert(endpoint: WebhookEndpoint, partner_id: UUID, secrets: bytes, event: Event) -> Change:
    """A new endpoint with its sealed secrets."""
    return Change(
        _INSERT,
        {
            "id": endpoint.id,
            "partner_id": partner_id,
            "url": endpoint.url,
            "event_types": endpoint.event_types,
            "secret": secrets,
            "header_names": endpoint.header_names,
            "status": endpoint.status,
            "at": endpoint.created_at,
        },
        (event,),
    )


def update(endpoint: WebhookEndpoint, version: int, afresh: bool, secrets: bytes | None, event: Event) -> Change:
    """The changed endpoint, provided that it is still at `version`. `afresh` forgets its failures; `secrets` are the new
    sealed ones, None if they stay."""
    return Change(
        _UPDATE,
        {
            "id": endpoint.id,
            "url": endpoint.url,
            "event_types": endpoint.event_types,
            "status": endpoint.status,
            "disabled_reason": endpoint.disabled.reason if endpoint.disabled else None,
            "disabled_at": endpoint.disabled.since if endpoint.disabled else None,
            "secret": secrets,
            "header_names": endpoint.header_names,
            "afresh": afresh,
            "version": version,
            "at": endpoint.updated_at,
        },
        (event,),
    )


def secrets(db: Session, endpoint_id: UUID) -> tuple[int, bytes] | None:
    """The endpoint's version and its sealed secrets."""
    row = db.one("SELECT version, secret FROM webhook_endpoints WHERE id = :id AND status <> 'deleted'", id=endpoint_id)
    return (row[0], bytes(row[1])) if row else None


def rotate(endpoint_id: UUID, version: int, secrets: bytes, at: datetime, event: Event) -> Change:
    """Other sealed secrets, provided that the endpoint still is at `version`."""
    return Change(_ROTATE, {"id": endpoint_id, "version": version, "secret": secrets, "at": at}, (event,))


def delete(endpoint_id: UUID, at: datetime, data: EndpointDeleted) -> Change:
    """Delete the endpoint with its secret and headers, whatever its version. The row stays for its messages."""
    event = outbox.publication("deleted", endpoint_id, data, (data.partner_id,))
    return Change(_DELETE, {"id": endpoint_id, "at": at} | event, also=(_PUBLISH_DELETED,))


def find(db: Session, endpoint_id: UUID) -> WebhookEndpoint | None:
    row = db.one(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE id = :id AND status <> 'deleted'", id=endpoint_id)
    return _endpoint(row) if row else None


def owner(db: Session, endpoint_id: UUID) -> UUID | None:
    """Whose an endpoint is, also one that was deleted."""
    row = db.one("SELECT partner_id FROM webhook_endpoints WHERE id = :id", id=endpoint_id)
    return row[0] if row else None


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


def _endpoint(row: Row) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=row[0],
        version=row[1],
        url=row[2],
        event_types=row[3],
        status=row[4],
        disabled=EndpointDisablement(reason=row[5], since=row[6]) if row[4] == "disabled" else None,
        failing_since=row[9],
        spared_until=row[10],
        header_names=row[11],
        created_at=row[7],
        updated_at=row[8],
    )
