"""What a trade's events say: commercial facts, with ids of parties only.

A `Fact` is true whatever else happened, so it is kept whenever it comes; `late` and `changes` say what it alters after
an invoice. The others are decisions of a party, of the platform's staff, or of the contract when a deadline passed
(then the envelope's actor is the system).
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from kapas.messaging.events import EventData
from kapas.schemas.vocabulary import TradeStatus

from .lots import Lot
from .parties import Actor, Mandate, Status
from .tax import Details, Tax
from .terms import Patch, Terms
from .values import Figures, Model, Price, Quantity, Side, Slip, Track, When, Who


class Payload(EventData):
    """What an event says, as it is kept and as it is published.

    `trade_status` and `trade_due_at` are the trade's after the event: filled in for subscribers, and left out of what is
    kept, for they follow from it.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    topic: ClassVar[str] = "trade-events"
    source: ClassVar[str] = "/trade_events"

    trade_status: Annotated[TradeStatus | None, Field(description="The trade's status after the event")] = None
    trade_due_at: Annotated[When | None, Field(description="From the match on: when the next open step is due")] = None


class Changes(Model):
    """What a late fact alters in what was invoiced, for the money side to put into a note."""

    lift: int
    what: Literal["weight", "quality"]
    note: Literal["credit", "debit"]
    before: str
    after: str


class Fact(Payload):
    late: bool = False
    changes: Changes | None = None


# Negotiation


class Offered(Payload):
    type: ClassVar[str] = "trade.offered.v1"
    seller_id: UUID
    lot: Lot
    ask: Price
    terms: Terms
    valid_until: When
    split_from: UUID | None = None


class OfferChanged(Payload):
    """Another ask, other terms or a longer time; what stays is null."""

    type: ClassVar[str] = "trade.offer_changed.v1"
    ask: Price | None = None
    terms: Terms | None = None
    valid_until: When | None = None


class BidPlaced(Payload):
    """A bid, or the answer to one with other figures. `differs` is what of the offer's terms is said otherwise."""

    type: ClassVar[str] = "trade.bid_placed.v1"
    bidder_id: UUID
    by: Side
    price: Price
    quantity: Quantity
    differs: Patch
    valid_until: When


class BidEnded(Payload):
    type: ClassVar[str] = "trade.bid_ended.v1"
    bidder_id: UUID
    how: Literal["withdrawn", "declined", "lapsed"]


class Matched(Payload):
    """`remainder` is what a part-lot bid left: a new trade offers it."""

    type: ClassVar[str] = "trade.matched.v1"
    buyer_id: UUID
    price: Price
    quantity: Quantity
    terms: Terms
    accepted_by: Side
    remainder: Quantity | None = None


class Signed(Payload):
    type: ClassVar[str] = "trade.signed.v1"
    side: Side


class Contracted(Payload):
    """Both have signed. Terms, quantity and price are those of the match."""

    type: ClassVar[str] = "trade.contracted.v1"
    tax: Tax


class Ended(Payload):
    """Nothing is open any more."""

    type: ClassVar[str] = "trade.ended.v1"
    how: Literal["completed", "closed_out", "cancelled", "expired"]
    reason: Literal["nothing_open", "offer_expired", "offer_withdrawn", "declined", "signature_overdue", "rest_ended"]


# Parties


class MandateGiven(Payload):
    type: ClassVar[str] = "trade.mandate_given.v1"
    mandate: Mandate


class MandateRevoked(Payload):
    type: ClassVar[str] = "trade.mandate_revoked.v1"
    principal_id: UUID
    broker_id: UUID


class PartyNamed(Payload):
    """The registration, account and place that a party deals with; `tax` anew where there is a contract."""

    type: ClassVar[str] = "trade.party_named.v1"
    party_id: UUID
    details: Details
    tax: Tax | None = None


class PartyStatusChanged(Fact):
    type: ClassVar[str] = "trade.party_status_changed.v1"
    side: Side
    status: Status


class PartyDecided(Payload):
    """Operations on a party that cannot act: perform under watch, or let the rest go."""

    type: ClassVar[str] = "trade.party_decided.v1"
    side: Side
    how: Literal["watch", "close_out", "no_decision"]


# Weight


class Weighed(Fact):
    type: ClassVar[str] = "trade.weighed.v1"
    lift: int
    slip: Slip
    by: Who


class WeightAnswered(Payload):
    type: ClassVar[str] = "trade.weight_answered.v1"
    lift: int
    side: Side
    answer: Literal["accepted", "contested"]
    kg: Decimal


class WeightDecided(Payload):
    """What a lift weighs, by operations or by what the contract says of a deadline."""

    type: ClassVar[str] = "trade.weight_decided.v1"
    lift: int
    kg: Decimal
    why: Literal["operations", "lower_of_two", "contract_limit", "one_voice"]


