"""Medians, percentiles and ratios of a few rounds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of several rounds, in the order they were measured."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a sample has at least one value")

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


def ratios(ours: Sample, peer: Sample) -> Sample:
    """Ours over the peer's, round by round: both values of a round were measured next to each other.

    Raises ValueError if one has more rounds than the other.
    """
    return Sample(tuple(mine / other for mine, other in zip(ours.values, peer.values, strict=True)))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` per cent of `values` do not exceed (nearest rank).

    Raises ValueError for no values or a `percent` outside 0 < percent <= 100.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError("a percentile needs values and a percent above 0 and at most 100")
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
