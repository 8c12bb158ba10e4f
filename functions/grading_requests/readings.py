"""What came of looking at one image: figures, or why there are none."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

RefusalCode = Literal[
    "image_missing",
    "image_mismatch",
    "image_unreadable",
    "image_too_small",
    "image_too_large",
    "card_not_found",
    "card_unreadable",
    "over_exposed",
    "under_exposed",
    "blurred",
    "no_lint",
    "consent_missing",
]


class Reading(BaseModel):
    """The figures of the lint in an image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rd: Decimal
    plus_b: Decimal
    trash_area_pct: Decimal
    trash_area_uncertainty: Decimal
    """Of the mean of the four quarters, in per cent of area."""
    trash_particles: int
    card_residual: Decimal
    """Root mean square of what the fit of the card leaves over, in XYZ of 0 to 100."""


class Unreadable(Exception):
    """An image that cannot be graded, with a stable code and what the photographer can do about it."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(detail)
        self.code: RefusalCode = code
        self.detail = detail
