"""One write: its precondition, what it makes of the document, and what its transforms answer.

Rules: `google.firestore.v1.Write` and `DocumentTransform`.
"""

import math

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

from local_cloud.firestore import values
from local_cloud.firestore.messages import (
    Document,
    Message,
    Value,
    Write,
    WriteResult,
    new_document,
    new_value,
    new_write_result,
    timestamp,
)
from local_cloud.firestore.values import parse_path

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def target(write: Write) -> str:
    """The name of the document that is written. Raises InvalidArgument for a write without an operation."""
    match write.WhichOneof("operation"):
        case "update":
            return write.update.name
        case "delete":
            return write.delete
        case "transform":
            return write.transform.document
        case _:
            raise InvalidArgument("A write needs an operation.")


def apply(write: Write, old: Document | None, time: int) -> tuple[Document | None, WriteResult]:
    """What `write` makes of `old` at the commit time `time` (microseconds), and its result.

    A write that changes nothing answers `old` itself, with the time of its last real change.
    Raises NotFound, AlreadyExists or FailedPrecondition where the precondition does not hold, InvalidArgument for a
    document that cannot be stored.
    """
    name = target(write)
    _check_precondition(write.current_document, name, old)
    result = new_write_result()
    if write.WhichOneof("operation") == "delete":
        return None, result
    new = _written(write, name, old)
    for transform in (*write.update_transforms, *write.transform.field_transforms):
        result.transform_results.append(_transform(transform, new, time))
    values.check(new)
    if old is not None and _same_fields(old, new):
        new = old
    else:
        new.update_time.CopyFrom(timestamp(time))
        new.create_time.CopyFrom(old.create_time if old is not None else new.update_time)
    result.update_time.CopyFrom(new.update_time)
    return new, result


def _check_precondition(condition: Message, name: str, old: Document | None) -> None:
    match condition.WhichOneof("condition_type"):
        case "exists" if condition.exists and old is None:
            raise NotFound(f"No document to update: {name}")
        case "exists" if not condition.exists and old is not None:
            raise AlreadyExists(f"Document already exists: {name}")
        case "update_time":
            stored = old.update_time.ToMicroseconds() if old is not None else 0
            required = condition.update_time.ToMicroseconds()
            if stored != required:
                raise FailedPrecondition(
                    f"the stored version ({stored}) does not match the required base version ({required})"
                )
        case _:
            pass


def _written(write: Write, name: str, old: Document | None) -> Document:
    new = new_document(name=name)
    is_update = write.WhichOneof("operation") == "update"
    if is_update and not write.HasField("update_mask"):
        new.MergeFrom(new_document(fields=write.update.fields))
        return new
    if old is not None:
        new.MergeFrom(new_document(fields=old.fields))
    for path in map(parse_path, write.update_mask.field_paths):
        value = values.get(write.update, path)
        if value is None:
            values.remove(new, path)
        else:
            values.put(new, path, value)
    return new


def _same_fields(one: Document, other: Document) -> bool:
    # By their bytes: a NaN is unequal to itself, and -0.0 equals 0.0.
    return new_document(fields=one.fields).SerializeToString(deterministic=True) == new_document(
        fields=other.fields
    ).SerializeToString(deterministic=True)


def _transform(transform: Message, document: Document, time: int) -> Value:
    path = parse_path(transform.field_path)
    current = values.get(document, path)
    answer = new_value(null_value=0)
    match transform.WhichOneof("transform_type"):
        case "set_to_server_value":
            # "with millisecond precision"
            result = answer = new_value(timestamp_value=timestamp(time // 1000 * 1000))
        case "increment" | "maximum" | "minimum" as kind:
            result = answer = _arithmetic(kind, current, getattr(transform, kind))
        case "append_missing_elements":
            result = _append(current, transform.append_missing_elements.values)
        case "remove_all_from_array":
            result = _remove(current, transform.remove_all_from_array.values)
        case _:
            raise InvalidArgument("A field transform needs a type.")
    values.put(document, path, result)
    return answer


def _arithmetic(kind: str, current: Value | None, operand: Value) -> Value:
    if not values.is_number(operand):
        raise InvalidArgument("Input must be int64 or double.")
    if current is None or not values.is_number(current):
        return operand
    mine, given = values.number(current), values.number(operand)
    if kind == "increment":
        return values.of_number(_clamped(mine + given))
    if math.isnan(mine) or math.isnan(given):
        return new_value(double_value=math.nan)
    replaces = given > mine if kind == "maximum" else given < mine
    return operand if replaces else current


def _clamped(number: int | float) -> int | float:
    return max(_INT64_MIN, min(number, _INT64_MAX)) if isinstance(number, int) else number


def _items(current: Value | None) -> list[Value]:
    return list(current.array_value.values) if current is not None else []


def _append(current: Value | None, added: list[Value]) -> Value:
    items = _items(current)
    present = {values.key(item) for item in items}
    for item in added:
        if values.key(item) not in present:
            present.add(values.key(item))
            items.append(item)
    return new_value(array_value={"values": items})


def _remove(current: Value | None, removed: list[Value]) -> Value:
    gone = {values.key(item) for item in removed}
    return new_value(array_value={"values": [item for item in _items(current) if values.key(item) not in gone]})
