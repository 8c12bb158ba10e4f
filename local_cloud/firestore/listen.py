"""Listen: what a client watches on one stream, and what it is told.

A target's state is the documents as they were last sent. After a commit the target is evaluated again and the
difference is sent, closed by a target change without ids: the sign that all before it is one consistent snapshot.
Its resume token is the snapshot's time, so that a client which comes back is told the difference since then.
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument
from google.cloud.firestore_v1 import types

from local_cloud.core import Core
from local_cloud.firestore.messages import Document, Message, plain, status, timestamp
from local_cloud.firestore.names import check_document
from local_cloud.firestore.query import Plan
from local_cloud.firestore.store import Snapshot, Store

_new_response = types.ListenResponse.pb()
_Type = types.TargetChange.TargetChangeType
_POLL = 1.0
"""Seconds after which a stream looks whether its client is still there."""


@dataclass(slots=True)
class Target:
    id: int
    names: frozenset[str]
    plan: Plan | None
    """The query; None where `names` are watched."""
    seen: dict[str, Document] = field(default_factory=dict[str, Document])

    def covers(self, name: str) -> bool:
        return self.plan.covers(name) if self.plan else name in self.names

    def read(self, snapshot: Snapshot) -> dict[str, Document]:
        if self.plan:
            return {document.name: document for document in self.plan.run(snapshot)}
        return {name: document for name in sorted(self.names) if (document := snapshot.get(name)) is not None}


class Stream:
    """One Listen call."""

    def __init__(self, core: Core, store: Store) -> None:
        self._core = core
        self._store = store
        self._targets: dict[int, Target] = {}
        self._version = store.version
        self._inbox: deque[Message] = deque()
        self._ended = False

    def serve(self, requests: Iterator[Message], context: grpc.ServicerContext) -> Iterator[Message]:
        """Answer until the client leaves. Holds the lock only while it looks, never while it sends."""
        # The requests come from a blocking iterator, while answers must not wait for requests.
        threading.Thread(target=self._receive, args=(requests,), name="listen-requests", daemon=True).start()
        context.add_callback(self._core.wake)
        while context.is_active():
            with self._core.lock:
                self._core.changed.wait_for(lambda: self._pending() or not context.is_active(), timeout=_POLL)
                responses = list(self._advance())
                ended = self._ended and not self._inbox
            yield from responses
            if ended:
                return

    def _receive(self, requests: Iterator[Message]) -> None:
        try:
            for request in requests:
                with self._core.lock:
                    self._inbox.append(plain(request))
                    self._core.wake()
        except Exception:  # gRPC raises a bare Exception when the call was cancelled
            return
        finally:
            with self._core.lock:
                self._ended = True
                self._core.wake()

    def _pending(self) -> bool:
        return bool(self._inbox) or self._ended or self._version != self._store.version

    def _advance(self) -> Iterator[Message]:
        while self._inbox:
            request = self._inbox.popleft()
            if request.WhichOneof("target_change") == "add_target":
                yield from self._add(request.add_target)
            elif self._targets.pop(request.remove_target, None):
                yield _target_change(_Type.REMOVE, request.remove_target)
        if self._version != self._store.version:
            yield from self._changes()

    def _changes(self) -> Iterator[Message]:
        # When the clock was moved far, the history is gone: then every target is looked at.
        known = self._store.reaches(self._version)
        changed = self._store.changed_since(self._version)
        snapshot = self._store.snapshot()
        sent = False
        for target in self._targets.values():
            if not known or any(map(target.covers, changed)):
                for message in self._difference(target, snapshot):
                    sent = True
                    yield message
        self._version = self._store.version
        if sent:
            yield _consistent(snapshot.time)

    def _add(self, request: Message) -> Iterator[Message]:
        id_ = request.target_id or max(self._targets, default=0) + 1
        if id_ in self._targets:
            raise InvalidArgument(f"Target {id_} is already active on this stream.")
        yield _target_change(_Type.ADD, id_)
        # What the other targets have not been told yet comes first, so that one snapshot is consistent for all.
        yield from self._changes()
        snapshot = self._store.snapshot()
        try:
            target = _target(id_, request)
            since = _resume_time(request)
        except GoogleAPICallError as error:
            yield _refusal(id_, error)
            return
        if since is not None and self._store.reaches(since):
            target.seen = target.read(self._store.snapshot(since))
        elif since is not None:
            yield _target_change(_Type.RESET, id_)
        self._targets[id_] = target
        yield from self._difference(target, snapshot)
        yield _target_change(_Type.CURRENT, id_, snapshot.time)
        yield _consistent(snapshot.time)
        if request.once:
            del self._targets[id_]
            yield _target_change(_Type.REMOVE, id_)

    def _difference(self, target: Target, snapshot: Snapshot) -> Iterator[Message]:
        new = target.read(snapshot)
        for name, document in new.items():
            if target.seen.get(name) is not document:
                message = _new_response()
                message.document_change.document.CopyFrom(target.plan.project(document) if target.plan else document)
                message.document_change.target_ids.append(target.id)
                yield message
        for name in target.seen.keys() - new.keys():
            message = _new_response()
            gone = message.document_delete if snapshot.get(name) is None else message.document_remove
            gone.document = name
            gone.removed_target_ids.append(target.id)
            gone.read_time.CopyFrom(timestamp(snapshot.time))
            yield message
        target.seen = new


def _target(id_: int, request: Message) -> Target:
    if request.WhichOneof("target_type") == "query":
        return Target(id_, frozenset(), Plan(request.query.parent, request.query.structured_query))
    return Target(id_, frozenset(map(check_document, request.documents.documents)), None)


def _resume_time(request: Message) -> int | None:
    match request.WhichOneof("resume_type"):
        case "resume_token":
            if not request.resume_token.isdigit():
                raise InvalidArgument("The resume token is not one of this database.")
            return int(request.resume_token)
        case "read_time":
            return request.read_time.ToMicroseconds()
        case _:
            return None


def _target_change(type_: _Type, target: int, time: int | None = None) -> Message:
    message = _new_response()
    message.target_change.target_change_type = type_
    message.target_change.target_ids.append(target)
    if time is not None:
        _stamp(message, time)
    return message


def _consistent(time: int) -> Message:
    message = _new_response()
    message.target_change.target_change_type = _Type.NO_CHANGE
    _stamp(message, time)
    return message


def _stamp(message: Message, time: int) -> None:
    message.target_change.read_time.CopyFrom(timestamp(time))
    message.target_change.resume_token = b"%d" % time


def _refusal(target: int, error: GoogleAPICallError) -> Message:
    message = _target_change(_Type.REMOVE, target)
    message.target_change.cause.CopyFrom(status(error))
    return message
