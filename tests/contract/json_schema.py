"""Whether a value fits a JSON Schema (2020-12), for the keywords that the project's schemas use; any other is an error."""

import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

Schema = dict[str, Any]

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
}
_ABOUT = {"title", "description", "default", "examples", "$schema", "$id", "$defs", "$ref"}


def faults(value: Any, schema: Schema, root: Schema | None = None, at: str = "") -> list[str]:
    """Where `value` does not fit `schema`, a line each; `root` is the document that `#/$defs/...` refers to."""
    root = schema if root is None else root
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")] | {
            key: told for key, told in schema.items() if key != "$ref"
        }
    found: list[str] = []
    for keyword, told in schema.items():
        if keyword in _ABOUT:
            continue
        if keyword == "properties":
            for name in told.keys() & value.keys():
                found += faults(value[name], told[name], root, f"{at}/{name}")
        elif keyword == "items":
            for number, item in enumerate(value if isinstance(value, list) else ()):
                found += faults(item, told, root, f"{at}/{number}")
        elif keyword == "anyOf":
            if all(faults(value, option, root, at) for option in told):
                found.append(f"{at}: {value!r} fits none of the alternatives")
        elif not _fits(keyword, told, value):
            found.append(f"{at}: {value!r} does not fit {keyword} {told!r}")
    return found


def _fits(keyword: str, told: Any, value: Any) -> bool:
    """A keyword says nothing of values of another type than its own."""
    number = isinstance(value, int | float)
    match keyword:
        case "type":
            # In Python a bool is an int, in JSON it is no number.
            return (
                value is None
                if told == "null"
                else isinstance(value, _TYPES[told]) and (isinstance(value, bool) == (told == "boolean"))
            )
        case "const":
            return value == told
        case "enum":
            return value in told
        case "required":
            return set(told) <= value.keys()
        case "minimum":
            return not number or value >= told
        case "maximum":
            return not number or value <= told
        case "exclusiveMinimum":
            return not number or value > told
        case "pattern":
            return not isinstance(value, str) or re.search(told, value) is not None
        case "format":
            return not isinstance(value, str) or _has_format(told, value)
        case _:
            raise NotImplementedError(f"the schemas did not use {keyword} before: teach it to this module")


def _has_format(name: str, value: str) -> bool:
    parse: Any = {"uuid": UUID, "date-time": datetime.fromisoformat, "decimal": Decimal}[name]
    try:
        return parse(value) is not None
    except (ValueError, InvalidOperation):
        return False
