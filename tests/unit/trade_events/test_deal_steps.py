"""Five kinds of deal step by step, and the paths that leave the way."""

from datetime import timedelta
from typing import Any

import pytest

from functions.trade_events.deal import negotiation, settlement, weight
from functions.trade_events.deal.fold import apply
from functions.trade_events.deal.parties import Mandate
from functions.trade_events.deal.terms import QualityTable

from .deal_desk import (
    BALES,
    BROKER,
    BUYER,
    CANDY,
    GUJARAT,
    KAPAS,
    MAHARASHTRA,
    RIVAL,
    SELLER,
    TAMIL_NADU,
    Desk,
    farmer,
    ginner,
    mill,
    uid,
)

QUINTAL: dict[str, Any] = {"paise": 7700_00, "unit": "quintal"}


def kapas(**changes: Any) -> Desk:
    known: dict[str, Any] = {"seller": farmer(), "buyer": mill(GUJARAT)}
    desk = Desk("kapas_spot", dict(KAPAS), dict(QUINTAL), **known | changes)
    desk.contracted()
    return desk


def delivered(bales: int = 100) -> Desk:
    desk = Desk("delivered_mill_weight", differs={"weight": {"packing_kg_per_bale": "0"}})
    desk.contracted()
    desk.weighed("16372", bales=bales)
    desk.invoiced()
    desk.do("seller", "dispatch", bales=bales, vehicle="GJ03AB1234", lorry_receipt="LR 7")
    return desk


def test_kapas_from_the_yard_to_the_payment() -> None:
    desk = kapas()
    desk.do("buyer", "weigh", slip={"at": "yard", "bridge": "Y1", "serial": "7", "gross_kg": "4860", "tare_kg": "2140"})
    assert desk.open("answer_weight").who == "seller"
    assert desk.open("test").who == "buyer"
    desk.do("buyer", "test", figures={"moisture_pct": "9.5", "trash_pct": "3.25"})
    assert desk.open("answer_reading").who == "seller"
    desk.do("seller", "answer_reading", answer="accepted")
    desk.do("seller", "answer_weight", answer="accepted", kg="2720")
    pay, bill = desk.open("pay"), desk.open("record_document")
    assert (pay.who, pay.due_at) == ("buyer", desk.now + timedelta(hours=24))
    assert (bill.who, (bill.due_at - desk.now).days) == ("buyer", 30)  # a self-invoice, rule 47A
    assert desk.refused("seller", "record_document", kind="tax_invoice", number="F/1", lift=1).code == "forbidden"
    desk.invoiced("SI/1", kind="self_invoice", who="buyer")
    payment: dict[str, Any] = {"due": "1.1", "paise": 205225_20, "payment_id": uid(70)}
    desk.do("buyer", "record_payment", settles=False, **payment)
    assert desk.open("pay", "1.1")  # a payer's word settles nothing
    assert desk.open("record_payment").who == "seller"
    desk.do("seller", "record_payment", settles=True, **payment)
    assert [item.step for item in desk.agenda] == ["accept_closing"]
    desk.do("seller", "accept_closing")
    desk.do("buyer", "accept_closing")
    assert desk.status == "completed"


def test_a_quarrel_over_a_reading_ends_without_a_deduction() -> None:
    desk = kapas()
    desk.do("buyer", "weigh", slip={"at": "yard", "bridge": "Y1", "serial": "7", "gross_kg": "4860", "tare_kg": "2140"})
    desk.do("buyer", "test", figures={"moisture_pct": "12"})
    desk.do("seller", "answer_reading", answer="contested")
    assert desk.open("test").who == "inspector"
    desk.wait(days=5)
    assert desk.trade.lift(1).reading_answer == "dropped"
    desk.do("inspector", "weigh", slip=desk.slip("2720", "yard", bales=None))
    weights = settlement.weights(desk.trade, desk.trade.lift(1))
    assert weights is not None
    assert (weights.moisture, weights.payable) == (0, 2720)


