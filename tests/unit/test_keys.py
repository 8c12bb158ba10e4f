"""Envelope encryption: three levels, bound to their places, shredded for good, with one KMS call per epoch key."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kapas import clock, ids
from kapas.errors import Unavailable
from kapas.keys import (
    BLIND_INDEX_KEY,
    Field,
    Keyring,
    Shredded,
    SubjectCipher,
    SubjectKey,
    Tampered,
    WrappedKey,
    epoch_name,
)

ASHA, BALU = UUID(int=1), UUID(int=2)
NAME = Field("partners", "contact_name", UUID(int=10))
PHONE = Field("partners", "phone", UUID(int=10))
NOVEMBER = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


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


class Time:
    def __init__(self) -> None:
        self.now = NOVEMBER

    def advance(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def time() -> Iterator[Time]:
    time = Time()
    clock.install(lambda: time.now)
    yield time
    clock.install(None)


@pytest.fixture
def kms() -> Kms:
    return Kms()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def keyring(kms: Kms, time: Time) -> Keyring:
    return Keyring(kms)


# What is sealed opens in its place, and nowhere else


@given(plaintext=st.text() | st.binary(), table=st.sampled_from(["partners", "payees"]), row=st.uuids())
def test_decrypts_what_it_encrypted(plaintext: str | bytes, table: str, row: UUID) -> None:
    keyring, store, place = Keyring(Kms()), Store(), Field(table, "contact_name", row)
    keyring.create_subject(store, ASHA)
    ciphertext = keyring.encrypt(store, ASHA, place, plaintext)
    expected = plaintext.encode() if isinstance(plaintext, str) else plaintext
    assert keyring.decrypt(store, ASHA, place, ciphertext) == expected
    assert len(ciphertext) == 1 + 12 + len(expected) + 16
    assert ciphertext[0] == 1


@given(data=st.data(), plaintext=st.binary(max_size=40))
def test_no_byte_can_be_changed(data: st.DataObject, plaintext: bytes) -> None:
    keyring, store = Keyring(Kms()), Store()
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, plaintext)
    at = data.draw(st.integers(0, len(ciphertext) - 1))
    changed = bytearray(ciphertext)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Tampered):
        keyring.decrypt(store, ASHA, NAME, bytes(changed))


@given(length=st.integers(0, 60))
def test_a_ciphertext_cut_short_is_tampered(length: int) -> None:
    cipher = SubjectCipher(ASHA, bytes(32))
    ciphertext = cipher.encrypt(NAME, bytes(40))
    with pytest.raises(Tampered):
        cipher.decrypt(NAME, ciphertext[:length])


@pytest.mark.parametrize(
    "elsewhere",
    [
        Field("payees", "contact_name", UUID(int=10)),
        Field("partners", "phone", UUID(int=10)),
        Field("partners", "contact_name", UUID(int=11)),
    ],
)
def test_a_ciphertext_does_not_open_in_another_field(keyring: Keyring, store: Store, elsewhere: Field) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    with pytest.raises(Tampered):
        keyring.decrypt(store, ASHA, elsewhere, ciphertext)


def test_a_ciphertext_is_bound_to_its_subject_even_under_the_same_key() -> None:
    ciphertext = SubjectCipher(ASHA, bytes(32)).encrypt(NAME, "Asha Patel")
    with pytest.raises(Tampered):
        SubjectCipher(BALU, bytes(32)).decrypt(NAME, ciphertext)


def test_a_subject_s_key_row_does_not_serve_another_subject(keyring: Keyring, store: Store) -> None:
    keyring.create_subject(store, ASHA)
    store.subjects[BALU] = store.subjects[ASHA]
    with pytest.raises(Tampered):
        keyring.encrypt(store, BALU, NAME, "Balu Rao")


def test_an_epoch_s_key_row_does_not_serve_another_epoch(keyring: Keyring, store: Store) -> None:
    keyring.create_subject(store, ASHA)
    epoch, wrapped = store.subjects[ASHA]
    store.epochs["2026-12"] = store.epochs[epoch]
    store.subjects[ASHA] = ("2026-12", wrapped)
    with pytest.raises(Tampered):
        Keyring(Kms()).encrypt(store, ASHA, NAME, "Asha Patel")


def test_an_epoch_key_does_not_serve_for_the_blind_index(keyring: Keyring, kms: Kms, store: Store) -> None:
    keyring.create_subject(store, ASHA)
    store.epochs[BLIND_INDEX_KEY] = store.epochs["2026-11"]
    with pytest.raises(Tampered):
        Keyring(kms).blind_index(store, "pan", "ABCDE1234F")


def test_names_cannot_run_into_each_other(keyring: Keyring, store: Store) -> None:
    cipher = keyring.create_subject(store, ASHA)
    with pytest.raises(Tampered):
        cipher.decrypt(Field("ab", "c", NAME.row), cipher.encrypt(Field("a", "bc", NAME.row), "x"))
    with pytest.raises(ValueError, match="NUL"):
        cipher.encrypt(Field("a\0b", "c", NAME.row), "x")


def test_the_same_text_never_encrypts_alike(keyring: Keyring, store: Store) -> None:
    cipher = keyring.create_subject(store, ASHA)
    assert len({cipher.encrypt(NAME, "Asha Patel") for _ in range(50)}) == 50


def test_several_fields_take_one_look_at_the_key_row(keyring: Keyring, store: Store) -> None:
    keyring.create_subject(store, ASHA)
    store.subject_reads = 0
    ciphertexts = keyring.encrypt_many(store, ASHA, {NAME: "Asha Patel", PHONE: b"+911234567890"})
    assert store.subject_reads == 1
    assert keyring.decrypt_many(store, ASHA, ciphertexts) == {NAME: b"Asha Patel", PHONE: b"+911234567890"}
    assert store.subject_reads == 1


# KMS and the cache


def test_kms_is_called_once_per_epoch_key_and_instance(kms: Kms, store: Store, time: Time) -> None:
    first, second = Keyring(kms), Keyring(kms)
    for number in range(100, 120):
        first.create_subject(store, UUID(int=number)).encrypt(NAME, "x")
    assert kms.calls == ["wrap"]
    for number in range(100, 120):
        second.encrypt(store, UUID(int=number), NAME, "x")
    second.create_subject(store, ASHA)
    assert kms.calls == ["wrap", "unwrap"]


def test_a_new_month_has_a_new_epoch_key(keyring: Keyring, kms: Kms, store: Store, time: Time) -> None:
    keyring.create_subject(store, ASHA)
    time.now = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
    assert epoch_name(time.now) == "2026-11"
    time.advance(timedelta(seconds=1))
    keyring.create_subject(store, BALU)
    assert set(store.epochs) == {"2026-11", "2026-12"}
    assert [store.subjects[subject][0] for subject in (ASHA, BALU)] == ["2026-11", "2026-12"]


def test_unwrapped_keys_live_for_their_lifetime(keyring: Keyring, kms: Kms, store: Store, time: Time) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    kms.calls.clear()
    store.subject_reads = 0
    time.advance(timedelta(minutes=5) - timedelta(microseconds=1))
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    assert (kms.calls, store.subject_reads) == ([], 0)
    time.advance(timedelta(microseconds=1))
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    assert (kms.calls, store.subject_reads) == (["unwrap"], 1)


def test_a_clock_moved_back_does_not_lengthen_a_key_s_life(
    keyring: Keyring, kms: Kms, store: Store, time: Time
) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    time.advance(-timedelta(days=1))
    kms.calls.clear()
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    assert kms.calls == ["unwrap"]


def test_no_more_keys_are_kept_than_the_capacity(kms: Kms, store: Store, time: Time) -> None:
    keyring = Keyring(kms, capacity=2)
    cara = UUID(int=3)
    sealed = {who: keyring.create_subject(store, who).encrypt(NAME, "x") for who in (ASHA, BALU, cara)}
    for who in (ASHA, BALU, ASHA, cara):
        keyring.decrypt(store, who, NAME, sealed[who])
    store.subject_reads = 0
    keyring.decrypt(store, ASHA, NAME, sealed[ASHA])
    assert store.subject_reads == 0
    keyring.decrypt(store, BALU, NAME, sealed[BALU])
    assert store.subject_reads == 1


def _stampede(kms: Kms, count: int, call: Callable[[int], object]) -> list[BaseException | None]:
    """Make `count` calls in as many threads at once; what each raised. KMS takes its time, so that they overlap."""
    kms.lingers = True
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(10)
        call(number)

    with ThreadPoolExecutor(count) as pool:
        return [future.exception(10) for future in [pool.submit(run, number) for number in range(count)]]


def test_a_stampede_makes_one_kms_call(keyring: Keyring, kms: Kms, store: Store, time: Time) -> None:
    assert _stampede(kms, 8, lambda number: keyring.create_subject(store, UUID(int=number))) == [None] * 8
    assert kms.calls == ["wrap"]
    other, kms.calls = Keyring(kms), []
    assert _stampede(kms, 8, lambda number: other.encrypt(store, UUID(int=number), NAME, "x")) == [None] * 8
    assert kms.calls == ["unwrap"]


def test_when_kms_fails_all_who_wait_are_told_and_the_next_call_tries_again(
    keyring: Keyring, kms: Kms, store: Store
) -> None:
    kms.down = True
    failures = _stampede(kms, 8, lambda number: keyring.create_subject(store, UUID(int=number)))
    assert all(isinstance(failure, Unavailable) for failure in failures)
    kms.down = False
    keyring.create_subject(store, ASHA)
    assert store.subjects.keys() == {ASHA}


# What is rolled back, or done by others


def test_creating_a_subject_twice_keeps_its_key(keyring: Keyring, store: Store) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    assert keyring.create_subject(store, ASHA).decrypt(NAME, ciphertext) == b"Asha Patel"


def test_a_key_that_was_rolled_back_seals_nothing(keyring: Keyring, kms: Kms, store: Store) -> None:
    rolled_back = store.copy()
    keyring.create_subject(rolled_back, ASHA)
    keyring.encrypt(rolled_back, ASHA, NAME, "never committed")
    # Another instance makes the month's epoch key and the subject, with keys of its own.
    other = Keyring(kms)
    theirs = other.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    ours = keyring.encrypt(store, ASHA, PHONE, "+911234567890")
    balus = keyring.create_subject(store, BALU).encrypt(NAME, "Balu Rao")
    indexed = keyring.blind_index(store, "phone", "+911234567890")
    for instance in (keyring, other, Keyring(kms)):
        assert instance.decrypt(store, ASHA, NAME, theirs) == b"Asha Patel"
        assert instance.decrypt(store, ASHA, PHONE, ours) == b"+911234567890"
        assert instance.decrypt(store, BALU, NAME, balus) == b"Balu Rao"
        assert instance.blind_index(store, "phone", "+911234567890") == indexed


def test_a_cached_key_of_a_rolled_back_row_does_not_hide_the_committed_one(
    keyring: Keyring, kms: Kms, store: Store
) -> None:
    rolled_back = store.copy()
    keyring.create_subject(rolled_back, ASHA)
    keyring.encrypt(rolled_back, ASHA, NAME, "never committed")
    theirs = Keyring(kms).create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    assert keyring.decrypt(store, ASHA, NAME, theirs) == b"Asha Patel"


# Shredding


def test_what_was_shredded_is_gone(keyring: Keyring, store: Store) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    keyring.shred(store, ASHA)
    with pytest.raises(Shredded):
        keyring.decrypt(store, ASHA, NAME, ciphertext)
    with pytest.raises(Shredded):
        keyring.encrypt(store, ASHA, NAME, "Asha Patel")
    keyring.create_subject(store, ASHA)
    with pytest.raises(Tampered):
        keyring.decrypt(store, ASHA, NAME, ciphertext)


def test_other_instances_refuse_to_encrypt_at_once_and_to_decrypt_after_the_lifetime(
    keyring: Keyring, kms: Kms, store: Store, time: Time
) -> None:
    other = Keyring(kms)
    ciphertext = other.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    other.decrypt(store, ASHA, NAME, ciphertext)
    keyring.shred(store, ASHA)
    assert other.decrypt(store, ASHA, NAME, ciphertext) == b"Asha Patel"
    time.advance(timedelta(minutes=5))
    with pytest.raises(Shredded):
        other.decrypt(store, ASHA, NAME, ciphertext)


def test_an_instance_that_sees_the_row_gone_forgets_the_key(keyring: Keyring, kms: Kms, store: Store) -> None:
    other = Keyring(kms)
    ciphertext = other.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    other.decrypt(store, ASHA, NAME, ciphertext)
    keyring.shred(store, ASHA)
    with pytest.raises(Shredded):
        other.encrypt(store, ASHA, NAME, "x")
    with pytest.raises(Shredded):
        other.decrypt(store, ASHA, NAME, ciphertext)


def test_a_key_being_read_while_it_is_shredded_is_not_kept(keyring: Keyring, kms: Kms, store: Store) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")

    class Interrupted(Store):
        def subject_key(self, subject_id: UUID) -> SubjectKey | None:
            row = super().subject_key(subject_id)
            keyring.shred(store, subject_id)
            return row

    keyring.decrypt(Interrupted(store.epochs, dict(store.subjects)), ASHA, NAME, ciphertext)
    with pytest.raises(Shredded):
        keyring.decrypt(store, ASHA, NAME, ciphertext)


def test_nobody_encrypts_for_a_subject_without_a_key(keyring: Keyring, kms: Kms, store: Store) -> None:
    with pytest.raises(Shredded):
        keyring.encrypt(store, ASHA, NAME, "Asha Patel")
    assert kms.calls == []
    assert store.subjects == {}


# Rotation


def test_an_epoch_key_moves_to_a_new_kms_version(keyring: Keyring, kms: Kms, store: Store) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    kms.rotate()
    assert keyring.rewrap_epoch(store, "2026-11")
    kms.versions[0] = AESGCM(bytes(32))
    assert Keyring(kms).decrypt(store, ASHA, NAME, ciphertext) == b"Asha Patel"
    assert keyring.decrypt(store, ASHA, NAME, ciphertext) == b"Asha Patel"


def test_rewrapping_loses_to_who_was_faster_and_to_nothing_there(keyring: Keyring, kms: Kms, store: Store) -> None:
    assert not keyring.rewrap_epoch(store, "2026-11")
    keyring.create_subject(store, ASHA)

    class Raced(Store):
        def replace_epoch_key(self, old: WrappedKey, new: WrappedKey) -> bool:
            self.epochs[old.name] = b"theirs"
            return super().replace_epoch_key(old, new)

    raced = Raced(store.epochs, store.subjects)
    assert not keyring.rewrap_epoch(raced, "2026-11")
    assert raced.epochs["2026-11"] == b"theirs"


def test_subject_keys_move_to_the_current_epoch_without_touching_a_field(
    keyring: Keyring, kms: Kms, store: Store, time: Time
) -> None:
    subjects = [UUID(int=number) for number in range(100, 105)]
    sealed = {who: keyring.create_subject(store, who).encrypt(NAME, str(who)) for who in subjects}
    with pytest.raises(ValueError, match="current"):
        keyring.rewrap_subjects(store, "2026-11")
    time.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert [keyring.rewrap_subjects(store, "2026-11", limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert {epoch for epoch, _ in store.subjects.values()} == {"2027-01"}
    del store.epochs["2026-11"]
    for who, ciphertext in sealed.items():
        assert Keyring(kms).decrypt(store, who, NAME, ciphertext) == str(who).encode()


def test_a_subject_shredded_while_keys_move_stays_shredded(
    keyring: Keyring, kms: Kms, store: Store, time: Time
) -> None:
    keyring.create_subject(store, ASHA)
    time.now = datetime(2027, 1, 1, tzinfo=UTC)

    class Raced(Store):
        def replace_subject_key(self, old: SubjectKey, new: SubjectKey) -> bool:
            keyring.shred(self, old.subject_id)
            return super().replace_subject_key(old, new)

    raced = Raced(store.epochs, store.subjects)
    keyring.rewrap_subjects(raced, "2026-11")
    assert raced.subjects == {}


# The blind index


@example(("pan", "ABCDE1234F"), ("panA", "BCDE1234F"))
@given(st.tuples(st.text(max_size=20), st.text(max_size=20)), st.tuples(st.text(max_size=20), st.text(max_size=20)))
def test_blind_indexes_are_equal_only_for_equal_input(one: tuple[str, str], other: tuple[str, str]) -> None:
    assume("\0" not in one[0] + other[0])
    keyring, store = Keyring(Kms()), Store()
    index = keyring.blind_index(store, *one)
    assert len(index) == 32
    assert (index == keyring.blind_index(store, *other)) == (one == other)


def test_blind_indexes_are_keyed_and_the_same_in_every_instance(keyring: Keyring, kms: Kms, store: Store) -> None:
    index = keyring.blind_index(store, "pan", "ABCDE1234F")
    assert list(store.epochs) == [BLIND_INDEX_KEY]
    assert Keyring(kms).blind_index(store, "pan", "ABCDE1234F") == index
    assert keyring.blind_index(Store(), "pan", "ABCDE1234F") == index, "the key offered before is offered again"
    assert Keyring(kms).blind_index(Store(), "pan", "ABCDE1234F") != index


def test_blind_indexes_survive_the_rotation_of_the_kms_key(keyring: Keyring, kms: Kms, store: Store) -> None:
    index = keyring.blind_index(store, "pan", "ABCDE1234F")
    kms.rotate()
    assert keyring.rewrap_epoch(store, BLIND_INDEX_KEY)
    assert Keyring(kms).blind_index(store, "pan", "ABCDE1234F") == index