class MillWeightMissed(Payload):
    """No slip of the mill came in time: the gin weight stands."""

    type: ClassVar[str] = "trade.mill_weight_missed.v1"
    lift: int


# Quality


class NamedLot(Model):
    no: str
    bales: int
    marks: str | None = None


class LotsOffered(Payload):
    type: ClassVar[str] = "trade.lots_offered.v1"
    lots: tuple[NamedLot, ...]
    replaces: bool = False


class Sampled(Fact):
    type: ClassVar[str] = "trade.sampled.v1"
    samples: int
    lift: int | None = None
    lot: str | None = None
    seal: str | None = None


class Tested(Fact):
    """Readings of a lift: by a side, by a laboratory that the terms name, by an inspector."""

    type: ClassVar[str] = "trade.tested.v1"
    lift: int
    figures: Figures
    by: Who
    laboratory: str | None = None
    file_id: UUID | None = None


class ReadingAnswered(Payload):
    """`dropped`: nobody agreed and nobody independent read again; a deduction that is not agreed is not taken."""

    type: ClassVar[str] = "trade.reading_answered.v1"
    lift: int
    answer: Literal["accepted", "contested", "dropped"]


class LotResult(Model):
    no: str
    verdict: Literal["passed", "rejected", "released"]


class LotsPassed(Payload):
    type: ClassVar[str] = "trade.lots_passed.v1"
    results: tuple[LotResult, ...]
    by: Who


class QualityClosed(Payload):
    """The lift's quality is no longer looked at: accepted, or its window passed."""

    type: ClassVar[str] = "trade.quality_closed.v1"
    lift: int
    why: Literal["accepted", "window_passed"]


# Delivery


class Dispatched(Fact):
    type: ClassVar[str] = "trade.dispatched.v1"
    lift: int
    bales: int | None
    kg: Decimal | None
    vehicle: str
    lorry_receipt: str | None = None
    eway_bill: str | None = None
    eway_bill_until: When | None = None
    against: tuple[str, ...] = ()
    by: Who


class Arrived(Fact):
    """`deemed`: nobody said so; the terms count it as arrived."""

    type: ClassVar[str] = "trade.arrived.v1"
    lift: int
    bales: int | None
    kg: Decimal | None
    damaged_bales: int = 0
    deemed: bool = False
    by: Who


class DeliveryExtended(Payload):
    type: ClassVar[str] = "trade.delivery_extended.v1"
    until: When
    carrying_pct_a_month: Decimal | None = None


class RestEnded(Payload):
    """What was not delivered will not be. Closed out: at which price, at whose default."""

    type: ClassVar[str] = "trade.rest_ended.v1"
    how: Literal["cancelled", "closed_out", "lapsed"]
    why: Literal["consent", "default", "unpaid", "deadline", "rejected", "operations"]
    defaulter: Side | None = None
    basis: Literal["resale", "purchase", "day_rate"] | None = None
    price: Price | None = None
    expenses_paise: int = 0


class NoticeGiven(Payload):
    """A party is told to perform by `until`, or the other closes out."""

    type: ClassVar[str] = "trade.notice_given.v1"
    by: Side
    ground: Literal["payment", "delivery", "lots", "refusal"]
    until: When


# Payment and documents


class PaymentRecorded(Fact):
    """What is known of a payment towards a due. `settles`: with this it is paid."""

    type: ClassVar[str] = "trade.payment_recorded.v1"
    due: str
    paise: int
    said_by: Literal["payer", "payee", "bank"]
    settles: bool
    payment_id: UUID


class PaymentReversed(Fact):
    type: ClassVar[str] = "trade.payment_reversed.v1"
    payment_id: UUID
    why: Literal["returned", "refunded", "wrong_payer", "mistake"]


DocumentKind = Literal[
    "contract_note",
    "brokers_note",
    "brokerage_invoice",
    "passing_slip",
    "packing_list",
    "delivery_order",
    "tax_invoice",
    "bill_of_supply",
    "self_invoice",
    "payment_voucher",
    "eway_bill",
    "committee_receipt",
    "credit_note",
    "debit_note",
]


class DocumentRecorded(Fact):
    """A paper was made. An invoice fixes what its lift is billed by: kilograms, figures and the total."""

    type: ClassVar[str] = "trade.document_recorded.v1"
    kind: DocumentKind
    number: str
    by: Who
    lift: int | None = None
    kg: Decimal | None = None
    figures: Figures | None = None
    paise: int | None = None
    claim: int | None = None
    file_id: UUID | None = None


# Claims and proposals

ClaimKind = Literal[
    "short_weight",
    "short_delivery",
    "excess",
    "damage",
    "quality",
    "late_delivery",
    "not_delivered",
    "payment",
    "difference",
    "documents",
    "other",
]