def test_ex_gin_with_passing_and_two_lifts() -> None:
    desk = Desk(differs={"weight": {"packing_kg_per_bale": "0"}})
    desk.contracted()
    assert (desk.open("pay").ref, desk.open("offer_lots").who) == ("1", "seller")
    desk.paid("1", 425_000_00)
    desk.do("seller", "offer_lots", lots=[{"no": "L1", "bales": 60}, {"no": "L2", "bales": 60}])
    assert desk.open("pass_lots").who == "buyer"
    passed = {"no": "L1", "verdict": "passed"}
    desk.do("buyer", "pass_lots", results=[passed, {"no": "L2", "verdict": "rejected"}])
    assert desk.open("offer_lots").ref == "replacement"
    desk.do("seller", "offer_lots", lots=[{"no": "L3", "bales": 40}])
    desk.do("buyer", "pass_lots", results=[{"no": "L3", "verdict": "passed"}])
    for lift, bales, net in ((1, 60, "9822"), (2, 40, "6550")):
        desk.weighed(net, net, lift=lift, bales=bales)
        desk.invoiced(f"KP/{lift}", lift)
        assert desk.open("pay", f"2.{lift}").who == "buyer"
        desk.paid(f"2.{lift}")
        desk.do("buyer", "dispatch", lift=lift, bales=bales, vehicle="TN01AB1234")
        desk.do("buyer", "arrive", lift=lift, bales=bales)
    assert desk.status == "in_delivery"
    assert not desk.is_open("dispatch")
    window = desk.open("accept_quality", "1")
    assert window.who == "buyer"
    for lift in (1, 2):
        desk.do("buyer", "accept_quality", lift=lift)
    assert desk.wait(days=4) == ["ended"]
    assert desk.status == "completed"


@pytest.mark.parametrize(("silence", "verdict"), [("passed", "passed"), ("released", "released")])
def test_lots_are_deemed_as_the_terms_say_and_not_a_day_early(silence: str, verdict: str) -> None:
    """Offered on Tuesday: two working days are Wednesday and Thursday, and the day ends at midnight in India."""
    desk = Desk(differs={"quality": {"silence": silence}})
    desk.contracted()
    desk.do("seller", "offer_lots", lots=[{"no": "L1", "bales": 100}])
    due = desk.open("pass_lots").due_at
    assert due.isoformat() == "2026-12-03T18:30:00+00:00"
    desk.wait(seconds=(due - desk.now).total_seconds() - 1)
    assert desk.trade.lots[0].verdict is None
    desk.wait(seconds=1)
    assert desk.trade.lots[0].verdict == verdict


def test_one_bridge_counts_alone_when_both_say_so() -> None:
    desk = Desk()
    desk.contracted()
    desk.weighed("16400")
    assert (desk.open("weigh").who, desk.is_open("record_document")) == ("seller", False)
    desk.do("seller", "propose", about="one_bridge", lift=1)
    desk.do("buyer", "answer_proposal", proposal=1, answer="accepted")
    assert desk.open("record_document").who == "seller"


def test_delivered_with_a_shortage_that_nobody_answers() -> None:
    desk = delivered()
    desk.do("buyer", "arrive", bales=100)
    assert desk.open("weigh").who == "buyer"
    desk.do("buyer", "weigh", slip=desk.slip("16290", "mill", "M1"))
    claim = desk.open("answer_claim")
    assert (claim.who, desk.status) == ("seller", "in_delivery")
    desk.wait(days=3)
    assert desk.trade.claims[0].how == "agreed"
    assert desk.open("record_document", "claim 1").who == "seller"
    desk.do("seller", "record_document", kind="credit_note", number="CN/1", lift=1, claim=1)
    assert not desk.is_open("record_document")


def test_a_shortage_is_contested_and_weighed_again() -> None:
    desk = delivered()
    desk.do("buyer", "arrive", bales=100)
    desk.do("buyer", "weigh", slip=desk.slip("16290", "mill", "M1"))
    desk.do("seller", "answer_claim", claim=1, answer="contest")
    assert desk.status == "disputed"
    desk.do("seller", "weigh", slip=desk.slip("16370", "mill", "INDEP", independent=True))
    assert desk.status == "disputed"  # the seller's word for a bridge that it calls independent
    desk.do("inspector", "weigh", slip=desk.slip("16300", "mill", "INDEP"))
    assert desk.trade.claims[0].how == "decided"
    assert str(desk.trade.claims[0].moves.kg) == "22"


