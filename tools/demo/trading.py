"""The lot is traded, from the offer to the settlement, with the mill's app listening."""

from datetime import datetime, timedelta
from typing import Any

from kapas.values import ids
from kapas.values.clock import rfc3339
from kapas.values.money import Money
from local_cloud.client import Client
from tools.demo import grading
from tools.demo.cast import ASK, BALE, BID, FIGURES, LOT
from tools.demo.day import Day
from tools.demo.live import Changes
from tools.demo.screen import expect, wait

CREDIT = timedelta(days=10)


def play(day: Day, changes: Changes) -> str:
    """The settled trade's id."""
    day.screen.act("Trading")
    trade_id = _negotiate(day)
    _inspect(day, trade_id)
    _settle(day, trade_id)
    _statement(day, trade_id)
    _live_document(day, changes, trade_id)
    _events(day, trade_id)
    return trade_id


def _take(client: Client, trade_id: str, event_type: str, **details: Any) -> dict[str, Any]:
    """Take a step at the version that the trade has; the trade after it."""
    path = f"/v1/trades/{trade_id}"
    event = {"type": event_type, "expected_version": client.get(path).body["version"], **details}
    return client.post(f"{path}/events", {"event": event}, expect=201).body


def _negotiate(day: Day) -> str:
    ginner, mill = day.ginner.owner, day.mill.owner
    with day.screen.step("The ginner offers the lot of 100 bales") as seen:
        offer = {"lot": LOT, "ask": ASK, "minimum_grade": "B", "quality_terms": "mcx_2021_11"}
        trade_id: str = ginner.post("/v1/trades", offer, expect=201).body["id"]
        seen.append(f"{LOT['variety']}, 16,350 kg net, micronaire {FIGURES['micronaire']}, at least grade B")
        seen.append(f"asking {Money(ASK['paise'])} a candy of 355.62 kg")
    with day.screen.step("The mill bids") as seen:
        bid = _take(mill, trade_id, "bid_placed", price=BID)
        seen.append(f"{Money(BID['paise'])} a candy; the trade is {bid['status']}, version {bid['version']}")
    with day.screen.step("The ginner accepts; the app sends it twice, it counts once") as seen:
        accept = {"event": {"type": "bid_accepted", "expected_version": 2, "bid_sequence": 2}}
        key = str(ids.uuid7())
        first, again = (ginner.post(f"/v1/trades/{trade_id}/events", accept, key=key, expect=201) for _ in range(2))
        same = first.body == again.body and "Idempotent-Replayed" in again.headers
        expect(same, "the repeated request was not answered like the first")
        seen.append(
            f"the trade is {first.body['status']}, version {first.body['version']}; the repeat got the same answer"
        )
    with day.screen.step("The mill signs the contract") as seen:
        signed = _take(mill, trade_id, "contract_signed")
        amount = Money(signed["amount"]["paise"])
        seen.append(f"the trade is {signed['status']}: 16,350 kg at {Money(BID['paise'])} a candy make {amount}")
    return trade_id


def _inspect(day: Day, trade_id: str) -> None:
    mill, steps = day.mill.owner, f"/v1/trades/{trade_id}/events"
    with day.screen.step(
        "The bales are weighed and sampled; the ginner has the sample graded, which is a claim"
    ) as seen:
        bales = [{"mark": f"P-{number}", **BALE} for number in range(1, LOT["bales"] + 1)]
        _take(day.ginner.owner, trade_id, "bales_weighed", bales=bales)
        sampled = _take(day.staff("inspector"), trade_id, "sample_drawn", samples=5)
        grading.by_figures(day.ginner, trade_id)
        wait(lambda: mill.get(steps).body["data"][-1]["type"] == "quality_claimed", "the claim")
        claim = mill.get(steps).body["data"][-1]["data"]
        seen.append("100 bales on the scale, 5 samples of them")
        seen.append(
            f"grade {claim['grade']} would pass, says the ginner's laboratory; the trade is {sampled['status']} still"
        )
    with day.screen.step("The mill reads the claim and accepts it; its figures settle the trade") as seen:
        passed = _take(mill, trade_id, "quality_accepted")
        figures = claim["figures"]
        seen.append(
            f"Rd {figures['rd']}, trash {figures['trash_weight_pct']} % by weight: the trade is {passed['status']}"
        )


def _settle(day: Day, trade_id: str) -> None:
    ginner, mill = day.ginner.owner, day.mill.owner
    with day.screen.step("Invoice, payment, delivery, settlement") as seen:
        now = datetime.fromisoformat(day.client.get("/_local/clock").body["now"])
        invoice = {"invoice_number": "KP/26-27/0001", "supplier_state": "24", "place_of_supply": "33"}
        steps: list[tuple[Client, str, dict[str, Any]]] = [
            (ginner, "payment_requested", {"due_at": rfc3339(now + CREDIT), **invoice}),
            (ginner, "payment_confirmed", {}),
            (ginner, "dispatched", {"bales": LOT["bales"]}),
            (mill, "delivered", {"bales": LOT["bales"]}),
            (mill, "settlement_accepted", {}),
        ]
        passed = [_take(client, trade_id, event_type, **details) for client, event_type, details in steps]
        expect(passed[-1]["status"] == "SETTLED", f"the trade is {passed[-1]['status']}")
        seen.append(" → ".join(trade["status"] for trade in passed))


def _statement(day: Day, trade_id: str) -> None:
    with day.screen.step("The mill reads the settlement, to the paisa") as seen:
        statement = day.mill.owner.get(f"/v1/trades/{trade_id}/settlement").body
        lines, total = statement["lines"], statement["total"]["paise"]
        expect(sum(line["paise"] for line in lines) == total, "the lines do not sum to the total")
        seen += [f"{Money(line['paise'])!s:>14}  {line['description']}" for line in lines]
        seen.append(f"[bold]{Money(total)!s:>14}  total, {statement['status']}[/]")


def _live_document(day: Day, changes: Changes, trade_id: str) -> None:
    def of_trade() -> Changes:
        return [change for change in changes if change["id"] == trade_id]

    with day.screen.step("The live document changed under the listening app, never backwards") as seen:
        wait(lambda: any(change["status"] == "SETTLED" for change in of_trade()), "SETTLED in the document")
        sequences = [change["sequence"] for change in of_trade()]
        expect(sequences == sorted(sequences), f"the document went back: {sequences}")
        seen.append(" → ".join(f"{change['status']} ({change['sequence']})" for change in of_trade()))


def _events(day: Day, trade_id: str) -> None:
    with day.screen.step("Every event of the trade was published once, in order"):
        wait(lambda: day.client.get("/_local/outbox").body["pending"] == 0, "an empty outbox")
        day.client.settle()
        published = day.client.get("/_local/outbox").body["events"]
        events = [event for event in published if event["subject"] == trade_id]
        version = day.mill.owner.get(f"/v1/trades/{trade_id}").body["version"]
        sequences = [event["sequence"] for event in events]
        expect(sequences == list(range(1, version + 1)), f"expected sequences 1 to {version}, got {sequences}")
        undelivered = day.client.get("/_local/topics").body
        expect(not undelivered, f"{len(undelivered)} messages wait for delivery")
    rows = [(str(event["sequence"]), event["type"], event["topic"]) for event in events]
    day.screen.table("sequence", "type", "topic", rows=rows, numbers=frozenset({"sequence"}))
