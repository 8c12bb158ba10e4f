"""The JSON Schema of each event, its CloudEvents envelope and its data, as `make docs` writes it to kapas/schemas/events."""

from kapas.messaging.events import SCHEMA_PREFIX, CloudEvent, EventData
from tools.docs.json_schema import DIALECT, Schema, Schemas
from tools.docs.registry import EVENTS

ATTRIBUTES = {
    "specversion": "The version of CloudEvents",
    "id": "UUIDv7: the same in every delivery of the event",
    "type": "What happened, with the version of this schema",
    "source": "The capability that says so",
    "subject": "The aggregate that it happened to",
    "time": "When it happened, in UTC",
    "datacontenttype": "The media type of `data`",
    "dataschema": "The address of this schema",
    "partitionkey": "The subject: events with the same key arrive in order",
    "sequence": "The aggregate's version after the event. It has no gaps: a number missed is an event still to come",
    "traceparent": "The trace of the request that caused it (W3C Trace Context)",
    "partnerids": "The partners it may be shown to, separated by commas",
    "data": "What happened",
}
OPTIONAL = {"traceparent"}


def event_schemas() -> dict[str, Schema]:
    """Event type -> its schema as its readers get it, sorted by type."""
    return {type_: _whole(EVENTS[type_]) for type_ in sorted(EVENTS)}


def description(model: type[EventData]) -> str:
    """The docstring of an event, in one line."""
    return " ".join((model.__doc__ or "").split())


def envelope(model: type[EventData], data: Schema) -> Schema:
    """The schema of the CloudEvent around `data`, the schema of the event's own part."""
    fields = CloudEvent.model_json_schema(mode="serialization", schema_generator=Schemas)["properties"]
    constants = {
        "specversion": "1.0",
        "type": model.type,
        "source": model.source,
        "datacontenttype": "application/json",
        "dataschema": f"{SCHEMA_PREFIX}{model.type}.json",
    }
    properties: dict[str, Schema] = {}
    for name, schema in fields.items():
        attribute = {"const": constants[name]} if name in constants else data if name == "data" else _written(schema)
        properties[name] = attribute | {"description": ATTRIBUTES[name]}
    return {
        "description": description(model),
        "type": "object",
        "properties": properties,
        "required": [name for name in fields if name not in OPTIONAL],
    }


def _whole(model: type[EventData]) -> Schema:
    """A schema that stands alone, with the definitions of its data."""
    data = model.model_json_schema(mode="serialization", schema_generator=Schemas)
    definitions = data.pop("$defs", {})
    return {
        "$schema": DIALECT,
        "$id": f"{SCHEMA_PREFIX}{model.type}.json",
        "title": model.type,
        **envelope(model, data),
        "$defs": definitions,
    }


def _written(schema: Schema) -> Schema:
    """An attribute that may be missing is left out rather than null."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else {k: v for k, v in schema.items() if k not in ("default", "description")}
