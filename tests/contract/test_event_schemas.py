"""The events' committed JSON Schemas are what readers rely on: nothing breaks them, and every example fits."""

import json
from pathlib import Path
from typing import Any

import pytest

from kapas.messaging.events import CloudEvent
from kapas.schemas.events import DELIVERED, delivered_schema
from tests.contract.json_schema import faults
from tools.catalog import ROOT, catalog
from tools.docs.event_schemas import event_schemas
from tools.docs.output import breaking, committed
from tools.docs.registry import EVENTS

FOLDER = ROOT / "functions"
EXAMPLES = sorted(FOLDER.glob("*/examples/*/*.json"))
OF_NO_PARTNER = {"/retention_sweep"}
"""Capabilities whose events are about the platform, and shown to no partner."""

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(FOLDER)))


def test_no_change_breaks_the_readers_of_an_event() -> None:
    assert not breaking(), "\n".join(breaking())


def test_every_event_has_a_committed_schema() -> None:
    assert committed().keys() == EVENTS.keys(), "run make docs"


def test_a_removed_type_is_breaking() -> None:
    schemas = event_schemas()
    remaining = {type_: schema for type_, schema in schemas.items() if type_ != "trade.offered.v1"}
    assert breaking(schemas, remaining) == ["trade.offered.v1: the type was removed; its readers still expect it"]


def test_a_removed_field_says_what_to_publish_instead() -> None:
    before, after = event_schemas(), event_schemas()
    del after["trade.offered.v1"]["properties"]["data"]["properties"]["ask"]
    assert breaking(before, after) == ["trade.offered.v1: /data/ask was removed; publish trade.offered.v2 instead"]


def test_every_event_type_has_an_example() -> None:
    without = EVENTS.keys() - {path.parent.name for path in EXAMPLES}
    assert not without, f"add one to functions/<capability>/examples/<type>/ for {', '.join(sorted(without))}"


def test_every_event_comes_from_a_capability_that_publishes_to_its_topic() -> None:
    publishing = {(f"/{f.capability}", topic) for f in catalog().functions.values() for topic in f.publishes}
    for model in EVENTS.values():
        assert (model.source, model.topic) in publishing, f"{model.type}: the catalog has no such publisher"


def test_the_live_feed_knows_every_type_of_its_topics() -> None:
    from functions.live_feed.projections import FOLDS

    topics = catalog().functions["live-feed"].trigger.topics
    assert FOLDS.keys() == {model.type for model in EVENTS.values() if model.topic in topics}


@each_example
def test_an_example_is_an_event_of_its_type(path: Path) -> None:
    event = CloudEvent.model_validate_json(path.read_text())
    model = EVENTS[event.type]
    assert event.type == path.parent.name
    assert event.source == model.source
    assert event.partitionkey == event.subject
    assert event.partner_ids or event.source in OF_NO_PARTNER
    # Byte for byte what the model would publish: nothing misspelt, nothing left out.
    assert model.model_validate(event.data).model_dump(mode="json") == event.data


@each_example
def test_an_example_fits_its_committed_schema(path: Path) -> None:
    example: Any = json.loads(path.read_text())
    assert not faults(example, committed()[path.parent.name])


@each_example
def test_a_schema_refuses_an_example_without_a_field_or_with_another_type(path: Path) -> None:
    schema = committed()[path.parent.name]
    example: Any = json.loads(path.read_text())
    for name in schema["properties"]["data"].get("required", []):
        data = {key: value for key, value in example["data"].items() if key != name}
        assert faults(example | {"data": data}, schema)
    assert faults(example | {"type": "trade.unknown.v1"}, schema)
    assert faults(example | {"subject": "not-a-uuid"}, schema)


@pytest.mark.parametrize(
    ("name", "value"), [("uuid", "u-1"), ("date", "2026-13-01"), ("date-time", "2026-11-24 06:30"), ("decimal", "1,5")]
)
def test_a_format_is_checked(name: str, value: str) -> None:
    assert faults(value, {"type": "string", "format": name})


@each_example
def test_what_a_webhook_is_sent_of_an_example_is_as_documented(path: Path) -> None:
    from functions.webhook_delivery.service import payload

    event = CloudEvent.model_validate_json(path.read_text())
    sent = json.loads(payload(event))
    assert tuple(sent) == DELIVERED
    assert not faults(sent, delivered_schema(event.type, "/schema"))
