"""100 bales are sold ex gin with passing, and lifted in two lorries, with the mill's app listening."""

from collections.abc import Iterable
from typing import Any

from kapas.values import ids
from kapas.values.money import Money
from tools.demo import deal, grading
from tools.demo.cast import ASK, BID, LOT
from tools.demo.day import Day
from tools.demo.deal import Deal
from tools.demo.live import Changes
from tools.demo.screen import expect, wait

TABLE = "MCX-2021-11"
BALES = 50
"""Of a lift."""
BRIDGES = {"Kapas bridge": (8_205, 8_190), "Highway bridge": (8_195, 8_180)}
"""Net kilograms of each lift, by the bridge."""
ADVANCE = 4_22_061_00
"""15 per cent of 16,350 kg at the bid, to the rupee."""


def play(day: Day, changes: Changes) -> str:
    """The completed trade's id."""
    day.screen.act("Bales")
    sold = _negotiate(day)
    _pass(day, sold)
    for lift in (1, 2):
        _lift(day, sold, lift)
    _close(day, sold)
    _live_document(day, changes, sold.id)
    _events(day, sold)
    return sold.id


def _negotiate(day: Day) -> Deal:
    ginner, mill = day.ginner.owner, day.mill.owner
    with day.screen.step("The ginner offers 100 bales ex gin with passing") as seen:
        sold = deal.offer(day, ginner, mill, lot=LOT, ask=ASK, template="ex_gin_passing")
        seen.append(f"{LOT['variety']}, 100 bales, {deal.kilograms(LOT['quantity']['kg'])}")
        seen.append(f"asking {Money(ASK['paise'])} a candy of 355.62 kg")
    with day.screen.step("The mill bids less, and asks for prices by the figures") as seen:
        terms = {"quality": {"table": TABLE}}
        bid = sold.take(mill, "bid", price=BID, differs=terms, valid_until=deal.in_days(day, 1))
        seen.append(f"{Money(BID['paise'])} a candy; the trade is {bid['status']}, version {bid['version']}")
        seen += [f"{one['pointer']}: {one['offer'] or 'none'} → {one['bid']}" for one in bid["bids"][0]["differences"]]
        seen.append(deal.open_step(bid))
    with day.screen.step("The ginner accepts; the app sends it twice, it counts once") as seen:
        accept = {"step": {"type": "accept", "expected_version": 2, "to": 2}}
        key = str(ids.uuid7())
        first, again = (ginner.post(f"{sold.path}/steps", accept, key=key, expect=201) for _ in range(2))
        same = first.body == again.body and "Idempotent-Replayed" in again.headers
        expect(same, "the repeated request was not answered like the first")
        seen.append(
            f"the trade is {first.body['status']}, version {first.body['version']}; the repeat got the same answer"
        )
    with day.screen.step("The mill signs, reads whom it pays, and pays the advance") as seen:
        signed = sold.take(mill, "sign")
        seen.append(f"tax: {signed['tax']['kind']}, from state {signed['tax']['supplier_state']} to {_place(signed)}")
        [seller] = mill.get(f"{sold.path}/parties").body["data"]
        account = seller["bank_account"]
        seen.append(f"{seller['legal_name']}, GSTIN {seller['gstin']}, account ending {account['number'][-4:]}")
        paid = sold.pay("1", ADVANCE)
        expect(paid["dues"][0]["settled"], "the advance is not settled")
        seen.append(f"{Money(ADVANCE)} recorded by the mill, confirmed by the ginner")
    return sold


def _place(trade: dict[str, Any]) -> str:
    return trade["tax"]["place_of_supply"]


def _pass(day: Day, sold: Deal) -> None:
    with day.screen.step("The ginner shows two lots; the mill samples and passes them") as seen:
        lots = [{"no": "L1", "bales": BALES, "marks": "P 1-50"}, {"no": "L2", "bales": BALES, "marks": "P 51-100"}]
        offered = sold.take(sold.seller, "offer_lots", lots=lots)
        seen.append(deal.open_step(offered))
        sold.take(sold.buyer, "sample", samples=2, lot="L1", seal="S-1041")
        results = [{"no": lot["no"], "verdict": "passed"} for lot in lots]
        passed = sold.take(sold.buyer, "pass_lots", results=results)
        seen.append(", ".join(f"lot {lot['no']}, {lot['bales']} bales: {lot['verdict']}" for lot in passed["lots"]))


