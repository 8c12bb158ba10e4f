"""What endpoints can subscribe to, and what they are sent of it."""

from typing import Any

from kapas.errors import NotFound
from kapas.schemas.events import delivered_schema

from .schemas import EVENT_TYPES, WebhookEventType, WebhookEventTypes


def event_types() -> WebhookEventTypes:
    """All types, by name."""
    data = [WebhookEventType(type=name, json_schema=_schema_address(name)) for name in EVENT_TYPES]
    return WebhookEventTypes(data=data, has_more=False, next=None)


def event_schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema of what is sent of such an event. Raises `NotFound`."""
    if event_type not in EVENT_TYPES:
        raise NotFound("Unknown event type; GET /v1/webhook-event-types lists them")
    return delivered_schema(event_type, _schema_address(event_type))


def _schema_address(event_type: str) -> str:
    """Below the API, whose own address no function is told."""
    return f"/v1/webhook-event-types/{event_type}/schema"
