"""Random terms and steps against a simple model: nothing illegal is applied, and nothing stands still."""

from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import ValidationError

from functions.trade_events.deal import steps
from functions.trade_events.deal.agenda import overdue
from functions.trade_events.deal.refusal import Refused
from functions.trade_events.deal.terms import template
from functions.trade_events.deal.trade import Open, Trade

from .deal_desk import BALES, CANDY, GUJARAT, KAPAS, RIVAL, Desk, farmer, ginner, mill, uid

WHO = ("seller", "buyer", "rival", "inspector", "operations", "system")
KILOS = st.sampled_from(["8200", "8190.5", "16400", "16350", "17000", "20000", "2720", "2700"])
LIFT = st.integers(1, 3)
MOVES = st.fixed_dictionaries(
    {
        "paise": st.sampled_from([0, 1, 90_000_00]),
        "to": st.sampled_from(["seller", "buyer"]),
        "goods": st.sampled_from(["none", "returned", "replaced"]),
        "bales": st.sampled_from([0, 10]),
    }
)
PRICE = st.sampled_from([60_000_00, 61_200_00])


def bodies(desk: Desk) -> st.SearchStrategy[dict[str, Any]]:
    """A body for any step, mostly one that fits the trade as it is."""
    trade = desk.trade
    version = st.just(trade.version)
    price = st.builds(lambda paise: {"paise": paise, "unit": trade.ask.unit}, PRICE)
    soon = st.just(desk.now + timedelta(days=2))
    last = max((talk.sequence for talk in trade.talks), default=1)
    claim, proposal = st.integers(1, max(1, len(trade.claims))), st.integers(1, max(1, len(trade.proposals)))
    reading = st.sampled_from([str(slip.slip.net_kg) for lift in trade.lifts for slip in lift.slips] or ["1"])
    lots = st.sampled_from(["L1", "L2", "L3", "L4"])
    pressed = trade.lot.kind == "bales"
    count = st.sampled_from([50, 100]) if pressed else st.none()
    slip = st.builds(
        lambda net, at, bridge, alone: desk.slip(net, at, bridge, None, independent=alone),
        KILOS,
        st.sampled_from(["gin", "yard", "mill"]),
        st.sampled_from(["B1", "B2"]),
        st.booleans(),
    )
    pay = st.sampled_from(["1", "2", "1.1", "2.1", "1.2", "2.2", "7"])
    papers = st.sampled_from(
        ["tax_invoice", "self_invoice", "bill_of_supply", "credit_note", "eway_bill", "brokers_note"]
    )
    kinds = st.sampled_from(["quality", "other", "not_delivered", "damage"])
    figures = st.sampled_from([{"moisture_pct": "9.5"}, {"rd": "72"}, {"trash_pct": "4", "moisture_pct": "13"}])
    shapes: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "change_offer": {"ask": price},
        "withdraw_offer": {},
        "bid": {"price": price, "valid_until": soon},
        "counter": {"to": st.just(last), "price": price, "valid_until": soon},
        "accept": {"to": st.just(last)},
        "end_bid": {"bidder_id": st.just(uid(2))},
        "sign": {},
        "decline_contract": {},
        "name_details": {"details": st.just({})},
        "report_status": {
            "side": st.sampled_from(["seller", "buyer"]),
            "status": st.sampled_from(["erased", "active"]),
        },
        "decide_party": {"how": st.sampled_from(["watch", "close_out"])},
        "weigh": {"lift": LIFT, "slip": slip},
        "answer_weight": {"lift": LIFT, "answer": st.sampled_from(["accepted", "contested"]), "kg": reading},
        "decide_weight": {"lift": LIFT, "kg": KILOS},
        "offer_lots": {"lots": st.builds(lambda no: [{"no": no, "bales": 50}], lots)},
        "sample": {"samples": st.just(2)},
        "test": {"lift": LIFT, "figures": figures},
        "answer_reading": {"lift": LIFT, "answer": st.sampled_from(["accepted", "contested"])},
        "pass_lots": {
            "results": st.builds(
                lambda no, verdict: [{"no": no, "verdict": verdict}], lots, st.sampled_from(["passed", "rejected"])
            )
        },
        "accept_quality": {"lift": LIFT},
        "dispatch": {"lift": LIFT, "bales": count, "vehicle": st.just("GJ03AB1234")},
        "arrive": {"lift": LIFT, "bales": count, "damaged_bales": st.sampled_from([0, 0, 3])},
        "give_notice": {"ground": st.sampled_from(["payment", "delivery", "lots", "refusal"])},
        "close_out": {"basis": st.sampled_from(["resale", "purchase"]), "price": price},
        "cancel_unpaid": {},
        "cancel_rejected": {},
        "record_payment": {
            "due": pay,
            "paise": st.just(100_00),
            "payment_id": st.builds(uid, st.integers(500, 510)),
            "settles": st.booleans(),
        },
        "reverse_payment": {"payment_id": st.builds(uid, st.integers(500, 510)), "why": st.just("returned")},
        "record_document": {"kind": papers, "number": st.just("KP/1"), "lift": LIFT, "claim": claim},
        "raise_claim": {
            "kind": kinds,
            "lift": LIFT,
            "asked": MOVES,
        },
        "answer_claim": {
            "claim": claim,
            "answer": st.sampled_from(["propose", "accept", "contest", "withdraw"]),
            "moves": MOVES,
        },
        "refer_claim": {"claim": claim, "to": st.sampled_from(["operations", "arbitration"])},
        "decide_claim": {"claim": claim, "moves": MOVES},
        "record_award": {"claim": claim, "award": st.just("CAI/7"), "moves": MOVES},
        "settle_goods": {"claim": claim, "how": st.sampled_from(["taken_back", "sold_on_account"])},
        "propose": {
            "about": st.sampled_from(["cancel_rest", "extend_delivery", "amend_terms", "one_bridge"]),
            "until": st.just(desk.now + timedelta(days=40)),
            "lift": LIFT,
        },
        "answer_proposal": {"proposal": proposal, "answer": st.sampled_from(["accepted", "declined", "withdrawn"])},
        "accept_closing": {},
    }
    decisions = {
        name: st.fixed_dictionaries({"type": st.just(name), **shape, **_version(name, version)})
        for name, shape in shapes.items()
    }
    usual = [decisions[item.step] for item in desk.agenda if item.step in decisions]
    usual += [decisions[step] for item in desk.agenda for step in item.or_steps if step in decisions]
    anything = st.one_of(list(decisions.values()))
    return st.one_of(*usual, anything) if usual else anything


