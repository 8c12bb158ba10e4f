"""Getting bytes in: an object in one request, and resumable uploads in many.

Source: cloud.google.com/storage/docs/performing-resumable-uploads and /json_api/v1/objects/insert.
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import IO

from werkzeug.exceptions import ClientDisconnected

from local_cloud.core import Core
from local_cloud.state import State
from local_cloud.storage import errors
from local_cloud.storage.content import BLOCK
from local_cloud.storage.model import ObjectVersion, Preconditions, Resource, timestamp
from local_cloud.storage.store import Store

GRANULE = 256 * 1024
"""Every chunk of a resumable upload but the last is a multiple of this many bytes."""
SESSION_LIFETIME = timedelta(days=7)

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class Draft:
    """What an upload will make: everything but the bytes."""

    bucket: str
    name: str
    fields: Resource
    """As in the object's resource, only what a caller may set."""
    preconditions: Preconditions
    checksums: dict[str, str] = field(default_factory=dict[str, str])
    """What the bytes must come to: `crc32c` and `md5Hash` in base64, `sha256` in hexadecimal."""
    smallest: int = 0
    largest: int | None = None
    """Bytes, from `x-goog-content-length-range`."""

    def check_size(self, size: int) -> None:
        """Raises 400 for an object of `size` bytes that is too small or too large."""
        self.check_growth(size)
        if size < self.smallest:
            raise errors.StorageError(
                400, "invalid", "EntityTooSmall", f"The upload is smaller than the {self.smallest} bytes it must have."
            )

    def check_growth(self, size: int) -> None:
        """Raises 400 once `size` bytes are too many."""
        if self.largest is not None and size > self.largest:
            raise errors.StorageError(
                400, "invalid", "EntityTooLarge", f"The upload is larger than the {self.largest} bytes it may have."
            )


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one request of a resumable upload carries: bytes `first` up to, not including, `end`; none, to ask."""

    first: int
    end: int
    total: int | None

    @classmethod
    def of(cls, content_range: str | None, length: int) -> "Chunk":
        """From the Content-Range header; without one, the body of `length` bytes is the whole object. Raises 400."""
        if content_range is None:
            return cls(0, length, length)
        match = _CONTENT_RANGE.fullmatch(content_range)
        if match is None:
            raise errors.invalid(f"Failed to parse Content-Range header: {content_range}")
        total = None if match[3] == "*" else int(match[3])
        if match[1] is None:
            return cls(0, 0, total)
        chunk = cls(int(match[1]), int(match[2]) + 1, total)
        if chunk.end - chunk.first != length or (total is not None and chunk.end > total):
            raise errors.invalid(f"Content-Range {content_range} does not fit a body of {length} bytes.")
        if chunk.end != total and chunk.end % GRANULE:
            raise errors.invalid(
                f"Invalid request. The chunk ends at {chunk.end} bytes: every chunk but the last is a multiple of"
                f" {GRANULE} bytes."
            )
        return chunk


@dataclass
class Session:
    """One resumable upload. Its id names its bytes, and how far it has come is their size."""

    id: str
    draft: Draft
    expires: str
    total: int | None = None
    """Bytes of the whole object, once the client has said so."""
    generation: int | None = None
    """The object it made, when it is done."""
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Held by the one request that writes: a client may come back before its broken request is noticed."""

    def dump(self) -> bytes:
        shown = {"id": self.id, "expires": self.expires, "total": self.total, "generation": self.generation}
        return json.dumps(shown | {"draft": asdict(self.draft)}).encode()

    @classmethod
    def load(cls, raw: bytes) -> "Session":
        stored = json.loads(raw)
        draft = stored.pop("draft")
        preconditions = Preconditions(**draft.pop("preconditions"))
        return cls(draft=Draft(preconditions=preconditions, **draft), **stored)


