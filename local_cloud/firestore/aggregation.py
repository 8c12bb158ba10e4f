"""Aggregations over the results of a query: count, sum, average."""

import math
from collections.abc import Sequence

from google.api_core.exceptions import InvalidArgument

from local_cloud.firestore import values
from local_cloud.firestore.messages import Document, Message, Value, new_value
from local_cloud.firestore.values import FieldPath

_INT64 = range(-(1 << 63), 1 << 63)


def aggregate(aggregations: Sequence[Message], documents: list[Document]) -> dict[str, Value]:
    """The value of each aggregation by its alias.

    As the service has it, several aggregations in one query see the same documents: those that have every field which
    one of them sums or averages. Values that are no numbers are left out; the sum of none is 0, their average null.
    Raises InvalidArgument for none, more than five, or an alias used twice.
    """
    if not 1 <= len(aggregations) <= 5:
        raise InvalidArgument("An aggregation query has one to five aggregations.")
    paths = [path for aggregation in aggregations if (path := _path(aggregation))]
    documents = [document for document in documents if all(values.get(document, path) is not None for path in paths)]
    result = {
        aggregation.alias or f"field_{position}": _aggregate(aggregation, documents)
        for position, aggregation in enumerate(aggregations, 1)
    }
    if len(result) < len(aggregations):
        raise InvalidArgument("Every aggregation needs an alias of its own.")
    return result


def _path(aggregation: Message) -> FieldPath | None:
    match aggregation.WhichOneof("operator"):
        case "sum":
            return values.parse_path(aggregation.sum.field.field_path)
        case "avg":
            return values.parse_path(aggregation.avg.field.field_path)
        case "count":
            return None
        case _:
            raise InvalidArgument("An aggregation needs an operator.")


def _aggregate(aggregation: Message, documents: list[Document]) -> Value:
    path = _path(aggregation)
    if path is None:
        count = len(documents)
        return new_value(integer_value=min(count, aggregation.count.up_to.value or count))
    found = [values.get(document, path) for document in documents]
    numbers = [values.number(value) for value in found if values.is_number(value)]
    if aggregation.WhichOneof("operator") == "sum":
        return _sum(numbers)
    return new_value(double_value=_total(numbers) / len(numbers)) if numbers else new_value(null_value=0)


def _sum(numbers: list[int | float]) -> Value:
    total = sum(number for number in numbers if isinstance(number, int))
    if total in _INT64 and all(isinstance(number, int) for number in numbers):
        return new_value(integer_value=total)
    return new_value(double_value=_total(numbers))


def _total(numbers: list[int | float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):  # past the largest double; infinities of both signs
        return sum(float(number) for number in numbers)
