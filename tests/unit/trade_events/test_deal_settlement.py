"""Worked settlements, each played as a deal: every line must come out to the paisa."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions.trade_events.deal import settlement
from functions.trade_events.deal.settlement import Line

from .deal_desk import GUJARAT, KAPAS, TAMIL_NADU, Desk, farmer, ginner, mill

EXAMPLES: dict[str, Any] = json.loads((Path(__file__).parent / "settlement_examples.json").read_text("utf-8"))[
    "examples"
]


def expected(kind: str) -> dict[str, int]:
    """Paise by the line's name."""
    return {name: int(Decimal(rupees) * 100) for name, rupees in EXAMPLES[kind]["lines"]}


def inputs(kind: str) -> dict[str, Any]:
    return EXAMPLES[kind]["inputs"]


def paise(lines: tuple[Line, ...], code: str) -> int:
    (line,) = [line for line in lines if line.code == code]
    return line.paise


def candy(rupees: str) -> dict[str, Any]:
    return {"paise": int(rupees) * 100, "unit": "candy_trade"}


def bales(count: int, kg: str) -> dict[str, Any]:
    return {
        "kind": "bales",
        "variety": "Shankar-6",
        "crop_year": "2026-27",
        "station": "Rajkot",
        "quantity": {"bales": count, "kg": kg},
    }


def test_kapas_from_a_farmer() -> None:
    given, lines = inputs("kapas"), expected("kapas")
    charges = [
        {"code": "hamali", "payer": "seller", "to": "labour", "rate": {"paise_per_100kg": 1800}},
        {"code": "weighing", "payer": "seller", "to": "labour", "rate": {"paise_a_lift": 6000}},
        {"code": "mandi_fee", "payer": "buyer", "to": "committee", "rate": {"pct": given["mandi_fee_pct"]}},
        {"code": "adat", "payer": "buyer", "to": "agent", "rate": {"pct": given["adat_pct"]}},
    ]
    desk = Desk(
        "kapas_spot",
        dict(KAPAS),
        {"paise": 1540_00, "unit": "maund_20kg"},
        {"charges": charges},
        seller=farmer(),
        buyer=mill(GUJARAT),
    )
    desk.contracted()
    slip = {"at": "yard", "bridge": "Y1", "serial": "7", "gross_kg": given["gross_kg"], "tare_kg": given["tare_kg"]}
    desk.do("buyer", "weigh", slip=slip)
    figures = {"moisture_pct": given["moisture_pct"], "trash_pct": given["trash_pct"]}
    desk.do("buyer", "test", figures=figures)
    desk.do("seller", "answer_reading", answer="accepted")
    desk.do("seller", "answer_weight", answer="accepted", kg="2720")
    weights = settlement.weights(desk.trade, desk.trade.lift(1))
    assert weights is not None
    assert (str(weights.payable), weights.moisture) == ("2672.400", Decimal("40.8"))
    invoice, owed = desk.statement.of("invoice"), desk.statement.of("liability")
    assert paise(invoice, "cotton") == lines["value of the payable weight"]
    assert paise(invoice, "hamali") == lines["hamali"]
    assert paise(invoice, "weighing") == lines["weighing"]
    assert desk.statement.payable == lines["payable to the farmer"]
    assert paise(owed, "mandi_fee") == lines["mandi fee, buyer to the committee"]
    assert paise(owed, "adat") == lines["adat, buyer to the agent"]
    assert paise(owed, "cgst") == lines["reverse charge cgst, buyer to the government"]
    assert paise(owed, "sgst") == lines["reverse charge sgst, buyer to the government"]
    bought_for = lines["value of the payable weight"] + sum(line.paise for line in owed)
    assert bought_for == int(Decimal(EXAMPLES["kapas"]["results"]["buyer_cost_before_input_credit"]) * 100)


def test_ex_gin_by_the_average_of_two_bridges() -> None:
    given, lines = inputs("ex_gin"), expected("ex_gin")
    loading = [{"code": "loading", "payer": "buyer", "to": "seller", "rate": {"paise_per_bale": 1250}}]
    desk = Desk(ask=candy(given["price"]), differs={"charges": loading})
    desk.contracted()
    desk.weighed(*given["bridge_net_kg"])
    invoice = desk.statement.of("invoice")
    assert paise(invoice, "cotton") == lines["cotton"]
    assert paise(invoice, "loading") == lines["loading"]
    assert sum(line.paise for line in invoice if line.taxed) == lines["taxable value"]
    assert paise(invoice, "igst") == lines["igst"]
    assert desk.statement.payable == lines["invoice total"]


