"""Steps that may be taken: decisions, on the version that was read, and facts, which need none.

`by` says for whom a step may be taken; a broker takes it for its principal where its mandate has the `right`.
"""

from typing import Annotated, ClassVar, Literal, get_args
from uuid import UUID

from pydantic import Field, TypeAdapter

from .events import ClaimKind, DocumentKind, LotResult, Moves
from .lots import Lot
from .parties import Mandate, Right, Status
from .tax import Details
from .terms import Patch
from .values import (
    Bales,
    Figures,
    Kilograms,
    LiftNumber,
    Model,
    Number,
    Paise,
    PaiseFromZero,
    Paper,
    Percent,
    Price,
    Quantity,
    Slip,
    When,
    Who,
    Words,
)

TWO: tuple[Who, ...] = ("seller", "buyer")
File = Annotated[UUID | None, Field(description="The uploaded paper or photograph")]


class Step(Model):
    by: ClassVar[tuple[Who, ...]] = TWO
    right: ClassVar[Right] = "perform"
    fact: ClassVar[bool] = False
    occurred_at: Annotated[When | None, Field(description="When it happened, if that was not just now")] = None


class Decision(Step):
    expected_version: Number


class FactStep(Step):
    fact: ClassVar[bool] = True
    expected_version: Number | None = None


# Negotiation


class Offer(Step):
    """Begins a trade; see `decide.open_trade`."""

    by: ClassVar[tuple[Who, ...]] = ("seller",)
    right: ClassVar[Right] = "negotiate"
    type: Literal["offer"] = "offer"
    lot: Lot
    ask: Price
    template: Words = Field(description="kapas_spot, ex_gin_passing, delivered_mill_weight or cci_auction")
    differs: Patch = Field({}, description="JSON merge patch: what the offer says otherwise than the template")
    valid_until: When
    split_from: UUID | None = None


class ChangeOffer(Decision):
    """The seller changes the ask or the terms, or extends the offer. Bids stay and may be withdrawn."""

    by: ClassVar[tuple[Who, ...]] = ("seller",)
    right: ClassVar[Right] = "negotiate"
    type: Literal["change_offer"]
    ask: Price | None = None
    differs: Patch | None = None
    valid_until: When | None = None


class WithdrawOffer(Decision):
    by: ClassVar[tuple[Who, ...]] = ("seller",)
    right: ClassVar[Right] = "negotiate"
    type: Literal["withdraw_offer"]


class Bid(Decision):
    """A bid for the lot or a part of it. A later bid of the same bidder takes its place."""

    by: ClassVar[tuple[Who, ...]] = ("buyer",)
    right: ClassVar[Right] = "negotiate"
    type: Literal["bid"]
    price: Price
    quantity: Quantity | None = Field(None, description="Null: all of it")
    differs: Patch = Field({}, description="JSON merge patch: what is said otherwise than the offer")
    valid_until: When


class Counter(Decision):
    """One side answers the other's last word, named by its sequence, with its own. What is null stays as that said it."""

    right: ClassVar[Right] = "negotiate"
    type: Literal["counter"]
    to: Number
    price: Price | None = None
    quantity: Quantity | None = None
    differs: Patch | None = None
    valid_until: When


class Accept(Decision):
    """One side takes the other's last word as it is, and signs by that."""

    right: ClassVar[Right] = "sign"
    type: Literal["accept"]
    to: Number


class EndBid(Decision):
    """A bidder withdraws its bid, or the seller declines one."""

    right: ClassVar[Right] = "negotiate"
    type: Literal["end_bid"]
    bidder_id: UUID | None = Field(None, description="Whose, if the seller declines")


class Sign(Decision):
    right: ClassVar[Right] = "sign"
    type: Literal["sign"]


class DeclineContract(Decision):
    right: ClassVar[Right] = "sign"
    type: Literal["decline_contract"]


# Parties


class GiveMandate(Decision):
    type: Literal["give_mandate"]
    mandate: Mandate


class RevokeMandate(Decision):
    type: Literal["revoke_mandate"]
    broker_id: UUID


class NameDetails(Decision):
    """The registration, the account and the place that a party deals with, by their ids."""

    type: Literal["name_details"]
    details: Details


class ReportStatus(FactStep):
    by: ClassVar[tuple[Who, ...]] = ("system", "operations")
    type: Literal["report_status"]
    side: Literal["seller", "buyer"]
    status: Status


class DecideParty(Decision):
    by: ClassVar[tuple[Who, ...]] = ("operations",)
    type: Literal["decide_party"]
    how: Literal["watch", "close_out"]


