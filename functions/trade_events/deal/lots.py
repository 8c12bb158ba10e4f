"""What is for sale: kapas by weight, or full-pressed bales, tested or not yet."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from kapas.values.clock import IST

from .refusal import Refused
from .values import NO_BOOL, UNITS, Figures, Model, Quantity, WeightUnit, Words

CropYear = Annotated[str, Field(pattern=r"^20[0-9]{2}-[0-9]{2}$", description="October to September: 2026-27")]

MAX_KAPAS_KG = Decimal(500_000)
"""Five thousand quintals: more than any yard weighs for one seller."""


class Goods(Model):
    variety: Words = Field(description="For example Shankar-6")
    crop_year: CropYear
    station: Words = Field(description="Where the goods lie")
    place_id: UUID | None = Field(
        None, description="The seller's place where they lie, if it is not its registered one"
    )

    @model_validator(mode="after")
    def _one_season(self) -> "Goods":
        first, second = int(self.crop_year[2:4]), int(self.crop_year[5:])
        if second != (first + 1) % 100:
            raise ValueError("a crop year names two years that follow each other, like 2026-27")
        return self


class Kapas(Goods):
    """Seed cotton, by weight: no bales, no laboratory figures."""

    kind: Literal["kapas"]
    amount: Annotated[Decimal, Field(gt=0, le=MAX_KAPAS_KG, decimal_places=3), NO_BOOL]
    unit: WeightUnit = Field(description="quintal, or maund_20kg; a bare maund is refused")
    outturn_pct: Annotated[Decimal, Field(ge=25, le=45, decimal_places=2), NO_BOOL] | None = Field(
        None, description="Lint in per cent of the kapas: 33 to 36 as a rule"
    )

    @model_validator(mode="after")
    def _sane(self) -> "Kapas":
        if self.amount * UNITS[self.unit] > MAX_KAPAS_KG:
            raise ValueError(f"no lot of kapas is more than {MAX_KAPAS_KG} kg")
        return self

    @property
    def quantity(self) -> Quantity:
        return Quantity(kg=self.amount * UNITS[self.unit])


class BaleLot(Goods):
    """Full-pressed bales. Running numbers and figures may be missing."""

    kind: Literal["bales"]
    quantity: Quantity
    marks: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="Press running numbers, ranges with gaps"
    )
    figures: Figures | None = Field(None, description="Null: not tested yet")

    @model_validator(mode="after")
    def _counted(self) -> "BaleLot":
        if self.quantity.bales is None:
            raise ValueError("a lot of bales says how many: quantity.bales")
        return self


Lot = Annotated[Kapas | BaleLot, Field(discriminator="kind")]


def check_season(lot: Kapas | BaleLot, at: datetime) -> None:
    """Raises `Refused` for a crop that cannot be there: older than three seasons, or after the next one."""
    year, day = int(lot.crop_year[:4]), at.astimezone(IST).date()
    season = day.year if day.month >= 7 else day.year - 1
    if not season - 3 <= year <= season + 1:
        raise Refused(
            f"Cotton of {lot.crop_year} cannot be traded now: the season is {season}-{(season + 1) % 100:02d}",
            against="lot.crop_year",
            code="invalid",
            pointer="/lot/crop_year",
        )
