"""The lifecycle as a table, step by step, and under any order of steps that a machine can think of."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args

import pytest

from functions.trade_events import lifecycle, moment, projection, steps
from functions.trade_events.schemas import TradeStatus
from functions.trade_events.service import Actor
from functions.trade_events.step_schemas import TradeEventBody
from kapas.errors import Conflict, Forbidden, Invalid, VersionConflict
from tests.times import Time, moving_time
from tests.unit.trade_events.desk import ASK, START, Desk, scale


@pytest.fixture(autouse=True)
def time() -> Iterator[Time]:
    with moving_time(START) as time:
        yield time


@pytest.fixture
def desk() -> Desk:
    return Desk()


# The table


def edges() -> set[tuple[str, str]]:
    return {edge for step in lifecycle.STEPS.values() for edge in step.edges.items()}


def test_every_step_of_a_client_is_in_the_table_and_has_an_effect() -> None:
    union, _ = get_args(TradeEventBody)
    sent = {get_args(body.model_fields["type"].annotation)[0] for body in get_args(union)}
    ours = set(lifecycle.DEADLINES.values())
    assert sent | ours | {"quality_claimed"} == lifecycle.STEPS.keys() == set(steps._EFFECTS)
    assert {name for name, step in lifecycle.STEPS.items() if step.parties == ("system",)} == ours


def test_every_state_is_reached_from_the_offer_and_leads_to_an_end() -> None:
    states = set(get_args(TradeStatus))
    reached, ending = {"OFFERED"}, set(lifecycle.ENDS)
    for _ in states:
        reached |= {target for source, target in edges() if source in reached}
        ending |= {source for source, target in edges() if target in ending}
    assert reached == ending == states


def test_nothing_leads_out_of_an_end() -> None:
    assert not {source for source, _ in edges()} & set(lifecycle.ENDS)


def test_a_binding_trade_is_never_ended_by_one_party_alone_unless_the_other_is_at_fault() -> None:
    """Failed quality and an overdue payment are such faults; otherwise both agree, or operations record an award."""
    alone = {
        name
        for name, step in lifecycle.STEPS.items()
        for source, target in step.edges.items()
        if source in lifecycle.BINDING and target in lifecycle.ENDS and step.parties != ("ops",)
    }
    assert alone == {"cancellation_agreed", "lot_rejected", "payment_defaulted", "settlement_accepted"}


# Step by step


def test_a_trade_goes_from_the_contract_to_settled(desk: Desk, time: Time) -> None:
    desk.contracted()
    desk.weighed()
    desk.passed(grade="B")
    desk.invoiced()
    desk.take(desk.seller, "payment_confirmed")
    desk.take(desk.seller, "dispatched", bales=10)
    desk.take(desk.buyer, "delivered", bales=10)
    trade = desk.take(desk.buyer, "settlement_accepted")
    assert (trade.status, trade.version, trade.due_at) == ("SETTLED", 12, None)
    assert desk.readers[-1] == ("trade.settled.v1", {desk.seller.partner_id, desk.buyer.partner_id})


def test_both_sides_negotiate_until_one_accepts(desk: Desk) -> None:
    desk.take(desk.buyer, "bid_placed", price=price(60_000_00))
    assert (
        desk.take(desk.seller, "price_countered", counters_sequence=2, price=price(61_000_00)).status == "NEGOTIATING"
    )
    desk.take(desk.buyer, "price_countered", counters_sequence=3, price=price(60_500_00))
    desk.take(desk.seller, "price_countered", counters_sequence=4, price=price(60_800_00))
    trade = desk.take(desk.buyer, "counter_accepted", counter_sequence=5)
    assert (trade.status, trade.price and trade.price.paise, trade.signed_by) == ("MATCHED", 60_800_00, "buyer")
    assert desk.take(desk.seller, "contract_signed").status == "CONTRACTED"


def test_of_a_negotiation_only_its_two_sides_are_told(desk: Desk) -> None:
    desk.take(desk.buyer, "bid_placed", price=price())
    desk.take(desk.rival, "bid_placed", price=price())
    desk.take(desk.seller, "price_countered", counters_sequence=2, price=price(61_400_00))
    assert desk.readers[-1] == ("trade.countered.v1", {desk.seller.partner_id, desk.buyer.partner_id})
    desk.take(desk.seller, "offer_withdrawn")
    everybody = {desk.seller.partner_id, desk.buyer.partner_id, desk.rival.partner_id}
    assert desk.readers[-1] == ("trade.cancelled.v1", everybody)


@pytest.mark.parametrize("answer", ["own", "superseded", "withdrawn", "answered", "a_rivals", "the_offer"])
def test_only_the_other_sides_last_word_is_answered(desk: Desk, answer: str) -> None:
    desk.take(desk.buyer, "bid_placed", price=price())
    if answer == "own":
        desk.take(desk.seller, "price_countered", counters_sequence=2, price=price(61_400_00))
        with pytest.raises(Invalid):
            desk.take(desk.seller, "bid_accepted", bid_sequence=3)
    elif answer == "superseded":
        desk.take(desk.buyer, "bid_placed", price=price(59_000_00))
        with pytest.raises(Invalid):
            desk.take(desk.seller, "bid_accepted", bid_sequence=2)
    elif answer == "withdrawn":
        desk.take(desk.buyer, "bid_withdrawn")
        with pytest.raises(Invalid):
            desk.take(desk.seller, "bid_accepted", bid_sequence=2)
        with pytest.raises(Conflict):
            desk.take(desk.buyer, "bid_withdrawn")
    elif answer == "answered":
        desk.take(desk.seller, "price_countered", counters_sequence=2, price=price(61_400_00))
        desk.take(desk.buyer, "price_countered", counters_sequence=3, price=price(61_300_00))
        with pytest.raises(Invalid):
            desk.take(desk.buyer, "counter_accepted", counter_sequence=3)
    elif answer == "a_rivals":
        desk.take(desk.seller, "price_countered", counters_sequence=2, price=price(61_400_00))
        with pytest.raises(Invalid):
            desk.take(desk.rival, "counter_accepted", counter_sequence=3)
    else:
        with pytest.raises(Invalid):
            desk.take(desk.seller, "bid_accepted", bid_sequence=1)


def test_who_accepted_has_signed(desk: Desk) -> None:
    desk.matched()
    with pytest.raises(Forbidden, match="signed by accepting"):
        desk.take(desk.seller, "contract_signed")
    assert desk.take(desk.buyer, "contract_declined").status == "CANCELLED"


def test_a_signature_that_does_not_come_cancels(desk: Desk, time: Time) -> None:
    desk.matched()
    with pytest.raises(Conflict, match="deadline of the trade has not passed"):
        desk.do(desk.system, moment.SignatureOverdue())
    time.advance(days=3)
    with pytest.raises(Conflict, match="deadline for this step has passed"):
        desk.take(desk.buyer, "contract_signed")
    assert desk.do(desk.system, moment.SignatureOverdue()).status == "CANCELLED"


def test_a_late_payment_is_still_a_payment(desk: Desk, time: Time) -> None:
    desk.contracted()
    desk.weighed()
    desk.passed()
    desk.invoiced()
    with pytest.raises(Conflict, match="not overdue"):
        desk.take(desk.seller, "payment_defaulted")
    time.advance(days=8)
    overdue = desk.do(desk.system, moment.PaymentOverdue())
    assert (overdue.status, overdue.due_at) == ("PAYMENT_PENDING", None)
    assert desk.take(desk.seller, "payment_confirmed").status == "PAYMENT_CONFIRMED"


def test_both_have_to_let_go_of_a_contract(desk: Desk) -> None:
    desk.contracted()
    with pytest.raises(Conflict):
        desk.take(desk.buyer, "cancellation_agreed")
    desk.take(desk.buyer, "cancellation_requested")
    with pytest.raises(Conflict):
        desk.take(desk.buyer, "cancellation_agreed")
    with pytest.raises(Conflict):
        desk.take(desk.seller, "cancellation_requested")
    assert desk.take(desk.seller, "cancellation_agreed").status == "CANCELLED"


def test_a_request_to_cancel_ends_when_the_trade_goes_on(desk: Desk) -> None:
    desk.contracted()
    desk.take(desk.buyer, "cancellation_requested")
    assert desk.take(desk.inspector, "sample_drawn", samples=1).cancellation_by is None


@pytest.mark.parametrize("days", [0, 46])
def test_a_payment_is_due_within_45_days(desk: Desk, time: Time, days: int) -> None:
    desk.contracted()
    desk.weighed()
    desk.passed()
    with pytest.raises(Invalid, match="section 15"):
        desk.invoiced(due_at=time.now + timedelta(days=days))


@pytest.mark.parametrize(("hours", "taken"), [(-1, True), (-47, False), (0.05, True), (0.2, False)])
def test_a_step_happened_when_it_can_have(desk: Desk, time: Time, hours: float, taken: bool) -> None:
    """The offer is a day old here: before it, and more than a skewed clock ahead, nothing can have happened."""
    time.advance(days=1)
    occurred_at = time.now + timedelta(hours=hours)
    if taken:
        desk.take(desk.buyer, "bid_placed", price=price(), occurred_at=occurred_at)
        assert (desk.events[-1].occurred_at, desk.events[-1].recorded_at) == (occurred_at, time.now)
    else:
        with pytest.raises(Invalid):
            desk.take(desk.buyer, "bid_placed", price=price(), occurred_at=occurred_at)


def test_a_fact_needs_no_version_and_a_decision_does(desk: Desk) -> None:
    desk.contracted()
    desk.take(desk.inspector, "sample_drawn", samples=1, expected_version=None)
    with pytest.raises(VersionConflict):
        desk.take(desk.buyer, "dispute_raised", reason="quality", expected_version=2)


# Corrections


def test_a_weight_is_corrected_by_a_further_event(desk: Desk) -> None:
    desk.contracted()
    desk.weighed()
    before = list(desk.events)
    heavier = scale(10, gross_kg="166.400")
    replacement = {"type": "bales_weighed", "bales": heavier}
    desk.take(desk.seller, "event_corrected", corrects=5, reason="incorrect_data", replacement=replacement)
    assert desk.events[:-1] == before
    (weighed,) = [event for event in projection.effective(desk.events) if event.type == "bales_weighed"]
    bales: Any = weighed.data["bales"]
    assert {bale["gross_kg"] for bale in bales} == {"166.400"}
    desk.take(desk.seller, "event_corrected", corrects=5, reason="did_not_occur")
    assert not [event for event in projection.effective(desk.events) if event.type == "bales_weighed"]
    desk.weighed()


def correction(desk: Desk, actor: Actor, **changes: Any) -> None:
    sent = {"corrects": 5, "reason": "incorrect_data", "replacement": {"type": "bales_weighed", "bales": scale(10)}}
    desk.take(actor, "event_corrected", **sent | changes)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"corrects": 4}, Invalid),
        ({"corrects": 99}, Invalid),
        ({"replacement": None}, Invalid),
        ({"reason": "did_not_occur"}, Invalid),
        ({"replacement": {"type": "dispatched", "bales": 10}}, Invalid),
        ({"replacement": {"type": "bales_weighed", "bales": scale(11)}}, Invalid),
        ({"replacement": {"type": "bales_weighed", "bales": [*scale(1), *scale(1)]}}, Invalid),
    ],
)
def test_a_correction_that_cannot_be_is_refused(desk: Desk, changes: dict[str, Any], refused: type[Exception]) -> None:
    desk.contracted()
    desk.weighed()
    with pytest.raises(refused):
        correction(desk, desk.seller, **changes)


def test_a_fact_is_corrected_by_who_recorded_it_and_not_once_it_is_invoiced(desk: Desk) -> None:
    desk.contracted()
    desk.weighed()
    with pytest.raises(Forbidden):
        correction(desk, desk.buyer)
    desk.passed()
    with pytest.raises(Conflict, match="has moved on"):
        correction(desk, desk.inspector, corrects=6, reason="did_not_occur", replacement=None)
    desk.invoiced()
    with pytest.raises(Conflict, match="section 34"):
        correction(desk, desk.seller)


def test_a_mark_stands_on_one_bale_of_the_lot(desk: Desk) -> None:
    desk.contracted()
    desk.weighed(scale(5))
    with pytest.raises(Invalid, match="figures are invalid"):
        desk.weighed(scale(5, first=5))
    desk.weighed(scale(5, first=6))


@pytest.mark.parametrize(
    ("bales", "samples", "taken"), [(100, 4, False), (100, 5, True), (101, 5, False), (101, 6, True)]
)
def test_one_sample_is_drawn_of_each_twenty_bales(bales: int, samples: int, taken: bool) -> None:
    desk = Desk()
    desk.trade = desk.trade.model_copy(update={"lot": desk.trade.lot.model_copy(update={"bales": bales})})
    desk.contracted()
    if taken:
        desk.take(desk.inspector, "sample_drawn", samples=samples)
    else:
        with pytest.raises(Invalid, match="needs"):
            desk.take(desk.inspector, "sample_drawn", samples=samples)


def price(paise: int = 60_000_00) -> dict[str, Any]:
    return {**ASK.model_dump(), "paise": paise}
