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
    """A seller offered a lot."""

    type: ClassVar[str] = "trade.offered.v1"

    bales: int
    net_weight: Weight
    ask: UnitPrice
    expires_at: AwareDatetime | None = None


class TradeBidPlaced(TradeEventData):
    """A partner bid for an open lot. Visible to the seller and that partner only."""

    type: ClassVar[str] = "trade.bid_placed.v1"

    bidder_id: UUID
    price: UnitPrice


class TradeBidWithdrawn(TradeEventData):
    """A partner withdrew its bid. Visible to the seller and that partner only."""

    type: ClassVar[str] = "trade.bid_withdrawn.v1"

    bidder_id: UUID


class TradeCountered(TradeEventData):
    """One side countered the other's price. Visible to the seller and that bidder only."""

    type: ClassVar[str] = "trade.countered.v1"

    bidder_id: UUID
    by: Literal["seller", "bidder"]
    price: UnitPrice


class TradeMatched(TradeEventData):
    """One side accepted the other's price, which also signs it; the other must sign by `sign_by`."""

    type: ClassVar[str] = "trade.matched.v1"

    buyer_id: UUID
    price: UnitPrice
    sign_by: AwareDatetime | None = None


class TradeContracted(TradeEventData):
    """Both parties have signed the contract."""

    type: ClassVar[str] = "trade.contracted.v1"

    buyer_id: UUID
    price: UnitPrice
    amount: Amount


class TradeExpired(TradeEventData):
    """The offer expired without a buyer. Visible to the bidders, too."""

    type: ClassVar[str] = "trade.expired.v1"


class TradeCancelled(TradeEventData):
    """The trade was cancelled. For a withdrawn offer, visible to the bidders, too."""

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
    """A party asked the other to cancel the contract."""

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
    """A grading favours the party that ordered it: the other party may accept the claim, or an inspector decides."""

    type: ClassVar[str] = "trade.quality_claimed.v1"

    verdict: Literal["passed", "failed"]
    by: Literal["seller", "buyer"]
    grade: str
    grading_id: UUID


class TradeQualityDecided(TradeBetween):
    """The quality of the lot was decided: by an inspector, by a grading against the party that ordered it, by a party
    that accepted the other's claim, or by the buyer, who takes the lot as it is."""

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
    """The payment is overdue."""

    type: ClassVar[str] = "trade.payment_overdue.v1"

    amount: Amount


class TradePaymentConfirmed(TradeBetween):
    """The seller confirmed the payment."""

    type: ClassVar[str] = "trade.payment_confirmed.v1"

    amount: Amount


class TradeDispatched(TradeBetween):
    """The seller dispatched the bales."""

    type: ClassVar[str] = "trade.dispatched.v1"

    bales: int


class TradeDelivered(TradeBetween):
    """The buyer received the bales."""

    type: ClassVar[str] = "trade.delivered.v1"

    bales: int


class TradeSettled(TradeBetween):
    """The trade is settled; `amount` is the total that the buyer paid, or pays by the award."""

    type: ClassVar[str] = "trade.settled.v1"

    amount: Amount


class TradeDisputed(TradeBetween):
    """A party disputed the trade."""

    type: ClassVar[str] = "trade.disputed.v1"

    by: Literal["seller", "buyer"]
    reason: DisputeReason


class TradeArbitrationReferred(TradeBetween):
    """A party referred the dispute to arbitration."""

    type: ClassVar[str] = "trade.arbitration_referred.v1"

    by: Literal["seller", "buyer"]
    institution: Literal["CAI"]


class TradeCorrected(TradeBetween):
    """The party that recorded the step `corrects` corrected it; both stay in the timeline."""

    type: ClassVar[str] = "trade.corrected.v1"

    corrects: int
    corrected_type: str
    reason: CorrectionReason
