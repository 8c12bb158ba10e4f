"""Published tables: where a value falls, with the version and the source of the table that says so."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..schemas import AxisClass, AxisName, ColorGrade

_DATA = Path(__file__).parent / "data"
COLOR_TABLE = "usda_color_grade"
STAPLE_TABLE = "usda_staple"


@dataclass(frozen=True, slots=True)
class Band:
    """`low` to `high`, both within; None is without bound."""

    label: str
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class Table:
    """The bands of one axis, whose values are multiples of `step`."""

    name: str
    axis: AxisName
    version: str
    source: str
    step: Decimal
    bands: tuple[Band, ...]
    length_mm: tuple[Decimal, Decimal] | None
    """The table is of lint of such a length only, both within."""

    def holds_for(self, length_mm: Decimal | None) -> bool:
        if self.length_mm is None:
            return True
        shortest, longest = self.length_mm
        return length_mm is not None and shortest <= length_mm <= longest

    def classify(self, value: Decimal) -> AxisClass:
        """The class of `value`, as it is reported: between multiples of `step` the bands leave no gap."""
        band = next(band for band in self.bands if band.high is None or value <= band.high)
        return self.axis_class(band.label)

    def axis_class(self, label: str) -> AxisClass:
        return AxisClass(label=label, table=self.name, version=self.version, source=self.source)


@dataclass(frozen=True, slots=True)
class ColorCodes:
    """The USDA upland color grades by code."""

    version: str
    source: str
    codes: Mapping[str, Mapping[str, str]]


@functools.cache
def tables() -> tuple[Table, ...]:
    """Every table with bands, in the order of the files."""
    return tuple(
        Table(
            name=name,
            axis=table["axis"],
            version=data["version"],
            source=table["source"],
            step=Decimal(table["step"]),
            bands=tuple(Band(b["label"], _bound(b["from"]), _bound(b["to"])) for b in table["bands"]),
            length_mm=_lengths(table["length_mm"]) if "length_mm" in table else None,
        )
        for data in (_read("usda_tables.json"), _read("india_tables.json"))
        for name, table in data["tables"].items()
        if "bands" in table
    )


@functools.cache
def color_codes() -> ColorCodes:
    data = _read("usda_tables.json")
    table = data["tables"][COLOR_TABLE]
    return ColorCodes(data["version"], table["source"], table["codes"])


def classes(axis: AxisName, value: Decimal, length_mm: Decimal | None = None) -> list[AxisClass]:
    """Where `value`, as it is reported, falls in every table of `axis` that is of lint of this length, if it is known."""
    return [table.classify(value) for table in tables() if table.axis == axis and table.holds_for(length_mm)]


def staple(code: str) -> AxisClass | None:
    """A staple as a record states it, in 32nds of an inch; None if there is no such class."""
    table = next(table for table in tables() if table.name == STAPLE_TABLE)
    return table.axis_class(code) if code in {band.label for band in table.bands} else None


def color_grade(code: str | None) -> ColorGrade:
    """A reported color grade, or why there is none. Raises KeyError for a code that is not in the list."""
    known = color_codes()
    where: dict[str, Any] = {"table": COLOR_TABLE, "version": known.version, "source": known.source}
    if code is None:
        return ColorGrade(code=None, reason="chart_unavailable", **where)
    entry = known.codes[code]
    return ColorGrade(code=code, name=entry["name"], group=entry["group"], **where)


def _read(name: str) -> Any:
    return json.loads((_DATA / name).read_text("utf-8"))


def _bound(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _lengths(bounds: list[str]) -> tuple[Decimal, Decimal]:
    return Decimal(bounds[0]), Decimal(bounds[1])
