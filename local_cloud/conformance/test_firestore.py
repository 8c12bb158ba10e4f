"""Firestore's documents through the official clients: the local one, and Google's emulator as the second opinion."""

import asyncio
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.transforms import Sentinel
from google.cloud.firestore_v1.vector import Vector

from .firestore_backends import OWNER, Backend, backend_for
from .google_emulators import differing

KNOWN_DIFFERENCES: dict[str, str] = {
    "test_a_document_of_another_database_is_refused": "It checks no write against the database of its request.",
}
"""What Google's emulator does otherwise than the service. A case named here must fail against it."""

case = differing(KNOWN_DIFFERENCES)


@pytest.fixture(scope="module", params=["local", pytest.param("google", marks=pytest.mark.emulator)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with backend_for(request.param) as made:
        yield made


def value(content: Any) -> types.Value:
    """An integer, double, string or bytes as a value."""
    kinds = {int: "integer_value", float: "double_value", str: "string_value", bytes: "bytes_value"}
    return types.Value({kinds[type(content)]: content})


def nested(levels: int) -> types.Value:
    result = value(1)
    for _ in range(levels):
        result = types.Value(map_value={"fields": {"a": result}})
    return result


# Documents


@case
def test_every_type_of_value_comes_back(backend: Backend) -> None:
    document = backend.collection().document("lot")
    data = {
        "null": None,
        "sold": False,
        "bales": 110,
        "micronaire": 4.2,
        "grade": "Shankar-6 कपास",
        "record": b"\x00\xff",
        "offered": datetime(2026, 11, 24, 6, 30, 0, 123456, tzinfo=UTC),
        "ginner": backend.client.document("partners/ginner-1"),
        "place": firestore.GeoPoint(21.17, 72.83),
        "bids": [1, "two", {"three": [3]}],
        "strength": {"g/tex": {"value.max": 29.5}},
        "colour": Vector([78.5, 9.1]),
    }
    document.set(data)
    assert document.get().to_dict() == data


@case
def test_a_document_is_created_once_and_updated_only_if_it_is_there(backend: Backend) -> None:
    document = backend.collection().document("lot")
    with pytest.raises(exceptions.NotFound):
        document.update({"bales": 1})
    document.create({"bales": 1})
    with pytest.raises(exceptions.AlreadyExists):
        document.create({"bales": 2})
    document.update({"bales": 3})
    assert document.get().to_dict() == {"bales": 3}
    document.delete()
    assert not document.get().exists
    document.delete()
    with pytest.raises(exceptions.NotFound):
        document.delete(option=backend.client.write_option(exists=True))


@case
def test_an_update_touches_only_the_paths_it_names(backend: Backend) -> None:
    document = backend.collection().document("lot")
    document.set({"price": {"paise": 100, "currency": "INR"}, "a.b": {"c`d": 1}, "note": "x"})
    document.update({"price.paise": 200, "`a.b`.`c\\`d`": 2, "note": firestore.DELETE_FIELD, "new.deep.field": 3})
    assert document.get().to_dict() == {
        "price": {"paise": 200, "currency": "INR"},
        "a.b": {"c`d": 2},
        "new": {"deep": {"field": 3}},
    }


@case
def test_a_merge_keeps_the_rest(backend: Backend) -> None:
    document = backend.collection().document("lot")
    document.set({"price": {"paise": 100}}, merge=True)
    document.set({"price": {"currency": "INR"}, "bales": 1}, merge=True)
    document.set({"price": {"paise": 300}, "bales": 9}, merge=["price"])
    assert document.get().to_dict() == {"price": {"paise": 300}, "bales": 1}


@case
def test_a_version_guards_a_write(backend: Backend) -> None:
    document = backend.collection().document("lot")
    first = document.set({"bales": 1}).update_time
    document.update({"bales": 2}, option=backend.client.write_option(last_update_time=first))
    for write in (document.update, lambda _, option: document.delete(option=option)):
        with pytest.raises(exceptions.FailedPrecondition):
            write({"bales": 3}, option=backend.client.write_option(last_update_time=first))
    document.delete()
    with pytest.raises(exceptions.FailedPrecondition):
        document.update({"bales": 3}, option=backend.client.write_option(last_update_time=first))


@case
def test_times_move_with_every_change_and_with_nothing_else(backend: Backend) -> None:
    document = backend.collection().document("lot")
    times = [document.set({"bales": bales, "weight": math.nan}).update_time for bales in range(20)]
    assert times == sorted(set(times))
    assert document.set({"bales": 19, "weight": math.nan}).update_time == times[-1]
    found = document.get()
    assert (found.create_time, found.update_time) == (times[0], times[-1])
    assert found.read_time >= times[-1]


@case
def test_several_documents_are_read_at_once(backend: Backend) -> None:
    collection = backend.collection()
    collection.document("one").set({"bales": 1, "note": "x"})
    found = backend.client.get_all([collection.document("one"), collection.document("two")], field_paths=["bales"])
    assert {document.id: document.to_dict() for document in found} == {"one": {"bales": 1}, "two": None}


@case
def test_documents_one_request_at_a_time(backend: Backend) -> None:
    collection = backend.collection().id
    document = {"fields": {"bales": value(1), "note": value("x")}}
    made = backend.api.create_document(
        request={"parent": backend.root, "collection_id": collection, "document": document}
    )
    assert made.name.startswith(f"{backend.root}/{collection}/")
    changed = {"name": made.name, "fields": {"bales": value(2)}}
    backend.api.update_document(request={"document": changed, "update_mask": {"field_paths": ["bales"]}})
    found = backend.api.get_document(request={"name": made.name, "mask": {"field_paths": ["bales", "missing"]}})
    assert dict(found.fields) == {"bales": value(2)}
    assert found.create_time < found.update_time
    backend.api.delete_document(request={"name": made.name})
    with pytest.raises(exceptions.NotFound):
        backend.api.get_document(request={"name": made.name})


# Transforms

ADDED = datetime(2026, 1, 1, tzinfo=UTC)


@case
@pytest.mark.parametrize(
    ("before", "transform", "after"),
    [
        (1, firestore.Increment(2), 3),
        (1, firestore.Increment(0.5), 1.5),
        ("text", firestore.Increment(2), 2),
        (2**63 - 1, firestore.Increment(5), 2**63 - 1),
        (-(2**63), firestore.Increment(-5), -(2**63)),
        (3, firestore.Maximum(5), 5),
        (5, firestore.Maximum(5.0), 5),
        ("text", firestore.Maximum(1), 1),
        (3, firestore.Minimum(2.5), 2.5),
        (2, firestore.Minimum(7), 2),
        ([1, 2], firestore.ArrayUnion([2, 3, 3, {"a": 1}]), [1, 2, 3, {"a": 1}]),
        ([1, 2.0, 1, "1"], firestore.ArrayRemove([1, 2]), ["1"]),
        ("text", firestore.ArrayUnion([1]), [1]),
        ("text", firestore.ArrayRemove([1]), []),
    ],
)
def test_transforms(backend: Backend, before: Any, transform: Sentinel, after: Any) -> None:
    document = backend.collection().document("lot")
    document.set({"kept": 1, "field": before})
    document.update({"field": transform})
    found = document.get().to_dict()
    assert found == {"kept": 1, "field": after}
    assert type(found["field"]) is type(after)


@case
def test_arithmetic_with_nan_is_nan(backend: Backend) -> None:
    document = backend.collection().document("lot")
    for transform in (firestore.Increment(1), firestore.Maximum(1), firestore.Minimum(1)):
        document.set({"field": math.nan})
        document.update({"field": transform})
        assert math.isnan(document.get().get("field"))


@case
def test_the_server_s_time_is_one_for_all_that_is_committed_together(backend: Backend) -> None:
    collection = backend.collection()
    batch = backend.client.batch()
    batch.set(
        collection.document("one"), {"at": firestore.SERVER_TIMESTAMP, "deep": {"at": firestore.SERVER_TIMESTAMP}}
    )
    batch.set(collection.document("two"), {"at": firestore.SERVER_TIMESTAMP})
    batch.commit()
    one, two = (collection.document(id_).get() for id_ in ("one", "two"))
    assert one.get("at") == one.get("deep.at") == two.get("at")
    assert one.get("at").microsecond % 1000 == 0
    assert abs(one.get("at") - one.update_time) < timedelta(seconds=1)


@case
def test_a_write_answers_what_its_transforms_made(backend: Backend) -> None:
    document = backend.collection().document("lot")
    document.set({"count": 4})
    result = document.update({"count": firestore.Increment(1), "tags": firestore.ArrayUnion(["a"])})
    assert list(result.transform_results) == [value(5), types.Value(null_value=0)]


# What is refused


@case
@pytest.mark.parametrize(
    "fields",
    [
        {"__reserved__": value(1)},
        {"": value(1)},
        {"n" * 1501: value(1)},
        {"array": types.Value(array_value={"values": [types.Value(array_value={})]})},
        {"deep": nested(21)},
        {"large": value(b"x" * (1 << 20))},
        {"part-1": value(b"x" * (1 << 19)), "part-2": value(b"x" * (1 << 19))},
    ],
    ids=["reserved", "empty", "long-name", "array-in-array", "too-deep", "large-value", "large-document"],
)
def test_fields_that_are_refused(backend: Backend, fields: dict[str, types.Value]) -> None:
    name = backend.name_of(backend.collection().document("lot"))
    with pytest.raises(exceptions.InvalidArgument):
        backend.commit(types.Write(update={"name": name, "fields": fields}))


@case
def test_what_just_fits_is_stored(backend: Backend) -> None:
    document = backend.collection().document("lot")
    name_size = len(document.parent.id) + 1 + len("lot") + 1 + 16
    half = 1 << 19
    rest = (1 << 20) - name_size - 32 - (1 + 1 + half) - (1 + 1) - (len("deep") + 1 + 20 * 34 + 8)
    fields = {"a": value(b"x" * half), "b": value(b"x" * rest), "deep": nested(20)}
    backend.commit(types.Write(update={"name": backend.name_of(document), "fields": fields}))
    fields["b"] = value(b"x" * (rest + 2048))
    with pytest.raises(exceptions.InvalidArgument):
        backend.commit(types.Write(update={"name": backend.name_of(document), "fields": fields}))


@case
@pytest.mark.parametrize(
    "path", ["lots", "lots/1/bids", "lots/__1__", "lots/.", "lots/..", "lots//1/2", "lots/" + "x" * 1501]
)
def test_names_that_are_refused(backend: Backend, path: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        backend.commit(types.Write(update={"name": f"{backend.root}/{path}"}))


@case
def test_a_document_of_another_database_is_refused(backend: Backend) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        backend.commit(types.Write(update={"name": "projects/other/databases/(default)/documents/lots/1"}))


# Several writes


@case
def test_a_batch_is_all_or_nothing(backend: Backend) -> None:
    collection = backend.collection()
    batch = backend.client.batch()
    batch.set(collection.document("one"), {"bales": 1})
    batch.update(collection.document("missing"), {"bales": 1})
    with pytest.raises(exceptions.NotFound):
        batch.commit()
    assert not list(collection.stream())


@case
def test_writes_to_one_document_build_on_each_other(backend: Backend) -> None:
    document = backend.collection().document("lot")
    batch = backend.client.batch()
    batch.create(document, {"count": 1})
    for _ in range(3):
        batch.update(document, {"count": firestore.Increment(1)})
    batch.commit()
    assert document.get().get("count") == 4


@case
def test_a_batch_write_takes_each_write_for_itself(backend: Backend) -> None:
    collection = backend.collection()
    one, two = (backend.name_of(collection.document(id_)) for id_ in ("one", "two"))
    good = types.Write(update={"name": one, "fields": {"bales": value(1)}})
    bad = types.Write(update={"name": two}, current_document={"exists": True})
    request = types.BatchWriteRequest(database=backend.database, writes=[bad, good])
    answer = backend.api.batch_write(request, metadata=OWNER)
    assert [status.code for status in answer.status] == [5, 0]
    assert [document.id for document in collection.stream()] == ["one"]
    with pytest.raises(exceptions.InvalidArgument):
        backend.api.batch_write(types.BatchWriteRequest(database=backend.database, writes=[good, good]), metadata=OWNER)


# Lists


@case
def test_documents_and_collections_are_listed(backend: Backend) -> None:
    collection = backend.collection()
    for id_ in ("a", "b", "d"):
        collection.document(id_).set({"bales": 1})
    collection.document("c/bids/1").set({})
    collection.document("a/bids/1").set({})
    collection.document("a/grades/1").set({})
    assert [document.id for document in collection.list_documents(page_size=2)] == ["a", "b", "c", "d"]
    request = {"parent": backend.root, "collection_id": collection.id, "page_size": 2}
    pages = list(backend.api.list_documents(request=request).pages)
    assert [[found.name[-1] for found in page.documents] for page in pages] == [["a", "b"], ["d"]]
    assert [found.id for found in collection.document("a").collections(page_size=1)] == ["bids", "grades"]
    assert collection.id in [found.id for found in backend.client.collections()]


@case
def test_a_tree_is_deleted(backend: Backend) -> None:
    collection = backend.collection()
    for path in ("a", "a/bids/1", "a/bids/1/notes/1", "b/bids/1"):
        collection.document(path).set({})
    collection.document("ab").set({})
    backend.client.recursive_delete(collection.document("a"))
    assert [found.id for found in collection.list_documents()] == ["ab", "b"]
    backend.client.recursive_delete(collection)
    assert not list(collection.list_documents())


# The asynchronous client


@case
def test_the_asynchronous_client(backend: Backend) -> None:
    collection = backend.collection().id

    async def trade() -> list[int]:
        client = backend.async_client()
        document = client.collection(collection).document("lot")
        await document.set({"bales": 1})

        @firestore.async_transactional
        async def double(transaction: firestore.AsyncTransaction) -> None:
            found = await document.get(transaction=transaction)
            transaction.update(document, {"bales": found.get("bales") * 2})

        await double(client.transaction())
        found = [item.get("bales") async for item in client.collection(collection).stream()]
        client.close()
        return found

    assert asyncio.run(trade()) == [2]
