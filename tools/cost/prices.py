"""What Google charges in asia-south1: `prices.json`, each price with where it was read and how sure that is."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("prices.json")


class Price(BaseModel):
    """US dollars for one unit, without tax."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float
    unit: str
    source: str
    date: str
    basis: Literal["page", "quoted", "memory"]
    """Read on Google's own page; quoted from Google's catalog or page by somebody else; remembered, and not checked."""


class Prices(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    inr_per_usd: float
    inr_per_usd_basis: str
    prices: dict[str, Price]

    def usd(self, name: str) -> float:
        return self.prices[name].usd

    def inr(self, usd: float) -> float:
        return usd * self.inr_per_usd


def read(path: Path = FILE) -> Prices:
    """The table, validated."""
    return Prices.model_validate_json(path.read_text())
