"""The files of `docs/api`, and the examples of events that are sent as tests: what they should hold, and what they do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kapas.schemas.events import FOLDER, Schema
from tools.catalog import ROOT
from tools.docs.compatibility import breaks, next_version
from tools.docs.event_schemas import event_schemas
from tools.docs.index import index
from tools.docs.registry import EVENTS

API = ROOT / "docs/api"


def rendered() -> dict[Path, str]:
    """Path -> what it should hold."""
    return event_files() | api_files()


def event_files() -> dict[Path, str]:
    """The schema of each event, with its first example, and their index."""
    schemas = event_schemas()
    for type_, schema in schemas.items():
        schema["properties"]["data"] |= {"examples": [json.loads(examples(type_)[0].read_text("utf-8"))["data"]]}
    index = {type_: {"topic": model.topic, "private": model.private} for type_, model in sorted(EVENTS.items())}
    return {FOLDER / "index.json": _text(index)} | {FOLDER / f"{type_}.json": _text(s) for type_, s in schemas.items()}


def api_files() -> dict[Path, str]:
    """The API document, and the page about it."""
    from tools.docs.openapi import document  # it reads the committed schemas of events

    openapi = document()
    return {API / "openapi.json": _text(openapi), API / "README.md": index(openapi)}


def examples(type_: str) -> list[Path]:
    """The committed examples of an event, each in its envelope."""
    found = sorted(ROOT.glob(f"functions/*/examples/{type_}/*.json"))
    if not found:
        raise SystemExit(f"{type_} has no example: add functions/<capability>/examples/{type_}/<name>.json")
    return found


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Those of `files` that are missing or hold something else."""
    return [path for path, text in sorted(files.items()) if not path.exists() or path.read_text() != text]


def committed() -> dict[str, Schema]:
    """Event type -> its schema as committed: what readers rely on."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.v*.json"))}


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