# Weight


class Weigh(FactStep):
    by: ClassVar[tuple[Who, ...]] = ("seller", "buyer", "inspector")
    type: Literal["weigh"]
    lift: LiftNumber = 1
    slip: Slip


class AnswerWeight(Decision):
    """A side accepts or contests the weight that it reads, so it names it."""

    type: Literal["answer_weight"]
    lift: LiftNumber = 1
    answer: Literal["accepted", "contested"]
    kg: Kilograms


class DecideWeight(Decision):
    by: ClassVar[tuple[Who, ...]] = ("operations",)
    type: Literal["decide_weight"]
    lift: LiftNumber = 1
    kg: Kilograms


# Quality


class OfferedLotStep(Model):
    no: Paper
    bales: Bales
    marks: Annotated[str, Field(max_length=200)] | None = None


class OfferLots(Decision):
    by: ClassVar[tuple[Who, ...]] = ("seller",)
    type: Literal["offer_lots"]
    lots: Annotated[tuple[OfferedLotStep, ...], Field(min_length=1, max_length=100)]


class Sample(FactStep):
    by: ClassVar[tuple[Who, ...]] = ("seller", "buyer", "inspector")
    type: Literal["sample"]
    samples: int = Field(strict=True, gt=0, le=10_000)
    lift: LiftNumber | None = None
    lot: Paper | None = None
    seal: Paper | None = None


class Test(FactStep):
    by: ClassVar[tuple[Who, ...]] = ("seller", "buyer", "inspector")
    type: Literal["test"]
    lift: LiftNumber = 1
    figures: Figures
    laboratory: Words | None = None
    file_id: File = None


class AnswerReading(Decision):
    type: Literal["answer_reading"]
    lift: LiftNumber = 1
    answer: Literal["accepted", "contested"]


class PassLots(Decision):
    """The passing slip: what is passed, what rejected. Who may give it is a term."""

    by: ClassVar[tuple[Who, ...]] = ("buyer", "inspector")
    type: Literal["pass_lots"]
    results: Annotated[tuple[LotResult, ...], Field(min_length=1, max_length=100)]


class AcceptQuality(Decision):
    """The buyer has nothing to say against a lift's quality; its window closes."""

    by: ClassVar[tuple[Who, ...]] = ("buyer",)
    type: Literal["accept_quality"]
    lift: LiftNumber = 1


# Delivery


class Dispatch(FactStep):
    type: Literal["dispatch"]
    lift: LiftNumber = 1
    bales: Bales | None = None
    kg: Kilograms | None = None
    vehicle: Paper
    lorry_receipt: Paper | None = None
    eway_bill: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = None
    eway_bill_until: When | None = None


class Arrive(FactStep):
    """The consignee's word. A seller has the lorry receipt for evidence, and a deadline where the terms deem."""

    by: ClassVar[tuple[Who, ...]] = ("buyer", "inspector", "operations")
    type: Literal["arrive"]
    lift: LiftNumber = 1
    bales: Bales | None = None
    kg: Kilograms | None = None
    damaged_bales: int = Field(0, strict=True, ge=0, le=5_000)


class GiveNotice(Decision):
    """The other side is told to perform, or the rest will be closed out."""

    type: Literal["give_notice"]
    ground: Literal["payment", "delivery", "lots", "refusal"]


class CloseOut(Decision):
    """After the notice ran out: the rest is sold or bought elsewhere; the difference is claimed."""

    type: Literal["close_out"]
    basis: Literal["resale", "purchase", "day_rate"]
    price: Price
    expenses_paise: PaiseFromZero = 0


class CancelUnpaid(Decision):
    """The seller lets go of a contract whose advance did not come."""

    by: ClassVar[tuple[Who, ...]] = ("seller",)
    type: Literal["cancel_unpaid"]


class CancelRejected(Decision):
    """The buyer lets go of lots that were rejected and not replaced."""

    by: ClassVar[tuple[Who, ...]] = ("buyer",)
    type: Literal["cancel_rejected"]


# Payment and documents


class RecordPayment(FactStep):
    """The payer says so, the payee confirms, or the money side found a bank line; that says whether the due is settled."""

    by: ClassVar[tuple[Who, ...]] = ("seller", "buyer", "system")
    type: Literal["record_payment"]
    due: Annotated[str, Field(pattern=r"^[0-9]{1,2}(\.[0-9]{1,3})?$")]
    paise: Paise
    payment_id: UUID
    settles: bool = Field(description="Whether the due is paid by this; a payer's word settles nothing")


