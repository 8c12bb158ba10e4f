"""All events by type: for documents, tests and tools."""

from kapas.messaging.events import EventData
from kapas.schemas.events import audit, consents, exports, gradings, partners, retention, trades

EVENTS: dict[str, type[EventData]] = {
    model.type: model
    for module in (partners, trades, consents, gradings, exports, retention, audit)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, EventData) and "type" in vars(model)
}
"""Event type -> its model."""
