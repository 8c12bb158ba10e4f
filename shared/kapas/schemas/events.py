"""Every event this system publishes, by type. A breaking change is a new class with the next version in its type.

The JSON Schema of each is committed under `docs/api/events/`; a test compares them, and holds every example to its schema.
"""

from typing import ClassVar
from uuid import UUID

from kapas.events import EventData
from kapas.schemas.common import Amount, UnitPrice, Weight
from kapas.schemas.partners import PartnerType


class PartnerEvent(EventData):
    topic: ClassVar[str] = "partner-events"
    source: ClassVar[str] = "/partner_onboarding"

    partner_id: UUID
    partner_type: PartnerType


class PartnerCreated(PartnerEvent):
    """A partner has registered and may not trade yet."""

    type: ClassVar[str] = "partner.created.v1"


class PartnerActivated(PartnerEvent):
    """The platform let a partner trade."""

    type: ClassVar[str] = "partner.activated.v1"


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


class TradeBidPlaced(TradeEventData):
    """A partner bids for an open lot. Only the seller and that partner are told."""

    type: ClassVar[str] = "trade.bid_placed.v1"

    bidder_id: UUID
    price: UnitPrice


class TradeMatched(TradeEventData):
    """The seller accepted a bid."""

    type: ClassVar[str] = "trade.matched.v1"

    buyer_id: UUID
    price: UnitPrice


class TradeContracted(TradeEventData):
    """The buyer signed: the trade binds both."""

    type: ClassVar[str] = "trade.contracted.v1"

    buyer_id: UUID
    price: UnitPrice
    amount: Amount


class DataAccessed(EventData):
    """Somebody read personal data. The subject of the event is the access itself."""

    type: ClassVar[str] = "audit.data_accessed.v1"
    topic: ClassVar[str] = "audit-events"
    source: ClassVar[str] = "/partner_onboarding"

    actor: str
    actor_role: str
    partner_id: UUID
    fields: list[str]


EVENTS: dict[str, type[EventData]] = {
    model.type: model
    for model in (
        PartnerCreated,
        PartnerActivated,
        TradeOffered,
        TradeBidPlaced,
        TradeMatched,
        TradeContracted,
        DataAccessed,
    )
}
"""Event type -> its model."""