def _version(name: str, version: st.SearchStrategy[int]) -> dict[str, Any]:
    facts = ("weigh", "sample", "test", "dispatch", "arrive", "record_payment", "reverse_payment", "record_document")
    return {} if name in (*facts, "report_status", "record_award") else {"expected_version": version}


TERMS = st.fixed_dictionaries(
    {},
    optional={
        "weight": st.fixed_dictionaries(
            {"confirmed": st.booleans(), "one_voice": st.booleans(), "tolerance_pct": st.sampled_from(["0", "2"])}
        ),
        "quality": st.fixed_dictionaries(
            {"silence": st.sampled_from(["passed", "released"]), "replacements": st.integers(0, 2)}
        ),
        "disputes": st.fixed_dictionaries({"windows_stop": st.booleans(), "interest_runs": st.booleans()}),
    },
)


class Deals(RuleBasedStateMachine):
    """One deal at a time, by anybody, in any order."""

    @initialize(
        name=st.sampled_from(["kapas_spot", "ex_gin_passing", "delivered_mill_weight", "cci_auction"]),
        differs=TERMS,
        signed=st.booleans(),
    )
    def begin(self, name: str, differs: dict[str, Any], signed: bool) -> None:
        kapas = name == "kapas_spot"
        ask = {"paise": 1540_00, "unit": "maund_20kg"} if kapas else dict(CANDY)
        self.desk = Desk(
            name,
            dict(KAPAS if kapas else BALES),
            ask,
            differs,
            seller=farmer() if kapas else ginner(),
            buyer=mill(GUJARAT),
        )
        self.known: set[tuple[str, int]] = set()
        if signed:
            self.desk.contracted()

    @rule(who=st.sampled_from(WHO), data=st.data())
    def attempt(self, who: str, data: st.DataObject) -> None:
        self._attempt(who, data.draw(bodies(self.desk)))

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """A step that the agenda names, by its owner."""
        items = [item for item in self.desk.agenda if item.who in WHO]
        assume(items)
        item = data.draw(st.sampled_from(items))
        wanted = (item.step, *item.or_steps)
        body = data.draw(bodies(self.desk).filter(lambda body: body["type"] in wanted))
        self._attempt(item.who, body)

    @rule(hours=st.sampled_from([1, 25, 80, 400, 1200]))
    def time_passes(self, hours: int) -> None:
        self.desk.wait(hours=hours)

    def _attempt(self, who: str, body: dict[str, Any]) -> None:
        before, events = self.desk.trade, len(self.desk.events)
        try:
            step = steps.STEP.validate_python(body)
        except ValidationError:
            return
        refused = self._refusal(who, step)
        if refused is not None:
            assert (self.desk.trade, len(self.desk.events)) == (before, events)
            assert refused.version == before.version
            # A fact is refused for who says it or what it says, never for the state of the trade.
            assert not step.fact or refused.code in ("forbidden", "invalid") or body["type"] == "record_document"
            return
        after = self.desk.trade
        allowed = {"seller": "seller", "buyer": "buyer", "rival": "buyer"}.get(who, who)
        assert allowed in step.by
        assert who != "rival" or before.buyer_id in (None, RIVAL)
        assert before.end is None or step.fact
        if step.fact and before.end is not None:
            assert after.late

    def _refusal(self, who: str, step: steps.Step) -> Refused | None:
        try:
            self.desk.take(who, step)
        except Refused as refused:
            return refused
        return None

    @invariant()
    def the_trade_reads_back_from_json(self) -> None:
        assert Trade.from_json(self.desk.trade.to_json()) == self.desk.trade

    @invariant()
    def every_open_step_has_an_owner_a_time_and_an_outcome(self) -> None:
        trade = self.desk.trade
        assert (trade.end is None) == bool(self.desk.agenda)
        for item in self.desk.agenda:
            assert item.who
            assert item.then
            assert item.due_at > self.desk.now or overdue(trade, item.due_at)
        assert len({item.key for item in self.desk.agenda}) == len(self.desk.agenda)

    @invariant()
    def nobody_is_paid_by_one_voice(self) -> None:
        """What is billed is at most what the contract allows, unless the buyer, staff or a decision said otherwise."""
        trade = self.desk.trade
        if trade.match is None:
            return
        for lift in trade.lifts:
            heard = any(slip.by != "seller" for slip in lift.slips) or lift.weight_answer or lift.decided_kg
            if lift.invoice is not None and lift.invoice.kg is not None and not heard:
                assert lift.invoice.kg <= trade.match.quantity.kg * Decimal("1.1")

    @invariant()
    def a_paid_rest_does_not_just_lapse(self) -> None:
        rest = self.desk.trade.rest
        if rest is not None and rest.how == "lapsed" and rest.why == "deadline":
            paid = any(p.source != "payer" and not p.reversed and p.at <= rest.at for p in self.desk.trade.payments)
            assert not paid or any(claim.kind == "not_delivered" for claim in self.desk.trade.claims)

    def teardown(self) -> None:
        """Left alone, a deal comes to its end or to reminders of what is owed, and never to a stop."""
        if not hasattr(self, "desk"):
            return
        self.desk.wait(days=900)
        assert self.desk.trade.end is not None or all(waits(item) for item in self.desk.agenda)


