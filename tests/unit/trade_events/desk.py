"""Trades in memory: steps are taken by the same code as in a function, with a list where the database would be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from functions.live_feed import projections
from functions.trade_events import projection, service
from functions.trade_events.moment import Body
from functions.trade_events.schemas import Lot, LotOffer, Trade, TradeEvent
from functions.trade_events.service import Actor
from functions.trade_events.step_schemas import FibreQuality, TradeEventBody
from kapas.messaging.events import CloudEvent
from kapas.messaging.outbox import Change
from kapas.platform.ports import Document
from kapas.schemas.common import UnitPrice, Weight
from kapas.values import clock, ids

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
BODY: TypeAdapter[Any] = TypeAdapter(TradeEventBody)
ASK = UnitPrice(paise=61_500_00, unit="candy_trade")
QUALITY = FibreQuality(
    micronaire=Decimal("4.2"),
    strength_g_tex=Decimal("29.6"),
    upper_half_mean_length_in=Decimal("1.14"),
    uniformity_index_pct=Decimal("82.3"),
    rd=Decimal("76.5"),
)
LOT = Lot(
    variety="Shankar-6",
    crop_year="2026-27",
    station="Rajkot",
    bales=10,
    net_weight=Weight(value=Decimal(1635), unit="kg", kg_per_unit=None),
    quality=QUALITY,
)


@dataclass
class Desk:
    """One trade, its events, and the live document that clients see of it. A `History` of itself."""

    seller: Actor = field(default_factory=lambda: Actor(ids.uuid7(), "ginner"))
    buyer: Actor = field(default_factory=lambda: Actor(ids.uuid7(), "spinning_mill"))
    rival: Actor = field(default_factory=lambda: Actor(ids.uuid7(), "trader"))
    inspector: Actor = field(default_factory=lambda: Actor(staff="inspector"))
    operations: Actor = field(default_factory=lambda: Actor(staff="ops"))
    system: Actor = service.SYSTEM
    terms: dict[str, Any] = field(default_factory=dict[str, Any])
    events: list[TradeEvent] = field(default_factory=list[TradeEvent])
    with_bidders: dict[int, UUID] = field(default_factory=dict[int, UUID])
    document: Document = field(default_factory=dict[str, Any])
    readers: list[tuple[str, frozenset[UUID]]] = field(default_factory=list[tuple[str, frozenset[UUID]]])
    """Of each published event its type and who may be told."""

    def __post_init__(self) -> None:
        now = clock.now()
        offer = LotOffer(**{"lot": LOT, "ask": ASK, **self.terms})
        expires_at = offer.expires_at or now + service.OFFERED_FOR
        data = {**offer.model_dump(mode="json"), "expires_at": clock.rfc3339(expires_at)}
        first = TradeEvent(
            sequence=1,
            type="lot_offered",
            party="seller",
            partner_id=self.seller.partner_id,
            data={**data, "seller_type": self.seller.partner_type},
            occurred_at=now,
            recorded_at=now,
        )
        self.trade: Trade = projection.begin(ids.uuid7(), first)
        self.events.append(first)
        assert self.seller.partner_id
        self._project(
            "trade.offered.v1",
            {"seller_id": str(self.seller.partner_id), "bales": 10, "net_weight": {}, "ask": {}, "expires_at": None},
        )

    def take(self, actor: Actor, event_type: str, **facts: Any) -> Trade:
        """A step of a client, at the version that the trade has."""
        body = BODY.validate_python({"type": event_type, "expected_version": self.trade.version, **facts})
        return self.do(actor, body)

    def do(self, actor: Actor, body: Body) -> Trade:
        taken = service.take(self, self.trade, actor, body)
        self._append(taken.change, taken.trade)
        return self.trade

    def _append(self, change: Change, after: Trade) -> None:
        kept = change.parameters
        (event,) = change.events
        appended = TradeEvent.model_validate(
            {
                "sequence": after.version,
                "type": kept["event_type"],
                "party": kept["party"],
                "partner_id": kept["partner_id"],
                "data": TypeAdapter(dict[str, Any]).validate_json(kept["event_data"]),
                "occurred_at": kept["occurred_at"],
                "recorded_at": kept["at"],
            }
        )
        self.events.append(appended)
        if kept["bidder_id"]:
            self.with_bidders[after.version] = kept["bidder_id"]
        self.trade = after
        self.readers.append((event.data.type, frozenset(event.partner_ids)))
        self._project(event.data.type, event.data.model_dump(mode="json"))

    def _project(self, event_type: str, data: dict[str, Any]) -> None:
        event = CloudEvent(
            specversion="1.0",
            id=ids.uuid7(),
            type=event_type,
            source="/trade_events",
            subject=self.trade.id,
            time=clock.now(),
            dataschema="",
            partitionkey=self.trade.id,
            sequence=len(self.events),
            data=data,
        )
        self.document = projections.apply(self.document, event)

    # What `History` asks

    def all(self) -> Sequence[TradeEvent]:
        return list(self.events)

    def last_word(self, bidder_id: UUID) -> TradeEvent | None:
        spoken = ("bid_placed", "price_countered", "bid_withdrawn")
        with_bidder = [e for e in self.events if self.with_bidders.get(e.sequence) == bidder_id and e.type in spoken]
        return with_bidder[-1] if with_bidder and with_bidder[-1].type != "bid_withdrawn" else None

    def bidder_of(self, sequence: int) -> UUID | None:
        return self.with_bidders.get(sequence)

    def number_given(self, seller_id: UUID, number: str, issued_at: datetime) -> bool:
        return False  # of another trade: there is only this one, and it is invoiced once

    def bidders(self) -> Sequence[UUID]:
        return sorted(set(self.with_bidders.values()))

    # The usual way

    def matched(self, paise: int = 61_200_00) -> Trade:
        self.take(self.buyer, "bid_placed", price={**ASK.model_dump(), "paise": paise})
        return self.take(self.seller, "bid_accepted", bid_sequence=self.trade.version)

    def contracted(self, paise: int = 61_200_00) -> Trade:
        self.matched(paise)
        return self.take(self.buyer, "contract_signed")

    def weighed(self, bales: list[dict[str, Any]] | None = None) -> Trade:
        return self.take(self.seller, "bales_weighed", bales=bales or scale(10))

    def passed(self, **facts: Any) -> Trade:
        self.take(self.inspector, "sample_drawn", samples=1)
        return self.take(self.inspector, "quality_passed", **facts)

    def invoiced(self, **changes: Any) -> Trade:
        facts = {"due_at": clock.now() + service.OFFERED_FOR, "invoice_number": "KP/1"}
        return self.take(
            self.seller, "payment_requested", **facts | {"supplier_state": "24", "place_of_supply": "33"} | changes
        )


def scale(count: int, first: int = 1, **changes: Any) -> list[dict[str, Any]]:
    """Dry bales, each with a mark of its own."""
    bale = {"gross_kg": "165.400", "tare_kg": "1.900", "moisture_pct": "7.5"} | changes
    return [{"mark": f"P-{number}", **bale} for number in range(first, first + count)]
