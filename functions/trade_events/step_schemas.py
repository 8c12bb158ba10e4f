"""What may be appended to a trade: decisions, taken on a version that was read, and facts, true whatever else happened."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from kapas.schemas.common import Amount, Request, StateCode, UnitPrice

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours a device's clock may be."""
LATEST_RECORD = timedelta(days=30)
"""How long after it happened a step may be recorded: a device that was offline."""
LONGEST_CREDIT = timedelta(days=45)
"""The longest period agreed for payment to a micro or small enterprise: MSMED Act 2006, section 15."""
MAX_BATCH = 100
MAX_BALES = 2000
"""Bales in one weighing; a larger lot is weighed in several."""

HEAVIEST_BALE = 1000
"""Kilograms."""

Sequence = Annotated[int, Field(gt=0)]
Kilograms = Annotated[Decimal, Field(gt=0, le=HEAVIEST_BALE, decimal_places=3)]
DisputeReason = Literal["quality", "quantity", "payment", "delivery", "documents", "other"]
CorrectionReason = Literal["did_not_occur", "incorrect_data"]


class FibreQuality(Request):
    """Laboratory (HVI) figures of a lot, with the units of the USDA/AMS classing record."""

    micronaire: Decimal = Field(ge=2, le=8, decimal_places=1, description="Micronaire reading")
    strength_g_tex: Decimal = Field(ge=10, le=60, decimal_places=1, description="Breaking strength, grams per tex")
    upper_half_mean_length_in: Decimal = Field(ge=Decimal("0.5"), le=2, decimal_places=2, description="Inches")
    uniformity_index_pct: Decimal = Field(ge=60, le=100, decimal_places=1)
    rd: Decimal | None = Field(None, ge=0, le=100, decimal_places=1, description="Reflectance, per cent")
    plus_b: Decimal | None = Field(None, ge=0, le=30, decimal_places=1, description="Yellowness, Hunter +b")
    trash_area_pct: Decimal | None = Field(
        None, ge=0, le=20, decimal_places=1, description="Per cent of area, not weight"
    )
    trash_weight_pct: Decimal | None = Field(
        None, ge=0, le=20, decimal_places=2, description="Per cent of weight, not area: what exchanges settle by"
    )


class Decision(Request):
    """A step based on the version that the client last read."""

    expected_version: int = Field(gt=0, description="The trade's version as last read")
    occurred_at: AwareDatetime | None = Field(None, description="When it was decided; default: now")


class Fact(Request):
    """A step that records what happened; it may be recorded late."""

    expected_version: int | None = Field(None, gt=0, description="The trade's version as last read; optional")
    occurred_at: AwareDatetime | None = Field(None, description="When it happened; default: now")


# On the market


class BidPlaced(Decision):
    """A bid for an open lot, in the unit of the ask. A later bid by the same partner replaces it."""

    type: Literal["bid_placed"]
    price: UnitPrice


class BidWithdrawn(Decision):
    """A partner withdraws its bid before it is accepted (Indian Contract Act 1872, section 5)."""

    type: Literal["bid_withdrawn"]


class PriceCountered(Decision):
    """One side answers the other's last price, a bid or a counter-offer, with its own."""

    type: Literal["price_countered"]
    counters_sequence: Sequence
    price: UnitPrice


class BidAccepted(Decision):
    """The seller accepts a bidder's last price, named by its sequence in the trade. Accepting is signing."""

    type: Literal["bid_accepted"]
    bid_sequence: Sequence


class CounterAccepted(Decision):
    """A bidder accepts the seller's counter-offer, named by its sequence in the trade. Accepting is signing."""

    type: Literal["counter_accepted"]
    counter_sequence: Sequence


class OfferWithdrawn(Decision):
    """The seller withdraws the lot."""

    type: Literal["offer_withdrawn"]


# The contract


class ContractSigned(Decision):
    """The party that has not signed yet signs the contract."""

    type: Literal["contract_signed"]


class ContractDeclined(Decision):
    """The party that has not signed yet declines the contract."""

    type: Literal["contract_declined"]


class CancellationRequested(Decision):
    """A party asks the other to cancel the contract."""

    type: Literal["cancellation_requested"]


class CancellationAgreed(Decision):
    """The other party agrees to the cancellation."""

    type: Literal["cancellation_agreed"]


# Weight and quality


class BaleWeight(Request):
    """The weighing of one pressed bale."""

    mark: str = Field(pattern=r"^[A-Z0-9/-]{1,20}$", description="Press running number, as on the bale")
    gross_kg: Kilograms
    tare_kg: Decimal = Field(ge=0, le=20, decimal_places=3, description="Straps and wrapping")
    moisture_pct: Decimal = Field(ge=0, le=30, decimal_places=1)


class BalesWeighed(Fact):
    """Actual weights of bales of the lot."""

    type: Literal["bales_weighed"]
    bales: list[BaleWeight] = Field(min_length=1, max_length=MAX_BALES)


class SampleDrawn(Fact):
    """An inspector drew samples from the bales."""

    type: Literal["sample_drawn"]
    samples: int = Field(gt=0, le=10_000)


