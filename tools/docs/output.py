"""The files of `docs/api`, and the examples of events that are sent as tests: what they should hold, and what they do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kapas.schemas.events import examples
from kapas.schemas.events.json_schema import event_schemas
from kapas.schemas.json_schema import Schema
from kapas.schemas.webhooks import EVENT_TYPES
from tools.catalog import ROOT
from tools.docs.compatibility import breaks, next_version
from tools.docs.index import index
from tools.docs.openapi import document

API = ROOT / "docs/api"
EVENTS = API / "events"
EXAMPLES = ROOT / "tests/examples"


def rendered() -> dict[Path, str]:
    """Path -> what it should hold."""
    openapi = document()
    files = {API / "openapi.json": _text(openapi), API / "README.md": index(openapi)}
    files[examples.PATH] = _text(_examples())
    return files | {EVENTS / f"{type_}.json": _text(schema) for type_, schema in event_schemas().items()}


def _examples() -> dict[str, Any]:
    """Type -> the data of the first example of each event that an endpoint can subscribe to."""
    first = {type_: min((EXAMPLES / type_).glob("*.json")) for type_ in EVENT_TYPES}
    return {type_: json.loads(path.read_text("utf-8"))["data"] for type_, path in first.items()}


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Those of `files` that are missing or hold something else."""
    return [path for path, text in sorted(files.items()) if not path.exists() or path.read_text() != text]


def committed() -> dict[str, Schema]:
    """Event type -> its schema as committed: what readers rely on."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(EVENTS.glob("*.json"))}


def breaking(old: Mapping[str, Schema] | None = None, new: Mapping[str, Schema] | None = None) -> list[str]:
    """What breaks the readers of the `old` event schemas (those committed) in the `new` ones (those of the code)."""
    before, after = committed() if old is None else old, event_schemas() if new is None else new
    found = [f"{type_}: the type was removed; its readers still expect it" for type_ in before if type_ not in after]
    for type_, schema in before.items():
        faults = breaks(schema, after[type_]) if type_ in after else []
        found += [f"{type_}: {fault}; publish {next_version(type_)} instead" for fault in faults]
    return found


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
