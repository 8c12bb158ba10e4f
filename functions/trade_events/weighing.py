"""Bales on the scale: gross less tare is net; moisture above what is paid in full takes weight off."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact

from .rules import Moisture
from .step_schemas import BaleWeight

# Grams times tenths of a per cent: nothing here is ever rounded.
_EXACT = Context(prec=40, traps=[Inexact])
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Weights:
    """Sums over bales, in kilograms, exact."""

    bales: int
    gross: Decimal
    tare: Decimal
    moisture_deduction: Decimal

    @property
    def net(self) -> Decimal:
        return _EXACT.subtract(self.gross, self.tare)

    @property
    def chargeable(self) -> Decimal:
        """What is paid for."""
        return _EXACT.subtract(self.net, self.moisture_deduction)


def total(bales: Iterable[BaleWeight], moisture: Moisture) -> Weights:
    """The sums over `bales`, with the deduction of each bale for its own moisture."""
    count, gross, tare, deducted = 0, _NONE, _NONE, _NONE
    for bale in bales:
        count += 1
        gross = _EXACT.add(gross, bale.gross_kg)
        tare = _EXACT.add(tare, bale.tare_kg)
        deducted = _EXACT.add(deducted, deduction(bale, moisture))
    return Weights(count, gross, tare, deducted)


def deduction(bale: BaleWeight, moisture: Moisture) -> Decimal:
    """The kilograms that a bale's moisture takes off: one per cent of its net weight for each per cent too many."""
    excess = max(_NONE, _EXACT.subtract(bale.moisture_pct, moisture.full_price_max))
    net = _EXACT.subtract(bale.gross_kg, bale.tare_kg)
    return _EXACT.multiply(net, excess).scaleb(-2, _EXACT)


def faults(bales: Iterable[BaleWeight], moisture: Moisture) -> list[tuple[int, str, str]]:
    """What is wrong with bales, each as (index, field, message)."""
    found: list[tuple[int, str, str]] = []
    marks: set[str] = set()
    for index, bale in enumerate(bales):
        if bale.tare_kg >= bale.gross_kg:
            found.append((index, "tare_kg", "The tare must be less than the gross weight"))
        if bale.moisture_pct > moisture.refuse_above:
            found.append(
                (index, "moisture_pct", f"A bale above {moisture.refuse_above} % moisture cannot be sold; dry it")
            )
        if bale.mark in marks:
            found.append((index, "mark", "Another bale of this weighing has the same mark"))
        marks.add(bale.mark)
    return found