def test_the_gin_weight_stands_when_the_mill_does_not_weigh() -> None:
    desk = delivered()
    desk.do("buyer", "arrive", bales=100)
    desk.wait(hours=25)
    desk.do("buyer", "weigh", slip=desk.slip("16000", "mill", "M1"))
    assert desk.trade.claims == ()
    assert len(desk.trade.lift(1).slips) == 2  # kept all the same


def test_an_arrival_is_deemed_unless_the_buyer_says_it_did_not_come() -> None:
    silent, claimed = delivered(), delivered()
    claimed.do("buyer", "raise_claim", kind="not_delivered", lift=1)
    for desk in (silent, claimed):
        desk.wait(days=12)
    arrival = silent.trade.lift(1).arrival
    assert arrival is not None
    assert arrival.deemed
    assert claimed.trade.lift(1).arrival is None


def test_a_late_arrival_takes_the_place_of_a_deemed_one() -> None:
    desk = delivered()
    desk.wait(days=12)
    desk.do("buyer", "arrive", bales=96)
    assert [claim.kind for claim in desk.trade.claims] == ["short_delivery"]


def broker(*rights: str, side: str = "seller", principal: Any = SELLER) -> Mandate:
    given = {"principal_id": principal, "broker_id": BROKER, "side": side, "rights": list(rights)}
    return Mandate.model_validate(given)


def test_a_broker_binds_nobody_without_a_mandate() -> None:
    desk = Desk(mandates=(broker("negotiate"),))
    desk.do("buyer", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1))
    assert "to sign" in desk.refused("sellers_broker", "accept", to=2).message
    desk.do(
        "sellers_broker", "counter", to=2, price={**CANDY, "paise": 61_500_00}, valid_until=desk.now + timedelta(days=1)
    )
    assert desk.refused("buyers_broker", "accept", to=3).code == "forbidden"
    desk.do("buyer", "accept", to=3)
    desk.do("seller", "sign")
    assert desk.status == "contracted"


def test_through_a_broker_with_a_mandate_of_both() -> None:
    desk = Desk()
    for who, side, principal in (("seller", "seller", SELLER), ("buyer", "buyer", BUYER)):
        mandate = broker("negotiate", "sign", side=side, principal=principal)
        desk.do(who, "give_mandate", mandate=mandate.model_dump())
    desk.do("buyers_broker", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1))
    desk.do("sellers_broker", "accept", to=desk.trade.version)
    desk.do("buyers_broker", "sign")
    assert desk.trade.buyer_id == BUYER
    note = desk.open("record_document", "note")
    assert note.who == "broker"
    desk.do("broker", "record_document", kind="brokers_note", number="BN/1")
    assert not desk.is_open("record_document")
    desk.do("seller", "revoke_mandate", broker_id=BROKER)
    assert desk.refused("sellers_broker", "offer_lots", lots=[{"no": "L1", "bales": 100}]).against == "the mandate"


def test_an_auction_lot_has_no_claim_of_quality() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    desk.paid("1")
    desk.weighed("16400")
    desk.invoiced()
    desk.do("buyer", "dispatch", bales=100, vehicle="TN01AB1234")
    desk.do("buyer", "arrive", bales=100)
    refused = desk.refused("buyer", "raise_claim", kind="quality", lift=1)
    assert refused.against == "terms.quality.passing"
    assert desk.wait(days=4)[-1] == "ended"
    assert desk.status == "completed"


# Negotiation


def test_terms_are_negotiated_as_differences_that_both_see() -> None:
    desk = Desk()
    until = desk.now + timedelta(days=1)
    desk.do("buyer", "bid", price=CANDY, differs={"payment": {"notice": {"count": 10}}}, valid_until=until)
    talk = desk.trade.talks[0]
    (difference,) = negotiation.side_by_side(desk.trade, talk)
    assert (difference.pointer, difference.seller, difference.buyer) == ("/payment/notice/count", 7, 10)
    desk.do("seller", "change_offer", differs={"signing": {"count": 5}})
    assert desk.trade.talks[0].terms.signing.count == 2  # what was bid on stays what was bid on
    desk.do("seller", "counter", to=talk.sequence, price={**CANDY, "paise": 61_300_00}, valid_until=until)
    desk.do("buyer", "accept", to=desk.trade.version)
    assert desk.trade.terms.payment.notice.count == 10
    refused = desk.refused("buyer", "accept", to=2)
    assert refused.against == "the match"


