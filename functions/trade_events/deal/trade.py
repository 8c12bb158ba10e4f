"""A trade as it stands: frozen, and the fold of its events. What follows from this state is derived, never stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter

from kapas.schemas.vocabulary import TradeStatus

from .events import Changes, ClaimKind, DocumentKind, Moves, Overdue, Payload
from .lots import Lot
from .parties import Mandate, Status
from .tax import Details, Tax
from .terms import Patch, Terms
from .values import Figures, Period, Price, Quantity, Side, Slip, Track, Who

End = Literal["completed", "closed_out", "cancelled", "expired"]
NO_MOVES = Moves()
NO_DETAILS = Details()
EVERY = timedelta(days=30)
"""How often who does not act is reminded after the first time."""


@dataclass(frozen=True, slots=True)
class Talk:
    """The last word between the seller and one bidder; `terms` are those it was said with, whole."""

    bidder_id: UUID
    sequence: int
    by: Side
    price: Price
    quantity: Quantity
    terms: Terms
    valid_until: datetime
    at: datetime
    open: bool = True


@dataclass(frozen=True, slots=True)
class Match:
    buyer_id: UUID
    price: Price
    quantity: Quantity
    remainder: Quantity | None
    at: datetime


@dataclass(frozen=True, slots=True)
class KeptSlip:
    sequence: int
    slip: Slip
    by: Who
    at: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    sequence: int
    figures: Figures
    by: Who
    laboratory: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Dispatch:
    sequence: int
    bales: int | None
    kg: Decimal | None
    at: datetime
    by: Who
    eway_bill_until: datetime | None


@dataclass(frozen=True, slots=True)
class Arrival:
    sequence: int
    bales: int | None
    kg: Decimal | None
    damaged_bales: int
    deemed: bool
    at: datetime
    by: Who


@dataclass(frozen=True, slots=True)
class WeightAnswer:
    side: Side
    answer: Literal["accepted", "contested"]
    kg: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Invoice:
    number: str
    kg: Decimal | None
    figures: Figures | None
    by: Who
    at: datetime


@dataclass(frozen=True, slots=True)
class Lift:
    """One consignment: its slips, readings, journey and bill. Facts make it, in whatever order they come."""

    number: int
    slips: tuple[KeptSlip, ...] = ()
    weight_answer: WeightAnswer | None = None
    decided_kg: Decimal | None = None
    decided_at: datetime | None = None
    mill_missed: bool = False
    readings: tuple[Reading, ...] = ()
    reading_answer: Literal["accepted", "contested", "dropped"] | None = None
    reading_answered_at: datetime | None = None
    quality_closed: bool = False
    dispatch: Dispatch | None = None
    arrival: Arrival | None = None
    invoice: Invoice | None = None


@dataclass(frozen=True, slots=True)
class OfferedLot:
    no: str
    bales: int
    marks: str | None
    replaces: bool
    at: datetime
    verdict: Literal["passed", "rejected", "released"] | None = None
    verdict_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """How what was not delivered ended."""

    how: Literal["cancelled", "closed_out", "lapsed"]
    why: str
    defaulter: Side | None
    basis: str | None
    price: Price | None
    expenses_paise: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    by: Side
    ground: str
    until: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Paid:
    payment_id: UUID
    due: str
    paise: int
    source: Literal["payer", "payee", "bank"]
    settles: bool
    at: datetime
    reversed: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    kind: DocumentKind
    number: str
    by: Who
    lift: int | None
    claim: int | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Proposal:
    number: int
    by: Side
    about: Literal["cancel_rest", "extend_delivery", "amend_terms", "one_bridge"]
    until: datetime | None
    carrying_pct_a_month: Decimal | None
    terms: Patch | None
    lift: int | None
    at: datetime
    state: Literal["open", "accepted", "declined", "withdrawn", "lapsed"] = "open"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants what. `moves` is what the last proposal, or the end, moves; `by_last` whose proposal it is."""

    number: int
    kind: ClaimKind
    by: Side
    lift: int | None
    asked: Moves
    raised_at: datetime
    stage: Literal["raised", "proposed", "contested", "operations", "arbitration", "closed"]
    stage_at: datetime
    moves: Moves
    by_last: Side
    how: str | None = None
    award: str | None = None
    goods: Literal["taken_back", "sold_on_account"] | None = None

    @property
    def disputed(self) -> bool:
        return self.stage in ("contested", "operations", "arbitration")


@dataclass(frozen=True, slots=True)
class Reminder:
    key: str
    times: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LateFact:
    sequence: int
    type: str
    changes: Changes | None


