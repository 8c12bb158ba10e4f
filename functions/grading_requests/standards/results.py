"""Results, axis by axis: the value, its uncertainty by the policy, its classes by the tables, and the platform's grade."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import get_args

from ..readings import Reading
from ..schemas import (
    AxisClass,
    AxisName,
    Classing,
    DeviceFigures,
    GradingResult,
    HviFigures,
    Measurement,
    NotMeasured,
    Source,
)
from . import tables
from .policy import grade, policy

AXES: tuple[AxisName, ...] = get_args(AxisName)
UNITS: Mapping[AxisName, str] = {
    "micronaire": "micronaire",
    "strength": "g/tex",
    "length": "in",
    "uniformity": "%",
    "rd": "%",
    "plus_b": "Hunter +b",
    "trash_area": "% area",
    "trash_particles": "particles",
    "trash_weight": "% weight",
    "leaf": "USDA leaf grade",
    "moisture": "% weight",
}
STEPS: Mapping[AxisName, Decimal] = {
    "micronaire": Decimal("0.1"),
    "strength": Decimal("0.1"),
    "length": Decimal("0.01"),
    "uniformity": Decimal("0.1"),
    "rd": Decimal("0.1"),
    "plus_b": Decimal("0.1"),
    "trash_area": Decimal("0.01"),
    "trash_particles": Decimal(1),
    "trash_weight": Decimal("0.01"),
    "leaf": Decimal(1),
    "moisture": Decimal("0.1"),
}
"""To what each axis is reported: as a classing record states it, and as tables and contracts have their bounds. The area of
trash goes further, for an image measures it to a few hundredths."""
MM_PER_INCH = Decimal("25.4")
MM_STEP = Decimal("0.1")


def of_laboratory(
    figures: HviFigures, classing: Classing | None = None, staple: AxisClass | None = None
) -> GradingResult:
    """What a laboratory reported, and what else its record says; `staple` is the class of the staple that it states."""
    inches, millimetres = _lengths(figures)
    values: dict[AxisName, Decimal | int | None] = {
        "micronaire": figures.micronaire,
        "strength": figures.strength_g_tex,
        "length": inches,
        "uniformity": figures.uniformity_index_pct,
        "rd": figures.rd,
        "plus_b": figures.plus_b,
        "trash_area": figures.trash_area_pct,
        "trash_particles": figures.trash_particles,
        "trash_weight": figures.trash_weight_pct,
        "leaf": figures.leaf_grade,
        "moisture": figures.moisture_pct,
    }
    measured = [
        _measurement(axis, Decimal(value), "lab", length_mm=millimetres)
        for axis, value in values.items()
        if value is not None
    ]
    if staple is not None:
        measured = [_with_staple(one, staple) if one.axis == "length" else one for one in measured]
    missing = [NotMeasured(axis=axis, reason="not_reported") for axis, value in values.items() if value is None]
    return _result(measured, missing, color_code=figures.color_grade, length_mm=millimetres, classing=classing)


def of_image(reading: Reading, model_sha256: str) -> GradingResult:
    """What the server measured in an image."""
    measured = [
        _measurement("rd", reading.rd, "image"),
        _measurement("plus_b", reading.plus_b, "image"),
        _measurement("trash_area", reading.trash_area_pct, "image", reading.trash_area_uncertainty),
        # Pieces fall into a sample at random: a count of n has the uncertainty of a Poisson count, and at least 1.
        _measurement("trash_particles", Decimal(reading.trash_particles), "image", _poisson(reading.trash_particles)),
    ]
    return _result(measured, _unseen(), model_sha256=model_sha256)


def of_device(figures: DeviceFigures, model_sha256: str) -> GradingResult:
    """What a telephone says it measured."""
    measured = [
        _measurement("rd", figures.rd, "device"),
        _measurement("plus_b", figures.plus_b, "device"),
        _measurement("trash_area", figures.trash_area_pct, "device"),
        _measurement("trash_particles", Decimal(figures.trash_particles), "device"),
    ]
    return _result(measured, _unseen(), model_sha256=model_sha256)


def _lengths(figures: HviFigures) -> tuple[Decimal | None, Decimal | None]:
    """The length in inches, and in millimetres as they are reported, from whichever the laboratory sent."""
    inches, millimetres = figures.upper_half_mean_length_in, figures.upper_half_mean_length_mm
    if millimetres is not None:
        return millimetres / MM_PER_INCH, millimetres.quantize(MM_STEP, ROUND_HALF_UP)
    if inches is None:
        return None, None
    reported = inches.quantize(STEPS["length"], ROUND_HALF_UP)
    return inches, (reported * MM_PER_INCH).quantize(MM_STEP, ROUND_HALF_UP)


def _measurement(
    axis: AxisName,
    value: Decimal,
    source: Source,
    uncertainty: Decimal | None = None,
    *,
    length_mm: Decimal | None = None,
) -> Measurement:
    """`value` is rounded here and nowhere else: what is shown, classed, graded, published and settled is one number."""
    reported = value.quantize(STEPS[axis], ROUND_HALF_UP)
    return Measurement(
        axis=axis,
        value=reported,
        unit=UNITS[axis],
        uncertainty=policy().uncertainty[source][axis] if uncertainty is None else uncertainty,
        source=source,
        classes=tables.classes(axis, reported, length_mm),
    )


def _with_staple(length: Measurement, staple: AxisClass) -> Measurement:
    """A length with the staple that a classer gave it, where that is another one than the table's."""
    if staple in length.classes:
        return length
    reported = staple.model_copy(update={"table": "reported_staple"})
    return length.model_copy(update={"classes": [*length.classes, reported]})


def _unseen() -> list[NotMeasured]:
    """What no image shows. Leaf would follow from area and count, but that mapping is published nowhere."""
    seen = {"rd", "plus_b", "trash_area", "trash_particles"}
    return [
        NotMeasured(axis=axis, reason="leaf_mapping_unpublished" if axis == "leaf" else "not_from_image")
        for axis in AXES
        if axis not in seen
    ]


def _poisson(count: int) -> Decimal:
    return max(Decimal(count).sqrt(), Decimal(1)).quantize(Decimal("0.1"))


def _result(
    measured: list[Measurement],
    missing: list[NotMeasured],
    *,
    color_code: str | None = None,
    length_mm: Decimal | None = None,
    model_sha256: str | None = None,
    classing: Classing | None = None,
) -> GradingResult:
    return GradingResult(
        measured=measured,
        length_mm=length_mm,
        not_measured=missing,
        color_grade=tables.color_grade(color_code),
        platform_grade=grade(measured, classing.extraneous_matter if classing else None),
        model_sha256=model_sha256,
        classing=classing,
    )
