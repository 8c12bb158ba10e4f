"""Values: their total order, field paths into documents, sizes, and what the service refuses to store."""

import base64
import functools
import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from google.api_core.exceptions import InvalidArgument

from local_cloud.firestore import names
from local_cloud.firestore.messages import Document, Value, new_value

MAX_DOCUMENT_BYTES = 1 << 20
MAX_VALUE_BYTES = MAX_DOCUMENT_BYTES - 89
MAX_DEPTH = 20
_MAX_FIELD_NAME_BYTES = 1500

FieldPath: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[Any, ...]
"""What a value sorts by: its type's rank, then something that compares within the type."""

NAME: FieldPath = ("__name__",)
"""The path that stands for the document's own name in queries."""

NULL_RANK, NUMBER_RANK = 0, 2
NAN: Key = (NUMBER_RANK, (0,))
_VECTOR = "__vector__"


def key(value: Value) -> Key:
    """The place of `value` in Firestore's order of values ("Value type ordering"); equal values have equal keys.

    Null, booleans, numbers (NaN first; integers and doubles compare as numbers), timestamps, strings (by UTF-8
    bytes, which is the order of code points), bytes, references, geographical points, arrays, vectors, maps.
    """
    match value.WhichOneof("value_type"):
        case "boolean_value":
            return 1, value.boolean_value
        case "integer_value":
            return NUMBER_RANK, (1, value.integer_value)
        case "double_value":
            return NAN if math.isnan(value.double_value) else (NUMBER_RANK, (1, value.double_value))
        case "timestamp_value":
            return 3, (value.timestamp_value.seconds, value.timestamp_value.nanos)
        case "string_value":
            return 4, value.string_value
        case "bytes_value":
            return 5, value.bytes_value
        case "reference_value":
            return 6, names.order_key(value.reference_value)
        case "geo_point_value":
            return 7, (value.geo_point_value.latitude, value.geo_point_value.longitude)
        case "array_value":
            return 8, tuple(key(item) for item in value.array_value.values)
        case "map_value":
            return _map_key(value.map_value.fields)
        case _:
            return NULL_RANK, 0


def _map_key(fields: Mapping[str, Value]) -> Key:
    if "__type__" in fields and fields["__type__"].string_value == _VECTOR:
        vector = fields["value"].array_value.values
        return 9, (len(vector), tuple(key(item) for item in vector))
    return 10, tuple((name, key(fields[name])) for name in sorted(fields))


def is_number(value: Value | None) -> bool:
    return value is not None and value.WhichOneof("value_type") in ("integer_value", "double_value")


def number(value: Value) -> int | float:
    """The number in an integer or double value."""
    return value.integer_value if value.WhichOneof("value_type") == "integer_value" else value.double_value


def of_number(number: int | float) -> Value:
    return new_value(integer_value=number) if isinstance(number, int) else new_value(double_value=number)


_SEGMENT = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)


@functools.lru_cache(maxsize=4096)
def parse_path(path: str) -> FieldPath:
    """A field path as the service writes it (``a.`b.c`.d``), in segments. Raises InvalidArgument."""
    result: list[str] = []
    position = 0
    while segment := _SEGMENT.match(path, position):
        result.append(segment[1] or re.sub(r"\\(.)", r"\1", segment[2], flags=re.DOTALL))
        position = segment.end() + 1
        if segment.end() == len(path):
            return tuple(result)
        if path[segment.end()] != ".":
            break
    raise InvalidArgument(f'Invalid property path "{path}".')


def get(document: Document, path: FieldPath) -> Value | None:
    """The value at `path`, None where there is none; NAME answers a reference to the document itself."""
    if path == NAME:
        return new_value(reference_value=document.name)
    fields = document.fields
    for segment in path[:-1]:
        if segment not in fields:
            return None
        fields = fields[segment].map_value.fields
    return fields.get(path[-1])


