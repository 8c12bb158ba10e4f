"""Trades as the API shows them."""

from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, computed_field

from kapas.schemas.common import Amount, Page, PageQuery, Query, Request, Resource, UnitPrice, Weight
from kapas.schemas.vocabulary import TradeStatus
from kapas.values.units import amount

from .step_schemas import ClientReference, FibreQuality

Party = Literal["seller", "buyer", "bidder", "inspector", "ops", "system"]
"""Who takes a step. `bidder` is any partner but the two between whom the trade is."""
QualityTerms = Literal["none", "mcx_2021_11"]
"""The table of premiums and discounts that a trade is settled by; `none` settles at the price alone."""

Grade = Literal["A", "B", "C", "D"]
"""The platform's grades, the best first."""


class Lot(Request):
    """The lot for sale."""

    variety: str = Field(min_length=2, max_length=60, description="For example Shankar-6")
    crop_year: str = Field(pattern=r"^20[0-9]{2}-[0-9]{2}$", description="For example 2026-27")
    station: str = Field(min_length=2, max_length=60, description="Where the bales are stored")
    bales: int = Field(gt=0, le=100_000)
    net_weight: Weight = Field(description="The weight used for the settlement until the bales are weighed")
    quality: FibreQuality


class LotOffer(Request):
    """An offer of a lot by its seller."""

    lot: Lot
    ask: UnitPrice
    expires_at: AwareDatetime | None = Field(None, description="Default: 7 days from now; at most 90 days")
    quality_terms: QualityTerms = "none"
    minimum_grade: Grade = Field("C", description="The lowest platform grade with which the lot meets the contract")


class Trade(Resource):
    """The current state of a trade: the fold of its events."""

    id: UUID
    version: int
    status: TradeStatus
    seller_id: UUID
    buyer_id: UUID | None
    lot: Lot
    ask: UnitPrice
    quality_terms: QualityTerms
    minimum_grade: Grade
    price: UnitPrice | None = Field(description="The agreed price, from the match on")
    signed_by: Literal["seller", "buyer"] | None = Field(
        description="The party that signed by accepting; the other party signs next"
    )
    cancellation_by: Literal["seller", "buyer"] | None = Field(description="The party that requested cancellation")
    due_at: AwareDatetime | None = Field(
        description="Deadline of the offer, the signature or the payment; null when there is none"
    )
    payable: Amount | None = Field(description="The invoiced or awarded amount, including taxes")
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @computed_field(description="Offered net weight times the agreed price, before tax")
    @property
    def amount(self) -> Amount | None:
        if self.price is None:
            return None
        return Amount(paise=amount(self.price.price(), self.lot.net_weight.quantity()).paise)


class TradePage(Page[Trade]):
    """Trades, newest first."""


class TradeQuery(PageQuery):
    """Filters for trades; all given filters must match."""

    status: TradeStatus | None = None
    party: Literal["seller", "buyer"] | None = Field(None, description="The role of the caller's partner in the trade")
    variety: str | None = Field(None, min_length=2, max_length=60)
    crop_year: str | None = Field(None, pattern=r"^20[0-9]{2}-[0-9]{2}$")


class TradeEvent(Resource):
    """One step of a trade."""

    sequence: int
    type: str
    party: Party
    partner_id: UUID | None = Field(description="Null for a step of the platform's staff or of the platform")
    data: dict[str, object]
    occurred_at: AwareDatetime = Field(description="When it happened, according to its sender")
    recorded_at: AwareDatetime = Field(description="When the platform recorded it")
    client: ClientReference | None = None


class TimelineQuery(Query):
    """The part of a timeline to return."""

    limit: int = Field(100, ge=1, le=100, description="Maximum number of steps")
    after: int = Field(0, ge=0, description="The last sequence of the previous page")


class TradeEventPage(Resource):
    """The steps of a trade that the caller may see, oldest first."""

    data: list[TradeEvent]
    has_more: bool
    next: int | None = Field(None, description="Send as `after` to get the next page")


class BatchError(Resource):
    """One error in a step of a batch."""

    pointer: str = Field(description="JSON pointer into the batch as sent")
    code: str
    message: str


class BatchProblem(Resource):
    """Why a step was refused: the same `code`, `detail` and `errors` as for a single request."""

    code: str
    detail: str
    errors: list[BatchError]


class BatchOutcome(Resource):
    """The outcome of one step of a batch."""

    event_id: UUID
    outcome: Literal["recorded", "duplicate", "refused"]
    sequence: int | None = Field(description="Its sequence in the trade, unless it was refused")
    problem: BatchProblem | None = None


class TradeEventBatchResult(Resource):
    """The outcome of each step, in the order of the request, and the trade after them."""

    outcomes: list[BatchOutcome]
    trade: Trade


class SettlementWeight(Resource):
    """The chargeable weight, in kilograms."""

    source: Literal["offered", "weighed"]
    bales: int
    gross: Decimal | None
    tare: Decimal | None
    moisture_deduction: Decimal | None
    chargeable: Decimal


class SettlementLine(Resource):
    """One line of the statement, to the paisa."""

    code: Literal["cotton", "rd", "trash", "cgst", "sgst", "igst", "award"]
    description: str
    paise: int
    rule: str
    source: str


class TaxLiability(Resource):
    """Tax that the buyer pays to the government directly (reverse charge), and the rounded amount."""

    tax: Literal["cgst", "sgst", "igst"]
    paise: int
    payable_paise: int = Field(description="To the nearest rupee, half up (CGST Act 2017, section 170)")
    rule: str
    source: str


class Settlement(Resource):
    """The settlement statement: what the buyer owes the seller. The lines add up to the total."""

    # Kept with each invoice and read again for years: a new field needs a default.
    trade_id: UUID
    version: int
    status: Literal["provisional", "final"] = Field(description="`final` from the invoice on")
    price: UnitPrice
    weight: SettlementWeight
    hsn: str
    reverse_charge: bool
    lines: list[SettlementLine]
    total: Amount
    liabilities: list[TaxLiability]
    tax_note: str | None = Field(None, description="A note on the tax, or why none is stated")
    rounding: str
    tables: dict[str, str] = Field(description="The version of each applied table")
