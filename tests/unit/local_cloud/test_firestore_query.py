"""The order of values, field paths, sizes and cursors of the local Firestore."""

import math
from datetime import UTC, datetime
from functools import cmp_to_key
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import firestore
from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.field_path import FieldPath
from google.cloud.firestore_v1.order import Order
from google.cloud.firestore_v1.types import StructuredQuery
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.firestore import names, values
from local_cloud.firestore.messages import Document, Value, new_document
from local_cloud.firestore.query import Plan

ROOT = "projects/p/databases/d/documents"


def encode(content: Any) -> Value:
    return _helpers.encode_value(content)._pb


def document(id_: str, **fields: Any) -> Document:
    return new_document(name=f"{ROOT}/lots/{id_}", fields={name: encode(content) for name, content in fields.items()})


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis wants it naive
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.builds(firestore.GeoPoint, st.floats(-90, 90), st.floats(-180, 180))
)
ARRAYS = st.lists(SCALARS | st.dictionaries(st.text(max_size=2), SCALARS, max_size=2), max_size=3)
CONTENTS = st.recursive(
    SCALARS | ARRAYS, lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3), max_leaves=5
)


# The order of values


@given(CONTENTS, CONTENTS)
def test_the_order_is_that_of_the_client_library(one: Any, other: Any) -> None:
    """The client orders a listener's documents itself, independently of this code."""
    keys = values.key(encode(one)), values.key(encode(other))
    expected = Order.compare(_helpers.encode_value(one), _helpers.encode_value(other))
    assert (keys[0] > keys[1]) - (keys[0] < keys[1]) == expected


@given(CONTENTS, CONTENTS, CONTENTS)
def test_the_order_is_total(one: Any, two: Any, three: Any) -> None:
    low, middle, high = sorted(values.key(encode(content)) for content in (one, two, three))
    assert low <= middle <= high
    assert low <= high
    assert (low == middle) == (not low < middle)


@given(CONTENTS)
def test_a_value_equals_its_copy(content: Any) -> None:
    assert values.key(encode(content)) == values.key(encode(content))


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
def test_integers_and_doubles_compare_exactly(integer: int, double: float) -> None:
    assert (values.key(encode(integer)) < values.key(encode(double))) == (integer < double)


def test_numeric_ids_are_ordered_as_numbers_before_others() -> None:
    ids = ["__id-3__", "__id2__", "__id10__", "A", "a", "é"]
    assert sorted(set(ids), key=names.order_key) == ids


# Field paths


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_path_is_parsed_as_the_client_writes_it(segments: list[str]) -> None:
    assert values.parse_path(FieldPath(*segments).to_api_repr()) == tuple(segments)


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a-b", "1a", "`a", "`a`b", "``", "a b"])
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgument):
        values.parse_path(path)


def test_what_is_on_the_way_becomes_a_map() -> None:
    lot = document("1", price=5)
    values.put(lot, ("price", "paise"), encode(7))
    assert values.to_json(lot.fields["price"]) == {"paise": 7}
    values.remove(lot, ("price", "paise"))
    values.remove(lot, ("missing", "paise"))
    assert values.to_json(lot.fields["price"]) == {}
    assert set(lot.fields) == {"price"}


# Sizes


def test_the_size_of_a_document() -> None:
    """The example of "Storage size calculations": 44 for the name, 71 for the fields, 32 more."""
    task = new_document(
        name=f"{ROOT}/users/jeff/tasks/my_task_id",
        fields={
            name: encode(content)
            for name, content in {
                "type": "Personal",
                "done": False,
                "priority": 1,
                "description": "Learn Cloud Firestore",
            }.items()
        },
    )
    assert values.size(task) == 44 + 71 + 32


def test_a_document_is_full_at_1_mib() -> None:
    lot = document("1", a=b"", b=b"x" * (1 << 19))
    lot.fields["a"].bytes_value = b"x" * ((1 << 20) - values.size(lot))
    values.check(lot)
    lot.fields["a"].bytes_value += b"x"
    with pytest.raises(InvalidArgument, match=r"1,048,577 bytes"):
        values.check(lot)


# Cursors

ORDERS = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.booleans()), unique_by=lambda order: order[0], max_size=2)
LOTS = st.lists(st.fixed_dictionaries({}, optional={"a": SCALARS, "b": st.integers(0, 2)}), max_size=12)


def query(orders: list[tuple[str, bool]], **parts: Any) -> Any:
    order_by = [{"field": {"field_path": path}, "direction": 2 if down else 1} for path, down in orders]
    return StructuredQuery.pb(StructuredQuery(from_=[{"collection_id": "lots"}], order_by=order_by, **parts))


def documents(lots: list[dict[str, Any]]) -> list[Document]:
    return [document(f"{index:02}", **fields) for index, fields in enumerate(lots)]


@given(LOTS, ORDERS, st.integers(1, 4))
def test_pages_by_cursor_are_the_whole_in_order(lots: list[dict[str, Any]], orders: Any, size: int) -> None:
    """Paging by start_after with the last document's values tells every result once, in order."""
    stored = documents(lots)
    whole = Plan(ROOT, query(orders)).select(stored)
    paged: list[Document] = []
    plan = Plan(ROOT, query(orders, limit=size))
    while len(paged) <= len(whole) and (page := plan.select(stored)):
        paged += page
        cursor = [values.get(page[-1], order.path) for order in plan.orders]
        plan = Plan(ROOT, query(orders, limit=size, start_at={"values": cursor, "before": False}))
    assert paged == whole


@given(LOTS, ORDERS, st.data())
def test_a_cursor_cuts_the_results_in_two(lots: list[dict[str, Any]], orders: Any, data: st.DataObject) -> None:
    """What ends before a position and what starts at it are together all results; likewise after and up to it."""
    stored = documents(lots)
    whole = Plan(ROOT, query(orders)).select(stored)
    if not whole:
        return
    plan = Plan(ROOT, query(orders))
    at = data.draw(st.sampled_from(whole))
    prefix = data.draw(st.integers(1, len(plan.orders)))
    position = [values.get(at, order.path) for order in plan.orders[:prefix]]
    for before in (True, False):
        cursor = {"values": position, "before": before}
        below = Plan(ROOT, query(orders, end_at=cursor)).select(stored)
        above = Plan(ROOT, query(orders, start_at=cursor)).select(stored)
        assert below + above == whole
        assert (at in above) == before


@given(LOTS, ORDERS)
def test_results_are_in_the_client_s_order(lots: list[dict[str, Any]], orders: Any) -> None:
    def compare(one: Document, other: Document) -> int:
        for path, down in orders:
            result = Order.compare(_wrapped(one.fields[path]), _wrapped(other.fields[path]))
            if result:
                return -result if down else result
        result = (one.name > other.name) - (one.name < other.name)
        return -result if orders and orders[-1][1] else result

    stored = [lot for lot in documents(lots) if all(path in lot.fields for path, _ in orders)]
    assert Plan(ROOT, query(orders)).select(documents(lots)) == sorted(stored, key=cmp_to_key(compare))


def _wrapped(value: Value) -> Any:
    return _helpers.encode_value(_helpers.decode_value(value, None))


def test_nan_comes_before_all_numbers() -> None:
    assert values.key(encode(math.nan)) < values.key(encode(-math.inf))
