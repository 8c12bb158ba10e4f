"""The events that capabilities publish, as JSON Schemas: the contract between a publisher and its readers.

`make docs` writes a file per event type from the models in `functions/*/event_models.py`, with the first example of each, and
`index.json`. A function reads them where it would otherwise import the models of every capability. A breaking change is a
new class with the next version in its type; a contract test compares.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

Schema = dict[str, Any]

DELIVERED = ("id", "type", "time", "subject", "sequence", "data")
"""The members of a CloudEvent that a webhook carries."""


@cache
def public_types() -> tuple[str, ...]:
    """The types that partners may receive, by name."""
    index: dict[str, dict[str, Any]] = json.loads((FOLDER / "index.json").read_text("utf-8"))
    return tuple(name for name, entry in index.items() if not entry["private"])


def schema(event_type: str) -> Schema:
    """The schema of an event in its CloudEvents envelope. Raises FileNotFoundError for an unknown type."""
    return json.loads((FOLDER / f"{event_type}.json").read_text("utf-8"))


def example(event_type: str) -> dict[str, Any]:
    """An example of the data of an event."""
    return schema(event_type)["properties"]["data"]["examples"][0]


def delivered_schema(event_type: str, address: str) -> Schema:
    """The schema of an event as a webhook carries it, served at `address`."""
    return delivered(schema(event_type)) | {"$id": address}


def delivered(whole: Schema) -> Schema:
    """The schema of what a webhook carries of an event, from the schema of the event."""
    properties = {name: whole["properties"][name] for name in DELIVERED}
    properties["test"] = {"const": True, "description": "Only in a test that was asked for: nothing has happened"}
    return whole | {"properties": properties, "required": list(DELIVERED)}
