"""Firestore's transactions through the official clients: the local one, and Google's emulator as the second opinion.

The emulator locks what a transaction reads, the local one checks at the commit that it is unchanged; the service does
either, as its database is set. The cases hold both to what they have in common: nothing is lost.
"""

import threading
from collections.abc import Iterator
from time import monotonic

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.base_query import FieldFilter

from local_cloud.firestore import Firestore
from local_cloud.state import State

from .firestore_backends import WITHIN, Backend, advance, backend_for, local_backend, new_core
from .google_emulators import differing

KNOWN_DIFFERENCES: dict[str, str] = {
    "test_no_increment_is_lost_under_contention": "It waits up to 2 s for each lock, so the increments take minutes.",
}
"""What Google's emulator does otherwise than the service. A case named here must fail against it."""

case = differing(KNOWN_DIFFERENCES)


@pytest.fixture(scope="module", params=["local", pytest.param("google", marks=pytest.mark.emulator)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with backend_for(request.param) as made:
        yield made


def bales(name: str, count: int) -> types.Write:
    return types.Write(update={"name": name, "fields": {"bales": types.Value(integer_value=count)}})


def read(backend: Backend, transaction: bytes, *names: str) -> dict[str, int | None]:
    """The bales of each document, None where there is no document."""
    request = {"database": backend.database, "transaction": transaction, "documents": names}
    answers = backend.api.batch_get_documents(request=request, retry=None)
    return {
        answer.found.name or answer.missing: answer.found.fields["bales"].integer_value if answer.found.name else None
        for answer in answers
    }


def commits(backend: Backend, *writes: types.Write, transaction: bytes = b"") -> bool:
    """Whether the commit succeeds; False if it is ABORTED."""
    try:
        backend.commit(*writes, transaction=transaction)
    except exceptions.Aborted:
        return False
    return True


def lots(backend: Backend, *counts: int) -> list[str]:
    """Documents with these bales; their names."""
    collection = backend.collection()
    names = [backend.name_of(collection.document(str(index))) for index in range(len(counts))]
    backend.commit(*(bales(name, count) for name, count in zip(names, counts, strict=True)))
    return names


@case
def test_no_increment_is_lost_under_contention(backend: Backend) -> None:
    document = backend.collection().document("counter")
    document.set({"count": 0})
    end = monotonic() + WITHIN
    late: list[str] = []

    @firestore.transactional
    def increment(transaction: firestore.Transaction) -> None:
        if monotonic() > end:
            raise TimeoutError
        count = document.get(transaction=transaction).get("count")
        transaction.update(document, {"count": count + 1})

    def work() -> None:
        try:
            for _ in range(10):
                increment(backend.client.transaction(max_attempts=1000))
        except TimeoutError:
            late.append(threading.current_thread().name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not late
    assert document.get().get("count") == 80


@case
def test_of_a_write_and_a_transaction_that_read_before_it_one_gives_way(backend: Backend) -> None:
    (name,) = lots(backend, 1)
    transaction = backend.begin()
    assert read(backend, transaction, name) == {name: 1}
    written = commits(backend, bales(name, 2))
    committed = commits(backend, bales(name, 3), transaction=transaction)
    assert written != committed
    assert read(backend, backend.begin(), name) == {name: 3 if committed else 2}


@case
def test_a_document_that_was_missing_is_a_conflict_once_it_is_there(backend: Backend) -> None:
    name = backend.name_of(backend.collection().document("lot"))
    transaction = backend.begin()
    assert read(backend, transaction, name) == {name: None}
    written = commits(backend, bales(name, 2))
    assert written != commits(backend, bales(name, 3), transaction=transaction)


@case
def test_a_new_result_of_a_query_is_a_conflict(backend: Backend) -> None:
    collection = backend.collection()
    query = collection.where(filter=FieldFilter("bales", "==", 77))
    request = {"parent": backend.root, "structured_query": query._to_protobuf(), "transaction": backend.begin()}
    assert not [answer for answer in backend.api.run_query(request=request) if answer.document.name]
    written = commits(backend, bales(backend.name_of(collection.document("phantom")), 77))
    name = backend.name_of(collection.document("sum"))
    assert written != commits(backend, bales(name, 0), transaction=request["transaction"])


@case
def test_of_two_transactions_that_read_the_same_one_gives_way(backend: Backend) -> None:
    (name,) = lots(backend, 1)
    one, two = backend.begin(), backend.begin()
    assert read(backend, one, name) == read(backend, two, name)
    results = [commits(backend, bales(name, 2), transaction=id_) for id_ in (one, two)]
    assert sorted(results) == [False, True]


@case
def test_what_a_transaction_did_not_read_is_no_conflict(backend: Backend) -> None:
    mine, other = lots(backend, 1, 1)
    transaction = backend.begin()
    read(backend, transaction, mine)
    assert commits(backend, bales(other, 2))
    assert commits(backend, bales(mine, 2), transaction=transaction)


@case
def test_a_read_only_transaction_reads_one_snapshot_and_holds_nobody_up(backend: Backend) -> None:
    one, two = lots(backend, 1, 1)
    transaction = backend.begin(read_only={})
    assert read(backend, transaction, one) == {one: 1}
    assert commits(backend, bales(one, 2), bales(two, 2))
    assert read(backend, transaction, one, two) == {one: 1, two: 1}
    backend.commit(transaction=transaction)


@case
def test_a_read_only_transaction_does_not_write(backend: Backend) -> None:
    (name,) = lots(backend, 1)
    with pytest.raises(exceptions.InvalidArgument):
        backend.commit(bales(name, 2), transaction=backend.begin(read_only={}))


@case
def test_a_transaction_begins_with_its_first_read(backend: Backend) -> None:
    (name,) = lots(backend, 1)
    request = {"database": backend.database, "documents": [name], "new_transaction": {"read_write": {}}}
    first, second = backend.api.batch_get_documents(request=request)
    assert second.found.name == name
    assert commits(backend, bales(name, 2), transaction=first.transaction)


@case
def test_a_transaction_ends_once(backend: Backend) -> None:
    (name,) = lots(backend, 1)
    committed, rolled_back = backend.begin(), backend.begin()
    backend.commit(bales(name, 2), transaction=committed)
    backend.api.rollback(request={"database": backend.database, "transaction": rolled_back})
    for transaction in (committed, rolled_back, b"unknown"):
        with pytest.raises(exceptions.InvalidArgument):
            backend.commit(bales(name, 3), transaction=transaction)
        with pytest.raises(exceptions.InvalidArgument):
            read(backend, transaction, name)
    assert read(backend, backend.begin(), name) == {name: 2}


# Local only: what takes a clock that can be moved, or is so in the optimistic mode alone


@pytest.mark.parametrize(("steps", "survives"), [([59] * 4, True), ([61], False), ([50] * 6, False)])
def test_a_transaction_expires(steps: list[int], survives: bool) -> None:
    """After 60 seconds without a request, and after 270 in all."""
    core = new_core(frozen=True)
    with local_backend(Firestore(core, State())) as backend:
        (name,) = lots(backend, 1)
        transaction = backend.begin()
        try:
            for seconds in steps:
                advance(core, seconds=seconds)
                read(backend, transaction, name)
            backend.commit(bales(name, 2), transaction=transaction)
        except exceptions.InvalidArgument:
            assert not survives
        else:
            assert survives


def test_a_transaction_reads_one_snapshot_and_is_aborted_when_it_is_stale() -> None:
    with local_backend() as backend:
        one, two = lots(backend, 1, 1)
        transaction = backend.begin()
        assert read(backend, transaction, one) == {one: 1}
        assert commits(backend, bales(one, 2), bales(two, 2))
        assert read(backend, transaction, one, two) == {one: 1, two: 1}
        assert not commits(backend, bales(two, 3), transaction=transaction)
        backend.api.rollback(request={"database": backend.database, "transaction": transaction})


def test_commit_times_increase_while_the_clock_stands_still() -> None:
    core = new_core(frozen=True)
    with local_backend(Firestore(core, State())) as backend:
        document = backend.collection().document("lot")
        times = [document.set({"bales": count}).update_time for count in range(5)]
        assert times == sorted(set(times))
        advance(core, seconds=1)
        read_time = document.get().read_time
        assert read_time < document.set({"bales": 9}).update_time
