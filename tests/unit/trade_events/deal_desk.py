"""A deal in memory: steps are decided and folded by the same code as in a function, with a list for the database."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from functions.trade_events.deal import decide, steps
from functions.trade_events.deal.agenda import agenda, overdue
from functions.trade_events.deal.events import Event
from functions.trade_events.deal.fold import apply, fold
from functions.trade_events.deal.parties import SYSTEM, Actor, Mandate, Parties, Party
from functions.trade_events.deal.refusal import Refused
from functions.trade_events.deal.settlement import Statement, statement
from functions.trade_events.deal.trade import Open, Trade

START = datetime(2026, 12, 1, 6, 30, tzinfo=UTC)  # a Tuesday, noon in India


def uid(number: int) -> UUID:
    return UUID(int=number)


SELLER, BUYER, RIVAL, BROKER, TRADE = uid(1), uid(2), uid(3), uid(4), uid(9)
GUJARAT, TAMIL_NADU, MAHARASHTRA = "24", "33", "27"


def ginner(state: str = GUJARAT, **changes: Any) -> Party:
    known: dict[str, Any] = {"constitution": "company", "cultivates": False, "registrations": {uid(11): state}}
    return Party(id=SELLER, state=state, accounts=frozenset({uid(12)}), **known | changes)


def mill(state: str = TAMIL_NADU, party_id: UUID = BUYER, **changes: Any) -> Party:
    known: dict[str, Any] = {"constitution": "company", "cultivates": False, "registrations": {uid(21): state}}
    return Party(id=party_id, state=state, accounts=frozenset({uid(22)}), **known | changes)


def farmer(**changes: Any) -> Party:
    known: dict[str, Any] = {"constitution": "individual", "cultivates": True}
    return Party(id=SELLER, state=GUJARAT, **known | changes)


BALES: dict[str, Any] = {
    "kind": "bales",
    "variety": "Shankar-6",
    "crop_year": "2026-27",
    "station": "Rajkot",
    "quantity": {"bales": 100, "kg": "16400"},
}
KAPAS: dict[str, Any] = {
    "kind": "kapas",
    "variety": "Shankar-6",
    "crop_year": "2026-27",
    "station": "Rajkot",
    "amount": "27.2",
    "unit": "quintal",
}
CANDY: dict[str, Any] = {"paise": 61_200_00, "unit": "candy_trade"}


@dataclass
class Desk:
    """One deal. Every step is checked: versions gapless, the fold equal, JSON both ways, something open or an end."""

    template: str = "ex_gin_passing"
    lot: dict[str, Any] = field(default_factory=lambda: dict(BALES))
    ask: dict[str, Any] = field(default_factory=lambda: dict(CANDY))
    differs: dict[str, Any] = field(default_factory=dict[str, Any])
    seller: Party = field(default_factory=ginner)
    buyer: Party = field(default_factory=mill)
    rival: Party = field(default_factory=lambda: mill(MAHARASHTRA, RIVAL))
    mandates: tuple[Mandate, ...] = ()
    valid_days: int = 7
    now: datetime = START
    events: list[Event] = field(default_factory=list[Event])

    def __post_init__(self) -> None:
        offer = steps.Offer.model_validate(
            {
                "type": "offer",
                "lot": self.lot,
                "ask": self.ask,
                "template": self.template,
                "differs": self.differs,
                "valid_until": self.now + timedelta(days=self.valid_days),
            }
        )
        actor = Actor(role="partner", partner_id=SELLER, side="seller")
        self._trade: Trade | None = None
        self._keep(decide.open_trade(TRADE, actor, offer, self.now, Parties(self.seller, None, self.mandates)))

    @property
    def trade(self) -> Trade:
        assert self._trade is not None
        return self._trade

    @property
    def status(self) -> str:
        return self.trade.status

    @property
    def agenda(self) -> tuple[Open, ...]:
        return agenda(self.trade)

    @property
    def statement(self) -> Statement:
        return statement(self.trade)

    def open(self, step: str, ref: str | None = None) -> Open:
        """The open step of that name. Fails if there is none."""
        found = [item for item in self.agenda if item.step == step and ref in (None, item.ref)]
        assert found, f"{step} is not open: {[item.key for item in self.agenda]}"
        return found[0]

    def is_open(self, step: str) -> bool:
        return any(item.step == step for item in self.agenda)

    def actor(self, who: str) -> Actor:
        match who:
            case "seller":
                return Actor(role="partner", partner_id=SELLER, side="seller")
            case "buyer":
                return Actor(role="partner", partner_id=BUYER, side="buyer")
            case "rival":
                return Actor(role="partner", partner_id=RIVAL, side="buyer")
            case "sellers_broker":
                return Actor(role="broker", partner_id=BROKER, side="seller", principal_id=SELLER)
            case "buyers_broker":
                return Actor(role="broker", partner_id=BROKER, side="buyer", principal_id=BUYER)
            case "broker":
                return Actor(role="broker", partner_id=BROKER)
            case "inspector" | "operations":
                return Actor(role=who)
            case _:
                return SYSTEM

    def parties(self, actor: Actor) -> Parties:
        """What the service looks up: the buyer, or whoever is bidding or is answered."""
        bidder = self.trade.buyer_id or actor.party_id
        return Parties(self.seller, self.rival if bidder == RIVAL else self.buyer, self.mandates)

    def do(self, who: str, step: str, **fields: Any) -> Trade:
        """Take a step at the version that the trade has."""
        body: dict[str, Any] = {"type": step, **fields}
        decision = steps.STEP.validate_python(_versioned(body, self.trade.version))
        return self.take(who, decision)

    def take(self, who: str, step: steps.Step) -> Trade:
        actor, before = self.actor(who), self.trade
        events = decide.decide(before, actor, step, self.now, self.parties(actor))
        assert self.trade is before
        self._keep(events)
        return self.trade

    def refused(self, who: str, step: str, **fields: Any) -> Refused:
        """The refusal of a step that must not be taken; it leaves the trade as it is."""
        before = self.trade
        with pytest.raises(Refused) as caught:
            self.do(who, step, **fields)
        assert self.trade is before
        assert caught.value.version == before.version
        assert caught.value.against
        return caught.value

    def wait(self, **time: float) -> list[str]:
        """Let time pass, deadline by deadline; the types of the events that came of it."""
        until = self.now + timedelta(**time)
        came: list[str] = []
        while self.agenda and self.agenda[0].due_at <= until:
            self.now = max(self.now, self.agenda[0].due_at)
            events = overdue(self.trade, self.now)
            assert events, "a deadline had no outcome"
            self._keep(events)
            came += [event.payload.type.removeprefix("trade.").removesuffix(".v1") for event in events]
        self.now = until
        return came

    def _keep(self, events: list[Event]) -> None:
        for event in events:
            self._trade = apply(self._trade, event)
            self.events.append(event)
            assert event.sequence == len(self.events) == self._trade.version
            assert Event.from_json(event.to_json()) == event
        assert fold(self.events) == self.trade
        if self.trade.end is None:
            assert self.agenda, f"a dead end: {self.status}"

    # The usual way

    def contracted(self, **bid: Any) -> Trade:
        self.do("buyer", "bid", price=self.ask, valid_until=self.now + timedelta(days=1), **bid)
        self.do("seller", "accept", to=self.trade.version)
        return self.do("buyer", "sign")

    def slip(
        self, net: str, at: str = "gin", bridge: str = "B1", bales: int | None = 100, **more: Any
    ) -> dict[str, Any]:
        """A slip whose net is that many kilograms."""
        gross = str(Decimal(net) + 8000)
        read = {"serial": f"S{len(self.events)}", "gross_kg": gross, "tare_kg": "8000", "bales": bales}
        return {"at": at, "bridge": bridge, **read, **more}

    def weighed(self, *nets: str, lift: int = 1, bales: int | None = 100) -> Trade:
        """The seller weighs a lift on as many bridges as there are nets."""
        for number, net in enumerate(nets, 1):
            self.do("seller", "weigh", lift=lift, slip=self.slip(net, bridge=f"B{number}", bales=bales))
        return self.trade

    def passed(self, *lots: tuple[str, int]) -> Trade:
        named = lots or (("L1", 100),)
        self.do("seller", "offer_lots", lots=[{"no": no, "bales": bales} for no, bales in named])
        return self.do("buyer", "pass_lots", results=[{"no": no, "verdict": "passed"} for no, _ in named])

    def paid(self, due: str, paise: int = 1_00) -> Trade:
        number = uid(1000 + self.trade.version)
        return self.do("system", "record_payment", due=due, paise=paise, payment_id=number, settles=True)

    def invoiced(self, number: str = "KP/1", lift: int = 1, kind: str = "tax_invoice", who: str = "seller") -> Trade:
        return self.do(who, "record_document", kind=kind, number=number, lift=lift)


def _versioned(body: dict[str, Any], version: int) -> dict[str, Any]:
    """With the version that was read, where the step is a decision and says none."""
    facts = ("weigh", "sample", "test", "dispatch", "arrive", "record_payment", "reverse_payment", "record_document")
    if body["type"] in (*facts, "report_status", "record_award", "correct"):
        return body
    return {"expected_version": version, **body}
