"""Firestore's listeners through the official client: the local one, and Google's emulator as the second opinion."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.base_query import FieldFilter

from local_cloud.firestore import Firestore
from local_cloud.state import State

from .firestore_backends import Backend, Stream, advance, backend_for, listening, local_backend, new_core, stream
from .google_emulators import differing

KNOWN_DIFFERENCES: dict[str, str] = {
    "test_a_listener_that_comes_back_is_told_what_it_missed": "It tells the whole state again.",
    "test_a_document_that_leaves_a_query_is_removed_not_deleted": "It resets the target.",
    "test_a_target_for_once_ends_when_it_is_current": "It keeps the target.",
    "test_a_target_that_cannot_be_served_is_removed_with_the_cause": "It breaks the stream off without a reason.",
}
"""What Google's emulator does otherwise than the service. A case named here must fail against it."""

case = differing(KNOWN_DIFFERENCES)

Change = types.TargetChange.TargetChangeType


@pytest.fixture(scope="module", params=["local", pytest.param("google", marks=pytest.mark.emulator)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with backend_for(request.param) as made:
        yield made


# The client's own listener


@case
def test_a_document_is_followed(backend: Backend) -> None:
    document = backend.collection().document("lot")
    with listening(document) as snapshots:
        snapshots.wait_for({})
        document.set({"bales": 1})
        snapshots.wait_for({"lot": {"bales": 1}})
        document.update({"bales": 2})
        snapshots.wait_for({"lot": {"bales": 2}})
        document.delete()
        snapshots.wait_for({})


@case
def test_a_query_is_followed(backend: Backend) -> None:
    collection = backend.collection()
    collection.document("one").set({"bales": 100})
    collection.document("two").set({"bales": 10})
    with listening(collection.where(filter=FieldFilter("bales", ">", 50))) as snapshots:
        snapshots.wait_for({"one": {"bales": 100}})
        collection.document("two").update({"bales": 60})
        snapshots.wait_for({"one": {"bales": 100}, "two": {"bales": 60}})
        collection.document("one").update({"bales": 20})
        snapshots.wait_for({"two": {"bales": 60}})
        collection.document("two").delete()
        snapshots.wait_for({})
    assert snapshots.changes == [{"one": "ADDED"}, {"two": "ADDED"}, {"one": "REMOVED"}, {"two": "REMOVED"}]


@case
def test_what_falls_out_of_a_limit_makes_room(backend: Backend) -> None:
    collection = backend.collection()
    for count in (1, 2, 3):
        collection.document(str(count)).set({"n": count})
    with listening(collection.order_by("n").limit(2)) as snapshots:
        snapshots.wait_for({"1": {"n": 1}, "2": {"n": 2}})
        collection.document("1").delete()
        snapshots.wait_for({"2": {"n": 2}, "3": {"n": 3}})
        collection.document("0").set({"n": 0})
        snapshots.wait_for({"0": {"n": 0}, "2": {"n": 2}})


@case
def test_a_commit_is_seen_whole(backend: Backend) -> None:
    collection = backend.collection()
    with listening(collection) as snapshots:
        snapshots.wait_for({})
        for count in range(10):
            batch = backend.client.batch()
            for id_ in ("one", "two"):
                batch.set(collection.document(id_), {"n": count})
            batch.commit()
        snapshots.wait_for({"one": {"n": 9}, "two": {"n": 9}})
    assert all(len({content["n"] for content in state.values()}) <= 1 for state in snapshots.states)


@case
def test_a_collection_group_is_followed(backend: Backend) -> None:
    one, group = backend.collection(), backend.collection().id
    with listening(backend.client.collection_group(group)) as snapshots:
        snapshots.wait_for({})
        one.document(f"a/{group}/deep").set({"n": 1})
        snapshots.wait_for({"deep": {"n": 1}})


# Request by request


def query(backend: Backend, collection: Any, **fields: Any) -> dict[str, Any]:
    """A target that is a query of one collection."""
    structured = types.StructuredQuery(from_=[{"collection_id": collection.id}], **fields)
    return {"query": {"parent": backend.root, "structured_query": structured}}


def consistent(response: types.ListenResponse) -> bool:
    """Whether all targets have been told everything up to here."""
    change = response.target_change
    return bool(change.read_time) and not change.target_ids and change.target_change_type == Change.NO_CHANGE


def removed(response: types.ListenResponse) -> bool:
    return response.target_change.target_change_type == Change.REMOVE


def document_changes(responses: list[types.ListenResponse]) -> list[tuple[str, str, int]]:
    """The documents that were told of: (`change`, `remove` or `delete`; id; target).

    That a document left a query is told by a DocumentRemove, or by a DocumentChange with the new content.
    """
    result: list[tuple[str, str, int]] = []
    for response in responses:
        changed, left, gone = response.document_change, response.document_remove, response.document_delete
        result += [("change", _id(changed.document.name), id_) for id_ in changed.target_ids]
        result += [("remove", _id(changed.document.name), id_) for id_ in changed.removed_target_ids]
        result += [("remove", _id(left.document), id_) for id_ in left.removed_target_ids]
        result += [("delete", _id(gone.document), id_) for id_ in gone.removed_target_ids]
    return result


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def changes(responses: list[types.ListenResponse], target: int) -> list[str]:
    """The kinds of target changes that name `target`."""
    return [
        Change(response.target_change.target_change_type).name
        for response in responses
        if target in response.target_change.target_ids
    ]


def snapshot(listener: Stream) -> list[types.ListenResponse]:
    """The responses up to the next consistent snapshot that holds anything."""
    while not document_changes(responses := listener.until(consistent)):
        continue
    return responses


@case
def test_a_target_is_added_and_becomes_current(backend: Backend) -> None:
    collection = backend.collection()
    collection.document("one").set({"n": 1})
    with stream(backend) as listener:
        listener.add(7, **query(backend, collection))
        responses = snapshot(listener)
    assert changes(responses, 7) == ["ADD", "CURRENT"]
    assert document_changes(responses) == [("change", "one", 7)]
    assert responses[-1].target_change.resume_token


@case
def test_a_listener_that_comes_back_is_told_what_it_missed(backend: Backend) -> None:
    collection = backend.collection()
    for id_ in ("kept", "changed", "deleted"):
        collection.document(id_).set({"n": 1})
    with stream(backend) as listener:
        listener.add(1, **query(backend, collection))
        token = snapshot(listener)[-1].target_change.resume_token
    collection.document("changed").update({"n": 2})
    collection.document("added").set({"n": 1})
    collection.document("deleted").delete()
    with stream(backend) as listener:
        listener.add(1, **query(backend, collection), resume_token=token)
        responses = snapshot(listener)
    assert sorted(document_changes(responses)) == [
        ("change", "added", 1),
        ("change", "changed", 1),
        ("delete", "deleted", 1),
    ]
    assert changes(responses, 1) == ["ADD", "CURRENT"]


@case
def test_several_targets_share_a_stream(backend: Backend) -> None:
    collection = backend.collection()
    document = collection.document("one")
    with stream(backend) as listener:
        listener.add(1, **query(backend, collection))
        listener.until(consistent)
        listener.add(2, documents={"documents": [backend.name_of(document)]})
        listener.until(lambda response: 2 in response.target_change.target_ids and "CURRENT" in changes([response], 2))
        document.set({"n": 1})
        seen: set[tuple[str, str, int]] = set()
        while len(seen) < 2:
            seen.update(document_changes(snapshot(listener)))
        assert seen == {("change", "one", 1), ("change", "one", 2)}
        listener.remove(1)
        assert changes(listener.until(removed), 1) == ["REMOVE"]
        document.set({"n": 2})
        assert document_changes(snapshot(listener)) == [("change", "one", 2)]


@case
def test_a_document_that_leaves_a_query_is_removed_not_deleted(backend: Backend) -> None:
    collection = backend.collection()
    document = collection.document("one")
    document.set({"n": 1})
    where = types.StructuredQuery.Filter(field_filter=FieldFilter("n", "==", 1)._to_pb())
    with stream(backend) as listener:
        listener.add(1, **query(backend, collection, where=where))
        snapshot(listener)
        document.set({"n": 2})
        assert document_changes(snapshot(listener)) == [("remove", "one", 1)]


@case
def test_a_target_for_once_ends_when_it_is_current(backend: Backend) -> None:
    collection = backend.collection()
    collection.document("one").set({"n": 1})
    with stream(backend) as listener:
        listener.add(3, **query(backend, collection), once=True)
        responses = listener.until(removed)
    assert document_changes(responses) == [("change", "one", 3)]
    assert changes(responses, 3) == ["ADD", "CURRENT", "REMOVE"]


@case
def test_a_target_that_cannot_be_served_is_removed_with_the_cause(backend: Backend) -> None:
    with stream(backend) as listener:
        listener.add(5, **query(backend, backend.collection(), offset=-1))
        cause = listener.until(removed)[-1].target_change.cause
    assert cause.code == 3


# Local only: restarts, and a clock that can be moved


def test_a_listener_from_before_a_restart_is_told_everything_again(tmp_path: Any) -> None:
    path = tmp_path / "state.db"
    with local_backend(Firestore(new_core(), State(path))) as backend:
        collection = backend.collection()
        collection.document("kept").set({"n": 1})
        collection.document("deleted").set({"n": 1})
        with stream(backend) as listener:
            listener.add(1, **query(backend, collection))
            token = snapshot(listener)[-1].target_change.resume_token
        collection.document("deleted").delete()
    with local_backend(Firestore(new_core(), State(path))) as backend, stream(backend) as listener:
        listener.add(1, **query(backend, collection), resume_token=token)
        responses = snapshot(listener)
    assert changes(responses, 1) == ["ADD", "RESET", "CURRENT"]
    assert document_changes(responses) == [("change", "kept", 1)]


def test_nothing_is_missed_when_the_clock_is_moved_far() -> None:
    core = new_core()
    service = Firestore(core, State())
    with local_backend(service) as backend:
        document = backend.collection().document("one")
        with listening(document) as snapshots:
            snapshots.wait_for({})
            with core.lock:  # so that the listener looks only after the history of the commit is gone
                service.CreateDocument(
                    types.CreateDocumentRequest(
                        parent=backend.root, collection_id=document.parent.id, document_id="one"
                    ),
                    None,
                )
                advance(core, days=3000)
            snapshots.wait_for({"one": {}})
