"""Envelope encryption: what is sealed opens in its place only, and blind indexes tell equal values."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kapas.platform.ports import Tampered
from kapas.privacy.keys import BLIND_INDEX_KEY, Field, Keyring, SubjectCipher
from tests.times import Time, moving_time
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
