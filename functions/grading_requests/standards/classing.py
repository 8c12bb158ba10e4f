"""The USDA classing record: one bale a line, fixed columns (`data/usda_classing_record.json`)."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kapas.errors import FieldError, Invalid

from ..schemas import Classing, ClassingCode, HviFigures

UPLAND = "1"
NOTHING = "00"
"""How a record states that there is no staple, no extraneous matter or no remark."""


@dataclass(frozen=True, slots=True)
class Column:
    """One field of the record: columns `first` to `last`, counted from 1; `decimals` for those that are figures."""

    name: str
    first: int
    last: int
    decimals: int | None


@dataclass(frozen=True, slots=True)
class ClassingRecord:
    """What one line says, apart from what gins and warehouses keep for themselves."""

    figures: HviFigures
    classing: Classing


@functools.cache
def columns() -> tuple[int, tuple[Column, ...]]:
    """The length of a record and its fields, read at the first use."""
    data = _data()
    fields = tuple(Column(f["name"], f["first"], f["last"], f.get("decimals")) for f in data["fields"])
    return data["length"], fields


@functools.cache
def _data() -> Any:
    return json.loads((Path(__file__).parent / "data" / "usda_classing_record.json").read_text("utf-8"))


def parse(line: str) -> ClassingRecord:
    """Read one line. What is blank was not measured.

    Raises:
        Invalid: the line has not the length of a record, is of Pima (whose tables are others), has a field that is not
            digits, or reports nothing.
    """
    text = line.rstrip("\r\n")
    length, fields = columns()
    if len(text) != length:
        raise _invalid("length", f"A classing record has {length} columns, this one {len(text)}")
    found = {column.name: text[column.first - 1 : column.last] for column in fields}
    if found["growth"] != UPLAND:
        raise _invalid("growth", "Column 60 must be 1: only upland cotton can be graded")
    classed = _date(found["date_classed"])
    figures: dict[str, Any] = {}
    for column in fields:
        value = found[column.name]
        if column.decimals is None or not value.strip():
            continue
        if not (value.isascii() and value.isdigit()):
            where = f"columns {column.first} to {column.last}"
            raise _invalid(column.name, f"{column.name} ({where}) must be digits or blank")
        figures[column.name] = Decimal(value).scaleb(-column.decimals) if column.decimals else value
    staple = figures.pop("staple_32nds", NOTHING)
    try:
        made = HviFigures.model_validate(figures)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise Invalid(
            f"{len(faults)} of the record's figures are out of range",
            errors=[
                FieldError("/record", fault["type"], f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")
                for fault in faults
            ],
        ) from None
    classing = Classing(
        gin_code=found["gin_code"].strip() or None,
        bale=found["gin_bale"].strip() or None,
        date_classed=classed,
        extraneous_matter=_code("extraneous_matter", found),
        remarks=_code("remarks", found),
        staple_32nds=None if staple == NOTHING else staple,
        record_type=_code("record_type", found),
        record_status=_code("record_status", found),
    )
    return ClassingRecord(made, classing)


def _code(name: str, found: Mapping[str, str]) -> ClassingCode | None:
    code = found[name].strip()
    return ClassingCode(code=code, name=_data()["codes"][name].get(code)) if code and code != NOTHING else None


def _date(value: str) -> date | None:
    if not value.strip():
        return None
    try:
        return datetime.strptime(value, "%Y%m%d").date()  # noqa: DTZ007 - a day, of no zone
    except ValueError:
        raise _invalid("date_classed", "date_classed (columns 13 to 20) must be a day, YYYYMMDD") from None


def _invalid(code: str, message: str) -> Invalid:
    return Invalid(message, errors=[FieldError("/record", code, message)])
