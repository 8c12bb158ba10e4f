"""The USDA classing record: one bale a line, fixed columns (`data/usda_classing_record.json`)."""

import functools
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kapas.errors import FieldError, Invalid
from kapas.schemas.gradings import HviFigures

UPLAND = "1"
UNGRADED_STAPLE = "00"


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
    staple_32nds: str | None


@functools.cache
def columns() -> tuple[int, tuple[Column, ...]]:
    """The length of a record and its fields, read at the first use."""
    data: Any = json.loads((Path(__file__).parent / "data" / "usda_classing_record.json").read_text("utf-8"))
    fields = tuple(Column(f["name"], f["first"], f["last"], f.get("decimals")) for f in data["fields"])
    return data["length"], fields


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
        raise _invalid("growth", "Column 60 must be 1: only upland is graded, other tables hold for Pima")
    _check_date(found["date_classed"])
    figures: dict[str, Any] = {}
    for column in fields:
        value = found[column.name]
        if column.decimals is None or not value.strip():
            continue
        if not (value.isascii() and value.isdigit()):
            where = f"columns {column.first} to {column.last}"
            raise _invalid(column.name, f"{column.name} ({where}) must be digits or blank")
        figures[column.name] = Decimal(value).scaleb(-column.decimals) if column.decimals else value
    staple = figures.pop("staple_32nds", UNGRADED_STAPLE)
    try:
        made = HviFigures.model_validate(figures)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise Invalid(
            f"{len(faults)} of the record's figures cannot be",
            errors=[
                FieldError("/record", fault["type"], f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")
                for fault in faults
            ],
        ) from None
    return ClassingRecord(made, None if staple == UNGRADED_STAPLE else staple)


def _check_date(value: str) -> None:
    if value.strip():
        try:
            datetime.strptime(value, "%Y%m%d")  # noqa: DTZ007 - a day, of no zone
        except ValueError:
            raise _invalid("date_classed", "date_classed (columns 13 to 20) must be a day, YYYYMMDD") from None


def _invalid(code: str, message: str) -> Invalid:
    return Invalid(message, errors=[FieldError("/record", code, message)])
