"""What each side can do to the other over HTTP, and what it gets for an answer: none is left without a say or a way on."""

import threading
from typing import Any

import pytest

from local_cloud.client import ANY, Answer, Client
from tests.journeys.deals import CANDY, Deal, bid, contracted, deal, in_days, kapas, lot, offer, offering, take
from tests.journeys.partners import Partner, active_partner, registration

TEN: dict[str, Any] = {"lot": lot(10)}
MCX: dict[str, Any] = {**TEN, "differs": {"quality": {"table": "MCX-2021-11"}}}


def pointers(answer: Answer) -> list[str]:
    return [error["pointer"] for error in answer.body["errors"]]


def lifted(client: Client, seller: Partner, buyer: Partner, bales: int = 10) -> Deal:
    """Ten bales contracted ex gin, paid, and so many of them weighed, invoiced and dispatched."""
    sold = deal(client, seller, buyer, **TEN)
    sold.pay("1")
    sold.offer_lots(("L1", 10))
    sold.pass_lots("L1")
    sold.weigh_twice(str(164.5 * bales), bales)
    sold.invoice()
    sold.pay("2.1")
    sold.dispatch("buyer", bales)
    return sold


# Weight


@pytest.mark.parametrize("way", ["accepted", "inspector", "operations"])
def test_a_weight_beyond_the_contract_waits_for_the_buyer(
    client: Client, seller: Partner, buyer: Partner, way: str
) -> None:
    sold = deal(client, seller, buyer, lot=lot(1, quantity={"bales": 1, "kg": "163"}))
    sold.weigh("seller", "999.9", bridge="B1")
    weight = sold.weigh("seller", "999.9", bridge="B2").body["lifts"][0]["weight"]
    assert (weight["state"], weight["waits_for"]) == ("waiting", "buyer")
    papers = {"kind": "tax_invoice", "number": "KP/1", "lift": 1}
    refused = sold.take("seller", "record_document", **papers, expect=409).body
    assert refused["against"] == "the slips"
    assert {"step": "answer_weight", "who": "buyer"} in refused["possible"]
    assert sold.settlement()["payable_paise"] == 0
    if way == "accepted":
        weight = sold.take("buyer", "answer_weight", answer="accepted", kg="999.9").body["lifts"][0]["weight"]
        assert (weight["state"], weight["kg"]) == ("agreed", "999.9")
        return
    weight = sold.take("buyer", "answer_weight", answer="contested", kg="999.9").body["lifts"][0]["weight"]
    assert weight["state"] == "contested"
    if way == "inspector":
        weight = sold.weigh("inspector", "163.4", bridge="I1", bales=1).body["lifts"][0]["weight"]
        assert (weight["state"], weight["kg"], weight["source"]) == ("agreed", "162.9", "inspector")
    else:  # nobody decides within a week: no more than the contract's limit
        sold.wait(days=9)
        weight = sold.lift()["weight"]
        assert (weight["state"], weight["kg"]) == ("agreed", "171.15")
    sold.take("seller", "record_document", **papers)


