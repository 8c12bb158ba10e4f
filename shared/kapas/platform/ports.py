"""What a use case may ask of Google Cloud, as small protocols.

`kapas.platform.gcp` has the adapters; the simulation brings its own. The conformance tests hold the local cloud to the same
behaviour through the real clients.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message for a topic. `ordering_key` keeps the messages of one aggregate in order."""

    topic: str
    data: bytes
    attributes: Mapping[str, str]
    ordering_key: str


class Bus(Protocol):
    """Pub/Sub, the publishing side."""

    def publish(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        """Publish in the given order and wait, for a bounded time, for the answers: None where acknowledged, else why not.

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

    def delete(self, path: str) -> None:
        """Delete the document at `path`, if there is one. Raises `kapas.errors.Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file without reading it."""

    path: str
    size: int
    content_type: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """How somebody without an account uploads one file: `method` to `url` with exactly these `headers`."""

    method: str
    url: str
    headers: Mapping[str, str]
    expires_at: datetime


class Files(Protocol):
    """One bucket of Cloud Storage. A path is written once; what is there is read or deleted, never overwritten.

    Every method raises `kapas.errors.Unavailable` when the service does not answer.
    """

    def upload_url(self, path: str, *, content_type: str, size: int, sha256: str, lifetime: timedelta) -> SignedUpload:
        """A URL that takes one upload of exactly these bytes (`sha256` in hex, `size` in bytes) of this type."""
        ...

    def download_url(self, path: str, *, lifetime: timedelta, filename: str | None = None) -> str:
        """A URL that anybody may read the file at; with `filename`, browsers save it under that name."""
        ...

    def stat(self, path: str) -> StoredFile | None:
        """The file at `path`, None if there is none."""
        ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Read a file piece by piece. Raises FileNotFoundError."""
        ...

    def create(self, path: str, content_type: str) -> AbstractContextManager[BinaryIO]:
        """Write a new file piece by piece; it appears, whole, when the context ends, and not at all if it raises.

        Raises FileExistsError, then at the latest, if there is a file already.
        """
        ...

    def write(self, path: str, data: bytes, content_type: str) -> bool:
        """Write a new file at once; False, with nothing written, if there is one already."""
        ...

    def delete(self, path: str) -> bool:
        """Delete the file at `path`; whether there was one."""
        ...


class Tampered(Exception):
    """A ciphertext does not belong where it was found, was altered, or is none."""


class KeyService(Protocol):
    """Cloud KMS: wraps key-encryption keys. Never called per field or per subject."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a key under the service's current version, bound to `context` (the AAD)."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `wrap` made.

        Raises `kapas.errors.Unavailable` when the service does not answer, `Tampered` when key and context do not fit.
        """
        ...


class Signer(Protocol):
    """Cloud KMS: signs with a private key that never leaves it, ECDSA over P-256 and SHA-256 (`ES256`, RFC 7518).

    Both methods raise `kapas.errors.Unavailable` when the service does not answer.
    """

    def public_key(self) -> str:
        """The public half of the key, a SubjectPublicKeyInfo in PEM."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`: r and s, 32 bytes each."""
        ...
