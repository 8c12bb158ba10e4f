"""Trades as the API shows them, and what may be appended to one."""

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, computed_field

from kapas.schemas.common import Amount, Page, Request, Resource, UnitPrice, Weight
from kapas.units import amount

TradeStatus = Literal["OFFERED", "BID", "MATCHED", "CONTRACTED"]


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


class Lot(Request):
    """What is for sale."""

    variety: str = Field(min_length=2, max_length=60, description="For example Shankar-6")
    crop_year: str = Field(pattern=r"^20[0-9]{2}-[0-9]{2}$", description="For example 2026-27")
    station: str = Field(min_length=2, max_length=60, description="Where the bales lie")
    bales: int = Field(gt=0, le=100_000)
    net_weight: Weight = Field(description="The weight that is paid for")
    quality: FibreQuality


class LotOffer(Request):
    """A seller puts a lot on the market."""

    lot: Lot
    ask: UnitPrice


class BidPlaced(Request):
    """A partner bids for an open lot, in the unit of the ask."""

    type: Literal["bid_placed"]
    expected_version: int = Field(gt=0, description="The trade's version as last read")
    price: UnitPrice


class BidAccepted(Request):
    """The seller takes a bid, named by its sequence in the trade."""

    type: Literal["bid_accepted"]
    expected_version: int = Field(gt=0, description="The trade's version as last read")
    bid_sequence: int = Field(gt=0)


class ContractSigned(Request):
    """The buyer signs what was matched."""

    type: Literal["contract_signed"]
    expected_version: int = Field(gt=0, description="The trade's version as last read")


TradeEventBody = Annotated[BidPlaced | BidAccepted | ContractSigned, Field(discriminator="type")]


class TradeEventAppend(Request):
    """One step of a trade."""

    event: TradeEventBody


class Trade(Resource):
    """A trade as it stands."""

    id: UUID
    version: int
    status: TradeStatus
    seller_id: UUID
    buyer_id: UUID | None
    lot: Lot
    ask: UnitPrice
    price: UnitPrice | None = Field(description="What was agreed, from the match on")
    created_at: AwareDatetime
    updated_at: AwareDatetime

    @computed_field(description="Net weight at the agreed price, before tax")
    @property
    def amount(self) -> Amount | None:
        if self.price is None:
            return None
        return Amount(paise=amount(self.price.price(), self.lot.net_weight.quantity()).paise)


class TradePage(Page[Trade]):
    """Trades, newest first."""


class TradeEvent(Resource):
    """One step that a trade took."""

    sequence: int
    type: str
    partner_id: UUID
    data: dict[str, object]
    occurred_at: AwareDatetime


class TradeEventPage(Resource):
    """The steps of a trade that the caller may see, oldest first."""

    data: list[TradeEvent]
