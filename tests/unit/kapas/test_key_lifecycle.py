"""Keys over time: one KMS call per epoch key, rolled back rows, shredding, rotation."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kapas.errors import Unavailable
from kapas.platform.ports import Tampered
from kapas.privacy.keys import (
    Field,
    Keyring,
    Shredded,
    SubjectKey,
    WrappedKey,
    epoch_name,
)
from tests.times import PATIENCE, Time, moving_time
from tests.unit.kapas.fake_keys import Kms, Store

ASHA, BALU = UUID(int=1), UUID(int=2)
NAME = Field("partners", "contact_name", UUID(int=10))
PHONE = Field("partners", "phone", UUID(int=10))
NOVEMBER = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(NOVEMBER) as time:
        yield time


@pytest.fixture
def kms() -> Kms:
    return Kms()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def keyring(kms: Kms, time: Time) -> Keyring:
    return Keyring(kms)


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
    time.advance(seconds=1)
    keyring.create_subject(store, BALU)
    assert set(store.epochs) == {"2026-11", "2026-12"}
    assert [store.subjects[subject][0] for subject in (ASHA, BALU)] == ["2026-11", "2026-12"]


def test_unwrapped_keys_live_for_their_lifetime(keyring: Keyring, kms: Kms, store: Store, time: Time) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    kms.calls.clear()
    store.subject_reads = 0
    time.advance(minutes=5, microseconds=-1)
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    assert (kms.calls, store.subject_reads) == ([], 0)
    time.advance(microseconds=1)
    keyring.decrypt(store, ASHA, NAME, ciphertext)
    assert (kms.calls, store.subject_reads) == (["unwrap"], 1)


def test_a_clock_moved_back_does_not_lengthen_a_key_s_life(
    keyring: Keyring, kms: Kms, store: Store, time: Time
) -> None:
    ciphertext = keyring.create_subject(store, ASHA).encrypt(NAME, "Asha Patel")
    time.advance(days=-1)
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
        start.wait(PATIENCE)
        call(number)

    with ThreadPoolExecutor(count) as pool:
        return [future.exception(PATIENCE) for future in [pool.submit(run, number) for number in range(count)]]


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
    time.advance(minutes=5)
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
