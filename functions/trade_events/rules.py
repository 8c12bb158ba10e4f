"""`rules.json`: what money and weight are settled by, as data with versions and sources, so that a person can correct it."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Moisture:
    """Per cent of moisture up to which bales are paid in full, and above which they are refused."""

    version: str
    full_price_max: Decimal
    refuse_above: Decimal
    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class Band:
    """Per cent of the price for an Rd from `limit` on, or above it when `strict`."""

    limit: Decimal
    strict: bool
    percent: Decimal

    def holds(self, rd: Decimal) -> bool:
        return rd > self.limit if self.strict else rd >= self.limit


@dataclass(frozen=True, slots=True)
class QualityTable:
    """Premiums and discounts, in per cent of the price. Quality outside the table has no price by it."""

    version: str
    rd: tuple[Band, ...]
    """From the best down; the first that holds counts."""
    rd_rule: str
    plus_b_max: Decimal
    trash_basis: Decimal
    trash_excess_max: Decimal
    """Per cent above the basis at most."""
    trash_rule: str
    source: str


@dataclass(frozen=True, slots=True)
class Gst:
    version: str
    hsn: str
    rate: Decimal
    rule: str
    source: str
    reverse_charge_seller_types: frozenset[str]
    reverse_charge_rule: str
    reverse_charge_source: str
    unregistered_rule: str
    """Why nobody is taxed where neither party is registered, with its source."""
    payable_rule: str
    payable_source: str


@dataclass(frozen=True, slots=True)
class Rules:
    moisture: Moisture
    quality: Mapping[str, QualityTable]
    gst: Gst


@functools.cache
def rules() -> Rules:
    """The rules, read at the first use."""
    data: Any = json.loads((Path(__file__).parent / "rules.json").read_text("utf-8"))
    moisture, gst = data["moisture"], data["gst"]
    return Rules(
        moisture=Moisture(
            version=moisture["version"],
            full_price_max=Decimal(moisture["full_price_max_pct"]),
            refuse_above=Decimal(moisture["refuse_above_pct"]),
            rule=moisture["rule"],
            source=moisture["source"],
        ),
        quality={name: _quality(table) for name, table in data["quality_terms"].items()},
        gst=Gst(
            version=gst["version"],
            hsn=gst["hsn"],
            rate=Decimal(gst["rate_pct"]),
            rule=gst["rule"],
            source=gst["source"],
            reverse_charge_seller_types=frozenset(gst["reverse_charge_seller_types"]),
            reverse_charge_rule=f"{gst['reverse_charge_rule']}. {gst['reverse_charge_note']}",
            reverse_charge_source=gst["reverse_charge_source"],
            unregistered_rule=f"{gst['unregistered_rule']} ({gst['unregistered_source']})",
            payable_rule=gst["payable_rule"],
            payable_source=gst["payable_source"],
        ),
    )


def _quality(table: Any) -> QualityTable:
    return QualityTable(
        version=table["version"],
        rd=tuple(
            Band(Decimal(band.get("above", band.get("from"))), "above" in band, Decimal(band["percent"]))
            for band in table["rd"]
        ),
        rd_rule=table["rd_rule"],
        plus_b_max=Decimal(table["plus_b_max"]),
        trash_basis=Decimal(table["trash_basis_pct"]),
        trash_excess_max=Decimal(table["trash_max_pct"]) - Decimal(table["trash_basis_pct"]),
        trash_rule=table["trash_rule"],
        source=table["source"],
    )
