"""The documents, as they are and as they were within the last hour.

Commit times are microseconds since 1970, strictly increasing. What a commit replaced is kept for a while, so that a
transaction reads one consistent snapshot, `read_time` works, and a listener that comes back is told what it missed.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from google.api_core.exceptions import FailedPrecondition, InvalidArgument
from google.cloud.firestore_v1 import types

from local_cloud.core import Core
from local_cloud.firestore.messages import Document, Write, new_document
from local_cloud.firestore.names import collection_of
from local_cloud.state import State

HISTORY = timedelta(hours=1)
"""How far back the service reads without point-in-time recovery."""
HISTORY_BYTES = 64 << 20
"""What the past may take of memory; the oldest goes first."""

_KIND = "firestore.document"
_JOURNAL = "firestore.commit"


@dataclass(frozen=True, slots=True)
class Change:
    """At `time` the document `name` stopped being `before` (None: it was not there)."""

    time: int
    name: str
    before: Document | None
    size: int


class Snapshot:
    """The documents at one time: those of now, save for what changed since (`before`)."""

    def __init__(
        self, time: int, collections: Mapping[str, Mapping[str, Document]], before: Mapping[str, Document | None]
    ) -> None:
        self.time = time
        self._collections = collections
        self._before = before

    def get(self, name: str) -> Document | None:
        if name in self._before:
            return self._before[name]
        return self._collections.get(collection_of(name), {}).get(name)

    def collections(self) -> list[str]:
        """The full names of the collections that hold a document, sorted."""
        paths = {path for path, documents in self._collections.items() if documents}
        paths.update(collection_of(name) for name in self._before)
        return sorted(path for path in paths if next(self.collection(path), None) is not None)

    def collection(self, path: str) -> Iterator[Document]:
        """The documents of one collection, in no particular order."""
        for name, document in self._collections.get(path, {}).items():
            if name not in self._before:
                yield document
        for name, document in self._before.items():
            if document is not None and collection_of(name) == path:
                yield document


class Store:
    """All documents of all databases. Every method is called under the core's lock."""

    def __init__(self, core: Core, state: State) -> None:
        self.version = 0
        """The time of the last commit that changed something."""
        self._core = core
        self._state = state
        self._collections: dict[str, dict[str, Document]] = {}
        self._history: deque[Change] = deque()
        self._history_bytes = 0
        self._load()
        self._last = self.version
        self._horizon = self.read_time()

    def _load(self) -> None:
        for _, journal in self._state.items(_JOURNAL):
            self._replay(journal)
        for name, data in self._state.items(_KIND):
            document = new_document.FromString(data)
            self._collections.setdefault(collection_of(name), {})[name] = document
            self.version = max(self.version, document.update_time.ToMicroseconds())

    def read_time(self) -> int:
        """The time of a read that happens now: no later commit will have it."""
        self._last = max(self._last, self._now())
        return self._last

    def commit_time(self) -> int:
        """The time of a commit that happens now: later than every read and commit before it."""
        self._last = max(self._last + 1, self._now())
        return self._last

    def _now(self) -> int:
        return round(self._core.now().timestamp() * 1_000_000)

    def get(self, name: str) -> Document | None:
        """The document as it is now."""
        return self._collections.get(collection_of(name), {}).get(name)

    def all(self) -> Iterator[Document]:
        for path in sorted(self._collections):
            documents = self._collections[path]
            yield from (documents[name] for name in sorted(documents))

    def snapshot(self, time: int | None = None) -> Snapshot:
        """The documents at `time`; now, if None.

        Raises FailedPrecondition for a time that is further back than the history, InvalidArgument for the future.
        """
        if time is None:
            return Snapshot(self.read_time(), self._collections, {})
        if time > self.read_time():
            raise InvalidArgument("The requested read time cannot be in the future.")
        if not self.reaches(time):
            raise FailedPrecondition("The requested snapshot version is too old.")
        return Snapshot(time, self._collections, self.changed_since(time))

    def reaches(self, time: int) -> bool:
        """Whether the history goes back to `time`, which is not in the future."""
        self._forget()
        return self._horizon <= time <= self.read_time()

    def changed_since(self, time: int) -> dict[str, Document | None]:
        """Each document that changed after `time`, as it was then."""
        before: dict[str, Document | None] = {}
        for change in reversed(self._history):
            if change.time <= time:
                break
            before[change.name] = change.before
        return before

    def commit(self, documents: Mapping[str, Document | None], time: int) -> None:
        """Replace each named document (None: delete it) at once, at `time`, and wake the listeners."""
        if not documents:
            return
        self._persist(documents)
        for name, document in documents.items():
            collection = self._collections.setdefault(collection_of(name), {})
            before = collection.pop(name, None)
            if document is not None:
                collection[name] = document
            size = before.ByteSize() if before is not None else 0
            self._history.append(Change(time, name, before, size))
            self._history_bytes += size
        self.version = time
        self._forget()
        self._core.wake()

    def _forget(self) -> None:
        oldest = self._now() - HISTORY // timedelta(microseconds=1)
        self._horizon = max(self._horizon, oldest)
        while self._history and (self._history[0].time <= self._horizon or self._history_bytes > HISTORY_BYTES):
            change = self._history.popleft()
            self._history_bytes -= change.size
            self._horizon = max(self._horizon, change.time)

    def _persist(self, documents: Mapping[str, Document | None]) -> None:
        # One document is one write. Several go through a journal, so that a killed process leaves all of them or none.
        if len(documents) == 1:
            self._save(documents)
            return
        journal = types.CommitRequest.pb()()
        for name, document in documents.items():
            if document is None:
                journal.writes.add(delete=name)
            else:
                journal.writes.add(update=document)
        self._state.put(_JOURNAL, "pending", journal.SerializeToString())
        self._save(documents)
        self._state.delete(_JOURNAL, "pending")

    def _save(self, documents: Mapping[str, Document | None]) -> None:
        for name, document in documents.items():
            if document is None:
                self._state.delete(_KIND, name)
            else:
                self._state.put(_KIND, name, document.SerializeToString())

    def _replay(self, journal: bytes) -> None:
        writes: list[Write] = types.CommitRequest.pb().FromString(journal).writes
        self._save({write.delete or write.update.name: None if write.delete else write.update for write in writes})
        self._state.delete(_JOURNAL, "pending")
