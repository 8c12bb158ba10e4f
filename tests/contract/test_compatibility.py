"""What breaks the readers of a schema, and what does not."""

from typing import Any

import pytest

from tools.docs.compatibility import breaks, next_version

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NULL: Schema = {"type": "null"}


def thing(required: list[str] | None = None, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


def pair(**properties: Schema) -> Schema:
    """An object with two referred-to parts, by `$ref`."""
    return thing(part={"$ref": "#/$defs/Part"}) | {"$defs": {"Part": thing(**properties)}}


COMPATIBLE = {
    "the same": (thing(a=TEXT), thing(a=TEXT)),
    "another order": (thing(a=TEXT, b=WHOLE), thing(b=WHOLE, a=TEXT)),
    "an optional field more": (thing(a=TEXT), thing(["a"], a=TEXT, b=TEXT)),
    "a value of an enumeration more": (thing(a={"enum": ["x"]}), thing(a={"enum": ["x", "y"]})),
    "an enumeration opened": (thing(a={"enum": ["x"], **TEXT}), thing(a=TEXT)),
    "a wider range": (thing(a={"minimum": 2, "maximum": 5}), thing(a={"minimum": 1, "maximum": 6})),
    "a bound less": (thing(a={"maxLength": 5}), thing(a={})),
    "another description": (thing(a={"description": "old"}), thing(a={"description": "new", "title": "A"})),
    "a definition renamed": (
        pair(a=TEXT),
        thing(part={"$ref": "#/$defs/Other"}) | {"$defs": {"Other": thing(a=TEXT)}},
    ),
    "alternatives in another order": (thing(a={"anyOf": [TEXT, NULL]}), thing(a={"anyOf": [NULL, TEXT]})),
}

BREAKING = {
    "a field removed": (thing(a=TEXT, b=TEXT), thing(a=TEXT), "/b was removed"),
    "a field renamed": (thing(a=TEXT), thing(["b"], b=TEXT), "/a was removed"),
    "a required field more": (thing(a=TEXT), thing(a=TEXT, b=TEXT), "/b is required now"),
    "an optional field required": (thing([], a=TEXT), thing(a=TEXT), "/a is required now"),
    "a required field optional": (thing(a=TEXT), thing([], a=TEXT), "/a may be missing now"),
    "another type": (thing(a=TEXT), thing(a=WHOLE), "/a type was 'string' and is 'integer'"),
    "another constant": (thing(a={"const": "x"}), thing(a={"const": "y"}), "/a const was 'x' and is 'y'"),
    "another format": (thing(a={"format": "uuid"}), thing(a=TEXT | {"format": "uri"}), "/a format"),
    "another pattern": (thing(a={"pattern": "^a$"}), thing(a={"pattern": "^b$"}), "/a pattern"),
    "a value of an enumeration less": (
        thing(a={"enum": ["x", "y"]}),
        thing(a={"enum": ["x"]}),
        "/a no longer has the value 'y'",
    ),
    "values enumerated": (thing(a=TEXT), thing(a=TEXT | {"enum": ["x"]}), "/a takes no other values than ['x'] now"),
    "a higher minimum": (thing(a={"minimum": 1}), thing(a={"minimum": 2}), "/a minimum was 1 and is 2"),
    "a lower maximum": (thing(a={"maximum": 5}), thing(a={"maximum": 4}), "/a maximum was 5 and is 4"),
    "a bound more": (thing(a=TEXT), thing(a=TEXT | {"maxLength": 9}), "/a maxLength was None and is 9"),
    "may be null now": (thing(a=TEXT), thing(a={"anyOf": [TEXT, NULL]}), "/a was one of nothing"),
    "an alternative less": (thing(a={"anyOf": [TEXT, WHOLE]}), thing(a={"anyOf": [TEXT]}), "/a was one of string"),
    "within an alternative": (
        thing(a={"anyOf": [TEXT, NULL]}),
        thing(a={"anyOf": [TEXT | {"maxLength": 9}, NULL]}),
        "/a maxLength",
    ),
    "within items": (thing(a={"items": TEXT}), thing(a={"items": WHOLE}), "/a/items type"),
    "items no longer described": (thing(a={"items": TEXT}), thing(a={}), "/a items"),
    "within a definition": (pair(a=TEXT, b=TEXT), pair(a=TEXT), "/part/b was removed"),
    "closed to further fields": (thing(), thing() | {"additionalProperties": False}, "/ additionalProperties"),
    "a keyword never met before": (thing(a={}), thing(a={"multipleOf": 5}), "/a multipleOf was None and is 5"),
}


@pytest.mark.parametrize(("old", "new"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_compatible(old: Schema, new: Schema) -> None:
    assert breaks(old, new) == []


@pytest.mark.parametrize(("old", "new", "fault"), BREAKING.values(), ids=BREAKING)
def test_breaking(old: Schema, new: Schema, fault: str) -> None:
    assert any(line.startswith(fault) for line in breaks(old, new)), breaks(old, new)


def test_the_next_version_of_a_type() -> None:
    assert next_version("trade.offered.v1") == "trade.offered.v2"
    assert next_version("trade.offered.v19") == "trade.offered.v20"
