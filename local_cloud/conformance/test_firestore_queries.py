"""Firestore's queries through the official clients: the local one, and Google's emulator as the second opinion."""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.base_query import And, BaseFilter, FieldFilter, Or
from google.cloud.firestore_v1.vector import Vector

from .firestore_backends import Backend, backend_for
from .google_emulators import differing

KNOWN_DIFFERENCES: dict[str, str] = {
    "test_a_collection_group_is_divided": "It does not implement PartitionQuery.",
}
"""What Google's emulator does otherwise than the service. A case named here must fail against it."""

case = differing(KNOWN_DIFFERENCES)

MIXED: dict[str, Any] = {
    "null": None,
    "false": False,
    "nan": math.nan,
    "minus-zero": -0.0,
    "zero": 0,
    "one": 1,
    "one-half": 1.5,
    "time": datetime(2026, 1, 1, tzinfo=UTC),
    "text": "a",
    "text-high": "\U00010000",
    "text-low": "\uffff",
    "bytes": b"x",
    "place": firestore.GeoPoint(1, 2),
    "array-null": [None],
    "array-one": [1],
    "vector": Vector([1.0, 2.0]),
    "map": {"a": 1},
}
LOTS: dict[str, dict[str, Any]] = {
    "l1": {"seller": "g1", "bales": 100, "grade": "A", "tags": ["export", "organic"], "price": {"paise": 300}},
    "l2": {"seller": "g1", "bales": 50, "grade": "B", "tags": ["export"], "price": {"paise": 100}},
    "l3": {"seller": "g2", "bales": 50, "grade": "A", "tags": [], "price": {"paise": 200}},
    "l4": {"seller": "g2", "bales": 70, "tags": ["organic"], "price": {"paise": 200}},
    "l5": {"seller": "g3", "grade": "C"},
}


@pytest.fixture(scope="module", params=["local", pytest.param("google", marks=pytest.mark.emulator)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with backend_for(request.param) as made:
        fill(made.client.collection("mixed"), {id_: {"x": content} for id_, content in MIXED.items()})
        made.client.document("mixed/missing").set({"y": 1})
        fill(made.client.collection("lots"), LOTS)
        yield made


def fill(collection: firestore.CollectionReference, documents: dict[str, dict[str, Any]]) -> None:
    for id_, content in documents.items():
        collection.document(id_).set(content)


def ids(query: Any) -> list[str]:
    return [document.id for document in query.stream()]


# Order


@case
def test_values_of_all_types_are_in_one_order(backend: Backend) -> None:
    mixed = backend.client.collection("mixed")
    up = ids(mixed.order_by("x"))
    expected = "null false nan minus-zero zero one one-half time text text-low text-high bytes place"
    assert up == [*expected.split(), "array-null", "array-one", "vector", "map"]
    assert ids(mixed.order_by("x", direction="DESCENDING")) == up[::-1]


@case
def test_references_are_ordered_id_by_id(backend: Backend) -> None:
    collection = backend.collection()
    paths = ["a/__id2__", "a/__id10__", "a/b", "a/b/c/d", "a/b-", "a/B"]
    fill(collection, {str(i): {"x": backend.client.document(path)} for i, path in enumerate(paths)})
    assert ids(collection.order_by("x")) == ["0", "1", "5", "2", "3", "4"]


@case
def test_names_order_what_is_otherwise_equal(backend: Backend) -> None:
    lots = backend.client.collection("lots")
    assert ids(lots) == ["l1", "l2", "l3", "l4", "l5"]
    assert ids(lots.order_by("bales")) == ["l2", "l3", "l4", "l1"]
    assert ids(lots.order_by("bales", direction="DESCENDING")) == ["l1", "l4", "l3", "l2"]
    assert ids(lots.order_by("bales").order_by("price.paise", direction="DESCENDING")) == ["l3", "l2", "l4", "l1"]
    assert ids(lots.order_by("bales").order_by("__name__", direction="DESCENDING")) == ["l3", "l2", "l4", "l1"]


# Filters

NOT_NULL = [id_ for id_ in MIXED if id_ != "null"]


@case
@pytest.mark.parametrize(
    ("operator", "operand", "expected"),
    [
        ("<", 5, ["minus-zero", "zero", "one", "one-half"]),
        ("<=", 0, ["minus-zero", "zero"]),
        (">", 0, ["one", "one-half"]),
        (">=", "b", ["text-low", "text-high"]),
        (">=", False, ["false"]),
        (">", [0], ["array-one"]),
        ("<", {"a": 2}, ["map"]),
        ("==", 0.0, ["minus-zero", "zero"]),
        ("==", [1.0], ["array-one"]),
        ("==", None, ["null"]),
        ("==", math.nan, ["nan"]),
        ("!=", 1, [id_ for id_ in NOT_NULL if id_ != "one"]),
        ("!=", None, NOT_NULL),
        ("!=", math.nan, [id_ for id_ in NOT_NULL if id_ != "nan"]),
        ("in", [1, "a", None, math.nan], ["one", "text"]),
        ("not-in", [1, "a", math.nan], [id_ for id_ in NOT_NULL if id_ not in ("one", "text")]),
        ("not-in", [1, None], []),
        ("array_contains", 1, ["array-one"]),
        ("array_contains_any", [None, 1.0, 2], ["array-one"]),
    ],
    ids=str,
)
def test_operators(backend: Backend, operator: str, operand: Any, expected: list[str]) -> None:
    query = backend.client.collection("mixed").where(filter=FieldFilter("x", operator, operand))
    assert set(ids(query)) == set(expected)


EXPORT = FieldFilter("tags", "array_contains", "export")
LARGE = FieldFilter("bales", ">", 60)


@case
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (And([FieldFilter("seller", "==", "g1"), FieldFilter("bales", "==", 50)]), ["l2"]),
        (Or([FieldFilter("grade", "==", "C"), EXPORT]), ["l1", "l2", "l5"]),
        (Or([FieldFilter("seller", "==", "g3"), LARGE]), ["l4", "l1"]),
        (Or([FieldFilter("grade", ">", "A"), LARGE]), ["l2", "l1"]),
        (And([LARGE, Or([FieldFilter("grade", "==", "A"), FieldFilter("seller", "==", "g2")])]), ["l4", "l1"]),
        (And([LARGE, FieldFilter("price.paise", "<", 300)]), ["l4"]),
        (FieldFilter("price.paise", "==", 200), ["l3", "l4"]),
        (FieldFilter("grade", "not-in", ["A", "B"]), ["l5"]),
    ],
    ids=["and", "or", "or-of-equality-and-range", "or-of-ranges", "and-of-or", "two-ranges", "path", "not-in"],
)
def test_combinations(backend: Backend, where: BaseFilter, expected: list[str]) -> None:
    assert ids(backend.client.collection("lots").where(filter=where)) == expected