def _lift(day: Day, sold: Deal, lift: int) -> None:
    """A lift from the two bridges to the mill's gate."""
    with day.screen.step(f"Lift {lift}: weighed on two bridges, graded, invoiced, paid, dispatched, received") as seen:
        for bridge, kilograms in BRIDGES.items():
            sold.weigh(sold.seller, "gin", bridge, kilograms[lift - 1], lift=lift, bales=BALES)
        seen.append("slips " + ", ".join(f"{bridge} {kg[lift - 1]:,} kg" for bridge, kg in BRIDGES.items()))
        _grade(day, sold, lift)
        owed = sold.invoice(sold.seller, "tax_invoice", f"KP/26-27/000{lift}", lift)
        weight = sold.trade()["lifts"][lift - 1]["weight"]
        seen.append(f"{deal.kilograms(weight['kg'])} by the {weight['source']}; invoice {Money(owed)}")
        rest = owed * 85 // 100
        sold.pay(f"2.{lift}", rest)
        seen.append(f"{Money(rest)} recorded by the mill, confirmed by the ginner, before the goods leave")
        papers = {"vehicle": "GJ03AB1234", "lorry_receipt": f"LR-77{lift}", "eway_bill": f"63120000000{lift}"}
        sold.take(sold.buyer, "dispatch", lift=lift, bales=BALES, **papers)
        sold.take(sold.buyer, "arrive", lift=lift, bales=BALES)
        after = sold.take(sold.buyer, "accept_quality", lift=lift)
        delivery = after["delivery"]
        seen.append(
            f"the trade is {after['status']}: {delivery['lifted_bales']} bales lifted, complete: {_said(delivery)}"
        )


def _said(delivery: dict[str, Any]) -> str:
    return "yes" if delivery["complete"] else "not yet"


def _grade(day: Day, sold: Deal, lift: int) -> None:
    """The ginner's laboratory reads the lift, which is its word until the mill accepts it."""
    grading.by_figures(day.ginner, sold.id)
    wait(lambda: bool(sold.trade()["lifts"][lift - 1]["readings"]), f"reading of lift {lift}")
    sold.take(sold.buyer, "answer_reading", lift=lift, answer="accepted")


def _close(day: Day, sold: Deal) -> None:
    with day.screen.step("Nothing is open; both close the trade, and the mill reads the settlement") as seen:
        closed = sold.close()
        expect(closed["status"] == "completed", f"the trade is {closed['status']}")
        seen += sold.statement()
        seen.append(f"the trade is {closed['status']}, version {closed['version']}")


def _live_document(day: Day, changes: Changes, trade_id: str) -> None:
    def of_trade() -> Changes:
        return [change for change in changes if change["id"] == trade_id]

    with day.screen.step("The live document changed under the listening app, never backwards") as seen:
        wait(lambda: any(change["status"] == "completed" for change in of_trade()), "completed in the document")
        sequences = [change["sequence"] for change in of_trade()]
        expect(sequences == sorted(sequences), f"the document went back: {sequences}")
        seen.append(" → ".join(_once(change["status"] for change in of_trade())))
        seen.append(f"{len(sequences)} states of the document, the last is of event {sequences[-1]}")


def _once(statuses: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(statuses))


def _events(day: Day, sold: Deal) -> None:
    with day.screen.step("Every event of the trade was published once, in order"):
        wait(lambda: day.client.get("/_local/outbox").body["pending"] == 0, "an empty outbox")
        day.client.settle()
        published = day.client.get("/_local/outbox").body["events"]
        events = [event for event in published if event["subject"] == sold.id]
        version = sold.trade()["version"]
        sequences = [event["sequence"] for event in events]
        expect(sequences == list(range(1, version + 1)), f"expected sequences 1 to {version}, got {sequences}")
        undelivered = day.client.get("/_local/topics").body
        expect(not undelivered, f"{len(undelivered)} messages wait for delivery")
    rows = [(str(event["sequence"]), event["type"], event["topic"]) for event in events]
    day.screen.table("sequence", "type", "topic", rows=rows, numbers=frozenset({"sequence"}))
