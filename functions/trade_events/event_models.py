"""Events of trades."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime

from kapas.messaging.events import EventData
from kapas.schemas.common import Amount, UnitPrice, Weight

from .step_schemas import CorrectionReason, DisputeReason


class TradeEventData(EventData):
    topic: ClassVar[str] = "trade-events"
    source: ClassVar[str] = "/trade_events"

    trade_id: UUID
    seller_id: UUID


class TradeOffered(TradeEventData):
    """A lot is on the market."""

    type: ClassVar[str] = "trade.offered.v1"

    bales: int
    net_weight: Weight
    ask: UnitPrice
    expires_at: AwareDatetime | None = None


class TradeBidPlaced(TradeEventData):
    """A partner bids for an open lot. Only the seller and that partner are told."""

    type: ClassVar[str] = "trade.bid_placed.v1"

    bidder_id: UUID
    price: UnitPrice


class TradeBidWithdrawn(TradeEventData):
    """A partner took its bid back. Only the seller and that partner are told."""

    type: ClassVar[str] = "trade.bid_withdrawn.v1"

    bidder_id: UUID


class TradeCountered(TradeEventData):
    """One side answered the other's price with its own. Only the seller and that bidder are told."""

    type: ClassVar[str] = "trade.countered.v1"

    bidder_id: UUID
    by: Literal["seller", "bidder"]
    price: UnitPrice


class TradeMatched(TradeEventData):
    """One side accepted the other's price, and signed by that; the other has until `sign_by` to sign."""

    type: ClassVar[str] = "trade.matched.v1"

    buyer_id: UUID
    price: UnitPrice
    sign_by: AwareDatetime | None = None


class TradeContracted(TradeEventData):
    """Both have signed: the trade binds them."""

    type: ClassVar[str] = "trade.contracted.v1"

    buyer_id: UUID
    price: UnitPrice
    amount: Amount


class TradeExpired(TradeEventData):
    """Nobody bought before the offer's end. The bidders are told too."""

    type: ClassVar[str] = "trade.expired.v1"


class TradeCancelled(TradeEventData):
    """The trade ended without being settled. Of a withdrawn offer the bidders are told too."""

    type: ClassVar[str] = "trade.cancelled.v1"

    buyer_id: UUID | None
    reason: Literal[
        "offer_withdrawn",
        "contract_declined",
        "signature_overdue",
        "cancellation_agreed",
        "lot_rejected",
        "payment_defaulted",
        "dispute_cancelled",
    ]


class TradeBetween(TradeEventData):
    """A trade that has two parties."""

    buyer_id: UUID


class TradeCancellationRequested(TradeBetween):
    """A party asks the other to let go of the contract."""

    type: ClassVar[str] = "trade.cancellation_requested.v1"

    by: Literal["seller", "buyer"]


class TradeWeighed(TradeBetween):
    """Bales of the lot were weighed; `net_weight` is gross less tare, before any deduction for moisture."""

    type: ClassVar[str] = "trade.weighed.v1"

    bales: int
    net_weight: Weight


class TradeSampled(TradeBetween):
    """Samples were drawn from the lot."""

    type: ClassVar[str] = "trade.sampled.v1"

    samples: int


class TradeQualityClaimed(TradeBetween):
    """A grading that a party ordered says what is in its favour: the other party may accept it, or an inspector decides."""

    type: ClassVar[str] = "trade.quality_claimed.v1"

    verdict: Literal["passed", "failed"]
    by: Literal["seller", "buyer"]
    grade: str
    grading_id: UUID


class TradeQualityDecided(TradeBetween):
    """The lot is as contracted or not, says an inspector, or a grading against the interest of the party that ordered it,
    or a party that takes the other's claim; or the buyer takes it as it is."""

    type: ClassVar[str] = "trade.quality_decided.v1"

    verdict: Literal["passed", "failed"]
    by: Literal["inspector", "grading", "seller", "buyer"]
    grade: str | None
    grading_id: UUID | None


class TradePaymentRequested(TradeBetween):
    """The seller invoiced the settlement statement, taxes included."""

    type: ClassVar[str] = "trade.payment_requested.v1"

    amount: Amount
    due_at: AwareDatetime


class TradePaymentOverdue(TradeBetween):
    """The payment was due and has not been confirmed."""

    type: ClassVar[str] = "trade.payment_overdue.v1"

    amount: Amount


class TradePaymentConfirmed(TradeBetween):
    """The seller has the money."""

    type: ClassVar[str] = "trade.payment_confirmed.v1"

    amount: Amount


class TradeDispatched(TradeBetween):
    """The seller sent the bales off."""

    type: ClassVar[str] = "trade.dispatched.v1"

    bales: int


class TradeDelivered(TradeBetween):
    """The buyer received the bales."""

    type: ClassVar[str] = "trade.delivered.v1"

    bales: int


class TradeSettled(TradeBetween):
    """Nothing is owed any more; `amount` is what the buyer paid, or by the award pays, in all."""

    type: ClassVar[str] = "trade.settled.v1"

    amount: Amount


class TradeDisputed(TradeBetween):
    """A party disputes the trade."""

    type: ClassVar[str] = "trade.disputed.v1"

    by: Literal["seller", "buyer"]
    reason: DisputeReason


class TradeArbitrationReferred(TradeBetween):
    """A party referred the dispute to arbitration."""

    type: ClassVar[str] = "trade.arbitration_referred.v1"

    by: Literal["seller", "buyer"]
    institution: Literal["CAI"]


class TradeCorrected(TradeBetween):
    """Who recorded the step `corrects` says that it was wrong; both stay in the timeline."""

    type: ClassVar[str] = "trade.corrected.v1"

    corrects: int
    corrected_type: str
    reason: CorrectionReason