class Uploads:
    """Takes the core's lock itself, and not while bytes move."""

    def __init__(self, core: Core, state: State, store: Store) -> None:
        self._core = core
        self._state = state
        self._store = store
        self._sessions = {key: Session.load(raw) for key, raw in state.items("storage.upload")}
        made = store.by_content()
        for session in self._sessions.values():
            if session.id in made:
                session.generation = made[session.id].generation
            self._await_expiry(session)

    @property
    def contents(self) -> list[str]:
        """The names of the bytes of uploads."""
        return list(self._sessions)

    def whole(self, draft: Draft, blocks: Iterable[bytes]) -> ObjectVersion:
        """Make an object of `blocks`. Raises 400 for what does not match the draft, 412, 403."""
        with self._core.lock:
            self._store.replaceable(draft.bucket, draft.name, draft.preconditions)
            content = str(self._store.number())
        try:
            size = 0
            with self._store.contents.write(content) as file:
                for block in blocks:
                    size += len(block)
                    draft.check_growth(size)
                    file.write(block)
            return self._publish(draft, content)
        except BaseException:
            self._store.contents.delete(content)
            raise

    def _publish(self, draft: Draft, content: str) -> ObjectVersion:
        digests = self._store.contents.digest(content)
        draft.check_size(digests.size)
        calculated = {"crc32c": digests.crc32c, "md5Hash": digests.md5}
        if "sha256" in draft.checksums:
            calculated["sha256"] = self._store.contents.sha256(content)
        for kind, given in draft.checksums.items():
            if given != calculated[kind]:
                raise errors.bad_digest(kind, given, calculated[kind])
        with self._core.lock:
            return self._store.add(draft.bucket, draft.name, draft.fields, content, digests, draft.preconditions)

    def start(self, draft: Draft, total: int | None) -> Session:
        """Begin a resumable upload. Raises 400, 412, 403 or 404 if it could not be finished."""
        if total is not None:
            draft.check_size(total)
        with self._core.lock:
            self._store.replaceable(draft.bucket, draft.name, draft.preconditions)
            key = f"{self._store.number()}-{self._core.random.getrandbits(64):016x}"
            session = Session(key, draft, timestamp(self._core.now() + SESSION_LIFETIME), total)
            self._sessions[key] = session
            self._save(session)
            self._await_expiry(session)
            return session

    def session(self, key: str) -> Session:
        """Raises 404 for an upload that does not exist, expired or was cancelled."""
        with self._core.lock:
            if key not in self._sessions:
                raise errors.StorageError(404, "notFound", "NoSuchUpload", "The upload session does not exist.")
            return self._sessions[key]

    def persisted(self, session: Session) -> int:
        """Bytes received for good."""
        return self._store.contents.size(session.id)

    def receive(
        self, session: Session, chunk: Chunk, checksums: dict[str, str], stream: IO[bytes]
    ) -> ObjectVersion | None:
        """Take one chunk; the object once it is complete, else None.

        A request that breaks off leaves what arrived, in whole granules. Bytes that are there already are skipped.
        Raises 400 for a chunk that does not fit, 412, 403.
        """
        with session.turn:
            if session.generation is not None:
                with self._core.lock:
                    return self._store.find(session.draft.bucket, session.draft.name, session.generation)
            if chunk.total is not None and chunk.total != session.total:
                if session.total is not None:
                    raise errors.invalid(f"The upload has {session.total} bytes in all, not {chunk.total}.")
                session.draft.check_size(chunk.total)
                session.total = chunk.total
                self._save(session)
            if chunk.end:
                session.draft.check_growth(chunk.end)
                self._write(session, chunk, stream)
            if session.total is None or self.persisted(session) < session.total:
                return None
            return self._finish(session, checksums)

    def cancel(self, session: Session) -> None:
        """Forget the upload; an object that it made stays."""
        with self._core.lock:
            self._sessions.pop(session.id, None)
            self._state.delete("storage.upload", session.id)
            if session.generation is None:
                self._store.contents.delete(session.id)

    def _write(self, session: Session, chunk: Chunk, stream: IO[bytes]) -> None:
        have = self.persisted(session)
        if chunk.first > have:
            raise errors.invalid(
                f"Invalid request. According to the Content-Range header, the upload offset is {chunk.first} byte(s),"
                f" which exceeds already uploaded size of {have} byte(s)."
            )
        position, skip = have, have - chunk.first
        with self._store.contents.write(session.id, have) as file:
            for block in received(stream):
                fresh = block[skip:]
                skip = max(0, skip - len(block))
                file.write(fresh)
                position += len(fresh)
            if position < chunk.end:
                file.truncate(max(have, position - position % GRANULE))

    def _finish(self, session: Session, checksums: dict[str, str]) -> ObjectVersion:
        draft = session.draft
        if not session.total:
            self._store.contents.write(session.id).close()
        version = self._publish(replace(draft, checksums=draft.checksums | checksums), session.id)
        session.generation = version.generation
        self._save(session)
        return version

    def _save(self, session: Session) -> None:
        with self._core.lock:
            self._state.put("storage.upload", session.id, session.dump())

    def _await_expiry(self, session: Session) -> None:
        self._core.at(datetime.fromisoformat(session.expires), lambda: self.cancel(session))


def received(stream: IO[bytes]) -> Iterator[bytes]:
    """A request's body, block by block, up to its end or to where the client broke off."""
    while True:
        try:
            block = stream.read(BLOCK)
        except ClientDisconnected:
            return
        if not block:
            return
        yield block