@dataclass(frozen=True, slots=True)
class Trade:
    """The fold of a trade's events. `terms` are those of the offer, from the match on those agreed."""

    id: UUID
    version: int
    seller_id: UUID
    lot: Lot
    ask: Price
    terms: Terms
    valid_until: datetime
    offered_at: datetime
    updated_at: datetime
    split_from: UUID | None = None
    talks: tuple[Talk, ...] = ()
    match: Match | None = None
    signed: tuple[Side, ...] = ()
    contracted_at: datetime | None = None
    tax: Tax | None = None
    seller_details: Details = NO_DETAILS
    buyer_details: tuple[tuple[UUID, Details], ...] = ()
    mandates: tuple[Mandate, ...] = ()
    seller_status: Status = "active"
    buyer_status: Status = "active"
    status_at: datetime | None = None
    status_decided: bool = True
    watched: bool = False
    lifts: tuple[Lift, ...] = ()
    lots: tuple[OfferedLot, ...] = ()
    samples: int = 0
    delivery_until: datetime | None = None
    carrying_pct_a_month: Decimal | None = None
    rest: Rest | None = None
    notice: Notice | None = None
    payments: tuple[Paid, ...] = ()
    documents: tuple[Document, ...] = ()
    claims: tuple[Claim, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    reminders: tuple[Reminder, ...] = ()
    pauses: tuple[tuple[datetime, datetime | None], ...] = ()
    closing: tuple[Side, ...] = ()
    late: tuple[LateFact, ...] = ()
    end: End | None = None
    end_reason: str | None = None
    ended_at: datetime | None = None

    @property
    def buyer_id(self) -> UUID | None:
        return None if self.match is None else self.match.buyer_id

    @property
    def status(self) -> TradeStatus:
        """The one word for lists."""
        if self.end is not None:
            return self.end
        if self.contracted_at is not None:
            if self.disputed:
                return "disputed"
            return "in_delivery" if any(lift.dispatch or lift.arrival for lift in self.lifts) else "contracted"
        if self.match is not None:
            return "matched"
        return "negotiating" if any(talk.open for talk in self.talks) else "offered"

    @property
    def disputed(self) -> bool:
        return any(claim.disputed for claim in self.claims)

    def side_of(self, partner_id: UUID | None) -> Side | None:
        if partner_id is None:
            return None
        return "seller" if partner_id == self.seller_id else "buyer" if partner_id == self.buyer_id else None

    def lift(self, number: int) -> Lift:
        """The lift of that number; an empty one if nothing is known of it yet."""
        return next((lift for lift in self.lifts if lift.number == number), Lift(number))

    def details(self, side: Side) -> Details:
        if side == "seller":
            return self.seller_details
        return next((named for party, named in self.buyer_details if party == self.buyer_id), NO_DETAILS)

    def claim(self, number: int) -> Claim | None:
        return next((claim for claim in self.claims if claim.number == number), None)

    def reminder(self, key: str) -> Reminder | None:
        return next((reminder for reminder in self.reminders if reminder.key == key), None)

    def to_json(self) -> dict[str, Any]:
        return _ADAPTER.dump_python(self, mode="json")

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Trade":
        return _ADAPTER.validate_python(data)

    def dump(self) -> str:
        """The trade as JSON text."""
        return _ADAPTER.dump_json(self).decode()

    @staticmethod
    def load(text: str) -> "Trade":
        return _ADAPTER.validate_json(text)


_ADAPTER: TypeAdapter[Trade] = TypeAdapter(Trade)


@dataclass(frozen=True, slots=True)
class Open:
    """An open step: its one owner, until when, and the event that follows if nothing is done by then.

    `or_steps` are other steps that also move it on, of the owner or, for `notice`, of the other side.
    """

    track: Track
    step: str
    who: Who
    due_at: datetime
    then: str
    outcome: Payload
    ref: str = ""
    or_steps: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.track}:{self.step}:{self.ref}"

    def to_json(self) -> dict[str, Any]:
        """As the API answers it in `next`."""
        return {
            "track": self.track,
            "step": self.step,
            "or": list(self.or_steps),
            "ref": self.ref,
            "who": self.who,
            "due_at": self.due_at.isoformat(),
            "what_happens_then": self.then,
        }


def other(side: Side) -> Side:
    return "buyer" if side == "seller" else "seller"


def deadline(trade: Trade, start: datetime, period: Period, *, stops: bool = True) -> datetime:
    """When a window that opened at `start` ends. Days in dispute do not count where the terms say so."""
    due = period.after(start)
    if not (stops and trade.terms.disputes.windows_stop):
        return due
    for begun, ended in trade.pauses:
        if ended is not None and ended > start and begun < due:
            due += ended - max(begun, start)
    return due


def stopped(trade: Trade) -> bool:
    """Whether the windows of passing and claims stand still now."""
    return trade.disputed and trade.terms.disputes.windows_stop


def reminding(
    trade: Trade, track: Track, step: str, who: Who, due: datetime, then: str, ref: str = "", ors: tuple[str, ...] = ()
) -> Open:
    """An open step whose passed deadline reminds its owner, and again every thirty days, until it is done."""
    reminder = trade.reminder(f"{track}:{step}:{ref}")
    due_at = due if reminder is None else reminder.at + EVERY
    return Open(track, step, who, due_at, then, Overdue(track=track, step=step, ref=ref, who=who), ref, ors)