@pytest.mark.parametrize("mode", ["excess_only", "all_if_exceeded"])
def test_delivered_by_the_mills_weight(mode: str) -> None:
    given, lines = inputs("mill_weight"), expected("mill_weight")
    weight = {"packing_kg_per_bale": "0", "allowance": {"kg": given["allowance_kg_a_truck"], "mode": mode}}
    desk = Desk("delivered_mill_weight", bales(300, "49200"), candy(given["price"]), {"weight": weight})
    desk.contracted()
    for lift, (gin, _) in enumerate(given["trucks_gin_mill_kg"], 1):
        desk.weighed(gin, lift=lift)
        desk.invoiced(f"KP/{lift}", lift)
        desk.do("seller", "dispatch", lift=lift, bales=100, vehicle="GJ03AB1234")
        desk.do("buyer", "arrive", lift=lift, bales=100)
    for lift, (_, at_mill) in enumerate(given["trucks_gin_mill_kg"], 1):
        desk.do("buyer", "weigh", lift=lift, slip=desk.slip(at_mill, "mill", "M1"))
    assert [claim.lift for claim in desk.trade.claims] == [1]
    desk.do("seller", "answer_claim", claim=1, answer="accept")
    said = desk.statement
    for lift in (1, 2, 3):
        assert paise(said.of("invoice", lift), "cotton") == lines[f"truck {lift} invoice value"]
        assert paise(said.of("invoice", lift), "igst") == lines[f"truck {lift} invoice igst"]
        note = said.of("credit_note", lift)
        value = sum(line.paise for line in note if line.taxed)
        assert value == lines[f"{mode}: truck {lift} credit note value"]
        assert sum(line.paise for line in note) - value == lines[f"{mode}: truck {lift} credit note igst"]
        short = settlement.weight.shortage(desk.trade, desk.trade.lift(lift))
        assert short is not None
        assert short.claim_kg == Decimal(EXAMPLES["mill_weight"]["results"][f"{mode}_truck_{lift}_claim_kg"])
    assert said.total("credit_note") == lines[f"{mode}: credit notes"]
    assert said.payable == lines[f"{mode}: payable"]


def test_quality_by_the_agreed_table_after_the_invoice() -> None:
    given, lines = inputs("quality"), expected("quality")
    quality = {"table": "NCDEX-2015-01"}
    desk = Desk("cci_auction", ask=candy(given["price"]), differs={"quality": quality}, buyer=mill(GUJARAT))
    desk.contracted()
    desk.weighed(given["net_kg"])
    desk.invoiced()
    figures = {"staple_mm": "28.2", "micronaire": "4.85", "trash_pct": "4.2", "moisture_pct": "8.9"}
    desk.do("inspector", "test", figures=figures)
    invoice, note = desk.statement.of("invoice"), desk.statement.of("credit_note")
    assert paise(invoice, "cotton") == lines["invoice value"]
    assert paise(invoice, "cgst") == lines["invoice cgst"]
    assert paise(invoice, "sgst") == lines["invoice sgst"]
    assert sum(line.paise for line in invoice) == lines["invoice"]
    assert paise(note, "staple_mm") == lines["staple -3 %"]
    assert paise(note, "micronaire") == lines["micronaire -0.3 %"]
    assert paise(note, "trash_pct") == lines["trash -0.7 %"]
    assert paise(note, "moisture_pct") == lines["moisture -0.4 %"]
    assert sum(line.paise for line in note if line.taxed) == lines["credit note value"]
    assert paise(note, "cgst") == lines["credit note cgst"]
    assert paise(note, "sgst") == lines["credit note sgst"]
    assert desk.statement.total("credit_note") == lines["credit note"]
    assert desk.statement.payable == lines["payable"]


def test_lifts_with_an_invoice_each() -> None:
    given, lines = inputs("lifts"), expected("lifts")
    desk = Desk(ask=candy(given["price"]), differs={"weight": {"packing_kg_per_bale": "0"}})
    desk.contracted()
    for lift, net in enumerate(given["lifts_net_kg"], 1):
        desk.weighed(net, net, lift=lift, bales=50)
        desk.invoiced(f"KP/{lift}", lift)
    for lift in (1, 2):
        invoice = desk.statement.of("invoice", lift)
        assert paise(invoice, "cotton") == lines[f"lift {lift} value"]
        assert paise(invoice, "igst") == lines[f"lift {lift} igst"]
        assert sum(line.paise for line in invoice) == lines[f"lift {lift} invoice"]


