"""Trades as the API takes and shows them. Lots, terms and steps are those of the deal itself."""

from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from kapas.schemas.common import Page, PageQuery, Query, Request, Resource
from kapas.schemas.vocabulary import TradeStatus

from .deal.lots import Lot
from .deal.parties import Mandate, Role, Status
from .deal.settlement import Paper
from .deal.steps import AnyStep
from .deal.tax import Details, Tax
from .deal.terms import Anchor, QualityTable, Terms
from .deal.trade import (
    Arrival,
    Claim,
    Dispatch,
    Document,
    End,
    Invoice,
    KeptSlip,
    LateFact,
    Notice,
    OfferedLot,
    Paid,
    Proposal,
    Reading,
    Rest,
)
from .deal.values import Price, Quantity, Side, Track, Who

MAX_BATCH = 100
DeviceId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="Made up by the installation; no hardware number")
]
PrincipalId = Annotated[
    UUID | None, Field(description="For whom a broker acts, if it has a mandate of more than one party")
]


# What a client sends


class ClientReference(Request):
    """What a device calls a step of its own, so that sending it again records it once."""

    device_id: DeviceId
    event_id: UUID


class StepRequest(Request):
    """One step of a trade."""

    step: AnyStep
    principal_id: PrincipalId = None
    client: ClientReference | None = None


class BatchItem(Request):
    """One step that a device kept while it was offline."""

    event_id: UUID
    step: dict[str, Any] = Field(description="As in a request of its own; one that cannot be read is refused alone")
    principal_id: PrincipalId = None


class StepBatch(Request):
    """Steps that a device kept while it was offline, in its own order."""

    device_id: DeviceId
    steps: list[BatchItem] = Field(min_length=1, max_length=MAX_BATCH)


class TradeQuery(PageQuery):
    """Which trades to list: those that fit all that is given."""

    status: TradeStatus | None = None
    party: Literal["seller", "buyer", "broker"] | None = Field(None, description="What the caller's partner is in it")
    template: str | None = Field(None, min_length=2, max_length=60)
    variety: str | None = Field(None, min_length=2, max_length=60)
    crop_year: str | None = Field(None, pattern=r"^20[0-9]{2}-[0-9]{2}$")
    station: str | None = Field(None, min_length=2, max_length=60)


class TimelineQuery(Query):
    """Which part of a timeline to answer."""

    limit: int = Field(100, ge=1, le=100, description="How many events at most")
    after: int = Field(0, ge=0, description="The sequence that the last page ended with")


# A trade as it stands


class TermDifference(Resource):
    """One term that the offer and a bid say differently; null where one leaves it out."""

    pointer: str
    offer: Any
    bid: Any


class Bid(Resource):
    """The last word between the seller and one bidder."""

    bidder_id: UUID
    sequence: int = Field(description="What `counter` and `accept` name")
    by: Side
    price: Price
    quantity: Quantity
    differences: list[TermDifference] = Field(description="Where it says otherwise than the offer")
    valid_until: AwareDatetime
    at: AwareDatetime
    open: bool


class LiftWeight(Resource):
    """What a lift weighs, by all slips and answers so far."""

    state: Literal["missing", "waiting", "contested", "agreed"]
    kg: Decimal | None
    waits_for: Side | None
    source: str = Field(description="The basis of the terms, `inspector`, or `decided`")
    short_kg: Decimal | None = Field(description="What the mill's slip says less")
    claimed_kg: Decimal | None = Field(description="What of that the buyer does not bear")


class LiftState(Resource):
    """One consignment."""

    number: int
    weight: LiftWeight
    slips: list[KeptSlip]
    readings: list[Reading]
    reading_answer: Literal["accepted", "contested", "dropped"] | None
    quality_closed: bool
    dispatch: Dispatch | None
    arrival: Arrival | None
    invoice: Invoice | None


class DeliveryState(Resource):
    """What of the contract moved, and what is left."""

    until: AwareDatetime | None
    lifted_bales: int
    lifted_kg: Decimal
    rest_kg: Decimal
    complete: bool
    rest: Rest | None = Field(description="How what was not delivered ended")
    notice: Notice | None


class DueState(Resource):
    """A part of the price that has become due."""

    key: str = Field(description="What `record_payment` names")
    lift: int | None
    share_pct: Decimal
    after: Anchor
    due_at: AwareDatetime
    before_dispatch: bool
    settled: bool


class NextStep(Resource):
    """A step that is open: whose it is, until when, and what happens if nobody takes it."""

    track: Track
    step: str
    alternatives: list[str] = Field(description="Other steps that also move it on")
    ref: str = Field(description="Which lift, due, claim, proposal or bid it is about; empty for the trade")
    who: Who
    due_at: AwareDatetime
    what_happens_then: str


