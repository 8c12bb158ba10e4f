"""The filters of a structured query: whether a document passes, and which combinations the service refuses.

Rules: "Query limitations" of the Firestore documentation; null and NaN as Google's emulator has them.
"""

import operator
from collections.abc import Callable, Iterator
from itertools import product
from typing import TypeAlias

from google.api_core.exceptions import InvalidArgument
from google.cloud.firestore_v1.types import StructuredQuery as Query

from local_cloud.firestore import values
from local_cloud.firestore.messages import Document, Filter
from local_cloud.firestore.values import NAN, NULL_RANK, FieldPath, Key, parse_path

Predicate: TypeAlias = Callable[[Document], bool]
Test: TypeAlias = Callable[[Key], bool]

_Field = Query.FieldFilter.Operator
_Unary = Query.UnaryFilter.Operator
_AND = Query.CompositeFilter.Operator.AND
_OR = Query.CompositeFilter.Operator.OR

MAX_DISJUNCTIONS = 30
MAX_NOT_IN = 10
_RANGES: dict[_Field, Callable[[Key, Key], bool]] = {
    _Field.LESS_THAN: operator.lt,
    _Field.LESS_THAN_OR_EQUAL: operator.le,
    _Field.GREATER_THAN: operator.gt,
    _Field.GREATER_THAN_OR_EQUAL: operator.ge,
}
_INEQUALITIES = {*_RANGES, _Field.NOT_EQUAL, _Field.NOT_IN}
_LISTS = {_Field.IN, _Field.NOT_IN, _Field.ARRAY_CONTAINS_ANY}
_NEGATIONS = {_Field.NOT_EQUAL, _Field.NOT_IN}
_UNARY_NEGATIONS = {_Unary.IS_NOT_NAN, _Unary.IS_NOT_NULL}


def predicate(where: Filter) -> Predicate:
    """What `where` says, as a function of a document. Raises InvalidArgument for an operator left unset."""
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            parts = [predicate(part) for part in where.composite_filter.filters]
            combine = all if where.composite_filter.op == _AND else any
            return lambda document: combine(part(document) for part in parts)
        case "unary_filter":
            unary = where.unary_filter
            return _on_field(parse_path(unary.field.field_path), _unary_test(unary.op))
        case "field_filter":
            path = parse_path(where.field_filter.field.field_path)
            if where.field_filter.op in (_Field.ARRAY_CONTAINS, _Field.ARRAY_CONTAINS_ANY):
                return _array_contains(path, where.field_filter)
            return _on_field(path, _field_test(where.field_filter))
        case _:
            return lambda _: True


def _on_field(path: FieldPath, test: Test) -> Predicate:
    def matches(document: Document) -> bool:
        value = values.get(document, path)
        return value is not None and test(values.key(value))

    return matches


def _unary_test(op: int) -> Test:
    match op:
        case _Unary.IS_NULL:
            return lambda key: key[0] == NULL_RANK
        case _Unary.IS_NOT_NULL:
            return lambda key: key[0] != NULL_RANK
        case _Unary.IS_NAN:
            return lambda key: key == NAN
        case _Unary.IS_NOT_NAN:
            return lambda key: key != NAN and key[0] != NULL_RANK
        case _:
            raise InvalidArgument("A unary filter needs an operator.")


def _field_test(where: Filter) -> Test:
    operand = values.key(where.value)
    match where.op:
        case _Field.EQUAL:
            return lambda key: key == operand
        case _Field.NOT_EQUAL:
            return lambda key: key != operand and key[0] != NULL_RANK
        case _Field.IN:
            among = _members(where)
            return lambda key: key in among
        case _Field.NOT_IN:
            among = _members(where)
            if any(item.WhichOneof("value_type") == "null_value" for item in where.value.array_value.values):
                return lambda _: False
            return lambda key: key not in among and key[0] != NULL_RANK
        case op if op in _RANGES:
            return _range_test(op, operand)
        case _:
            raise InvalidArgument("A field filter needs an operator.")


