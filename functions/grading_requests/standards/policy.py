"""The platform's grading policy: grades A to D, uncertainties, and what a photograph must be like.

All of it is data with a version (`data/policy.json`), so that people who grade cotton can change it without code.
"""

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from ..schemas import AxisName, ClassingCode, Measurement, PlatformGrade, PlatformGradeLabel, Source

LABELS: tuple[PlatformGradeLabel, ...] = ("A", "B", "C", "D")

Band = tuple[Decimal | None, Decimal | None]
"""From and to, both within; None is without bound."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """When a photograph is refused. Luminances are Y of 0 to 100, levels of pixels 0 to 255, shares of 1."""

    trash_below_y: float
    least_trash_uncertainty: float
    largest_card_residual: float
    over_exposed_from: float
    over_exposed_share: float
    under_exposed_white: float
    least_sharpness: float
    least_window_pixels: float
    lint_y: tuple[float, float]
    largest_trash_area: float


@dataclass(frozen=True, slots=True)
class Policy:
    """`bands` holds for each axis what A, B and C ask; whatever fits none of them is D.

    `caps` holds the codes of extraneous matter with which a lot is no better than the grade, whatever was measured.
    """

    version: str
    source: str
    weights: Mapping[AxisName, int]
    bands: Mapping[AxisName, Mapping[Literal["A", "B", "C"], Band]]
    caps: Mapping[str, PlatformGradeLabel]
    uncertainty: Mapping[Source, Mapping[AxisName, Decimal]]
    image: ImageLimits


@functools.cache
def policy() -> Policy:
    """The policy in force, read at the first use."""
    data: Any = json.loads((Path(__file__).parent / "data" / "policy.json").read_text("utf-8"))
    axes, image = data["axes"], data["image"]
    limits = {name: float(value) for name, value in image.items() if name != "lint_y"}
    return Policy(
        version=data["version"],
        source=data["source"],
        weights={name: axis["weight"] for name, axis in axes.items()},
        bands={name: {label: _band(b) for label, b in axis["bands"].items()} for name, axis in axes.items()},
        caps=data["extraneous_matter"]["caps"],
        uncertainty={
            source: {axis: Decimal(value) for axis, value in data["uncertainty"][source].items()}
            for source in ("lab", "image", "device")
        },
        image=ImageLimits(**limits, lint_y=(float(image["lint_y"][0]), float(image["lint_y"][1]))),
    )


def _band(bounds: list[str | None]) -> Band:
    low, high = (None if bound is None else Decimal(bound) for bound in bounds)
    return low, high


def grade(measurements: Iterable[Measurement], extraneous: ClassingCode | None = None) -> PlatformGrade:
    """The platform's grade of what was measured: the worst grade of any axis, for a lot is sold by its worst, and none
    better than the extraneous matter that a classer found lets it have.

    `confidence` is the weight of the axes that were measured, as a share of all, times the probability that a repeated
    measurement gives the same grade, for independent normal errors of the stated uncertainties.
    """
    rules = policy()
    graded: dict[AxisName, Measurement] = {one.axis: one for one in measurements if one.axis in rules.bands}
    if not graded:
        return PlatformGrade(
            grade=None,
            confidence=Decimal(0),
            policy=rules.version,
            reasons=["no property graded by the policy was measured", *_remarks(extraneous)],
        )
    labels: dict[AxisName, PlatformGradeLabel] = {axis: _label(rules, axis, one.value) for axis, one in graded.items()}
    cap = rules.caps.get(extraneous.code, LABELS[0]) if extraneous else LABELS[0]
    worst: PlatformGradeLabel = max([*labels.values(), cap], key=LABELS.index)
    reasons = [
        f"{axis} {graded[axis].value} {graded[axis].unit} is {label}"
        for axis, label in labels.items()
        if label == worst
    ]
    reasons += [f"{remark}: no better than {cap}" if cap != LABELS[0] else remark for remark in _remarks(extraneous)]
    missing = [axis for axis in rules.bands if axis not in graded]
    if missing:
        reasons.append("not measured: " + ", ".join(missing))
    coverage = sum(rules.weights[axis] for axis in graded) / sum(rules.weights.values())
    of_each = probabilities(graded.values())
    # What a classer saw is there when it is measured again: of the grades that are better than the cap, each ends at it.
    better = LABELS[: LABELS.index(worst)] if worst == cap else ()
    confidence = coverage * (of_each[worst] + sum(of_each[label] for label in better))
    return PlatformGrade(grade=worst, confidence=Decimal(f"{confidence:.2f}"), policy=rules.version, reasons=reasons)


def _remarks(extraneous: ClassingCode | None) -> list[str]:
    if extraneous is None:
        return []
    return [f"extraneous matter {extraneous.code}" + (f", {extraneous.name}" if extraneous.name else "")]


def probabilities(graded: Iterable[Measurement]) -> dict[PlatformGradeLabel, float]:
    """The probability of each grade if all that the policy grades of this were measured again; together they are 1."""
    rules, found, better = policy(), dict[PlatformGradeLabel, float](), 0.0
    measured = list(graded)
    for label in LABELS:
        # The grade is `label` or better if every axis is, and better if every axis is better.
        reached = math.prod(_probability(rules, one.axis, one, label) for one in measured)
        found[label] = reached - better
        better = reached
    return found


def _label(rules: Policy, axis: AxisName, value: Decimal) -> PlatformGradeLabel:
    for label, (low, high) in rules.bands[axis].items():
        if (low is None or value >= low) and (high is None or value <= high):
            return label
    return "D"


def _probability(rules: Policy, axis: AxisName, one: Measurement, label: PlatformGradeLabel) -> float:
    """That the axis is of this grade or a better one. Bands lie within each other, A within B within C."""
    if label == "D":
        return 1.0
    low, high = rules.bands[axis][label]
    below_high = 1.0 if high is None else _normal(float(high - one.value), float(one.uncertainty))
    below_low = 0.0 if low is None else _normal(float(low - one.value), float(one.uncertainty))
    return below_high - below_low


def _normal(distance: float, deviation: float) -> float:
    """The share of a normal distribution below `distance`."""
    return 0.5 * (1 + math.erf(distance / (deviation * math.sqrt(2))))