def test_terms_that_are_none_are_refused_with_a_pointer() -> None:
    desk = Desk()
    patch = {"payment": {"instalments": [{"share_pct": "90", "after": "invoice", "within": {"count": 3}}]}}
    refused = desk.refused("buyer", "bid", price=CANDY, differs=patch, valid_until=desk.now + timedelta(days=1))
    assert refused.pointer == "/differs/payment"
    assert "100 per cent" in refused.message


def test_a_part_of_a_lot_is_bid_for_and_the_rest_is_left() -> None:
    desk = Desk()
    desk.contracted(quantity={"bales": 40, "kg": "6560"})
    match = desk.trade.match
    assert match is not None
    assert match.remainder is not None
    assert (match.quantity.bales, match.remainder.bales, match.remainder.kg) == (40, 60, 9840)
    desk = Desk()
    until = desk.now + timedelta(days=1)
    refused = desk.refused("buyer", "bid", price=CANDY, quantity={"bales": 90, "kg": "16390"}, valid_until=until)
    assert refused.pointer == "/quantity"


def test_an_offer_is_changed_and_extended_and_expires() -> None:
    desk = Desk()
    desk.do("seller", "change_offer", ask={**CANDY, "paise": 60_000_00}, valid_until=desk.now + timedelta(days=20))
    assert desk.wait(days=19) == []
    assert desk.wait(days=2) == ["ended"]
    assert desk.status == "expired"


def test_a_rival_cannot_answer_anothers_bid_and_sees_its_own_lapse() -> None:
    desk = Desk()
    desk.do("buyer", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1))
    desk.do("seller", "counter", to=2, price={**CANDY, "paise": 62_000_00}, valid_until=desk.now + timedelta(days=1))
    assert desk.refused("rival", "accept", to=3).code == "forbidden"
    assert desk.wait(days=2) == ["bid_ended"]
    assert desk.status == "offered"


def test_nobody_signs() -> None:
    desk = Desk()
    desk.do("buyer", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1))
    desk.do("seller", "accept", to=2)
    assert (desk.status, desk.open("sign").who) == ("matched", "buyer")
    assert desk.wait(days=4) == ["ended"]
    assert desk.status == "cancelled"


# Exceptional paths


def test_the_rest_of_a_partial_lift_is_extended_cancelled_or_closed_out() -> None:
    def half() -> Desk:
        desk = Desk("cci_auction", differs={"payment": {"instalments": [part("signing", 15), part("invoice", 85)]}})
        desk.contracted()
        desk.paid("1")
        desk.weighed("8200", bales=50)
        desk.do("buyer", "dispatch", bales=50, vehicle="TN01AB1234")
        return desk

    extended = half()
    extended.do("buyer", "propose", about="extend_delivery", until=extended.now + timedelta(days=120))
    extended.do("seller", "answer_proposal", proposal=1, answer="accepted")
    assert (extended.open("dispatch").due_at - extended.now).days == 120
    consent = half()
    consent.do("seller", "propose", about="cancel_rest")
    consent.do("buyer", "answer_proposal", proposal=1, answer="accepted")
    assert consent.trade.rest is not None
    assert consent.statement.of("damages") == ()
    defaulted = half()
    assert defaulted.refused("seller", "give_notice", ground="delivery").pointer == "/ground"
    defaulted.wait(days=92)
    defaulted.do("seller", "give_notice", ground="delivery")
    price = {**CANDY, "paise": 58_000_00}
    assert defaulted.refused("seller", "close_out", basis="resale", price=price).against == "the notice"
    defaulted.wait(days=8)
    defaulted.do("seller", "close_out", basis="resale", price=price)
    assert defaulted.trade.claims[-1].kind == "difference"


def part(after: str, share: int) -> dict[str, Any]:
    return {"share_pct": str(share), "after": after, "within": {"count": 5}}


