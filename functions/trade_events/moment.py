"""A step about to be taken, and what it leaves behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

from pydantic import AwareDatetime

from kapas.errors import Conflict
from kapas.messaging.events import EventData
from kapas.schemas.common import Request
from kapas.schemas.vocabulary import PartnerType

from .schemas import Grade, Party, Trade, TradeEvent
from .step_schemas import TradeEventBody

T = TypeVar("T")

Verdict = Literal["passed", "failed"]

NUMBER_TAKEN = "The seller has already used this invoice number in this financial year (CGST Rules 2017, rule 46(b))"


class OfferExpired(Request):
    """The platform's step when an offer has come to its end."""

    type: Literal["offer_expired"] = "offer_expired"
    occurred_at: None = None


class SignatureOverdue(Request):
    """The platform's step when the other party has not signed in time."""

    type: Literal["signature_overdue"] = "signature_overdue"
    occurred_at: None = None


class PaymentOverdue(Request):
    """The platform's step when a payment was not confirmed in time."""

    type: Literal["payment_overdue"] = "payment_overdue"
    occurred_at: None = None


class GradingDecided(Request):
    """The platform's step when a grading of the lot was completed."""

    type: Literal["quality_passed", "quality_failed"]
    occurred_at: AwareDatetime | None = None
    grading_id: UUID
    grade: Grade
    figures: Mapping[str, Decimal]
    """What was measured of what a settlement goes by: `rd`, `plus_b`, `trash_weight_pct`."""


class QualityClaimed(Request):
    """The platform's step in a party's name when a grading that it ordered says what is in its favour."""

    type: Literal["quality_claimed"] = "quality_claimed"
    occurred_at: None = None
    verdict: Verdict
    grading_id: UUID
    grade: Grade
    figures: Mapping[str, Decimal]


Body = TradeEventBody | OfferExpired | SignatureOverdue | PaymentOverdue | GradingDecided | QualityClaimed


class History(Protocol):
    """What came before, read when a step asks for it."""

    def all(self) -> Sequence[TradeEvent]:
        """Every event of the trade."""
        ...

    def last_word(self, bidder_id: UUID) -> TradeEvent | None:
        """The last price between the seller and this bidder, None if there is none that still stands."""
        ...

    def bidder_of(self, sequence: int) -> UUID | None:
        """The bidder with whom this price was negotiated."""
        ...

    def number_given(self, seller_id: UUID, number: str, issued_at: datetime) -> bool:
        """Whether the seller gave this number to an invoice of the same financial year, of whatever trade."""
        ...

    def bidders(self) -> Sequence[UUID]:
        """Everybody who has bid."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """On which trade the step is taken, by whom, when, and what came before."""

    trade: Trade
    party: Party
    partner_id: UUID | None
    partner_type: PartnerType | None
    now: datetime
    history: History

    @property
    def between(self) -> dict[str, Any]:
        """What the events of a trade with two parties have in common."""
        return {"trade_id": self.trade.id, "seller_id": self.trade.seller_id, "buyer_id": self.trade.buyer_id}

    @property
    def side(self) -> Literal["seller", "buyer"]:
        return "seller" if self.party == "seller" else "buyer"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a step leaves behind, besides the states that `projection` knows."""

    published: EventData
    readers: tuple[UUID, ...]
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON that is kept in the timeline, over what was sent."""
    bidder_id: UUID | None = None
    """Of a step on the market: the bidder with whom it is."""


def there(value: T | None) -> T:
    """What a trade in this state must have. Raises `Conflict` if it has not."""
    if value is None:
        raise Conflict("The trade has not reached this stage yet")
    return value


def told(moment: Moment, published: EventData, **data: Any) -> Effect:
    """The effect of a step between the two, who are told."""
    buyer_id = moment.trade.buyer_id
    readers = (moment.trade.seller_id,) if buyer_id is None else (moment.trade.seller_id, buyer_id)
    return Effect(published, readers, data)
