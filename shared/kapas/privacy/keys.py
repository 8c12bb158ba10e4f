"""Envelope encryption of personal fields, in three levels.

    KMS key  wraps  the epoch key of a month  wraps  the data key of each subject  encrypts  fields

Deleting a subject's key row makes everything encrypted for that subject unreadable (crypto-shredding). KMS is called
once per epoch key and instance, never per subject or field. All three levels are bound to where they belong: a field's
ciphertext to its table, column, row and subject, a data key to its subject and epoch, an epoch key to its name.

A field's ciphertext is `VERSION (1 byte) | nonce (12 bytes) | AES-256-GCM ciphertext | tag (16 bytes)`; a wrapped data
key has the same form. Nonces are random: one key takes 2**32 of them (NIST SP 800-38D section 8.3), far beyond a
month's subjects or a subject's fields.

What is cached opens; what seals is read from the store first. So a key row that was rolled back, deleted or replaced
elsewhere never seals anything, and what was sealed commits together with the key that opens it.
"""

import hmac
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from uuid import UUID

from kapas.platform.ports import KeyService, Tampered
from kapas.values import clock, ids

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16

BLIND_INDEX_KEY = "blind-index-1"
"""The name under which the blind index key is kept among the epoch keys."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shredded(Exception):
    """The subject has no key: it was shredded, or never created. What was encrypted for it is gone for good."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where a value is stored: a column of one row. Moving a ciphertext to another field makes it unreadable."""

    table: str
    column: str
    row: UUID


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A row of epoch keys: `wrapped` is what the key service made of the key; `name` is a month or a purpose."""

    name: str
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A row of subject keys, joined with the epoch key that wraps it."""

    subject_id: UUID
    epoch: WrappedKey
    wrapped: bytes


class KeyStore(Protocol):
    """The two tables of wrapped keys, within the caller's transaction."""

    def epoch_key(self, name: str) -> WrappedKey | None: ...

    def add_epoch_key(self, key: WrappedKey) -> WrappedKey:
        """Insert the row, or leave the one of that name; answers the row that is there now."""
        ...

    def replace_epoch_key(self, old: WrappedKey, new: WrappedKey) -> bool:
        """Replace the row if it is still `old`; whether it was."""
        ...

    def subject_key(self, subject_id: UUID) -> SubjectKey | None: ...

    def subject_keys(self, epoch: str, limit: int) -> Sequence[SubjectKey]:
        """At most `limit` of the keys that this epoch key wraps, in the order of their subjects."""
        ...

    def add_subject_key(self, key: SubjectKey) -> SubjectKey:
        """Insert the row, or leave the one of that subject; answers the row that is there now."""
        ...

    def replace_subject_key(self, old: SubjectKey, new: SubjectKey) -> bool:
        """Replace the row if its epoch's name and its `wrapped` are still those of `old`; whether they were."""
        ...

    def delete_subject_key(self, subject_id: UUID) -> None: ...


class SubjectCipher:
    """Encrypts and decrypts the fields of one subject with its data key."""

    def __init__(self, subject_id: UUID, data_key: bytes) -> None:
        self._subject = subject_id.bytes
        self._cipher = _cipher(data_key)

    def encrypt(self, field: Field, plaintext: str | bytes) -> bytes:
        """The ciphertext to store in `field`; text as UTF-8."""
        data = plaintext.encode() if isinstance(plaintext, str) else plaintext
        return _seal(self._cipher, data, self._context(field))

    def decrypt(self, field: Field, ciphertext: bytes) -> bytes:
        """What was encrypted for `field` of this subject. Raises `Tampered`."""
        return _open(self._cipher, ciphertext, self._context(field))

    def _context(self, field: Field) -> bytes:
        return b"field\0" + _name(field.table) + _name(field.column) + field.row.bytes + self._subject