def test_a_lift_is_counted_once() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    for _ in range(2):
        desk.do("buyer", "dispatch", lift=1, bales=50, vehicle="TN01AB1234")
    assert settlement.delivery.lifted_bales(desk.trade) == 50
    assert "takes its place" in desk.events[-1].payload.model_dump()["against"][0]


def test_an_advance_that_does_not_come() -> None:
    desk = Desk()
    desk.contracted()
    assert desk.refused("seller", "cancel_unpaid").against == "the payments"
    desk.wait(days=3)
    desk.do("seller", "cancel_unpaid")
    assert desk.wait(days=4)[-1] == "ended"
    assert desk.status == "cancelled"


def test_a_bounced_cheque_opens_the_due_again() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    payment: dict[str, Any] = {"due": "1", "paise": 100_00, "payment_id": uid(70)}
    desk.do("system", "record_payment", settles=True, **payment)
    assert not desk.is_open("pay")
    assert desk.refused("seller", "reverse_payment", payment_id=uid(70), why="returned").against == "the bank line"
    desk.do("system", "reverse_payment", payment_id=uid(70), why="returned")
    assert desk.is_open("pay")


def test_goods_are_returned_or_sold_on_account() -> None:
    desk = delivered()
    desk.do("buyer", "arrive", bales=100)
    asked = {"paise": 100_000_00, "to": "buyer", "goods": "returned", "bales": 20}
    desk.do("buyer", "raise_claim", kind="quality", lift=1, asked=asked)
    desk.do("seller", "answer_claim", claim=1, answer="accept")
    assert desk.open("settle_goods").who == "seller"
    desk.wait(days=8)
    assert desk.trade.claims[0].goods == "sold_on_account"


def test_windows_stop_in_a_dispute_and_go_on_when_it_is_withdrawn() -> None:
    desk = Desk()
    desk.contracted()
    desk.do("seller", "offer_lots", lots=[{"no": "L1", "bales": 100}])
    due = desk.open("pass_lots").due_at
    pay = desk.open("pay").due_at
    desk.do("buyer", "raise_claim", kind="other")
    desk.do("seller", "answer_claim", claim=1, answer="contest")
    assert not desk.is_open("pass_lots")
    assert desk.open("pay").due_at == pay  # interest runs
    desk.wait(days=5)
    desk.do("buyer", "answer_claim", claim=1, answer="withdraw")
    assert desk.open("pass_lots").due_at - due == timedelta(days=5)


def test_an_award_ends_a_claim_and_names_what_moves() -> None:
    desk = Desk()
    desk.contracted()
    desk.do("buyer", "raise_claim", kind="other")
    desk.do("buyer", "refer_claim", claim=1, to="arbitration")
    desk.do("operations", "record_award", claim=1, award="CAI/2026/7", moves={"paise": 1_000_00, "to": "buyer"})
    assert (desk.trade.claims[0].how, desk.trade.claims[0].award) == ("awarded", "CAI/2026/7")
    assert [line.paise for line in desk.statement.of("credit_note")] == [-1_000_00, -50_00]


def test_a_party_that_is_erased_in_the_middle_leaves_the_other_a_way_on() -> None:
    desk = Desk()
    desk.contracted()
    desk.do("system", "report_status", side="seller", status="erased")
    assert desk.open("decide_party").who == "operations"
    price = {**CANDY, "paise": 63_000_00}
    desk.do("buyer", "close_out", basis="purchase", price=price)
    claim = desk.trade.claims[-1]
    assert (claim.kind, claim.by) == ("difference", "buyer")
    desk.wait(days=60)
    assert desk.status == "closed_out"


def test_nobody_contracts_with_a_party_that_does_not_trade() -> None:
    desk = Desk(rival=mill(MAHARASHTRA, RIVAL, status="suspended"))
    assert desk.refused("rival", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1)).against
    desk.do("buyer", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1))
    desk.buyer = mill(status="insolvent")
    assert "does not trade" in desk.refused("seller", "accept", to=2).message


# Corrections


