"""What went wrong with a trade of one status, each with the answer that a deal gives."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from functions.trade_events.deal import steps
from functions.trade_events.deal.decide import decide
from functions.trade_events.deal.lots import BaleLot, Kapas
from functions.trade_events.deal.parties import Actor
from functions.trade_events.deal.refusal import Refused

from .deal_desk import BALES, GUJARAT, KAPAS, TAMIL_NADU, Desk, farmer, ginner, mill, uid

ONE_BALE = {**BALES, "quantity": {"bales": 1, "kg": "163"}}


def test_the_seller_alone_cannot_weigh_more_than_the_contract() -> None:
    """163 kg contracted, 999.9 kg weighed by the seller: nothing can be invoiced until the buyer accepts."""
    desk = Desk("cci_auction", ONE_BALE)
    desk.contracted()
    with pytest.raises(ValidationError, match="not possible"):
        desk.do("seller", "weigh", slip=desk.slip("999.9", bales=1))
    desk.do("seller", "weigh", slip=desk.slip("999.9", bales=None))
    waiting = desk.open("answer_weight")
    assert (waiting.who, waiting.track) == ("buyer", "weight")
    refused = desk.refused("seller", "record_document", kind="tax_invoice", number="KP/1", lift=1)
    assert "waits for the buyer" in refused.message
    assert desk.statement.payable == 0
    assert "overdue" in desk.wait(days=3)
    assert desk.open("decide_weight").who == "operations"
    desk.wait(days=8)
    # Nobody answered: what the contract allows counts, five per cent more than 163 kg, and not what one side said.
    assert desk.trade.lift(1).decided_kg == Decimal("171.15")


def test_a_mistyped_weight_is_never_payable_without_the_buyers_word() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    desk.weighed("17300", bales=None)
    desk.do("buyer", "answer_weight", answer="contested", kg="17300")
    assert desk.open("decide_weight").who == "operations"
    desk.do("buyer", "weigh", slip=desk.slip("16400", independent=True, bridge="INDEP"))
    assert desk.open("answer_weight").who == "seller"  # who calls a bridge independent is a party too
    desk.do("seller", "answer_weight", answer="accepted", kg="16400")
    desk.invoiced()
    invoice = desk.trade.lift(1).invoice
    assert invoice is not None
    assert invoice.kg == 16400


def test_the_tax_follows_from_registrations_and_nobody_types_a_state() -> None:
    """Seller in 24, buyer in 33, lifted ex gin: the movement ends in 33, whoever moves the goods."""
    desk = Desk(seller=ginner(GUJARAT), buyer=mill(TAMIL_NADU))
    desk.contracted()
    tax = desk.trade.tax
    assert tax is not None
    assert (tax.kind, tax.supplier_state, tax.place_of_supply) == ("between_states", "24", "33")
    desk.weighed("16400", "16400")
    with pytest.raises(ValidationError):
        desk.do("seller", "record_document", kind="tax_invoice", number="KP/1", lift=1, place_of_supply="24")
    desk.invoiced()
    assert [line.code for line in desk.statement.of("invoice")] == ["cotton", "igst"]


def test_a_paid_part_is_not_defaulted_by_the_payee_and_the_buyer_can_always_claim() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    desk.wait(days=17)
    desk.paid("1", 25_00_000_00)
    for step, more in (("give_notice", {"ground": "payment"}), ("cancel_unpaid", {})):
        assert desk.refused("seller", step, **more).against
    price = {"paise": 50_000_00, "unit": "candy_trade"}
    assert "paid" in desk.refused("seller", "close_out", basis="resale", price=price).message
    desk.do("buyer", "raise_claim", kind="not_delivered", asked={"paise": 25_00_000_00, "to": "buyer"})
    assert desk.open("answer_claim").who == "seller"


def test_paid_and_never_dispatched_does_not_stand_still() -> None:
    """The seller of a delivered, prepaid contract does nothing: the paid sum becomes a claim, never a lapse."""
    first = {"share_pct": "100", "after": "signing", "within": {"count": 2}, "before_dispatch": True}
    desk = Desk("delivered_mill_weight", differs={"payment": {"instalments": [first]}})
    desk.contracted()
    desk.paid("1", 28_00_000_00)
    assert desk.open("dispatch").who == "seller"
    came = desk.wait(days=60)
    assert "overdue" in came
    assert "claim_raised" in came
    assert "rest_ended" not in came[: came.index("claim_raised")]
    claim = next(claim for claim in desk.trade.claims if claim.kind == "not_delivered")
    assert claim.by == "buyer"


def test_contracted_and_nobody_does_anything_ends() -> None:
    desk = Desk()
    desk.contracted()
    came = desk.wait(days=200)
    assert desk.status in ("cancelled", "completed", "closed_out")
    assert "rest_ended" in came


def test_a_part_of_the_lot_is_delivered_and_the_rest_stays_open() -> None:
    """Ten bales: eight dispatched, five arrived; the other two can still go, and nothing is final."""
    lot = {**BALES, "quantity": {"bales": 10, "kg": "1640"}}
    desk = Desk("delivered_mill_weight", lot)
    desk.contracted()
    desk.weighed("1312", bales=8)
    desk.invoiced()
    desk.do("seller", "dispatch", bales=8, vehicle="GJ03AB1234")
    desk.do("buyer", "arrive", bales=5)
    claim = desk.trade.claims[0]
    assert (claim.kind, claim.asked.bales, claim.by) == ("short_delivery", 3, "buyer")
    desk.do("buyer", "weigh", slip=desk.slip("820", "mill", "M1", bales=5))
    assert desk.trade.claims[1].kind == "short_weight"
    desk.weighed("328", lift=2, bales=2)
    desk.do("seller", "dispatch", lift=2, bales=2, vehicle="GJ03AB1234")
    assert not desk.is_open("dispatch")


def test_more_arrives_than_was_sent_is_kept_and_asked_about() -> None:
    lot = {**BALES, "quantity": {"bales": 10, "kg": "1640"}}
    desk = Desk("delivered_mill_weight", lot)
    desk.contracted()
    desk.do("seller", "dispatch", bales=4, vehicle="GJ03AB1234")
    desk.do("buyer", "arrive", bales=10)
    claim = desk.trade.claims[0]
    assert (claim.kind, claim.asked.bales, claim.by) == ("excess", 6, "seller")
    desk.wait(days=30)
    assert desk.trade.claims[0].how == "lapsed"  # what the buyer did not take is not paid


def test_a_reading_outside_the_table_stops_nothing() -> None:
    desk = Desk("cci_auction", differs={"quality": {"table": "MCX-2021-11"}})
    desk.contracted()
    desk.weighed("16400")
    desk.do("inspector", "test", figures={"rd": "72"})
    assert desk.statement.unpriced == ((1, "rd"),)
    desk.invoiced()
    assert desk.statement.payable > 0


def test_an_allowance_is_agreed_where_a_table_has_no_price() -> None:
    desk = Desk(differs={"quality": {"table": "MCX-2021-11"}})
    desk.contracted()
    desk.passed()
    desk.weighed("16400", "16400")
    desk.invoiced()
    desk.do("buyer", "dispatch", bales=100, vehicle="TN01AB1234")
    desk.do("buyer", "arrive", bales=100)
    desk.do("inspector", "test", figures={"rd": "72"})
    desk.do("buyer", "raise_claim", kind="quality", lift=1, asked={"paise": 90_000_00, "to": "buyer"})
    desk.do("seller", "answer_claim", claim=1, answer="propose", moves={"paise": 50_000_00, "to": "buyer"})
    desk.do("buyer", "answer_claim", claim=1, answer="accept")
    note = desk.statement.of("credit_note")
    assert [line.paise for line in note] == [-50_000_00, -2_500_00]


def test_a_farmer_sells_kapas_in_quintals_and_in_units_of_20_kg() -> None:
    for unit, amount in (("quintal", "27.2"), ("maund_20kg", "136")):
        ask = {"paise": 1540_00, "unit": unit}
        desk = Desk("kapas_spot", {**KAPAS, "unit": unit, "amount": amount}, ask, seller=farmer(), buyer=mill(GUJARAT))
        desk.contracted()
        assert desk.trade.match is not None
        assert desk.trade.match.quantity.kg == 2720
        assert desk.trade.match.quantity.bales is None


@pytest.mark.parametrize("unit", ["maund", "candy"])
def test_a_unit_that_means_several_weights_is_refused(unit: str) -> None:
    with pytest.raises(ValidationError, match="ambiguous"):
        Kapas.model_validate({**KAPAS, "unit": unit})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantity": {"bales": 100, "kg": "0"}}, "greater than 0"),
        ({"quantity": {"bales": 5001, "kg": "850000"}}, "less than or equal to 5000"),
        ({"quantity": {"bales": 100, "kg": "100"}}, "not possible"),
        ({"quantity": {"bales": 1, "kg": "5000"}}, "not possible"),
        ({"quantity": {"bales": True, "kg": "163"}}, "valid integer"),
        ({"quantity": {"bales": 100, "kg": True}}, "not true or false"),
        ({"quantity": {"kg": "16400"}}, "how many"),
        ({"crop_year": "2026-99"}, "follow each other"),
    ],
)
def test_a_lot_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BaleLot.model_validate({**BALES, **changes})


@pytest.mark.parametrize("crop_year", ["2019-20", "2029-30"])
def test_a_crop_of_another_time_is_refused(crop_year: str) -> None:
    with pytest.raises(Refused, match="cannot be traded now"):
        Desk(lot={**BALES, "crop_year": crop_year})


def test_paise_are_whole_numbers() -> None:
    for paise in (True, 1.5, "100", 0, -1):
        with pytest.raises(ValidationError):
            Desk(ask={"paise": paise, "unit": "candy_trade"})


def test_a_lot_not_yet_tested_is_offered() -> None:
    desk = Desk(lot={**BALES, "figures": None, "marks": None})
    assert desk.status == "offered"


def test_facts_need_no_version() -> None:
    """Fifty weighings that know no version are all kept; a decision on an old version is not."""
    desk = Desk()
    desk.contracted()
    read_at = desk.trade.version
    for lift in range(1, 51):
        desk.do("seller", "weigh", lift=lift, slip=desk.slip("328", bales=2))
    assert len(desk.trade.lifts) == 50
    refused = desk.refused("seller", "offer_lots", expected_version=read_at, lots=[{"no": "L1", "bales": 100}])
    assert (refused.code, refused.pointer) == ("version", "/expected_version")


def test_a_late_fact_is_kept_flagged_and_handed_to_the_money_side() -> None:
    desk = Desk("cci_auction")
    desk.contracted()
    desk.weighed("16400")
    desk.invoiced()
    billed = desk.statement.payable
    desk.do("inspector", "weigh", slip=desk.slip("16300"))
    late = desk.trade.late[0]
    assert late.changes is not None
    assert (late.changes.note, late.changes.before, late.changes.after) == ("credit", "16400", "16300")
    assert desk.statement.payable == billed  # an invoice stands; a note changes it


def test_a_fact_after_the_end_is_kept() -> None:
    desk = Desk()
    desk.contracted()
    desk.wait(days=300)
    assert desk.trade.end is not None
    desk.do("seller", "weigh", slip=desk.slip("16400"))
    assert desk.trade.late[-1].type == "trade.weighed.v1"
    assert len(desk.trade.lift(1).slips) == 1
    assert desk.refused("seller", "give_notice", ground="delivery").against == "the end"


def test_payment_after_delivery() -> None:
    desk = Desk("delivered_mill_weight")
    desk.contracted()
    assert not desk.is_open("pay")
    desk.weighed("16400")
    desk.invoiced()
    desk.do("seller", "dispatch", bales=100, vehicle="GJ03AB1234")
    assert not desk.is_open("pay")
    desk.do("buyer", "arrive", bales=100)
    due = desk.open("pay")
    assert (due.who, due.ref, (due.due_at - desk.now).days) == ("buyer", "1.1", 15)


def test_the_parties_end_their_dispute_themselves() -> None:
    desk = Desk()
    desk.contracted()
    desk.do("buyer", "raise_claim", kind="other")
    desk.do("seller", "answer_claim", claim=1, answer="contest")
    assert desk.status == "disputed"
    assert desk.refused("operations", "decide_claim", claim=1, moves={}).against == "the claim"
    desk.do("buyer", "answer_claim", claim=1, answer="withdraw")
    assert desk.status == "contracted"
    desk.do("buyer", "raise_claim", kind="other")
    desk.do("seller", "answer_claim", claim=2, answer="propose", moves={"paise": 100, "to": "buyer"})
    desk.do("buyer", "answer_claim", claim=2, answer="accept")
    assert desk.trade.claims[1].how == "agreed"


def test_operations_decide_when_they_are_asked() -> None:
    desk = Desk()
    desk.contracted()
    desk.do("buyer", "raise_claim", kind="documents")
    desk.do("buyer", "refer_claim", claim=1, to="operations")
    assert desk.open("decide_claim").who == "operations"
    desk.do("operations", "decide_claim", claim=1, moves={"paise": 10_00, "to": "seller"})
    assert desk.trade.claims[0].how == "decided"


def test_a_refusal_says_what_is_possible_and_for_whom() -> None:
    desk = Desk()
    desk.contracted()
    refused = desk.refused("seller", "pass_lots", results=[{"no": "L1", "verdict": "passed"}])
    assert refused.code == "forbidden"
    assert ("offer_lots", "seller") in {(possible.step, possible.who) for possible in refused.possible}


def test_another_partner_is_no_party() -> None:
    desk = Desk()
    desk.contracted()
    assert desk.refused("rival", "weigh", slip=desk.slip("16400")).code == "forbidden"
    stranger = Actor(role="partner", partner_id=uid(77), side="seller")
    step = steps.Weigh.model_validate({"type": "weigh", "slip": desk.slip("16400")})
    with pytest.raises(Refused):
        decide(desk.trade, stranger, step, desk.now, desk.parties(stranger))


def test_a_step_cannot_have_happened_before_the_offer_or_in_the_future() -> None:
    desk = Desk()
    desk.contracted()
    for moved in (timedelta(days=-2), timedelta(hours=1)):
        refused = desk.refused("seller", "weigh", slip=desk.slip("16400"), occurred_at=desk.now + moved)
        assert refused.pointer == "/occurred_at"


def test_every_step_reads_and_names_its_owner() -> None:
    schema = TypeAdapter(steps.AnyStep).json_schema()
    assert len(schema["discriminator"]["mapping"]) == 41
