"""Scalars that terms, steps and events share: strict, bounded and exact."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kapas.values.clock import IST
from kapas.values.units import parse_unit, table

Side = Literal["seller", "buyer"]
Who = Literal["seller", "buyer", "broker", "inspector", "operations", "system"]
"""The one owner of an open step."""
Track = Literal["negotiation", "parties", "weight", "quality", "delivery", "payment", "documents", "claims"]

MAX_BALES = 5_000
"""Fifty lots of a hundred: more than any one contract of full-pressed bales."""
BALE_KG = (Decimal(120), Decimal(200))
"""Kilograms of a full-pressed bale: 170 nominal, 160 to 170 in fact; outside these bounds a figure was mistyped."""
MAX_KG = MAX_BALES * BALE_KG[1]
HEAVIEST_VEHICLE_KG = 60_000
"""Gross: an articulated lorry may weigh 55 tonnes (Motor Vehicles Act 1988, axle weights of 2018)."""


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


NO_BOOL = BeforeValidator(_no_bool)
"""Behind the bounds, so that these stay the number's own."""
Exact = Annotated[Decimal, NO_BOOL]
Paise = Annotated[int, Field(strict=True, gt=0, le=10**13)]
"""At most INR 10,000 crore: sums of these stay exact in every JSON reader."""
PaiseFromZero = Annotated[int, Field(strict=True, ge=0, le=10**13)]
Kilograms = Annotated[Decimal, Field(gt=0, le=MAX_KG, decimal_places=3), NO_BOOL]
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=3), NO_BOOL]
Bales = Annotated[int, Field(strict=True, gt=0, le=MAX_BALES)]
LiftNumber = Annotated[int, Field(strict=True, ge=1, le=500)]
Number = Annotated[int, Field(strict=True, ge=1)]
Paper = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9/ -]{0,39}$")]
"""A number that stands on a paper or a plate: of a slip, a lorry receipt, an invoice, a vehicle."""
Words = Annotated[str, Field(min_length=1, max_length=60)]


class Model(BaseModel):
    """Frozen; unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, defer_build=True, serialize_by_alias=True
    )


UNITS: dict[str, Decimal] = {
    **{unit.value: kg for unit, kg in table().kg_per_unit.items() if unit != "bale"},
    "maund_20kg": Decimal(20),
}
"""Kilograms of each unit that a price may name. Kapas is quoted per 20 kg in Gujarat, per quintal elsewhere."""


def _known(unit: Any) -> Any:
    """Raises ValueError for a bare maund or candy, saying what to send instead."""
    if isinstance(unit, str) and unit not in UNITS:
        parse_unit(unit)
        raise ValueError(f"the unit must be one of {', '.join(UNITS)}")
    return unit


WeightUnit = Annotated[
    Literal["kg", "quintal", "candy_trade", "candy_mcx", "maund_20kg"],
    BeforeValidator(_known),
]


class Price(Model):
    """Paise for each unit of weight."""

    paise: int = Field(strict=True, gt=0, le=10**9)
    unit: WeightUnit

    def of(self, kg: Decimal | Fraction) -> Fraction:
        """What `kg` cost, in paise, exact."""
        return self.paise * Fraction(kg) / Fraction(UNITS[self.unit])


class Quantity(Model):
    """How much is dealt in: `kg` always, `bales` where the goods are pressed."""

    bales: Bales | None = None
    kg: Kilograms

    @model_validator(mode="after")
    def _sane(self) -> "Quantity":
        check_bales(self.bales, self.kg)
        return self


def check_bales(bales: int | None, kg: Decimal) -> None:
    """Raises ValueError if no real bale weighs what these would."""
    if bales is not None and not BALE_KG[0] <= kg / bales <= BALE_KG[1]:
        raise ValueError(
            f"a full-pressed bale weighs {BALE_KG[0]} to {BALE_KG[1]} kg; {kg} kg in {bales} bales are not possible"
        )


class Period(Model):
    """A time that runs from an event. Days end with the day (IST); working days leave out Sundays."""

    count: int = Field(strict=True, ge=0, le=365)
    of: Literal["hours", "days", "working_days"] = "days"

    def after(self, start: datetime) -> datetime:
        """The first instant that is too late."""
        if self.of == "hours":
            return start + timedelta(hours=self.count)
        day, left = start.astimezone(IST).date(), self.count
        while left:
            day += timedelta(days=1)
            left -= self.of == "days" or day.weekday() != 6
        midnight = datetime.combine(day + timedelta(days=1), time(0), IST)
        return midnight.astimezone(UTC)


def days(count: int) -> Period:
    return Period(count=count)


class Slip(Model):
    """A weighbridge's slip: gross with load, tare empty, on the same bridge on the same day."""

    at: Literal["gin", "yard", "mill"] = Field(description="Where the goods are loaded, or the mill where they arrive")
    independent: bool = Field(False, description="Whether the bridge is neither party's, asked for after a contest")
    bridge: Paper = Field(description="The bridge's licence or name")
    serial: Paper
    vehicle: Paper | None = None
    gross_kg: Annotated[Decimal, Field(gt=0, le=HEAVIEST_VEHICLE_KG, decimal_places=3), NO_BOOL]
    tare_kg: Annotated[Decimal, Field(ge=0, le=HEAVIEST_VEHICLE_KG, decimal_places=3), NO_BOOL]
    bales: Bales | None = None
    file_id: UUID | None = None

    @model_validator(mode="after")
    def _loaded(self) -> "Slip":
        if self.tare_kg >= self.gross_kg:
            raise ValueError("the gross weight must be more than the tare: nothing was loaded")
        check_bales(self.bales, self.net_kg)
        return self

    @property
    def net_kg(self) -> Decimal:
        return self.gross_kg - self.tare_kg


class Figures(Model):
    """What a test read. A missing property was not tested; it is never taken as basis."""

    staple_mm: Annotated[Decimal, Field(ge=15, le=45, decimal_places=2), NO_BOOL] | None = None
    micronaire: Annotated[Decimal, Field(ge=2, le=8, decimal_places=2), NO_BOOL] | None = None
    strength_g_tex: Annotated[Decimal, Field(ge=10, le=60, decimal_places=1), NO_BOOL] | None = None
    rd: Annotated[Decimal, Field(ge=40, le=95, decimal_places=1), NO_BOOL] | None = None
    plus_b: Annotated[Decimal, Field(ge=2, le=25, decimal_places=1), NO_BOOL] | None = None
    trash_pct: Annotated[Decimal, Field(ge=0, le=30, decimal_places=2), NO_BOOL] | None = Field(
        None, description="By weight"
    )
    moisture_pct: Annotated[Decimal, Field(ge=0, le=35, decimal_places=2), NO_BOOL] | None = None
    short_fibre_pct: Annotated[Decimal, Field(ge=0, le=40, decimal_places=1), NO_BOOL] | None = None

    def tested(self) -> dict[str, Decimal]:
        return {name: value for name, value in self if value is not None}


When = AwareDatetime
