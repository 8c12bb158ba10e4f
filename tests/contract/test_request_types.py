"""A request is what the OpenAPI document says: no scalar is read from another type, or beyond what can be stored."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from flask import Flask
from pydantic import ValidationError

from kapas.errors import BadRequest
from kapas.http.bodies import ExactJson, pointer
from tests.contract.request_scalars import Scalar, of_bodies, of_queries

BODIES, QUERIES = of_bodies(), of_queries()

JSON = ExactJson(Flask("example"))

VALUES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "integer": [0, 1, 1_700_000_000],
    "number": [Decimal("1.5"), Decimal("1.635E+4"), Decimal("1.0")],
    "string": ["", "1", "6000000", "1.635e4", "1_0", "१", "true", "yes", "NaN", "1700000000", "2026-13-01T00:00:00Z"],
    "object": [{}, {"a": 1}],
    "array": [[], [1]],
}
"""Values of each JSON type."""
ALSO = {"integer": {"integer"}, "number": {"integer", "number"}, "decimal": {"string"}}
"""What JSON Schema counts to a type."""
FORMATS = {"decimal": ["", "1.635e4", "1_0", "१", "true", "NaN", "Infinity", "1e999999999", "0x10", "1,5"]}
FORMATS["date-time"] = [*VALUES["string"], "2026-11-24", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"]
FORMATS["date"] = [*VALUES["string"], "0001-01-01", "9999-12-31", "20261124"]
"""Texts that are none of the format."""
INT64 = 2**63


def wrong(scalar: Scalar) -> list[Any]:
    """Values that its schema rules out by their type, or by the format of a text."""
    allowed: set[str] = set()
    for kind in scalar.types:
        allowed |= ALSO.get(kind, {"string"} if kind in FORMATS else {kind})
    values = [value for kind, several in VALUES.items() if kind not in allowed for value in several]
    for kind in scalar.types & FORMATS.keys():
        values += FORMATS[kind]
    if "integer" in scalar.types:
        values += [INT64, -INT64 - 1, 10**30]
    return values


def accepted(scalar: Scalar, value: Any) -> bool:
    """Whether the model finds no fault where the value is."""
    body = scalar.place(value)
    try:
        scalar.model.model_validate(body)
    except ValidationError as error:
        faults = error.errors(include_context=False, include_url=False)
        found = [pointer(fault["loc"], body, missing=fault["type"] == "missing") for fault in faults]
        # A kind that is none of a union's is told of the object that has it.
        return not any(one.startswith(scalar.pointer) for one in found) and not any(
            fault["type"] in ("union_tag_invalid", "union_tag_not_found") for fault in faults
        )
    return True


def test_there_are_scalars_of_every_kind() -> None:
    """Else nothing below would say anything."""
    kinds = {kind for scalar in BODIES for kind in scalar.types}
    assert kinds >= {"boolean", "integer", "number", "decimal", "string", "date-time"}
    assert {kind for scalar in QUERIES for kind in scalar.types} >= {"boolean", "integer", "string", "date-time"}
    assert {"offer_lot /ask/paise", "offer_lot /lot/bales"} <= {str(scalar) for scalar in BODIES}


@pytest.mark.parametrize("scalar", BODIES, ids=str)
def test_a_scalar_of_a_body_is_of_its_type(scalar: Scalar) -> None:
    taken = [value for value in wrong(scalar) if accepted(scalar, value)]
    assert not taken


TEXTS: dict[str, list[str]] = {
    "integer": ["", "1.0", "1e2", "true", " 1", "1_0", "१", "0x1", "9223372036854775808", "9" * 5000, "null"],
    "boolean": ["", "1", "0", "yes", "on", "True", "TRUE", "t", "null"],
    "date-time": FORMATS["date-time"],
}


@pytest.mark.parametrize("scalar", [one for one in QUERIES if one.types & TEXTS.keys()], ids=str)
def test_a_parameter_of_a_query_is_written_as_its_type(scalar: Scalar) -> None:
    texts = [text for kind in scalar.types & TEXTS.keys() for text in TEXTS[kind]]
    assert not [text for text in texts if accepted(scalar, text)]


def test_what_is_right_is_read_exactly() -> None:
    scalars = {str(scalar): scalar for scalar in BODIES}
    weight, paise = scalars["offer_lot /lot/net_weight/value"], scalars["offer_lot /ask/paise"]
    for text, expected in (("29.50", "29.50"), ("1.635e4", "16350"), ('"29.50"', "29.50"), ("100", "100")):
        value = JSON.loads(text)
        body = weight.place(value)["lot"]["net_weight"] | {"unit": "kg"}
        kind = weight.model.model_fields["lot"].annotation
        read = cast(Any, kind).model_fields["net_weight"].annotation.model_validate(body)
        assert str(read.value) == expected
    assert accepted(paise, 6_150_000)
    as_of = next(scalar for scalar in QUERIES if str(scalar) == "read_past_consents /at")
    read = cast(Any, as_of.model.model_validate({"at": "2026-11-24T06:30:00+05:30"}))
    assert read.at == datetime(2026, 11, 24, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ('{"paise": 1, "paise": 2}', "the member paise"),
        ('{"lot": [{"bales": 1, "a": 2, "bales": 1}]}', "the member bales"),
        ('{"234123412346": 1, "234123412346": 2}', "one member"),
        ('{"a": 1, "\\u0061": 2}', "the member a"),
    ],
)
def test_a_member_that_is_there_twice_is_refused(body: str, named: str) -> None:
    with pytest.raises(BadRequest) as refused:
        JSON.loads(body)
    assert refused.value.detail == f"An object of the body has {named} twice"