@case
def test_names_are_filtered(backend: Backend) -> None:
    lots = backend.client.collection("lots")
    query = lots.where(filter=FieldFilter("__name__", ">", lots.document("l2")))
    assert ids(query.where(filter=FieldFilter("__name__", "<=", lots.document("l4")))) == ["l3", "l4"]
    assert ids(lots.where(filter=FieldFilter("__name__", "in", [lots.document("l5"), lots.document("l1")]))) == [
        "l1",
        "l5",
    ]


def _equal(field: str, operator: str, operand: Any) -> Callable[[Any], Any]:
    return lambda lots: lots.where(filter=FieldFilter(field, operator, operand))


@case
@pytest.mark.parametrize(
    "build",
    [
        _equal("x", "in", []),
        _equal("x", "in", list(range(31))),
        _equal("x", "not-in", list(range(11))),
        lambda lots: _equal("x", "in", list(range(16)))(_equal("y", "in", [1, 2])(lots)),
        lambda lots: _equal("x", "!=", 1)(_equal("y", "not-in", [1])(lots)),
        lambda lots: _equal("x", "array_contains", 1)(_equal("y", "array_contains", 1)(lots)),
        lambda lots: lots.limit(-1),
        lambda lots: lots.offset(-1),
    ],
    ids=["in-0", "in-31", "not-in-11", "32-ways", "two-negations", "two-array-contains", "limit", "offset"],
)
def test_queries_that_are_refused(backend: Backend, build: Callable[[Any], Any]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        ids(build(backend.client.collection("lots")))


@case
def test_a_cursor_has_no_more_values_than_the_order(backend: Backend) -> None:
    query = types.StructuredQuery(from_=[{"collection_id": "lots"}], start_at={"values": [{"integer_value": 1}] * 2})
    with pytest.raises(exceptions.InvalidArgument):
        list(backend.api.run_query(request={"parent": backend.root, "structured_query": query}))


# Cuts


@case
def test_cursors_offsets_and_limits(backend: Backend) -> None:
    by_bales = backend.client.collection("lots").order_by("bales")
    assert ids(by_bales.start_at({"bales": 70})) == ["l4", "l1"]
    assert ids(by_bales.start_after({"bales": 50})) == ["l4", "l1"]
    assert ids(by_bales.end_at({"bales": 70})) == ["l2", "l3", "l4"]
    assert ids(by_bales.end_before({"bales": 70})) == ["l2", "l3"]
    assert ids(by_bales.start_after(backend.client.document("lots/l2").get())) == ["l3", "l4", "l1"]
    assert ids(by_bales.offset(1).limit(2)) == ["l3", "l4"]
    assert ids(by_bales.limit(0)) == []
    assert [found.id for found in by_bales.limit_to_last(2).get()] == ["l4", "l1"]
    down = backend.client.collection("lots").order_by("bales", direction="DESCENDING")
    assert ids(down.start_after({"bales": 70})) == ["l3", "l2"]
    assert ids(down.end_at({"bales": 70})) == ["l1", "l4"]


@case
def test_fields_are_selected(backend: Backend) -> None:
    lots = backend.client.collection("lots").order_by("bales").limit(1)
    assert [found.to_dict() for found in lots.select(["price.paise", "missing"]).stream()] == [
        {"price": {"paise": 100}}
    ]
    assert [found.to_dict() for found in lots.select(["__name__"]).stream()] == [{}]


# Collection groups


@case
def test_a_collection_group_is_found_at_every_depth(backend: Backend) -> None:
    one, group = backend.collection(), backend.collection().id
    for path in (f"{group}/1", f"{one.id}/a/{group}/2", f"{one.id}/a/b/c/{group}/3", f"{group}x/4"):
        backend.client.document(path).set({"n": int(path[-1])})
    assert sorted(ids(backend.client.collection_group(group))) == ["1", "2", "3"]
    assert ids(backend.client.collection_group(group).where(filter=FieldFilter("n", ">", 1))) == ["2", "3"]
    assert ids(one.document("a").collection(group)) == ["2"]


@case
def test_a_collection_group_is_divided(backend: Backend) -> None:
    try:
        partitions = list(backend.client.collection_group("lots").get_partitions(2))
    except exceptions.MethodNotImplemented as error:
        pytest.fail(str(error))
    assert [id_ for part in partitions for id_ in ids(part.query())] == list(LOTS)


# Aggregations


def aggregated(query: Any) -> dict[str, Any]:
    return {result.alias: result.value for result in query.get()[0]}


@case
def test_aggregations(backend: Backend) -> None:
    lots = backend.client.collection("lots")
    assert aggregated(lots.count(alias="n")) == {"n": 5}
    assert aggregated(lots.limit(2).count(alias="n")) == {"n": 2}
    assert aggregated(lots.sum("bales", alias="s")) == {"s": 270}
    assert aggregated(lots.avg("bales", alias="a")) == {"a": 67.5}
    assert aggregated(lots.sum("seller", alias="s")) == {"s": 0}


@case
def test_aggregations_of_one_query_see_the_same_documents(backend: Backend) -> None:
    query = backend.client.collection("lots").count(alias="n").avg("bales", alias="a")
    assert aggregated(query) == {"n": 4, "a": 67.5}


@case
def test_sums_of_mixed_numbers(backend: Backend) -> None:
    collection = backend.collection()
    fill(collection, {"1": {"i": 2**63 - 1, "d": 1, "n": 1}, "2": {"i": 1, "d": 0.5, "n": math.nan}})
    assert aggregated(collection.sum("i", alias="s")) == {"s": float(2**63)}
    assert aggregated(collection.sum("d", alias="s")) == {"s": 1.5}
    assert math.isnan(aggregated(collection.sum("n", alias="s"))["s"])


@case
def test_the_average_of_nothing_is_null(backend: Backend) -> None:
    request = {
        "parent": backend.root,
        "structured_aggregation_query": {
            "structured_query": {"from_": [{"collection_id": "none"}]},
            "aggregations": [
                {"alias": "a", "avg": {"field": {"field_path": "x"}}},
                {"alias": "n", "count": {}},
            ],
        },
    }
    (answer,) = backend.api.run_aggregation_query(request=request)
    fields = dict(answer.result.aggregate_fields)
    assert fields == {"a": types.Value(null_value=0), "n": types.Value(integer_value=0)}


# The past


@case
def test_the_past_is_read(backend: Backend) -> None:
    collection = backend.collection()
    document = collection.document("lot")
    document.set({"bales": 1})
    then = document.get().update_time
    document.set({"bales": 2})
    collection.document("later").set({"bales": 3})
    assert document.get(read_time=then).to_dict() == {"bales": 1}
    assert [found.to_dict() for found in collection.stream(read_time=then)] == [{"bales": 1}]


@case
def test_the_past_ends(backend: Backend) -> None:
    with pytest.raises(exceptions.FailedPrecondition):
        backend.client.document("lots/l1").get(read_time=datetime(2026, 1, 1, tzinfo=UTC))
