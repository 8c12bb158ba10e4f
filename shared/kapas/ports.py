"""What a use case may ask of Google Cloud, as small protocols.

`kapas.gcp` has the adapters; the simulation brings its own. The conformance tests hold the local cloud to the same
behaviour through the real clients.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message for a topic. `ordering_key` keeps the messages of one aggregate in order."""

    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str


class Bus(Protocol):
    """Pub/Sub, the publishing side."""

    def publish(self, topic: str, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Publish in the given order and wait for the answers: None where acknowledged, else why not.

        Once a message fails, those after it with the same ordering key fail too, so that no later one overtakes it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work: a POST of `body` to the function `function`, not before `schedule_time`.

    `name` makes the enqueueing idempotent: within the queue's tombstone period a name is taken once.
    It must hold no personal data, for names are logged.
    """

    queue: str
    function: str
    name: str
    body: bytes
    schedule_time: datetime | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Tasks(Protocol):
    """Cloud Tasks."""

    def enqueue(self, task: Task) -> bool:
        """Create the task; False if a task of this name exists or existed lately."""
        ...


Document = dict[str, Any]


class Documents(Protocol):
    """Firestore, for the read models that clients listen to."""

    def update(self, path: str, change: Callable[[Document | None], Document | None]) -> None:
        """Read the document at `path` and write what `change` makes of it, in one transaction.

        `change` gets None where there is no document, and answers None to leave it as it is. It may run several
        times, when somebody else wrote in between.
        """
        ...


class KeyService(Protocol):
    """Cloud KMS: wraps key-encryption keys. Never called per field or per subject."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a key under the service's current version, bound to `context` (the AAD)."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `wrap` made. Raises `kapas.errors.Unavailable` when the service does not answer."""
        ...
