"""Webhooks of both firms, verified by the independent `standardwebhooks` package; one firm's system is down at first."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from tools.demo.day import Day, Firm
from tools.demo.screen import expect, wait

MILL_TYPES = (
    "trade.matched.v1",
    "trade.contracted.v1",
    "trade.lots_offered.v1",
    "trade.document_recorded.v1",
    "trade.ended.v1",
)
GINNER_TYPES = ("trade.contracted.v1", "trade.ended.v1")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A registered endpoint."""

    id: str
    secret: str
    receiver: str
    """The path of the local receiver that is told."""


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Of both firms."""

    ginner: Subscription
    mill: Subscription


def subscribe(day: Day) -> Subscriptions:
    """Register an endpoint for each firm; the ginner's answers 503 until it is mended."""
    day.screen.act("Webhooks")
    with day.screen.step("The mill and the ginner register webhooks; the ginner's system is down") as seen:
        mill = _register(day, day.mill, "mill", MILL_TYPES)
        ginner = _register(day, day.ginner, "ginner", GINNER_TYPES)
        day.client.call("PUT", ginner.receiver, {"answers": [{"status": 503, "times": None}]})
        seen.append(f"mill: endpoint {mill.id}, secret shown once: {mill.secret[:10]}…")
        seen.append(f"ginner: endpoint {ginner.id}, answers 503")
    return Subscriptions(ginner, mill)


def _register(day: Day, firm: Firm, name: str, event_types: tuple[str, ...]) -> Subscription:
    receiver = f"/_local/receiver/{name}"
    body = {"url": day.client.url + receiver, "event_types": event_types}
    endpoint = firm.owner.post("/v1/webhook-endpoints", body, expect=201).body
    day.client.call("PUT", receiver, {"secret": endpoint["secret"]})
    return Subscription(endpoint["id"], endpoint["secret"], receiver)


def play(day: Day, subscriptions: Subscriptions, trade_id: str) -> None:
    day.screen.act("Webhooks, delivered")
    with day.screen.step("The mill was told of the trade; an independent library verifies each signature") as seen:
        mill = subscriptions.mill
        wait(lambda: _taken(day, mill, trade_id).keys() >= set(MILL_TYPES), f"webhooks {', '.join(MILL_TYPES)}")
        taken = _taken(day, mill, trade_id)
        for event_type in MILL_TYPES:
            delivery = taken[event_type]
            Webhook(mill.secret).verify(delivery["body"], delivery["headers"])  # raises unless the signature is right
            seen.append(f"{event_type} [green]verified[/], webhook-id {delivery['webhook_id']}")
    with day.screen.step("The ginner's system is up again, and a quarter of an hour later it has all") as seen:
        ginner = subscriptions.ginner
        refused = [one["status"] for one in day.client.get(ginner.receiver).body["data"]]
        expect(bool(refused) and set(refused) == {503}, f"expected refused attempts, got {refused}")
        day.client.call("PUT", ginner.receiver, {"answers": []})
        day.advance("PT15M")
        wait(lambda: _taken(day, ginner, trade_id).keys() >= set(GINNER_TYPES), f"webhooks {', '.join(GINNER_TYPES)}")
        for event_type, delivery in _taken(day, ginner, trade_id).items():
            expect(_signed(ginner.secret, delivery), f"{event_type} is not signed")
            tries = f"attempt {delivery['seen']}, after {delivery['seen'] - 1} that it answered 503"
            seen.append(f"{event_type} [green]verified[/], {tries}")


def _taken(day: Day, subscription: Subscription, trade_id: str) -> dict[str, dict[str, Any]]:
    """What was told of the trade and answered 200, by event type."""
    deliveries = [one for one in day.client.get(subscription.receiver).body["data"] if one["status"] == 200]
    received = [(json.loads(delivery["body"]), delivery) for delivery in deliveries]
    return {event["type"]: delivery for event, delivery in received if event["subject"] == trade_id}


def _signed(secret: str, delivery: dict[str, Any]) -> bool:
    """Whether the package would sign so. Its `verify` asks for a timestamp of now, and time has been moved."""
    headers = delivery["headers"]
    sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(secret).sign(headers["webhook-id"], sent_at, delivery["body"])
    return expected in headers["webhook-signature"].split(" ")
