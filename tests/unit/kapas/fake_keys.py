"""A key service and a key store in memory, for tests of what encrypts."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kapas.errors import Unavailable
from kapas.platform.ports import Tampered
from kapas.privacy.keys import SubjectKey, WrappedKey
from kapas.values import ids


class Kms:
    """A key service with versions, that counts its calls, can fail, and can linger until a second call comes."""

    def __init__(self) -> None:
        self.versions = [AESGCM(b"v0".ljust(32))]
        self.calls: list[str] = []
        self.down = False
        self.lingers = False
        self.second_call = threading.Event()

    def wrap(self, key: bytes, context: bytes) -> bytes:
        self._call("wrap")
        version, nonce = len(self.versions) - 1, ids.random_bytes(12)
        return bytes([version]) + nonce + self.versions[version].encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        self._call("unwrap")
        try:
            return self.versions[wrapped[0]].decrypt(wrapped[1:13], wrapped[13:], context)
        except InvalidTag:
            raise Tampered from None

    def _call(self, method: str) -> None:
        self.calls.append(method)
        if len(self.calls) > 1:
            self.second_call.set()
        if self.lingers:
            self.second_call.wait(0.2)
        if self.down:
            raise Unavailable

    def rotate(self) -> None:
        self.versions.append(AESGCM(f"v{len(self.versions)}".encode().ljust(32)))


@dataclass
class Store:
    """The two tables in memory; `copy` is what a transaction that is rolled back saw."""

    epochs: dict[str, bytes] = field(default_factory=dict)
    subjects: dict[UUID, tuple[str, bytes]] = field(default_factory=dict)
    subject_reads: int = 0

    def copy(self) -> "Store":
        return Store(dict(self.epochs), dict(self.subjects))

    def epoch_key(self, name: str) -> WrappedKey | None:
        return WrappedKey(name, self.epochs[name]) if name in self.epochs else None

    def add_epoch_key(self, key: WrappedKey) -> WrappedKey:
        return WrappedKey(key.name, self.epochs.setdefault(key.name, key.wrapped))

    def replace_epoch_key(self, old: WrappedKey, new: WrappedKey) -> bool:
        if self.epochs.get(old.name) != old.wrapped:
            return False
        self.epochs[old.name] = new.wrapped
        return True

    def subject_key(self, subject_id: UUID) -> SubjectKey | None:
        self.subject_reads += 1
        if subject_id not in self.subjects:
            return None
        epoch, wrapped = self.subjects[subject_id]
        return SubjectKey(subject_id, WrappedKey(epoch, self.epochs[epoch]), wrapped)

    def subject_keys(self, epoch: str, limit: int) -> Sequence[SubjectKey]:
        of_epoch = sorted(subject for subject, (name, _) in self.subjects.items() if name == epoch)
        return [key for subject in of_epoch[:limit] if (key := self.subject_key(subject))]

    def add_subject_key(self, key: SubjectKey) -> SubjectKey:
        self.subjects.setdefault(key.subject_id, (key.epoch.name, key.wrapped))
        found = self.subject_key(key.subject_id)
        assert found is not None
        return found

    def replace_subject_key(self, old: SubjectKey, new: SubjectKey) -> bool:
        if self.subjects.get(old.subject_id) != (old.epoch.name, old.wrapped):
            return False
        self.subjects[old.subject_id] = (new.epoch.name, new.wrapped)
        return True

    def delete_subject_key(self, subject_id: UUID) -> None:
        self.subjects.pop(subject_id, None)
