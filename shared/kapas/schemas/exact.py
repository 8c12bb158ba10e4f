"""Scalars of requests, exactly as the OpenAPI document describes them.

pydantic reads `true` and `"1"` as the integer 1, `1700000000` as a time and `"1_0"` as a decimal number. A model that is
built with `tighten` reads an integer from an integer and a time from a text alone, within bounds that every layer can hold.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

from pydantic_core import PydanticCustomError, core_schema

INT64 = (-(2**63), 2**63 - 1)
"""What PostgreSQL's `bigint` holds."""
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Nothing that is asked for or reported lies outside. A period may be added, and a time zone applied, to what lies within."""

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9].*", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

_NO_CHILDREN = frozenset({"metadata", "serialization", "default", "config", "expected"})
"""Keys of a core schema below which no schema of a value is."""


def tighten(schema: Any, *, texts: bool) -> None:
    """Make the scalars of a core schema exact and bounded, in place.

    `texts` says that each value comes as text, as in a query: then an integer is written in digits, a boolean as `true` or
    `false`.
    """
    if isinstance(schema, list | tuple):
        for part in cast(list[Any], schema):
            tighten(part, texts=texts)
    elif isinstance(schema, dict):
        inner = cast(dict[str, Any], schema)
        kind = inner.get("type")
        if not isinstance(kind, str):  # fields by name, or the members of a union by tag
            tighten(list(inner.values()), texts=texts)
        elif kind in _RULES:
            _RULES[kind](inner, texts)
        else:
            tighten([value for key, value in inner.items() if key not in _NO_CHILDREN], texts=texts)


def _bound(schema: dict[str, Any], low: Any, high: Any) -> None:
    if "ge" not in schema and "gt" not in schema:
        schema["ge"] = low
    if "le" not in schema and "lt" not in schema:
        schema["le"] = high


def _first(schema: dict[str, Any], check: Callable[[Any], Any]) -> None:
    """Have `check` look at a value before `schema` reads it."""
    inner = cast(core_schema.CoreSchema, dict(schema))
    schema.clear()
    schema.update(cast(dict[str, Any], core_schema.no_info_before_validator_function(check, inner)))


def _int(schema: dict[str, Any], texts: bool) -> None:
    _bound(schema, *INT64)
    if texts:
        _first(schema, _integer_of_text)
    else:
        schema["strict"] = True


def _bool(schema: dict[str, Any], texts: bool) -> None:
    if texts:
        _first(schema, _boolean_of_text)
    else:
        schema["strict"] = True


def _float(schema: dict[str, Any], _: bool) -> None:
    schema["strict"] = True


def _decimal(schema: dict[str, Any], _: bool) -> None:
    _first(schema, _plain_decimal)


def _datetime(schema: dict[str, Any], _: bool) -> None:
    _first(schema, _time_of_text)


def _date(schema: dict[str, Any], _: bool) -> None:
    _bound(schema, EARLIEST.date(), LATEST.date())
    _first(schema, _date_of_text)


_RULES: dict[str, Callable[[dict[str, Any], bool], None]] = {
    "int": _int,
    "bool": _bool,
    "float": _float,
    "decimal": _decimal,
    "datetime": _datetime,
    "date": _date,
}


def _integer_of_text(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.fullmatch(value) is None:
        raise PydanticCustomError("int_parsing", "Write an integer in digits, for example 20")
    return value


def _boolean_of_text(value: Any) -> Any:
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Write true or false")
    return value


def _plain_decimal(value: Any) -> Any:
    """A decimal number without an exponent, as every answer shows it."""
    if isinstance(value, str):
        value = value.strip()
        if _DECIMAL.fullmatch(value) is None:
            raise PydanticCustomError("decimal_parsing", "Write a decimal number in digits, for example 29.5")
    elif isinstance(value, Decimal) and value.is_finite() and cast(int, value.as_tuple().exponent) > 0:
        return Decimal(format(value, "f"))
    return value


def _time_of_text(value: Any) -> Any:
    if isinstance(value, str):
        if _TIME.fullmatch(value) is None:
            raise PydanticCustomError("datetime_parsing", "Write a time as RFC 3339 does: 2026-11-24T06:30:00Z")
        # The year as it is written: no time zone moves year 1 or 9999 into these.
        if not EARLIEST.year <= int(value[:4]) < LATEST.year:
            years = {"first": EARLIEST.year, "last": LATEST.year - 1}
            raise PydanticCustomError("datetime_range", "The year must be from {first} to {last}", years)
    elif not isinstance(value, datetime):
        raise PydanticCustomError("datetime_type", "Write a time as text, as RFC 3339 does: 2026-11-24T06:30:00Z")
    return value


def _date_of_text(value: Any) -> Any:
    if isinstance(value, str):
        if _DATE.fullmatch(value) is None:
            raise PydanticCustomError("date_parsing", "Write a date as RFC 3339 does: 2026-11-24")
    elif not isinstance(value, date):
        raise PydanticCustomError("date_type", "Write a date as text, as RFC 3339 does: 2026-11-24")
    return value