def test_brokerage_of_both_sides() -> None:
    given, lines = inputs("broker"), expected("broker")
    rates = {"seller": {"pct": given["seller_pct"]}, "buyer": {"paise_per_bale": 3000}}
    # The example names the goods' value alone; at Rs 355.62 a candy a kilogram is a rupee, so that it comes out.
    price = {"paise": 355_62, "unit": "candy_trade"}
    goods = settlement.Line("cotton", "invoice", 1, int(Decimal(given["invoice_value"]) * 100), "buyer", "seller", "")
    desk = Desk(ask=price, differs={"brokerage": rates})
    desk.contracted()
    desk.weighed("16450", "16450")
    desk.do("seller", "dispatch", bales=100, vehicle="GJ03AB1234")
    seller, buyer = settlement.brokerage(desk.trade, (goods,))
    assert seller.paise == lines["seller: brokerage"]
    assert buyer.paise == lines["buyer: brokerage"]


def test_closing_out_what_the_buyer_did_not_lift() -> None:
    given, lines = inputs("close_out"), expected("close_out")
    desk = Desk(
        "cci_auction",
        bales(200, given["contract_kg"]),
        candy(given["price"]),
        {"delivery": {"carrying": None}, "payment": {"instalments": [late(15, "signing"), late(85, "invoice")]}},
    )
    desk.contracted()
    desk.paid("1", 100_000_00)
    desk.weighed(given["lifted_kg"])
    desk.invoiced()
    desk.do("buyer", "dispatch", bales=100, vehicle="TN01AB1234")
    desk.do("buyer", "arrive", bales=100)
    desk.wait(days=91)
    desk.do("seller", "give_notice", ground="delivery")
    desk.wait(days=8)
    resale = candy(given["resale_price"])
    desk.do("seller", "close_out", basis="resale", price=resale, expenses_paise=8750_00)
    damages = desk.statement.of("damages")
    assert settlement.delivery.rest_kg(desk.trade) == Decimal(EXAMPLES["close_out"]["results"]["rest_kg"])
    assert paise(damages, "rest_at_contract_price") == lines["rest at the contract price"]
    assert paise(damages, "rest_at_market_price") == lines["rest at the resale price"]
    assert paise(damages, "expenses") == lines["expenses"]
    claim = desk.trade.claims[-1]
    assert (claim.kind, claim.by) == ("difference", "seller")
    assert claim.asked.paise == lines["loss"] + lines["expenses"]
    assert claim.asked.paise + lines["advance set off"] == lines["claim on the buyer"]


def test_an_auction_with_late_lifting() -> None:
    given, lines = inputs("auction"), expected("auction")
    desk = Desk("cci_auction", ask=candy(given["bid"]), seller=ginner(constitution="government"))
    desk.contracted()
    desk.paid("1")
    desk.weighed(given["net_kg"])
    desk.invoiced()
    desk.wait(days=given["lifted_on_day"])
    desk.do("buyer", "dispatch", bales=100, vehicle="TN01AB1234")
    invoice, note = desk.statement.of("invoice"), desk.statement.of("debit_note")
    assert paise(invoice, "cotton") == lines["value"]
    assert paise(invoice, "igst") == lines["igst"]
    assert sum(line.paise for line in invoice) == lines["invoice"]
    assert paise(note, "carrying") == lines["carrying charge"]
    assert paise(note, "igst") == lines["carrying charge igst"]
    assert sum(line.paise for line in note) == lines["second payment"]


def late(share: int, after: str) -> dict[str, Any]:
    return {"share_pct": str(share), "after": after, "within": {"count": 15}, "before_dispatch": False}


def test_a_claims_tax_is_of_its_own_value() -> None:
    """Two kilograms short: tax on 344.18 rupees is 17.21, whatever the rounded invoices differ by."""
    desk = Desk("delivered_mill_weight", differs={"weight": {"packing_kg_per_bale": "0"}}, buyer=mill(TAMIL_NADU))
    desk.contracted()
    desk.weighed("16372")
    desk.invoiced()
    desk.do("seller", "dispatch", bales=100, vehicle="GJ03AB1234")
    desk.do("buyer", "arrive", bales=100)
    desk.do("buyer", "weigh", slip=desk.slip("16320", "mill", "M1"))
    desk.do("seller", "answer_claim", claim=1, answer="accept")
    note = desk.statement.of("credit_note")
    assert [line.paise for line in note] == [-344_19, -17_21]