def test_fifty_weighings_at_once_are_all_recorded(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer)
    user, answers = sold.user("seller"), list[Answer]()

    def weigh(number: int) -> None:
        slip = {"at": "gin", "bridge": "B1", "serial": f"T{number}", "gross_kg": "24400", "tare_kg": "8000"}
        body = {"step": {"type": "weigh", "lift": 1 + number % 5, "slip": slip}}
        answers.append(user.post(f"/v1/trades/{sold.trade_id}/steps", body, expect=ANY))

    threads = [threading.Thread(target=weigh, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [201] * 50
    serials = {event["data"]["slip"]["serial"] for event in sold.timeline() if event["type"] == "trade.weighed.v1"}
    assert serials == {f"T{number}" for number in range(50)}
    assert sold.trade()["version"] == 55


@pytest.mark.parametrize("after", ["the invoice", "the end"])
def test_a_late_fact_is_kept_and_flagged(client: Client, seller: Partner, buyer: Partner, after: str) -> None:
    sold = lifted(client, seller, buyer)
    if after == "the end":
        sold.arrive(10)
        sold.take("buyer", "accept_quality")
        sold.take("seller", "accept_closing")
        assert sold.take("buyer", "accept_closing").body["end"] == "completed"
    invoiced = sold.settlement()
    trade = sold.weigh("inspector", "1600", bridge="I1", bales=10).body
    [late] = trade["late"]
    assert late["changes"] == {"lift": 1, "what": "weight", "note": "credit", "before": "1640.0", "after": "1595.0"}
    assert sold.timeline()[-1]["data"]["late"] is True
    assert trade["end"] == ("completed" if after == "the end" else None)
    assert sold.settlement()["papers"] == invoiced["papers"]  # a note changes it, not the fact


# Tax


def test_tax_follows_from_the_parties_registrations(client: Client, seller: Partner, distant_buyer: Partner) -> None:
    sold = deal(client, seller, distant_buyer, **TEN)
    tax = sold.trade()["tax"]
    assert (tax["kind"], tax["supplier_state"], tax["place_of_supply"]) == ("between_states", "24", "33")
    typed = {"kind": "tax_invoice", "number": "KP/1", "lift": 1, "supplier_state": "33", "place_of_supply": "33"}
    refused = sold.take("seller", "record_document", **typed, expect=422)
    assert pointers(refused) == ["/step/supplier_state", "/step/place_of_supply"]
    sold.weigh_twice("1645", 10)
    sold.invoice()
    [paper] = sold.settlement()["papers"]
    assert [line["code"] for line in paper["lines"] if line["code"] != "cotton"] == ["igst"]


def test_goods_bought_in_the_state_bear_both_taxes(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, **TEN)
    sold.weigh_twice("1645", 10)
    sold.invoice()
    [paper] = sold.settlement()["papers"]
    taxes = {line["code"]: line["paise"] for line in paper["lines"] if line["code"] != "cotton"}
    assert taxes.keys() == {"cgst", "sgst"}
    assert taxes["cgst"] == taxes["sgst"]


def test_between_a_farmer_and_nobody_registered_there_is_no_tax(client: Client, farmer: Partner) -> None:
    pan = registration()["identifiers"]["pan"]
    other = active_partner(
        client, type="farmer", constitution="individual", identifiers={"pan": f"{pan[:3]}P{pan[4:]}"}
    )
    ask = {"paise": 7_700_00, "unit": "quintal"}
    trade = contracted(farmer, other, lot=kapas(amount="27.2", unit="quintal"), ask=ask, template="kapas_spot")
    assert (trade["tax"]["kind"], trade["tax"]["reverse_charge"]) == ("none", False)


# Payment and default


def test_what_is_paid_is_neither_cancelled_nor_defaulted_by_who_was_paid(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = deal(client, seller, buyer, **TEN, template="cci_auction")
    sold.pay("1", 3_00_000_00)
    sold.wait(days=16)
    rest = {"basis": "resale", "price": {**CANDY, "paise": 60_000_00}}
    for step, fields in (("cancel_unpaid", {}), ("give_notice", {"ground": "payment"}), ("close_out", rest)):
        sold.take("seller", step, **fields, expect=409)
    trade = sold.take("buyer", "raise_claim", kind="not_delivered", asked={}).body
    assert (trade["end"], trade["claims"][0]["kind"]) == (None, "not_delivered")


def test_what_is_paid_and_never_dispatched_becomes_the_buyers_claim(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = deal(client, seller, buyer, **TEN)
    sold.pay("1", 40_000_00)
    sold.wait(days=25)
    trade = sold.trade()
    assert [(claim["kind"], claim["by"]) for claim in trade["claims"]] == [("not_delivered", "buyer")]
    assert all(step["who"] and step["due_at"] and step["what_happens_then"] for step in trade["next"])
    sold.wait(days=10)
    assert sold.trade()["status"] == "disputed"  # the seller's silence contests it
    sold.take("buyer", "refer_claim", claim=1, to="operations")
    back = {"paise": 40_000_00, "to": "buyer"}
    trade = sold.take("operations", "decide_claim", claim=1, moves=back).body
    assert (trade["claims"][0]["how"], trade["delivery"]["rest"]["why"]) == ("decided", "operations")
    assert trade["next"]


def test_what_is_contracted_and_never_touched_comes_to_an_end(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, **TEN)
    assert sold.trade()["next"]
    sold.wait(days=60)
    trade = sold.trade()
    assert (trade["status"], trade["end_reason"], trade["next"]) == ("cancelled", "rest_ended", [])
    assert (trade["delivery"]["rest"]["how"], trade["payments"]) == ("lapsed", [])


# Delivery


def test_each_lift_is_paid_as_it_is_and_the_rest_is_still_to_come(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = lifted(client, seller, buyer, bales=8)
    first = sold.settlement()["payable_paise"]
    trade = sold.arrive(5, damaged_bales=0)
    assert trade["delivery"]["lifted_bales"] == 8
    assert (trade["delivery"]["complete"], trade["delivery"]["rest_kg"]) == (False, "328.0")
    sold.weigh("buyer", "815", at="mill", bridge="M1", bales=5)  # the buyer's own weight is kept
    assert [slip["by"] for slip in sold.lift()["slips"]] == ["seller", "seller", "buyer"]
    sold.weigh_twice("329", 2, lift=2)
    sold.invoice(2)
    trade = sold.dispatch("buyer", 2, 2)
    assert (trade["delivery"]["lifted_bales"], trade["delivery"]["complete"]) == (10, True)
    assert sold.settlement()["payable_paise"] > first


@pytest.mark.parametrize(
    ("sent", "came", "kind", "by"), [(8, 5, "short_delivery", "buyer"), (4, 10, "excess", "seller")]
)
def test_what_arrives_otherwise_than_it_left_opens_a_claim(
    client: Client, seller: Partner, buyer: Partner, sent: int, came: int, kind: str, by: str
) -> None:
    sold = deal(client, seller, buyer, **TEN, template="delivered_mill_weight")
    sold.weigh("seller", str(164.5 * sent), bales=sent)
    sold.invoice()
    sold.dispatch("seller", sent)
    [claim] = sold.arrive(came)["claims"]
    assert (claim["kind"], claim["by"], claim["asked"]["bales"]) == (kind, by, abs(sent - came))
    assert sold.open("answer_claim", "1")["due_at"]


# Quality


def test_a_reading_that_the_table_has_no_price_for_is_settled_by_the_parties(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = deal(client, seller, buyer, **MCX)
    sold.offer_lots(("L1", 10))
    sold.pass_lots("L1")
    sold.weigh_twice("1645", 10)
    sold.take("inspector", "test", figures={"rd": "72"})
    statement = sold.settlement()
    assert statement["unpriced"] == [{"lift": 1, "name": "rd"}]
    sold.invoice()
    sold.pay("1")
    sold.pay("2.1")
    sold.dispatch("buyer", 10)
    sold.arrive(10)
    claim = sold.claim("buyer", "quality", 1)
    allowance = {"paise": 4_000_00, "to": "buyer"}
    sold.take("seller", "answer_claim", claim=claim, answer="propose", moves=allowance)
    trade = sold.take("buyer", "answer_claim", claim=claim, answer="accept").body
    assert (trade["claims"][0]["how"], trade["claims"][0]["moves"]["paise"]) == ("agreed", 4_000_00)


def test_a_reading_that_the_table_prices_changes_the_bill(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, **MCX)
    sold.weigh_twice("1645", 10)
    sold.take("seller", "test", figures={"rd": "78.0"}, laboratory="gin")
    assert sold.open("answer_reading", "1")["who"] == "buyer"
    sold.take("buyer", "answer_reading", answer="accepted")
    sold.invoice()
    [paper] = sold.settlement()["papers"]
    by_code = {line["code"]: line["paise"] for line in paper["lines"]}
    assert by_code["rd"] == round(by_code["cotton"] / 100)  # above 77: one per cent


# Lots that can be, and lots that cannot


def test_a_farmer_sells_kapas_in_quintals(farmer: Partner, buyer: Partner) -> None:
    lots = kapas(amount="27.2", unit="quintal", outturn_pct="34")
    ask = {"paise": 7_700_00, "unit": "quintal"}
    trade = contracted(farmer, buyer, lot=lots, ask=ask, template="kapas_spot")
    assert (trade["status"], trade["quantity"]) == ("contracted", {"bales": None, "kg": "2720.0"})


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"lot": lot(quantity={"bales": 100, "kg": "0"})}, "/lot/quantity/kg"),
        ({"lot": lot(quantity={"bales": 100_000, "kg": "100000"})}, "/lot/quantity/bales"),
        ({"lot": lot(quantity={"bales": 100, "kg": "100"})}, "/lot/quantity"),
        ({"lot": lot(quantity={"bales": 1, "kg": "5000"})}, "/lot/quantity"),
        ({"lot": lot(quantity={"bales": True, "kg": "164"})}, "/lot/quantity/bales"),
        ({"lot": lot(crop_year="2026-99")}, "/lot"),
        ({"lot": lot(crop_year="2019-20")}, "/lot/crop_year"),
        ({"lot": kapas(unit="maund"), "template": "kapas_spot"}, "/lot/unit"),
        ({"lot": kapas(amount="600000", unit="kg"), "template": "kapas_spot"}, "/lot"),
        ({"ask": {**CANDY, "paise": True}}, "/ask/paise"),
        ({"ask": {**CANDY, "paise": 1.5}}, "/ask/paise"),
        ({"ask": {**CANDY, "paise": 0}}, "/ask/paise"),
        ({"discount": 5}, "/discount"),
        ({"template": "handshake"}, "/template"),
        ({"differs": {"weight": {"basis": "mill"}}}, "/differs"),
        ({"valid_until": "2099-01-01T00:00:00Z"}, "/valid_until"),
    ],
)
def test_a_lot_that_cannot_be_is_refused_field_by_field(seller: Partner, changes: dict[str, Any], pointer: str) -> None:
    answer = seller.owner.post("/v1/trades", offering(seller.owner, **changes), expect=422)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert any(found.startswith(pointer) for found in pointers(answer)), answer.body
    assert all(error["message"] for error in answer.body["errors"])


@pytest.mark.parametrize(
    ("slip", "pointer"),
    [
        ({"gross_kg": "18", "tare_kg": "19"}, "/step/slip"),
        ({"gross_kg": "13000", "tare_kg": "8000", "bales": 1}, "/step/slip"),
        ({"gross_kg": "99000", "tare_kg": "8000"}, "/step/slip/gross_kg"),
        ({"gross_kg": True, "tare_kg": "0"}, "/step/slip/gross_kg"),
    ],
)
def test_a_slip_that_cannot_be_is_refused(
    client: Client, seller: Partner, buyer: Partner, slip: dict[str, Any], pointer: str
) -> None:
    sold = deal(client, seller, buyer, **TEN)
    read = {"at": "gin", "bridge": "B1", "serial": "S1"} | slip
    assert pointer in pointers(sold.take("seller", "weigh", slip=read, expect=422))


# Bids and claims


def test_a_part_of_a_lot_is_bid_for_and_the_rest_is_offered_anew(seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    most = {"bales": 101, "kg": "16564"}
    assert pointers(bid(buyer, trade, quantity=most, expect=422)) == ["/step/quantity"]
    trade = bid(buyer, trade, quantity={"bales": 40, "kg": "6560"}).body
    trade = take(seller, trade, "accept", to=2).body
    assert (trade["quantity"]["bales"], trade["remainder"]) == (40, {"bales": 60, "kg": "9840"})
    rest = offer(seller, lot=lot(60), split_from=trade["id"])
    assert (rest["split_from"], rest["status"]) == (trade["id"], "offered")
    whole = offer(buyer)
    body = offering(seller.owner, split_from=whole["id"])
    assert pointers(seller.owner.post("/v1/trades", body, expect=422)) == ["/split_from"]


def test_an_ask_is_changed_and_extended(client: Client, seller: Partner, buyer: Partner) -> None:
    trade = bid(buyer, offer(seller)).body
    until = in_days(client, 20)
    trade = take(seller, trade, "change_offer", ask={**CANDY, "paise": 62_000_00}, valid_until=until).body
    assert (trade["ask"]["paise"], trade["valid_until"] > until[:10]) == (62_000_00, True)
    trade = take(seller, trade, "change_offer", differs={"payment": {"notice": {"count": 5}}}).body
    assert trade["terms"]["payment"]["notice"]["count"] == 5
    assert [one["open"] for one in trade["bids"]] == [True]
    take(buyer, trade, "change_offer", ask=CANDY, expect=403)


def test_the_parties_settle_and_withdraw_their_disputes_themselves(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = lifted(client, seller, buyer)
    claim = sold.claim("buyer", "damage", 1, paise=5_000_00, to="buyer")
    trade = sold.take("seller", "answer_claim", claim=claim, answer="contest").body
    assert trade["status"] == "disputed"
    sold.take("seller", "answer_claim", claim=claim, answer="withdraw", expect=403)
    trade = sold.take("buyer", "answer_claim", claim=claim, answer="withdraw").body
    assert (trade["status"], trade["claims"][0]["how"]) == ("in_delivery", "withdrawn")
    claim = sold.claim("seller", "documents", 1, paise=500_00, to="seller")
    trade = sold.take("buyer", "answer_claim", claim=claim, answer="accept").body
    assert (trade["claims"][1]["how"], trade["claims"][1]["moves"]["paise"]) == ("agreed", 500_00)


def test_a_refusal_says_what_stands_against_it_and_what_is_possible(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = deal(client, seller, buyer, **TEN)
    stale = {"type": "sign", "expected_version": 1}
    refused = sold.user("buyer").post(f"/v1/trades/{sold.trade_id}/steps", {"step": stale}, expect=409).body
    assert refused["type"].endswith("/version-conflict")
    assert refused["version"] == 5
    assert {"step": "offer_lots", "who": "seller"} in refused["possible"]
    assert pointers(sold.take("seller", "invoice_torn_up", expect=422)) == ["/step"]
