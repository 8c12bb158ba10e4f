"""The two Firestores that the cases run against, and what the cases use again and again."""

import itertools
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.cloud import firestore
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

from local_cloud import gapic
from local_cloud.core import Core, Done, Outgoing, VirtualClock
from local_cloud.firestore import Firestore
from local_cloud.state import State

from .google_emulators import start_emulator

PROJECT = "kapas-test"
WITHIN = 60.0
"""Real seconds within which something must have happened."""
OWNER = [("authorization", "Bearer owner")]
"""Google's emulator wants to see an administrator for BatchWrite."""
_SERIAL = itertools.count(1)


@dataclass
class Backend:
    """A Firestore, and its official clients."""

    name: str
    address: str
    client: firestore.Client

    @property
    def api(self) -> FirestoreClient:
        """The client without conveniences: one call, one request."""
        api: FirestoreClient = self.client._firestore_api
        return api

    @property
    def database(self) -> str:
        return f"projects/{PROJECT}/databases/(default)"

    @property
    def root(self) -> str:
        return f"{self.database}/documents"

    def collection(self) -> firestore.CollectionReference:
        """A collection of its own for a case."""
        return self.client.collection(f"lots-{next(_SERIAL)}")

    def async_client(self) -> firestore.AsyncClient:
        return _connect(firestore.AsyncClient, self.address)

    def name_of(self, document: firestore.DocumentReference) -> str:
        return f"{self.root}/{document.path}"

    def commit(self, *writes: types.Write, transaction: bytes = b"") -> types.CommitResponse:
        return self.api.commit(
            types.CommitRequest(database=self.database, writes=writes, transaction=transaction), retry=None
        )

    def begin(self, **options: Any) -> bytes:
        return self.api.begin_transaction(request={"database": self.database, "options": options}).transaction


def _connect(kind: Any, address: str) -> Any:
    # The clients read the address from the environment, when they are made.
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FIRESTORE_EMULATOR_HOST", address)
        return kind(project=PROJECT)


def _no_network(request: Outgoing, done: Done) -> None:
    raise AssertionError(f"Firestore calls nobody, but called {request.url}")


def new_core(*, frozen: bool = False) -> Core:
    return Core(_no_network, clock=VirtualClock(frozen=frozen), seed=7)


@contextmanager
def local_backend(service: Firestore | None = None) -> Generator[Backend]:
    """The local Firestore: `service`, or an empty one."""
    handler = service or Firestore(new_core(), State())
    server, port = gapic.serve({FirestoreGrpcTransport: handler}, threads=32)
    try:
        with _backend("local", f"127.0.0.1:{port}") as backend:
            yield backend
    finally:
        server.stop(None).wait()


@contextmanager
def google_backend() -> Generator[Backend]:
    """Google's emulator."""
    with start_emulator("firestore") as address, _backend("google", address) as backend:
        yield backend


@contextmanager
def _backend(name: str, address: str) -> Generator[Backend]:
    client: firestore.Client = _connect(firestore.Client, address)
    try:
        yield Backend(name, address, client)
    finally:
        client.close()


@contextmanager
def backend_for(param: str) -> Generator[Backend]:
    with local_backend() if param == "local" else google_backend() as backend:
        yield backend


@dataclass
class Snapshots:
    """What an `on_snapshot` listener was told: for each snapshot its documents by id, and its changes by id."""

    states: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    changes: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, documents: list[Any], changes: list[Any], read_time: Any) -> None:
        with self._changed:
            self.states.append({document.id: document.to_dict() for document in documents})
            self.changes.append({change.document.id: change.type.name for change in changes})
            self._changed.notify_all()

    def wait_for(self, state: dict[str, Any]) -> None:
        """Until the last snapshot is `state`."""
        with self._changed:
            reached = self._changed.wait_for(lambda: bool(self.states) and self.states[-1] == state, WITHIN)
        assert reached, f"{state} did not come within {WITHIN} s, but {self.states}"


@contextmanager
def listening(target: Any) -> Generator[Snapshots]:
    """Listen to a document, collection or query with the client's own `on_snapshot`."""
    snapshots = Snapshots()
    watch = target.on_snapshot(snapshots)
    try:
        yield snapshots
    finally:
        watch.unsubscribe()


class Stream:
    """A Listen stream request by request and response by response."""

    def __init__(self, backend: Backend) -> None:
        self._database = backend.database
        self._requests: queue.Queue[types.ListenRequest | None] = queue.Queue()
        # Not through the client's `listen`, which waits for the first response.
        self.responses: Any = backend.api.transport.listen(
            iter(self._requests.get, None),
            metadata=[("google-cloud-resource-prefix", backend.database)],
            timeout=WITHIN,
        )

    def add(self, target_id: int, **target: Any) -> None:
        self._requests.put(types.ListenRequest(database=self._database, add_target={"target_id": target_id, **target}))

    def remove(self, target_id: int) -> None:
        self._requests.put(types.ListenRequest(database=self._database, remove_target=target_id))

    def until(self, last: Callable[[types.ListenResponse], bool]) -> list[types.ListenResponse]:
        """The responses up to the one that is `last`. Raises AssertionError if it does not come."""
        result: list[types.ListenResponse] = []
        try:
            for response in self.responses:
                result.append(response)
                if last(response):
                    return result
        except grpc.RpcError as error:
            raise AssertionError(f"the stream failed after {result}") from error
        raise AssertionError(f"the stream ended after {result}")

    def close(self) -> None:
        self._requests.put(None)
        self.responses.cancel()


@contextmanager
def stream(backend: Backend) -> Generator[Stream]:
    made = Stream(backend)
    try:
        yield made
    finally:
        made.close()


def advance(core: Core, **by: float) -> None:
    """Move the clock of a local backend."""
    core.clock.advance(timedelta(**by))
    core.wake()
