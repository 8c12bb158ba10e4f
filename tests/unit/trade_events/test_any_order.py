"""Steps in any order that a machine can think of: what is taken is in the table, and every view of the trade agrees."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from functions.trade_events import lifecycle, moment, projection
from functions.trade_events.service import Actor
from kapas.errors import Conflict, Forbidden, Invalid
from kapas.values import ids
from tests.times import moving_time
from tests.unit.trade_events.desk import ASK, START, Desk, scale

DEADLINE_STEPS = (moment.OfferExpired(), moment.SignatureOverdue(), moment.PaymentOverdue())
FACTS: dict[str, dict[str, Any]] = {
    "bid_placed": {"price": {**ASK.model_dump(), "paise": 61_000_00}},
    "price_countered": {"price": {**ASK.model_dump(), "paise": 61_100_00}},
    "bales_weighed": {"bales": scale(10)},
    "sample_drawn": {"samples": 1},
    "dispatched": {"bales": 10},
    "delivered": {"bales": 10},
    "dispute_raised": {"reason": "quality"},
    "arbitration_referred": {"institution": "CAI"},
    "dispute_settled": {"amount": {"paise": 1_00}, "award_number": "CAI/1"},
    "payment_requested": {"invoice_number": "KP/1", "supplier_state": "24", "place_of_supply": "24"},
    "event_corrected": {
        "reason": "incorrect_data",
        "replacement": {"type": "bales_weighed", "bales": scale(10, gross_kg="170")},
    },
}
REFERS = {
    "price_countered": "counters_sequence",
    "bid_accepted": "bid_sequence",
    "counter_accepted": "counter_sequence",
    "event_corrected": "corrects",
}
CLIENT_STEPS = sorted(lifecycle.STEPS.keys() - {*lifecycle.DEADLINES.values(), "quality_claimed"})


USUAL: list[Callable[[Desk], object]] = [
    lambda desk: desk.matched(),
    lambda desk: desk.take(desk.buyer, "contract_signed"),
    lambda desk: desk.weighed(),
    lambda desk: desk.take(desk.inspector, "sample_drawn", samples=1),
    lambda desk: desk.take(desk.inspector, "quality_failed"),
    lambda desk: desk.take(desk.buyer, "quality_accepted"),
    lambda desk: desk.invoiced(),
    lambda desk: desk.take(desk.seller, "payment_confirmed"),
    lambda desk: desk.take(desk.seller, "dispatched", bales=10),
    lambda desk: desk.take(desk.buyer, "delivered", bales=10),
    lambda desk: desk.take(desk.buyer, "dispute_raised", reason="quantity"),
]


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.moving = moving_time(START)
        self.time = self.moving.__enter__()
        self.desk = Desk()

    def teardown(self) -> None:
        self.moving.__exit__(None, None, None)

    @initialize(steps=st.integers(0, len(USUAL)))
    def begin(self, steps: int) -> None:
        """Somewhere on the usual way, so that the machine sees all of it."""
        for step in USUAL[:steps]:
            step(self.desk)

    @rule(
        event_type=st.sampled_from(CLIENT_STEPS),
        who=st.sampled_from(["seller", "buyer", "rival", "inspector", "operations"]),
        back=st.integers(0, 3),
    )
    def attempt(self, event_type: str, who: str, back: int) -> None:
        self._attempt(event_type, getattr(self.desk, who), back)

    @rule(pick=st.integers(0, 1000), back=st.integers(0, 2))
    def go_on(self, pick: int, back: int) -> None:
        """A step that the table allows, so that the machine comes far."""
        possible = [
            (name, party)
            for name, step in lifecycle.STEPS.items()
            if self.desk.trade.status in step.edges and name in CLIENT_STEPS
            for party in step.parties
            if party != "system"
        ]
        if possible:
            name, party = possible[pick % len(possible)]
            actors = {"bidder": self.desk.buyer, "ops": self.desk.operations}
            actor: Actor = actors[party] if party in actors else getattr(self.desk, party)
            if party == "buyer" and self.desk.trade.buyer_id == self.desk.rival.partner_id:
                actor = self.desk.rival
            self._attempt(name, actor, back)

    @rule(who=st.sampled_from(["seller", "buyer"]), verdict=st.sampled_from(["passed", "failed"]))
    def claim(self, who: str, verdict: moment.Verdict) -> None:
        """As a grading that the party ordered does. The buyer may be whom the seller did not sell to."""
        figures = {"rd": Decimal("75.0")}
        claimed = moment.QualityClaimed(verdict=verdict, grading_id=ids.uuid7(), grade="B", figures=figures)
        before = self.desk.trade
        try:
            self.desk.do(getattr(self.desk, who), claimed)
        except (Conflict, Forbidden):
            assert self.desk.trade is before
        else:
            assert before.status == self.desk.trade.status == "SAMPLED"

    @rule(days=st.integers(1, 4), step=st.sampled_from(DEADLINE_STEPS))
    def time_passes(self, days: int, step: Any) -> None:
        self.time.advance(days=days)
        before = self.desk.trade
        due = before.due_at is not None and before.due_at <= self.time.now
        try:
            self.desk.do(self.desk.system, step)
        except Conflict:
            assert not (due and lifecycle.DEADLINES.get(before.status) == step.type)

    def _attempt(self, event_type: str, actor: Actor, back: int) -> None:
        before, told = self.desk.trade, len(self.desk.readers)
        facts = dict(FACTS.get(event_type, {}))
        if event_type in REFERS:
            facts[REFERS[event_type]] = max(1, before.version - back)
        if event_type == "payment_requested":
            facts["due_at"] = self.time.now + timedelta(days=7)
        try:
            self.desk.take(actor, event_type, **facts)
        except (Conflict, Forbidden, Invalid):
            assert self.desk.trade is before
            assert len(self.desk.readers) == told
            return
        step = lifecycle.STEPS[event_type]
        assert self.desk.trade.status == step.edges[before.status]
        assert actor.party(before) in step.parties

    @invariant()
    def the_trade_is_the_fold_of_its_events(self) -> None:
        assert projection.fold(self.desk.trade.id, self.desk.events) == self.desk.trade

    @invariant()
    def the_live_document_says_the_same(self) -> None:
        trade, document = self.desk.trade, self.desk.document
        assert (document["status"], document["sequence"]) == (trade.status, trade.version)
        assert document["open"] == (trade.status in lifecycle.OPEN)
        assert document["buyer_id"] == (str(trade.buyer_id) if trade.buyer_id else None)

    @invariant()
    def nobody_else_is_told_between_two(self) -> None:
        desk = self.desk
        two = {desk.seller.partner_id, desk.trade.buyer_id}
        for event_type, readers in desk.readers:
            if event_type not in ("trade.bid_placed.v1", "trade.bid_withdrawn.v1", "trade.countered.v1") and (
                desk.trade.buyer_id is not None
            ):
                assert readers <= two

    @invariant()
    def what_is_bound_has_two_parties_and_a_price(self) -> None:
        trade = self.desk.trade
        if trade.status not in (*lifecycle.OPEN, "CANCELLED", "EXPIRED"):
            assert trade.buyer_id not in (None, trade.seller_id)
            assert trade.price is not None
        assert trade.due_at is None or trade.status in lifecycle.DEADLINES


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=25)
TestAnyOrder = AnyOrder.TestCase