def _range_test(op: int, operand: Key) -> Test:
    compare = _RANGES[_Field(op)]
    return lambda key: key[0] == operand[0] and NAN not in (key, operand) and compare(key, operand)


def _members(where: Filter) -> set[Key]:
    # Null and NaN equal nothing inside a list, not even themselves.
    keys = (values.key(item) for item in where.value.array_value.values)
    return {key for key in keys if key[0] != NULL_RANK and key != NAN}


def _array_contains(path: FieldPath, where: Filter) -> Predicate:
    wanted = _members(where) if where.op == _Field.ARRAY_CONTAINS_ANY else {values.key(where.value)}

    def matches(document: Document) -> bool:
        value = values.get(document, path)
        return value is not None and any(values.key(item) in wanted for item in value.array_value.values)

    return matches


def inequality_fields(where: Filter) -> Iterator[FieldPath]:
    """The fields with a range or a negation: results are ordered by them, and must have them."""
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            for part in where.composite_filter.filters:
                yield from inequality_fields(part)
        case "field_filter" if where.field_filter.op in _INEQUALITIES:
            yield parse_path(where.field_filter.field.field_path)
        case "unary_filter" if where.unary_filter.op in _UNARY_NEGATIONS:
            yield parse_path(where.unary_filter.field.field_path)
        case _:
            pass


def check(where: Filter) -> None:
    """Raise InvalidArgument for what the service refuses to combine."""
    if _negations(where) > 1:
        raise InvalidArgument(
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query."
        )
    for conjunction in _disjunctions(where):
        if sum(conjunction) > 1:
            raise InvalidArgument("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")


def _negations(where: Filter) -> int:
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            if where.composite_filter.op not in (_AND, _OR) or not where.composite_filter.filters:
                raise InvalidArgument("A composite filter needs an operator and at least one filter.")
            return sum(_negations(part) for part in where.composite_filter.filters)
        case "field_filter":
            _check_list(where.field_filter)
            return where.field_filter.op in _NEGATIONS
        case "unary_filter":
            return where.unary_filter.op in _UNARY_NEGATIONS
        case _:
            return 0


def _check_list(where: Filter) -> None:
    if where.op not in _LISTS:
        return
    name = _Field(where.op).name
    items = where.value.array_value.values
    limit = MAX_NOT_IN if where.op == _Field.NOT_IN else MAX_DISJUNCTIONS
    if not items:
        raise InvalidArgument(f"'{name}' requires an non-empty ArrayValue.")
    if len(items) > limit:
        raise InvalidArgument(f"'{name}' supports up to {limit} comparison values.")


def _disjunctions(where: Filter) -> list[tuple[int, ...]]:
    """The filter as an OR of ANDs: for each AND, a 1 for every array-contains in it."""
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            parts = [_disjunctions(part) for part in where.composite_filter.filters]
            if where.composite_filter.op == _OR:
                return _limited([conjunction for part in parts for conjunction in part])
            result: list[tuple[int, ...]] = [()]
            for part in parts:
                result = _limited([left + right for left, right in product(result, part)])
            return result
        case "field_filter" if where.field_filter.op == _Field.ARRAY_CONTAINS:
            return [(1,)]
        case "field_filter" if where.field_filter.op == _Field.ARRAY_CONTAINS_ANY:
            return [(1,)] * len(where.field_filter.value.array_value.values)
        case "field_filter" if where.field_filter.op == _Field.IN:
            return [()] * len(where.field_filter.value.array_value.values)
        case _:
            return [()]


def _limited(conjunctions: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    if len(conjunctions) > MAX_DISJUNCTIONS:
        raise InvalidArgument(
            f"Too many disjunctions after normalization. Result had {len(conjunctions)} disjunctions "
            f"which is more than the maximum of {MAX_DISJUNCTIONS}"
        )
    return conjunctions