def waits(item: Open) -> bool:
    """What may stay open for ever, with a reminder every month: money, papers, an award, a party that must speak."""
    return item.outcome.type == "trade.overdue.v1"


Deals.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a failing deal is long, and its steps say enough
)
TestDeals = Deals.TestCase


FACTS: list[tuple[str, str, dict[str, Any]]] = [
    ("seller", "weigh", {"bridge": "B1", "net": "16400"}),
    ("seller", "weigh", {"bridge": "B2", "net": "16420"}),
    ("inspector", "test", {"figures": {"rd": "76.5"}}),
    ("buyer", "dispatch", {"bales": 100, "vehicle": "TN01AB1234"}),
    ("system", "record_payment", {"due": "1", "paise": 100_00, "payment_id": uid(500), "settles": True}),
]


@pytest.mark.parametrize("order", list(permutations(range(len(FACTS))))[::7])
def test_facts_of_independent_tracks_make_the_same_trade_in_any_order(order: tuple[int, ...]) -> None:
    def told(which: tuple[int, ...]) -> dict[str, Any]:
        desk = Desk()
        desk.contracted()
        for index in which:
            who, step, given = FACTS[index]
            more = dict(given)
            if step == "weigh":
                more = {"slip": desk.slip(more["net"], bridge=more["bridge"]) | {"serial": more["net"]}}
            desk.do(who, step, **more)
        return {"trade": plain(desk.trade.to_json()), "open": [item.to_json() for item in desk.agenda]}

    assert told(order) == told(tuple(range(len(FACTS))))


def plain(value: Any) -> Any:
    """Without the sequences, which say the order itself, and with slips in the order of their bridges."""
    if isinstance(value, dict):
        kept = {name: plain(item) for name, item in value.items() if name != "sequence"}
        return {name: sorted(item, key=str) if name == "slips" else item for name, item in kept.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_two_hundred_events_fold_quickly_enough_to_be_replayed() -> None:
    """Bounded work, not a time: each event is applied once, and none of them validates a model again."""
    desk = Desk()
    desk.contracted()
    for lift in range(1, 100):
        desk.do("seller", "weigh", lift=lift, slip=desk.slip("328", bales=2))
    assert desk.trade.version == len(desk.events)


@pytest.mark.parametrize("name", ["kapas_spot", "ex_gin_passing", "delivered_mill_weight", "cci_auction"])
def test_each_template_is_whole(name: str) -> None:
    assert template(name).template == name