class Keyring:
    """The keys of one instance, shared by its request threads.

    Unwrapped keys stay in memory for at most `lifetime`, and at most `capacity` of each level. The store is given with
    each call, so that key rows and the rows they protect are written in one transaction.

    Every method passes on `kapas.errors.Unavailable` when the key service must be asked and does not answer.
    """

    def __init__(self, kms: KeyService, *, lifetime: timedelta = timedelta(minutes=5), capacity: int = 4096) -> None:
        self._kms = kms
        self._epochs: _Cache[WrappedKey, bytes] = _Cache(lifetime, capacity)
        self._offers: _Cache[str, WrappedKey] = _Cache(lifetime, capacity)
        self._subjects: _Cache[UUID, tuple[SubjectKey, SubjectCipher]] = _Cache(lifetime, capacity)

    def create_subject(self, store: KeyStore, subject_id: UUID) -> SubjectCipher:
        """The cipher of a subject, with a new data key unless it has one. Never reuse the id of a shredded subject."""
        epoch, epoch_key = self._sealing_key(store, epoch_name(clock.now()))
        row = store.add_subject_key(_wrap_data_key(epoch, epoch_key, subject_id, ids.random_bytes(KEY_BYTES)))
        return SubjectCipher(subject_id, self._data_key(row))

    def encrypt(self, store: KeyStore, subject_id: UUID, field: Field, plaintext: str | bytes) -> bytes:
        """The ciphertext to store in `field`; text as UTF-8. Raises `Shredded`."""
        return self.encrypt_many(store, subject_id, {field: plaintext})[field]

    def encrypt_many(
        self, store: KeyStore, subject_id: UUID, plaintexts: Mapping[Field, str | bytes]
    ) -> dict[Field, bytes]:
        """Several fields of one subject, with one look at its key row. Raises `Shredded`."""
        cipher = self._load(store, subject_id)
        return {field: cipher.encrypt(field, plaintext) for field, plaintext in plaintexts.items()}

    def decrypt(self, store: KeyStore, subject_id: UUID, field: Field, ciphertext: bytes) -> bytes:
        """What was encrypted for `field` of that subject. Raises `Shredded` or `Tampered`."""
        return self.decrypt_many(store, subject_id, {field: ciphertext})[field]

    def decrypt_many(self, store: KeyStore, subject_id: UUID, ciphertexts: Mapping[Field, bytes]) -> dict[Field, bytes]:
        """Several fields of one subject, with at most one look at its key row. Raises `Shredded` or `Tampered`."""
        cached = self._subjects.get(subject_id)
        if cached is not None:
            try:
                return {field: cached[1].decrypt(field, ciphertext) for field, ciphertext in ciphertexts.items()}
            except Tampered:
                # The cached key may be of a row that was rolled back: the store decides.
                self._subjects.forget(subject_id)
        cipher = self._load(store, subject_id)
        return {field: cipher.decrypt(field, ciphertext) for field, ciphertext in ciphertexts.items()}

    def shred(self, store: KeyStore, subject_id: UUID) -> None:
        """Delete the subject's key row, and forget its key in this instance; other instances forget within `lifetime`.

        Call `forget` after the commit: until then another thread may still read the row.
        """
        store.delete_subject_key(subject_id)
        self.forget(subject_id)

    def forget(self, subject_id: UUID) -> None:
        """Drop the subject's key from memory; one that is being read at this moment is not kept either."""
        self._subjects.forget(subject_id)

    def rewrap_epoch(self, store: KeyStore, name: str) -> bool:
        """Wrap the epoch key `name` under the key service's current version.

        Returns False if there is no such key, or another process replaced it first.
        """
        row = store.epoch_key(name)
        if row is None:
            return False
        key = self._epoch_key(row)
        return store.replace_epoch_key(row, WrappedKey(name, self._kms.wrap(key, _epoch_context(name))))

    def rewrap_subjects(self, store: KeyStore, epoch: str, limit: int = 500) -> int:
        """Move subject keys from `epoch` to the current month's epoch key. Fields need not be encrypted anew.

        Returns how many keys it looked at, at most `limit`; 0 when none is left. Those that were shredded or moved
        meanwhile are left as they are. Raises `ValueError` for the current epoch.
        """
        current = epoch_name(clock.now())
        if epoch == current:
            raise ValueError("the current epoch's keys are where they should be")
        target, target_key = self._sealing_key(store, current)
        rows = store.subject_keys(epoch, limit)
        for row in rows:
            moved = _wrap_data_key(target, target_key, row.subject_id, self._data_key(row))
            store.replace_subject_key(row, moved)
        return len(rows)

    def blind_index(self, store: KeyStore, purpose: str, normalised: str) -> bytes:
        """32 bytes by which an encrypted value is looked up: equal for equal `purpose` and `normalised`, and only then.

        HMAC-SHA256 under a key that the database holds only wrapped. `purpose` names what is compared (`pan`, `phone`),
        so that equal values of different kinds do not meet.
        """
        _, key = self._sealing_key(store, BLIND_INDEX_KEY)
        return hmac.digest(key, b"blind-index\0" + _name(purpose) + normalised.encode(), "sha256")

    def _load(self, store: KeyStore, subject_id: UUID) -> SubjectCipher:
        """The cipher of the key row as the store has it now."""
        mark = self._subjects.mark()
        row = store.subject_key(subject_id)
        if row is None:
            self._subjects.forget(subject_id)
            raise Shredded
        cached = self._subjects.get(subject_id)
        if cached is not None and cached[0] == row:
            return cached[1]
        cipher = SubjectCipher(subject_id, self._data_key(row))
        self._subjects.put(subject_id, (row, cipher), mark)
        return cipher

    def _sealing_key(self, store: KeyStore, name: str) -> tuple[WrappedKey, bytes]:
        """The epoch key `name` as the store has it now, made if there is none."""
        row = store.epoch_key(name) or store.add_epoch_key(self._offers.load(name, lambda: self._new_epoch_key(name)))
        return row, self._epoch_key(row)

    def _new_epoch_key(self, name: str) -> WrappedKey:
        key = ids.random_bytes(KEY_BYTES)
        row = WrappedKey(name, self._kms.wrap(key, _epoch_context(name)))
        self._epochs.load(row, lambda: key)
        return row

    def _epoch_key(self, row: WrappedKey) -> bytes:
        return self._epochs.load(row, lambda: self._kms.unwrap(row.wrapped, _epoch_context(row.name)))

    def _data_key(self, row: SubjectKey) -> bytes:
        return _open(_cipher(self._epoch_key(row.epoch)), row.wrapped, _subject_context(row.epoch.name, row.subject_id))