def test_who_recorded_a_fact_corrects_it() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    desk.weighed("16400")
    wrong = desk.trade.version
    replacement = {"type": "weigh", "slip": desk.slip("16300")}
    fields: dict[str, Any] = {"corrects": wrong, "reason": "incorrect_data", "replacement": replacement}
    assert desk.refused("buyer", "correct", **fields).code == "forbidden"
    desk.do("seller", "correct", **fields)
    assert [str(slip.slip.net_kg) for slip in desk.trade.lift(1).slips] == ["16300"]
    assert len(desk.events) == wrong + 2


# Tax


@pytest.mark.parametrize(
    ("seller", "buyer", "kind", "reverse", "notification"),
    [
        (farmer(), mill(GUJARAT), "within_state", True, "43/2017-CT(R)"),
        (farmer(), mill(TAMIL_NADU), "between_states", True, "45/2017-IT(R)"),
        (farmer(constitution="huf"), mill(GUJARAT), "within_state", True, "43/2017"),
        (farmer(), mill(GUJARAT, registrations={}), "none", False, "23(1)(b)"),
        (farmer(constitution="company"), mill(GUJARAT), "none", False, "32(1)"),
        (farmer(constitution="company", registrations={uid(11): "24"}), mill(GUJARAT), "within_state", False, "5201"),
        (ginner(), mill(TAMIL_NADU), "between_states", False, "5201"),
        (ginner("27"), mill("27"), "within_state", False, "5201"),
    ],
)
def test_the_tax_of_a_supply(seller: Any, buyer: Any, kind: str, reverse: bool, notification: str) -> None:
    desk = Desk("kapas_spot", dict(KAPAS), dict(QUINTAL), seller=seller, buyer=buyer)
    desk.contracted()
    tax = desk.trade.tax
    assert tax is not None
    assert (tax.kind, tax.reverse_charge) == (kind, reverse)
    assert notification in tax.source


def test_an_unregistered_trader_sells_into_no_other_state() -> None:
    desk = Desk(seller=ginner(registrations={}))
    desk.do("buyer", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1))
    desk.do("seller", "accept", to=2)
    assert desk.refused("buyer", "sign").against == "CGST Act 2017, section 24(i)"


def test_a_party_of_several_registrations_names_its_own() -> None:
    two = {uid(11): GUJARAT, uid(13): MAHARASHTRA}
    desk = Desk(seller=ginner(registrations=two))
    desk.do("buyer", "bid", price=CANDY, valid_until=desk.now + timedelta(days=1))
    desk.do("seller", "accept", to=2)
    assert desk.refused("buyer", "sign").pointer == "/registration_id"
    buyers = {"registration_id": uid(21)}
    assert desk.refused("seller", "name_details", details=buyers).message.endswith("no registration of that id")
    desk.do("seller", "name_details", details={"registration_id": uid(13), "account_id": uid(12)})
    desk.do("buyer", "sign")
    tax = desk.trade.tax
    assert tax is not None
    assert tax.supplier_state == MAHARASHTRA


def test_goods_that_stay_in_a_warehouse_are_supplied_where_they_lie() -> None:
    desk = Desk("cci_auction", differs={"delivery": {"basis": "in_warehouse"}})
    desk.contracted()
    assert desk.trade.tax is not None
    assert desk.trade.tax.kind == "within_state"
    desk.weighed("16400")
    assert not desk.is_open("dispatch")


def test_goods_go_to_a_place_that_the_buyer_names() -> None:
    desk = Desk(buyer=mill(TAMIL_NADU, places={uid(24): GUJARAT}))
    desk.do("buyer", "name_details", details={"place_id": uid(24)})
    desk.contracted()
    assert desk.trade.tax is not None
    assert desk.trade.tax.place_of_supply == GUJARAT


def test_the_parties_own_table() -> None:
    table = {
        "version": "ours",
        "source": "agreed",
        "bands": {"micronaire": [{"below": "3.5", "paise_per_unit": -300_00}, {"from": "3.5", "percent": "0"}]},
    }
    assert QualityTable.model_validate(table).version == "ours"
    desk = Desk("cci_auction", differs={"quality": {"table": table}})
    desk.contracted()
    desk.weighed("10668.6", bales=65)
    desk.do("inspector", "test", figures={"micronaire": "3.4"})
    (line,) = [line for line in desk.statement.of("invoice") if line.code == "micronaire"]
    assert line.paise == -30 * 300_00  # thirty candies of 355.62 kg