class QualityPassed(Fact):
    """An inspector found that the lot meets the contract."""

    type: Literal["quality_passed"]
    grade: str | None = Field(None, pattern=r"^[A-D]$")
    quality: FibreQuality | None = Field(None, description="Measured figures, used for the settlement")


class QualityFailed(Fact):
    """An inspector found that the lot does not meet the contract."""

    type: Literal["quality_failed"]
    grade: str | None = Field(None, pattern=r"^[A-D]$")
    quality: FibreQuality | None = Field(None, description="Measured figures, used for the settlement")


class QualityAccepted(Decision):
    """A party accepts the other's claim that the lot passed, with the figures of its grading; or the buyer takes a
    failed lot as it is."""

    type: Literal["quality_accepted"]


class FailureAccepted(Decision):
    """The seller accepts the buyer's claim that the lot failed."""

    type: Literal["failure_accepted"]


class LotRejected(Decision):
    """The buyer rejects a lot that failed."""

    type: Literal["lot_rejected"]


# Payment and delivery


class PaymentRequested(Decision):
    """The seller invoices the settlement statement."""

    type: Literal["payment_requested"]
    due_at: AwareDatetime = Field(description="At most 45 days ahead (MSMED Act 2006, section 15)")
    invoice_number: str = Field(
        pattern=r"^[A-Za-z1-9][A-Za-z0-9/-]{0,15}$",
        description="The seller's own number, unique in a financial year (CGST Rules 2017, rule 46(b))",
    )
    supplier_state: StateCode
    place_of_supply: StateCode = Field(
        description="State in which the movement of the goods ends (IGST Act 2017, section 10)"
    )


class PaymentConfirmed(Decision):
    """The seller confirms the payment."""

    type: Literal["payment_confirmed"]


class PaymentDefaulted(Decision):
    """The seller ends a contract whose payment is overdue."""

    type: Literal["payment_defaulted"]


class Dispatched(Fact):
    """The seller dispatched the bales."""

    type: Literal["dispatched"]
    bales: int = Field(gt=0, le=100_000)


class Delivered(Fact):
    """The buyer received the bales."""

    type: Literal["delivered"]
    bales: int = Field(gt=0, le=100_000)


class SettlementAccepted(Decision):
    """The buyer accepts the settlement without a claim."""

    type: Literal["settlement_accepted"]


# Disputes


class DisputeRaised(Decision):
    """A party disputes the trade."""

    type: Literal["dispute_raised"]
    reason: DisputeReason


class ArbitrationReferred(Decision):
    """A party refers the dispute to arbitration by the Cotton Association of India."""

    type: Literal["arbitration_referred"]
    institution: Literal["CAI"]


class DisputeSettled(Decision):
    """Operations records what the parties agreed or the arbitrators awarded."""

    type: Literal["dispute_settled"]
    amount: Amount = Field(description="The total that the buyer pays the seller")
    award_number: str | None = Field(
        None, pattern=r"^[A-Za-z0-9/-]{1,32}$", description="The number of the arbitrators' award"
    )


class DisputeCancelled(Decision):
    """Operations records that the dispute ended the trade without payment."""

    type: Literal["dispute_cancelled"]


# Corrections

Correctable = Annotated[BalesWeighed | SampleDrawn | Dispatched | Delivered, Field(discriminator="type")]


class EventCorrected(Fact):
    """A party corrects a fact that it recorded (EPCIS 2.0, errorDeclaration). Both stay in the timeline."""

    type: Literal["event_corrected"]
    corrects: int = Field(gt=0, description="The sequence of the fact; if it was corrected before, of the first one")
    reason: CorrectionReason
    replacement: Correctable | None = Field(None, description="The correct fact; omit if it did not occur")


TradeEventBody = Annotated[
    BidPlaced
    | BidWithdrawn
    | PriceCountered
    | BidAccepted
    | CounterAccepted
    | OfferWithdrawn
    | ContractSigned
    | ContractDeclined
    | CancellationRequested
    | CancellationAgreed
    | BalesWeighed
    | SampleDrawn
    | QualityPassed
    | QualityFailed
    | QualityAccepted
    | FailureAccepted
    | LotRejected
    | PaymentRequested
    | PaymentConfirmed
    | PaymentDefaulted
    | Dispatched
    | Delivered
    | SettlementAccepted
    | DisputeRaised
    | ArbitrationReferred
    | DisputeSettled
    | DisputeCancelled
    | EventCorrected,
    Field(discriminator="type"),
]


class ClientReference(Request):
    """The id that a device gives an event, so that a repeated event is recorded once."""

    device_id: str = Field(
        pattern=r"^[A-Za-z0-9_-]{8,64}$", description="Generated by the installation; never a hardware number"
    )
    event_id: UUID


class TradeEventAppend(Request):
    """One step of a trade."""

    event: TradeEventBody
    client: ClientReference | None = None


class BatchItem(Request):
    """One step that a device stored while it was offline."""

    event_id: UUID
    event: TradeEventBody


class TradeEventBatch(Request):
    """Steps that a device stored while it was offline, in its order."""

    device_id: str = Field(
        pattern=r"^[A-Za-z0-9_-]{8,64}$", description="Generated by the installation; never a hardware number"
    )
    events: list[BatchItem] = Field(min_length=1, max_length=MAX_BATCH)