def epoch_name(at: datetime) -> str:
    """The epoch of `moment`: its month in UTC, `2026-11`."""
    return at.astimezone(UTC).strftime("%Y-%m")


def _wrap_data_key(epoch: WrappedKey, epoch_key: bytes, subject_id: UUID, data_key: bytes) -> SubjectKey:
    wrapped = _seal(_cipher(epoch_key), data_key, _subject_context(epoch.name, subject_id))
    return SubjectKey(subject_id, epoch, wrapped)


def _epoch_context(name: str) -> bytes:
    return b"kapas\0epoch-key\0" + _name(name)


def _subject_context(epoch: str, subject_id: UUID) -> bytes:
    return b"subject-key\0" + _name(epoch) + subject_id.bytes


def _name(name: str) -> bytes:
    # Terminated, so that no two lists of names give the same bytes.
    if "\0" in name:
        raise ValueError("a name must not contain NUL")
    return name.encode() + b"\0"


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _seal(cipher: "AESGCM", plaintext: bytes, context: bytes) -> bytes:
    nonce = ids.random_bytes(NONCE_BYTES)
    return VERSION + nonce + cipher.encrypt(nonce, plaintext, VERSION + context)


def _open(cipher: "AESGCM", sealed: bytes, context: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    if sealed[:1] != VERSION or len(sealed) < len(VERSION) + NONCE_BYTES + TAG_BYTES:
        raise Tampered("not a ciphertext of a known version")
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return cipher.decrypt(nonce, body, VERSION + context)
    except InvalidTag:
        raise Tampered("the ciphertext was altered or belongs elsewhere") from None


class _Cache(Generic[K, V]):
    """The `capacity` values used last, each for less than `lifetime`. The lock is never held across I/O."""

    def __init__(self, lifetime: timedelta, capacity: int) -> None:
        self._lifetime = lifetime
        self._capacity = capacity
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, tuple[datetime, V]] = OrderedDict()
        self._loads: dict[K, Future[V]] = {}
        self._forgotten = 0

    def get(self, key: K) -> V | None:
        now = clock.now()
        with self._lock:
            return self._fresh(key, now)

    def load(self, key: K, make: Callable[[], V]) -> V:
        """The cached value, else what `make` answers. Threads that ask meanwhile get that answer, or its failure."""
        now = clock.now()
        with self._lock:
            value = self._fresh(key, now)
            if value is not None:
                return value
            load = self._loads.get(key)
            first = load is None
            if load is None:
                load = self._loads[key] = Future[V]()
        if not first:
            return load.result()
        try:
            value = make()
        except BaseException as failure:
            with self._lock:
                del self._loads[key]
            load.set_exception(failure)
            raise
        with self._lock:
            del self._loads[key]
            self._keep(key, value, now)
        load.set_result(value)
        return value

    def mark(self) -> int:
        """To be taken before the value for `put` is read."""
        with self._lock:
            return self._forgotten

    def put(self, key: K, value: V, mark: int) -> None:
        """Keep the value, unless anything was forgotten since `mark`: it may have been this key."""
        now = clock.now()
        with self._lock:
            if mark == self._forgotten:
                self._keep(key, value, now)

    def forget(self, key: K) -> None:
        with self._lock:
            self._forgotten += 1
            self._entries.pop(key, None)

    def _fresh(self, key: K, now: datetime) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        # A clock that was moved back must not lengthen a key's life either.
        if not timedelta(0) <= now - entry[0] < self._lifetime:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def _keep(self, key: K, value: V, now: datetime) -> None:
        self._entries[key] = (now, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