def test_bales_hold_a_sum_that_can_be_settled() -> None:
    lot = {**BALES, "quantity": {"bales": 5000, "kg": "820000"}}
    desk = Desk(lot=lot, ask={"paise": 10**9, "unit": "candy_trade"})
    assert desk.status == "offered"


@pytest.mark.parametrize(("buyers", "waits"), [("16400", False), ("16330", False), ("16300", True)])
def test_slips_of_both_sides_agree_within_the_tolerance(buyers: str, waits: bool) -> None:
    """Half a per cent of 16,400 kg is 82 kg; within it the mean of both pays."""
    desk = Desk("cci_auction")
    desk.contracted()
    desk.do("seller", "weigh", slip=desk.slip("16400"))
    desk.do("buyer", "weigh", slip=desk.slip(buyers))
    assert desk.is_open("answer_weight") == waits
    kg = desk.trade.lift(1)
    assert weight.kilograms(desk.trade, kg) == (None if waits else (16400 + int(buyers)) / 2)


def test_the_sellers_slip_at_the_mill_is_evidence_and_does_not_count() -> None:
    desk = delivered()
    desk.do("buyer", "arrive", bales=100)
    desk.do("buyer", "weigh", slip=desk.slip("16290", "mill", "M1"))
    desk.do("seller", "weigh", slip=desk.slip("16370", "mill", "M1"))
    short = weight.shortage(desk.trade, desk.trade.lift(1))
    assert short is not None
    assert short.claim_kg == 32


def test_an_event_that_is_not_the_next_one_is_not_applied() -> None:
    desk = Desk()
    desk.contracted()
    with pytest.raises(ValueError, match="does not follow"):
        apply(desk.trade, desk.events[-1])
    with pytest.raises(ValueError, match="begins with an offer"):
        apply(None, desk.events[-1])


def test_a_notice_runs_out_and_what_is_not_closed_out_lapses() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    desk.wait(days=91)
    desk.do("seller", "give_notice", ground="delivery")
    assert desk.open("perform").who == "buyer"
    desk.wait(days=8)
    assert desk.open("close_out").who == "seller"
    assert "rest_ended" in desk.wait(days=60)


def test_a_reading_that_was_dropped_is_asked_for_no_more() -> None:
    desk = kapas()
    desk.do("buyer", "weigh", slip={"at": "yard", "bridge": "Y1", "serial": "7", "gross_kg": "4860", "tare_kg": "2140"})
    desk.do("buyer", "test", figures={"moisture_pct": "12"})
    desk.wait(days=10)
    assert desk.trade.lift(1).reading_answer == "dropped"
    assert not any(item.track == "quality" for item in desk.agenda)


def test_an_invoice_stands_and_a_later_reading_is_a_note() -> None:
    desk = Desk("cci_auction", differs={"quality": {"table": "MCX-2021-11"}})
    desk.contracted()
    desk.weighed("16400")
    desk.do("inspector", "test", figures={"rd": "78"})
    desk.invoiced()
    billed = desk.statement.of("invoice")
    desk.do("inspector", "test", figures={"rd": "76"})
    assert desk.statement.of("invoice") == billed
    assert [line.code for line in desk.statement.of("credit_note")] == ["rd", "igst"]
    (premium,) = [line.paise for line in billed if line.code == "rd"]
    assert desk.statement.of("credit_note")[0].paise == -premium
    assert desk.trade.late[-1].changes is not None


def test_terms_that_an_invoice_was_made_by_are_not_amended() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    desk.do("seller", "propose", about="amend_terms", terms={"weight": {"packing_kg_per_bale": "1"}})
    desk.weighed("16400")
    desk.invoiced()
    assert desk.refused("buyer", "answer_proposal", proposal=1, answer="accepted").against == "the invoice"
    desk.do("seller", "propose", about="extend_delivery", until=desk.now + timedelta(days=120))
    desk.do("buyer", "answer_proposal", proposal=2, answer="accepted")


def test_a_step_on_an_instance_whose_clock_is_behind_is_taken() -> None:
    desk = Desk()
    desk.now -= timedelta(seconds=3)
    desk.contracted()
    assert all(event.occurred_at >= desk.trade.offered_at for event in desk.events)
