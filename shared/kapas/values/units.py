"""Quantities of cotton `{value, unit, kg_per_unit}` and prices per unit of weight.

How much a unit weighs, and by which source, stands in `units.json`. A quantity keeps the weight it was made with,
so that a later correction of the table changes no contract.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from pathlib import Path

from kapas.values.money import Money, rounded

PLACES = 6
"""Decimal places that a value or a weight may have."""
DIGITS = 12
"""Digits that a value or a weight may have before the point."""

# Two numbers of PLACES and DIGITS multiply without rounding, whatever context the caller's thread has.
_EXACT = Context(prec=2 * (PLACES + DIGITS), traps=[Inexact, InvalidOperation])


class Unit(StrEnum):
    KG = "kg"
    QUINTAL = "quintal"
    BALE = "bale"
    CANDY_TRADE = "candy_trade"
    CANDY_MCX = "candy_mcx"


@dataclass(frozen=True, slots=True)
class UnitTable:
    """`units.json` as read: kilograms of each unit, and for each refused name what to tell who sent it."""

    version: str
    kg_per_unit: Mapping[Unit, Decimal]
    refused: Mapping[str, str]


@functools.cache
def table() -> UnitTable:
    """The units table, read at the first use."""
    data = json.loads((Path(__file__).with_suffix(".json")).read_text("utf-8"))
    return UnitTable(
        version=data["version"],
        kg_per_unit={Unit(name): Decimal(entry["kg_per_unit"]) for name, entry in data["units"].items()},
        refused={
            name: f"{name} is ambiguous: {entry['reason']}; send {entry['send']}"
            for name, entry in data["refused"].items()
        },
    )


def parse_unit(name: str) -> Unit:
    """The unit of that name.

    Raises:
        ValueError: for an unknown name, and for one that means several weights (a bare maund or candy); the message
            says why and what to send instead.
    """
    if name in table().refused:
        raise ValueError(table().refused[name])
    try:
        return Unit(name)
    except ValueError:
        raise ValueError(f"the unit must be one of {', '.join(Unit)}") from None


@dataclass(frozen=True, slots=True)
class Quantity:
    """`value` units of `kg_per_unit` kilograms each; `quantity()` makes one from what a client sent.

    Of bales, `kg_per_unit` is what they weighed; of every other unit it is the unit's definition at the time.

    Raises:
        ValueError: for a negative value, a weight that is not positive, or more digits than `DIGITS` and `PLACES`.
    """

    value: Decimal
    unit: Unit
    kg_per_unit: Decimal

    def __post_init__(self) -> None:
        _check("value", self.value)
        _check("kg_per_unit", self.kg_per_unit)
        if self.kg_per_unit == 0:
            raise ValueError("kg_per_unit must be more than 0")

    @property
    def kg(self) -> Decimal:
        """The weight in kilograms, exact."""
        return _EXACT.multiply(self.value, self.kg_per_unit)


def quantity(value: Decimal | int | str, unit: str, kg_per_unit: Decimal | int | str | None = None) -> Quantity:
    """A quantity as a client states it; `kg_per_unit` defaults to the unit's own weight, nominal for a bale.

    Raises:
        ValueError: as `parse_unit` and `Quantity`; for a value that is no decimal number; and for a `kg_per_unit` that
            contradicts a unit of fixed weight.
    """
    known = parse_unit(unit)
    defined = table().kg_per_unit[known]
    weight = defined if kg_per_unit is None else _decimal("kg_per_unit", kg_per_unit)
    if known is not Unit.BALE and weight != defined:
        raise ValueError(f"a {known} is {defined} kg: omit kg_per_unit or send that value")
    return Quantity(_decimal("value", value), known, weight)


def count(of: Quantity, unit: Unit, kg_per_unit: Decimal | None = None) -> Fraction:
    """How many of `unit` weigh what `of` weighs, exact. `kg_per_unit` as for `quantity`."""
    return Fraction(of.kg) / Fraction(quantity(0, unit, kg_per_unit).kg_per_unit)


def convert(of: Quantity, unit: Unit, kg_per_unit: Decimal | None = None) -> Quantity:
    """The same weight in `unit`, half up to `PLACES` where it does not come out even (kilograms into candies)."""
    exact = count(of, unit, kg_per_unit)
    scaled = (2 * exact.numerator * 10**PLACES + exact.denominator) // (2 * exact.denominator)
    return quantity(Decimal(scaled).scaleb(-PLACES, _EXACT), unit, kg_per_unit)


@dataclass(frozen=True, slots=True)
class Price:
    """`paise_per_unit` for each `unit`; cotton is quoted in INR per candy.

    Raises:
        ValueError: for a price below one paisa, or per bale, which has no fixed weight.
    """

    paise_per_unit: int
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit is Unit.BALE:
            raise ValueError("a bale has no fixed weight; quote per candy_trade, candy_mcx, quintal or kg")
        if Money(self.paise_per_unit).paise < 1:
            raise ValueError("a price must be at least one paisa")


def amount(price: Price, weight: Quantity) -> Money:
    """What `weight` costs at `price`: exact, then rounded once, half up to the paisa.

    Raises:
        ValueError: if it exceeds `kapas.values.money.MAX_PAISE`.
    """
    return rounded(price.paise_per_unit * count(weight, price.unit))


def _decimal(name: str, value: Decimal | int | str) -> Decimal:
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{name} must be a decimal number") from None


def _check(name: str, number: Decimal) -> None:
    # The exponent is looked at before any arithmetic: 1E+1000000 would take all memory.
    if not number.is_finite() or number.is_signed() or number.adjusted() >= DIGITS:
        raise ValueError(f"{name} must be a number from 0 with at most {DIGITS} digits before the point")
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -PLACES:
        raise ValueError(f"{name} must have at most {PLACES} decimal places")
