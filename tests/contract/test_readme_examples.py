"""The JSON and the programs of the capabilities' READMEs are what they stand for. Commands are sent by an acceptance test."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel
from standardwebhooks import WebhookVerificationError

from functions.consent_updates.schemas import NoticeReference
from functions.data_export.schemas import Export, Retained
from functions.grading_requests.schemas import Measurement, PlatformGrade
from functions.live_feed import projections
from functions.partner_onboarding.schemas import Partner
from functions.retention_sweep.event_models import RetentionSwept
from functions.retention_sweep.schemas import RetentionLine
from functions.trade_events.event_models import BidEnded, BidPlaced
from functions.trade_events.schemas import StepBatch
from functions.webhook_delivery import signatures
from kapas.messaging.events import CloudEvent
from kapas.schemas.access import DataAccessed
from tools.catalog import ROOT

MODELS: dict[tuple[str, int], dict[str, type[BaseModel]]] = {
    ("audit_trail", 0): {"": DataAccessed},
    ("consent_updates", 0): {"notice": NoticeReference},
    ("data_export", 0): {"": Export},
    ("data_export", 1): {"": Retained},
    ("grading_requests", 0): {"measured": Measurement, "platform_grade": PlatformGrade},
    ("outbox_relay", 0): {"data": BidEnded},
    ("partner_onboarding", 0): {"": Partner},
    ("retention_sweep", 0): {"": RetentionLine},
    ("retention_sweep", 1): {"": RetentionSwept},
    ("trade_events", 0): {"": BidPlaced},
    ("trade_events", 1): {"": StepBatch},
}
"""What each JSON block, by its README and number, is: all of it (""), or a member, or the first item of a member."""


def blocks(kind: str) -> Iterator[tuple[str, int, str]]:
    """README, number and text of each block of a kind."""
    for page in sorted(ROOT.glob("functions/*/README.md")):
        found = re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        yield from ((page.parent.name, number, text) for number, text in enumerate(found))


def shape(value: Any) -> Any:
    """The names of the members, all the way down."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else None


@pytest.mark.parametrize(("readme", "number", "text"), [block for block in blocks("json") if block[0] != "live_feed"])
def test_json_is_what_it_stands_for(readme: str, number: int, text: str) -> None:
    shown = json.loads(text)
    for member, model in MODELS[readme, number].items():
        part = shown[member] if member else shown
        part = part[0] if isinstance(part, list) else part
        # What the model does not know is left out of what it says again.
        assert shape(json.loads(model.model_validate(part).model_dump_json(exclude_unset=True))) == shape(part)


def test_every_block_is_known() -> None:
    assert {(readme, number) for readme, number, _ in blocks("json")} == {*MODELS, ("live_feed", 0)}


def test_the_document_that_is_shown_is_the_fold_of_its_events() -> None:
    [shown] = [json.loads(text) for readme, _, text in blocks("json") if readme == "live_feed"]
    document: dict[str, Any] = {}
    for sequence, name in enumerate(("trade.offered.v1/example", "trade.bid_placed.v1/example"), 1):
        event = json.loads((ROOT / f"functions/trade_events/examples/{name}.json").read_text())
        document = projections.apply(document, CloudEvent.model_validate({**event, "sequence": sequence}))
    assert shape(shown) == shape(document)
    assert (shown["status"], shown["bids"], shown["sequence"]) == (document["status"], document["bids"], 2)


def test_the_program_that_verifies_a_webhook() -> None:
    [(_, _, program)] = blocks("python")
    secret, body = signatures.new_secret(), b'{"type":"webhook.test"}'
    headers = signatures.headers([secret], str(uuid4()), datetime.now(UTC), body)
    told: dict[str, Any] = {"secret": secret, "body": body, "headers": headers}
    exec(program, told)
    assert told["event"] == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        exec(program, told | {"body": body + b" "})
