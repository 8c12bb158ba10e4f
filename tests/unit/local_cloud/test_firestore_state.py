"""What the local Firestore keeps: across restarts, through a kill in the middle of a commit, and of the past."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

from local_cloud import gapic
from local_cloud.core import Core, Done, Outgoing, VirtualClock
from local_cloud.firestore import Firestore, store
from local_cloud.state import State

DATABASE = "projects/p/databases/(default)"
CONTEXT: Any = None
"""Only Listen looks at the context of its call."""


def _no_network(request: Outgoing, done: Done) -> None:
    raise AssertionError(f"Firestore calls nobody, but called {request.url}")


@pytest.fixture
def core() -> Core:
    return Core(_no_network, clock=VirtualClock(frozen=True), seed=7)


def update(path: str, bales: int) -> types.Write:
    name = f"{DATABASE}/documents/{path}"
    return types.Write(update={"name": name, "fields": {"bales": types.Value(integer_value=bales)}})


def delete(path: str) -> types.Write:
    return types.Write(delete=f"{DATABASE}/documents/{path}")


def commit(firestore: Firestore, *writes: types.Write) -> types.CommitResponse:
    return firestore.Commit(types.CommitRequest(database=DATABASE, writes=writes), CONTEXT)


def contents(firestore: Firestore, prefix: str = "") -> dict[str, int]:
    return {path: fields["bales"] for path, fields in firestore.documents(prefix)}


def test_everything_the_client_can_call_is_served_but_what_is_listed() -> None:
    called = {path.rpartition("/")[2] for path in gapic.methods(FirestoreGrpcTransport)}
    assert {name for name in called if not hasattr(Firestore, name)} == {"Write", "ExecutePipeline"}


def test_documents_are_there_after_a_restart(core: Core, tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    firestore = Firestore(core, state)
    commit(firestore, update("lots/1", 1))
    commit(firestore, update("lots/2", 2), update("lots/3", 3), update("lots/3/bids/1", 9))
    commit(firestore, update("lots/1", 4), delete("lots/2"))
    before = firestore.GetDocument(types.GetDocumentRequest(name=f"{DATABASE}/documents/lots/1"), CONTEXT)
    state.close()
    again = Firestore(core, State(tmp_path / "state.db"))
    assert contents(again) == {"lots/1": 4, "lots/3": 3, "lots/3/bids/1": 9}
    assert again.GetDocument(types.GetDocumentRequest(name=before.name), CONTEXT) == before


def test_times_go_on_after_a_restart_with_the_clock_set_back(core: Core, tmp_path: Path) -> None:
    core.clock.advance(timedelta(days=1))
    last = commit(Firestore(core, State(tmp_path / "state.db")), update("lots/1", 1)).commit_time
    set_back = Core(_no_network, clock=VirtualClock(frozen=True))
    assert commit(Firestore(set_back, State(tmp_path / "state.db")), update("lots/1", 2)).commit_time > last


class Killed(Exception):
    pass


class MortalState(State):
    """Dies at the write number `dies_at`, counted from when that was set."""

    dies_at = -1

    def put(self, kind: str, key: str, value: bytes) -> None:
        self._live(lambda: super(MortalState, self).put(kind, key, value))

    def delete(self, kind: str, key: str) -> None:
        self._live(lambda: super(MortalState, self).delete(kind, key))

    def _live(self, write: Callable[[], None]) -> None:
        if self.dies_at == 0:
            raise Killed
        self.dies_at -= 1
        write()


@pytest.mark.parametrize("dies_at", range(6))
def test_a_commit_is_whole_after_a_kill(core: Core, tmp_path: Path, dies_at: int) -> None:
    before = {"lots/1": 1, "lots/2": 1}
    after = {"lots/1": 2, "lots/3": 2}
    state = MortalState(tmp_path / "state.db")
    firestore = Firestore(core, state)
    commit(firestore, update("lots/1", 1), update("lots/2", 1))
    state.dies_at = dies_at
    killed = False
    try:
        commit(firestore, update("lots/1", 2), delete("lots/2"), update("lots/3", 2))
    except Killed:
        killed = True
    state.close()
    for _ in range(2):
        again = contents(Firestore(core, State(tmp_path / "state.db")))
        assert again == (before if dies_at == 0 else after)
    assert killed == (dies_at < 5)


def test_documents_are_shown_by_prefix_as_json_has_them(core: Core) -> None:
    firestore = Firestore(core, State())
    fields = {
        "at": types.Value(timestamp_value={"seconds": 1}),
        "raw": types.Value(bytes_value=b"\x00"),
        "of": types.Value(reference_value=f"{DATABASE}/documents/partners/1"),
        "in": types.Value(geo_point_value={"latitude": 1, "longitude": 2}),
        "list": types.Value(array_value={"values": [types.Value(null_value=0), types.Value(double_value=0.5)]}),
    }
    commit(
        firestore, types.Write(update={"name": f"{DATABASE}/documents/lots/1", "fields": fields}), update("live/1", 1)
    )
    assert dict(firestore.documents("lots/")) == {
        "lots/1": {
            "at": "1970-01-01T00:00:01Z",
            "raw": "AA==",
            "of": f"{DATABASE}/documents/partners/1",
            "in": {"latitude": 1.0, "longitude": 2.0},
            "list": [None, 0.5],
        }
    }


def read_at(firestore: Firestore, path: str, time: Any) -> int:
    request = types.GetDocumentRequest(name=f"{DATABASE}/documents/{path}", read_time=time)
    return firestore.GetDocument(request, CONTEXT).fields["bales"].integer_value


def test_the_past_reaches_back_an_hour(core: Core) -> None:
    firestore = Firestore(core, State())
    core.clock.advance(timedelta(minutes=1))
    first = commit(firestore, update("lots/1", 1)).commit_time
    core.clock.advance(timedelta(minutes=30))
    second = commit(firestore, update("lots/1", 2)).commit_time
    core.clock.advance(timedelta(minutes=29))
    commit(firestore, update("lots/1", 3))
    assert [read_at(firestore, "lots/1", time) for time in (first, second)] == [1, 2]
    core.clock.advance(timedelta(minutes=2))
    assert read_at(firestore, "lots/1", second) == 2
    with pytest.raises(FailedPrecondition):
        read_at(firestore, "lots/1", first)


def test_the_past_is_shorter_when_it_is_large(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    firestore = Firestore(core, State())
    times = [commit(firestore, update("lots/1", bales)).commit_time for bales in range(10)]
    monkeypatch.setattr(store, "HISTORY_BYTES", 200)
    commit(firestore, update("lots/1", 10))
    assert read_at(firestore, "lots/1", times[9]) == 9
    with pytest.raises(FailedPrecondition):
        read_at(firestore, "lots/1", times[1])