class TradeView(Resource):
    """A trade as it stands: the contract, its tracks, and what is open. Parties are named by their ids."""

    id: UUID
    version: int
    status: TradeStatus
    seller_id: UUID
    buyer_id: UUID | None
    lot: Lot
    ask: Price
    terms: Terms = Field(description="Those of the offer; from the match on those agreed")
    valid_until: AwareDatetime = Field(description="Until when the lot is offered")
    split_from: UUID | None
    bids: list[Bid] = Field(description="To the seller all of them, to a bidder its own")
    price: Price | None
    quantity: Quantity | None
    remainder: Quantity | None = Field(description="What a bid for a part left: its seller offers it anew")
    signed: list[Side]
    contracted_at: AwareDatetime | None
    tax: Tax | None
    seller_details: Details
    buyer_details: Details
    seller_status: Status
    buyer_status: Status
    mandates: list[Mandate] = Field(description="Those that concern the caller")
    delivery: DeliveryState
    lots: list[OfferedLot] = Field(description="Lots offered for passing")
    samples: int
    lifts: list[LiftState]
    dues: list[DueState]
    payments: list[Paid]
    documents: list[Document]
    claims: list[Claim]
    proposals: list[Proposal]
    late: list[LateFact] = Field(description="Facts that came after what they alter was invoiced, or after the end")
    next: list[NextStep] = Field(description="What is open, the most urgent first; empty when the trade has ended")
    possible: list[str] = Field(description="Steps that the caller may take now")
    end: End | None
    end_reason: str | None
    ended_at: AwareDatetime | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class TradeSummary(Resource):
    """A trade in a list."""

    id: UUID
    version: int
    status: TradeStatus
    seller_id: UUID
    buyer_id: UUID | None
    template: str
    lot: Lot
    ask: Price
    price: Price | None
    quantity: Quantity | None
    due_at: AwareDatetime | None = Field(
        description="When the offer ends; from the match on, when the next step is due"
    )
    created_at: AwareDatetime
    updated_at: AwareDatetime


class TradePage(Page[TradeSummary]):
    """Trades, newest first."""


# Events, batches, settlement


class TimelineEvent(Resource):
    """One event of a trade."""

    sequence: int
    type: str
    role: Role
    side: Side | None = Field(description="The side that the step was taken for")
    partner_id: UUID | None = Field(description="Null for the platform and its staff")
    principal_id: UUID | None = Field(description="For whom, if a broker took it")
    bidder_id: UUID | None = Field(description="With which bidder, while the lot was on the market")
    data: dict[str, Any]
    occurred_at: AwareDatetime = Field(description="When it happened, as its sender says")
    recorded_at: AwareDatetime = Field(description="When the platform recorded it")
    client: ClientReference | None = None


class Timeline(Resource):
    """The events of a trade that the caller may see, oldest first."""

    data: list[TimelineEvent]
    has_more: bool
    next: int | None = Field(None, description="Send as `after` to read on")


class PossibleStep(Resource):
    """A step that is open, and for whom."""

    step: str
    who: Who


class BatchError(Resource):
    """One fault of a step of a batch."""

    pointer: str = Field(description="Into the batch as it was sent")
    code: str
    message: str


class BatchProblem(Resource):
    """Why a step was not recorded: what it would have been refused with alone."""

    code: str
    detail: str
    errors: list[BatchError]
    against: str | None = None
    possible: list[PossibleStep] = Field(default_factory=list[PossibleStep])


class BatchOutcome(Resource):
    """What became of one step of a batch."""

    event_id: UUID
    outcome: Literal["recorded", "duplicate", "refused"]
    sequence: int | None = Field(description="Where it is in the trade, unless it was refused")
    problem: BatchProblem | None = None


class StepBatchResult(Resource):
    """What became of each step, in the order they were sent, and the trade after them."""

    outcomes: list[BatchOutcome]
    trade: TradeView


class SettlementLine(Resource):
    """One line, to the paisa: the buyer's debt to the seller, negative where it lowers it."""

    code: str
    paise: int
    payer: Side
    to: str
    taxed: bool = Field(description="Whether tax is reckoned on it")
    rule: str


class SettlementPaper(Resource):
    """The lines that one paper states, of one lift where it is of one."""

    paper: Paper
    lift: int | None
    lines: list[SettlementLine]
    total_paise: int


class Unpriced(Resource):
    """A property of a lift that the table of the terms has no price for, or rejects."""

    lift: int
    name: str


class Settlement(Resource):
    """What the contract makes of the facts so far. Lifts whose weight is not agreed have no lines yet."""

    trade_id: UUID
    version: int
    papers: list[SettlementPaper]
    payable_paise: int = Field(description="What the buyer owes the seller by invoices and notes")
    unpriced: list[Unpriced]
    rejected: list[Unpriced]


class TermsTemplate(Resource):
    """Terms that a party starts from."""

    name: str
    terms: Terms


class TermsTemplates(Resource):
    """The templates, and the published quality tables that terms may name."""

    templates: list[TermsTemplate]
    quality_tables: list[QualityTable]


# Who the other side is


class PostalAddress(Resource):
    line: str
    city: str
    pin: str
    state_code: str


class ContactPerson(Resource):
    name: str
    phone: str
    email: str | None


class BankAccount(Resource):
    """The payee's account, as it was verified."""

    account_id: UUID
    ifsc: str
    number: str


class Counterparty(Resource):
    """Who a party of the trade is. Each reading of it is in the audit trail."""

    side: Side
    partner_id: UUID
    status: Status
    legal_name: str | None = Field(description="Null once the partner is erased")
    registration_id: UUID | None
    gstin: str | None = Field(description="Null for who is not registered under GST")
    state_code: str | None
    address: PostalAddress | None
    contact: ContactPerson | None
    bank_account: BankAccount | None = Field(description="Of the seller, for the buyer, from the contract on")


class Counterparties(Resource):
    """The parties of a trade that the caller deals with."""

    trade_id: UUID
    data: list[Counterparty]