class Moves(Model):
    """What a claim's end moves: money to a side, goods back or in exchange."""

    paise: int = 0
    to: Side | None = None
    kg: Decimal | None = None
    goods: Literal["none", "returned", "replaced"] = "none"
    bales: int = 0


class ClaimRaised(Payload):
    """`asked` is what the claimant wants; of a short weight the slips say how much."""

    type: ClassVar[str] = "trade.claim_raised.v1"
    claim: int
    kind: ClaimKind
    by: Side
    lift: int | None
    asked: Moves


class ClaimAnswered(Payload):
    """A side's move within a claim. A proposal takes the place of the one before."""

    type: ClassVar[str] = "trade.claim_answered.v1"
    claim: int
    by: Side
    answer: Literal["proposed", "contested"]
    moves: Moves | None = None


class ClaimReferred(Payload):
    type: ClassVar[str] = "trade.claim_referred.v1"
    claim: int
    to: Literal["operations", "arbitration", "parties"]


class ClaimClosed(Payload):
    type: ClassVar[str] = "trade.claim_closed.v1"
    claim: int
    how: Literal["agreed", "withdrawn", "lapsed", "decided", "awarded", "no_longer_short"]
    moves: Moves
    award: str | None = None


class GoodsSettled(Payload):
    """What became of goods that go back."""

    type: ClassVar[str] = "trade.goods_settled.v1"
    claim: int
    how: Literal["taken_back", "sold_on_account"]


class Proposed(Payload):
    """A change of the contract that needs the other side's word."""

    type: ClassVar[str] = "trade.proposed.v1"
    proposal: int
    by: Side
    about: Literal["cancel_rest", "extend_delivery", "amend_terms", "one_bridge"]
    until: When | None = None
    carrying_pct_a_month: Decimal | None = None
    terms: Patch | None = None
    lift: int | None = None


class ProposalEnded(Payload):
    type: ClassVar[str] = "trade.proposal_ended.v1"
    proposal: int
    how: Literal["accepted", "declined", "withdrawn", "lapsed"]


class TermsAmended(Payload):
    type: ClassVar[str] = "trade.terms_amended.v1"
    terms: Terms


# All tracks


class Overdue(Payload):
    """A deadline passed and the step is still open: its owner is reminded, the other side may act."""

    type: ClassVar[str] = "trade.overdue.v1"
    track: Track
    step: str
    ref: str
    who: Who


class ClosingAccepted(Payload):
    type: ClassVar[str] = "trade.closing_accepted.v1"
    side: Side


class Corrected(Fact):
    """The fact of that sequence is not true. What is true follows as a fact of its own."""

    type: ClassVar[str] = "trade.corrected.v1"
    corrects: int
    reason: Literal["did_not_occur", "incorrect_data"]


PAYLOADS: dict[str, type[Payload]] = {
    payload.type: payload
    for payload in (
        *(Offered, OfferChanged, BidPlaced, BidEnded, Matched, Signed, Contracted, Ended),
        *(MandateGiven, MandateRevoked, PartyNamed, PartyStatusChanged, PartyDecided),
        *(Weighed, WeightAnswered, WeightDecided, MillWeightMissed),
        *(LotsOffered, Sampled, Tested, ReadingAnswered, LotsPassed, QualityClosed),
        *(Dispatched, Arrived, DeliveryExtended, RestEnded, NoticeGiven),
        *(PaymentRecorded, PaymentReversed, DocumentRecorded),
        *(ClaimRaised, ClaimAnswered, ClaimReferred, ClaimClosed, GoodsSettled, Proposed, ProposalEnded, TermsAmended),
        *(Overdue, ClosingAccepted, Corrected),
    )
}
"""Every event type of a trade."""


PUBLISHED_ONLY = {"trade_status", "trade_due_at"}
"""Fields of a payload that no stored event has."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a trade: its place, who said it, when it was recorded and when it happened."""

    trade_id: UUID
    sequence: int
    payload: Payload
    by: Actor
    at: datetime
    occurred_at: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "trade_id": str(self.trade_id),
            "sequence": self.sequence,
            "type": self.payload.type,
            "by": self.by.model_dump(mode="json", exclude_none=True),
            "at": self.at.isoformat(),
            "occurred_at": self.occurred_at.isoformat(),
            "data": self.payload.model_dump(mode="json", exclude=PUBLISHED_ONLY),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Event":
        return Event(
            UUID(data["trade_id"]),
            data["sequence"],
            PAYLOADS[data["type"]].model_validate(data["data"]),
            Actor.model_validate(data["by"]),
            datetime.fromisoformat(data["at"]),
            datetime.fromisoformat(data["occurred_at"]),
        )
