"""Operational events of webhooks: changes of endpoints, and exhausted messages.

An event about an endpoint is sent to the partner's other endpoints, never to that endpoint. An exhausted message of such an
event publishes no further event.
"""

from typing import ClassVar, Literal
from uuid import UUID

from kapas.messaging.events import EventData

from .schemas import AttemptFailure, DisabledReason

SOURCE = "/webhook_delivery"
OPERATIONAL = "webhook."
"""The prefix of these types, and of the type of tests."""

Changed = Literal["url", "event_types", "status", "headers", "secret"]


class WebhookEvent(EventData):
    topic: ClassVar[str] = "webhook-events"
    source: ClassVar[str] = SOURCE

    endpoint_id: UUID
    partner_id: UUID


class EndpointCreated(WebhookEvent):
    """The partner created an endpoint."""

    type: ClassVar[str] = "webhook.endpoint_created.v1"

    actor: str


class EndpointChanged(WebhookEvent):
    """The partner changed an endpoint, or rotated its secret; `changed` lists what."""

    type: ClassVar[str] = "webhook.endpoint_changed.v1"

    actor: str
    changed: list[Changed]


class EndpointDisabled(WebhookEvent):
    """An endpoint was disabled. Missed events can be recovered once it is enabled."""

    type: ClassVar[str] = "webhook.endpoint_disabled.v1"

    reason: DisabledReason
    actor: str | None
    """The user who disabled it; None for the other reasons."""


class EndpointDeleted(WebhookEvent):
    """The partner deleted an endpoint and its secret."""

    type: ClassVar[str] = "webhook.endpoint_deleted.v1"

    actor: str


class MessageExhausted(WebhookEvent):
    """All attempts of a message failed; it can be resent. The subject is the message."""

    type: ClassVar[str] = "webhook.message_exhausted.v1"

    message_id: UUID
    event_id: UUID
    event_type: str
    attempt_count: int
    last_status_code: int | None
    last_failure: AttemptFailure | None