class ReversePayment(FactStep):
    by: ClassVar[tuple[Who, ...]] = ("seller", "system")
    type: Literal["reverse_payment"]
    payment_id: UUID
    why: Literal["returned", "refunded", "wrong_payer", "mistake"]


class RecordDocument(FactStep):
    """A paper was made. An invoice also is a decision: of its lift the weight must be settled."""

    by: ClassVar[tuple[Who, ...]] = ("seller", "buyer", "broker", "system")
    type: Literal["record_document"]
    kind: DocumentKind
    number: Paper
    lift: LiftNumber | None = None
    claim: Number | None = None
    paise: Paise | None = None
    file_id: File = None


# Claims and proposals


class RaiseClaim(Decision):
    type: Literal["raise_claim"]
    kind: ClaimKind
    lift: LiftNumber | None = None
    asked: Moves = Moves()


class AnswerClaim(Decision):
    """Propose an end to a claim, accept what is asked or was proposed last, contest, or withdraw."""

    type: Literal["answer_claim"]
    claim: Number
    answer: Literal["propose", "accept", "contest", "withdraw"]
    moves: Moves | None = Field(None, description="Only of a proposal")


class ReferClaim(Decision):
    type: Literal["refer_claim"]
    claim: Number
    to: Literal["operations", "arbitration"]


class DecideClaim(Decision):
    """Operations, asked by a party, say how a claim ends."""

    by: ClassVar[tuple[Who, ...]] = ("operations",)
    type: Literal["decide_claim"]
    claim: Number
    moves: Moves


class RecordAward(FactStep):
    by: ClassVar[tuple[Who, ...]] = ("operations",)
    type: Literal["record_award"]
    claim: Number
    award: Paper
    moves: Moves


class SettleGoods(Decision):
    """What became of goods that go back: the seller took them, or the buyer sold them on its account."""

    type: Literal["settle_goods"]
    claim: Number
    how: Literal["taken_back", "sold_on_account"]


class Propose(Decision):
    """A change of the contract: cancel the rest, more time, other terms, one bridge's slip alone for a lift."""

    type: Literal["propose"]
    about: Literal["cancel_rest", "extend_delivery", "amend_terms", "one_bridge"]
    until: When | None = None
    carrying_pct_a_month: Percent | None = None
    terms: Patch | None = None
    lift: LiftNumber | None = None


class AnswerProposal(Decision):
    type: Literal["answer_proposal"]
    proposal: Number
    answer: Literal["accepted", "declined", "withdrawn"]


class AcceptClosing(Decision):
    """A side agrees that nothing is open."""

    type: Literal["accept_closing"]


# Corrections


Correctable = Annotated[Weigh | Test | Dispatch | Arrive, Field(discriminator="type")]


class Correct(FactStep):
    """Who recorded a fact says that it is not true, and what is."""

    by: ClassVar[tuple[Who, ...]] = ("seller", "buyer", "inspector")
    type: Literal["correct"]
    corrects: Number
    reason: Literal["did_not_occur", "incorrect_data"]
    replacement: Correctable | None = None


AnyStep = Annotated[
    ChangeOffer
    | WithdrawOffer
    | Bid
    | Counter
    | Accept
    | EndBid
    | Sign
    | DeclineContract
    | GiveMandate
    | RevokeMandate
    | NameDetails
    | ReportStatus
    | DecideParty
    | Weigh
    | AnswerWeight
    | DecideWeight
    | OfferLots
    | Sample
    | Test
    | AnswerReading
    | PassLots
    | AcceptQuality
    | Dispatch
    | Arrive
    | GiveNotice
    | CloseOut
    | CancelUnpaid
    | CancelRejected
    | RecordPayment
    | ReversePayment
    | RecordDocument
    | RaiseClaim
    | AnswerClaim
    | ReferClaim
    | DecideClaim
    | RecordAward
    | SettleGoods
    | Propose
    | AnswerProposal
    | AcceptClosing
    | Correct,
    Field(discriminator="type"),
]
STEP: TypeAdapter[Step] = TypeAdapter(AnyStep)
"""Reads a step as a client sends it. `Offer` is apart: it begins a trade."""

BY_NAME: dict[str, type[Step]] = {
    get_args(step.model_fields["type"].annotation)[0]: step for step in get_args(get_args(AnyStep)[0])
}
"""Every step but the offer, by the name in its `type`."""