def put(document: Document, path: FieldPath, value: Value) -> None:
    """Set the field at `path`; what is on the way and not a map becomes one."""
    fields = document.fields
    for segment in path[:-1]:
        if fields[segment].WhichOneof("value_type") != "map_value":
            fields[segment].map_value.SetInParent()
        fields = fields[segment].map_value.fields
    fields[path[-1]].CopyFrom(value)


def remove(document: Document, path: FieldPath) -> None:
    """Remove the field at `path`, if it is there."""
    fields = document.fields
    for segment in path[:-1]:
        if segment not in fields:
            return
        fields = fields[segment].map_value.fields
    fields.pop(path[-1], None)


def size(document: Document) -> int:
    """Bytes that a document counts for ("Storage size calculations")."""
    return names.size(document.name) + _fields_size(document.fields) + 32


def _fields_size(fields: Mapping[str, Value]) -> int:
    return sum(len(name.encode()) + 1 + _value_size(value) for name, value in fields.items())


def _value_size(value: Value) -> int:
    match value.WhichOneof("value_type"):
        case "string_value":
            return len(value.string_value.encode()) + 1
        case "bytes_value":
            return len(value.bytes_value)
        case "reference_value":
            return names.size(value.reference_value)
        case "geo_point_value":
            return 16
        case "array_value":
            return sum(_value_size(item) for item in value.array_value.values)
        case "map_value":
            return _fields_size(value.map_value.fields) + 32
        case "integer_value" | "double_value" | "timestamp_value":
            return 8
        case _:
            return 1


def check(document: Document) -> None:
    """Raise InvalidArgument for what cannot be stored: reserved names, arrays in arrays, too deep, too large."""
    _check_fields(document.fields, 0)
    if (total := size(document)) > MAX_DOCUMENT_BYTES:
        raise InvalidArgument(
            f"Document '{document.name}' cannot be written because its size ({total:,} bytes) "
            f"exceeds the maximum allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )


def _check_fields(fields: Mapping[str, Value], depth: int) -> None:
    for name, value in fields.items():
        vector_tag = name == "__type__" and value.string_value == _VECTOR and depth > 0
        if name.startswith("__") and name.endswith("__") and not vector_tag:
            raise InvalidArgument(f"field name {name} is reserved")
        if not name or len(name.encode()) > _MAX_FIELD_NAME_BYTES:
            raise InvalidArgument(f'The field name "{name[:50]}" is empty or too long.')
        _check_value(value, depth)
        if depth == 0 and _value_size(value) > MAX_VALUE_BYTES:
            raise InvalidArgument(f'The value of property "{name}" is longer than {MAX_VALUE_BYTES} bytes.')


def _check_value(value: Value, depth: int, *, in_array: bool = False) -> None:
    kind = value.WhichOneof("value_type")
    if kind in ("array_value", "map_value") and depth == MAX_DEPTH:
        raise InvalidArgument("A property contains an invalid nested entity: more than 20 levels deep.")
    if kind == "map_value":
        _check_fields(value.map_value.fields, depth + 1)
    elif kind == "array_value":
        if in_array:
            raise InvalidArgument("Cannot convert an array value in an array value.")
        for item in value.array_value.values:
            _check_value(item, depth + 1, in_array=True)


def to_json(value: Value) -> Any:
    """A value as JSON can show it: timestamps in RFC 3339, bytes in base64, references as names."""
    kind = value.WhichOneof("value_type")
    match kind:
        case "map_value":
            return {name: to_json(item) for name, item in value.map_value.fields.items()}
        case "array_value":
            return [to_json(item) for item in value.array_value.values]
        case "timestamp_value":
            return value.timestamp_value.ToJsonString()
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "geo_point_value":
            return {"latitude": value.geo_point_value.latitude, "longitude": value.geo_point_value.longitude}
        case None | "null_value":
            return None
        case _:
            return getattr(value, kind)
