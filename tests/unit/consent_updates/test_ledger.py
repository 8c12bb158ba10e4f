"""A chain of records: whatever is done to it afterwards is found, where it was done."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.consent_updates.ledger import Entry, first_fault, record
from functions.consent_updates.schemas import NoticeReference
from kapas.privacy.signing import canonical
from tests.unit.consent_updates.samples import chain, hashed

CHANGES: dict[str, Callable[[Entry], object]] = {
    "ledger_id": lambda _: UUID(int=7),
    "subject_id": lambda _: UUID(int=7),
    "id": lambda _: UUID(int=7_000),
    "decision_id": lambda _: UUID(int=7),
    "purpose": lambda entry: "marketing" if entry.purpose != "marketing" else "analytics",
    "state": lambda entry: "denied",
    "notice": lambda _: NoticeReference(version="2026-11-02", language="hi", sha256="1" * 64),
    "terms": lambda entry: {**entry.terms, "recipients": []},
    "actor": lambda _: b"another",
    "comment": lambda _: b"",
    "decided_at": lambda entry: entry.decided_at + timedelta(microseconds=1),
    "valid_until": lambda entry: entry.decided_at + timedelta(days=3650),
    "previous_hash": lambda entry: entry.hash,
    "schema_version": lambda _: "0",
    "hash": lambda entry: entry.previous_hash,
}
lengths = st.integers(2, 9)


@st.composite
def places(draw: st.DrawFn, count: int = 1) -> tuple[int, list[int]]:
    """The length of a chain, and `count` different sequences in it, in order."""
    length = draw(lengths)
    return length, sorted(draw(st.lists(st.integers(1, length), min_size=count, max_size=count, unique=True)))


@given(st.integers(0, 9))
def test_what_was_written_is_whole(length: int) -> None:
    assert first_fault(*chain(length)) is None


def test_every_field_is_covered() -> None:
    assert CHANGES.keys() == {field.name for field in fields(Entry)} - {"sequence"}


@pytest.mark.parametrize("field", CHANGES)
@given(places())
def test_an_edited_field_is_found_where_it_is(field: str, place: tuple[int, list[int]]) -> None:
    length, [at] = place
    head, entries = chain(length)
    entry = entries[at - 1]
    entries[at - 1] = replace(entry, **{field: CHANGES[field](entry)})
    fault = first_fault(head, entries)
    assert fault is not None
    assert (fault.sequence, fault.kind) == (at, "edited")


@given(places())
def test_an_edited_record_with_a_new_hash_breaks_the_link_after_it(place: tuple[int, list[int]]) -> None:
    length, [at] = place
    head, entries = chain(length)
    entries[at - 1] = hashed(replace(entries[at - 1], actor=b"another"))
    fault = first_fault(head, entries)
    assert fault is not None
    assert (fault.sequence, fault.kind) == ((at + 1, "inserted") if at < length else (at, "edited"))


@given(places())
def test_a_deleted_record_is_found_where_it_is(place: tuple[int, list[int]]) -> None:
    length, [at] = place
    head, entries = chain(length)
    del entries[at - 1]
    fault = first_fault(head, entries)
    assert fault is not None
    assert (fault.sequence, fault.kind) == (at, "deleted")


@given(places(2))
def test_two_swapped_records_are_found_where_they_are(place: tuple[int, list[int]]) -> None:
    length, [one, other] = place
    head, entries = chain(length)
    first, second = entries[one - 1], entries[other - 1]
    entries[one - 1], entries[other - 1] = replace(second, sequence=one), replace(first, sequence=other)
    fault = first_fault(head, entries)
    assert fault is not None
    assert (fault.sequence, fault.kind) == (one, "swapped")
    assert fault.detail == f"what is there was written as record {other}"


@given(places())
def test_a_record_inserted_before_another(place: tuple[int, list[int]]) -> None:
    length, [at] = place
    head, entries = chain(length)
    new = hashed(replace(entries[at - 1], id=UUID(int=99), actor=b"mallory"))
    later = [replace(entry, sequence=entry.sequence + 1) for entry in entries[at - 1 :]]
    fault = first_fault(head, [*entries[: at - 1], new, *later])
    assert fault is not None
    assert (fault.sequence, fault.kind) == (at + 1, "swapped")


def test_a_record_inserted_at_the_end() -> None:
    head, entries = chain(3)
    new = hashed(replace(entries[-1], sequence=4, previous_hash=entries[-1].hash))
    fault = first_fault(head, [*entries, new])
    assert fault is not None
    assert (fault.sequence, fault.kind) == (4, "inserted")


@given(places(2))
def test_a_second_record_under_one_sequence_or_after_one_record(place: tuple[int, list[int]]) -> None:
    length, [one, other] = place
    head, entries = chain(length)
    twice = hashed(replace(entries[one - 1], actor=b"mallory"))
    fault = first_fault(head, [*entries[:one], twice, *entries[one:]])
    assert fault is not None
    assert (fault.sequence, fault.kind) == (one, "forked")
    entries[other - 1] = hashed(replace(entries[other - 1], previous_hash=entries[one - 1].previous_hash))
    fault = first_fault(head, entries)
    assert fault is not None
    assert (fault.sequence, fault.kind) == (other, "forked")


def test_a_chain_of_another_principal() -> None:
    head, entries = chain(2)
    fault = first_fault(replace(head, subject_id=UUID(int=7)), entries)
    assert fault is not None
    assert (fault.sequence, fault.kind) == (1, "inserted")


def test_a_head_that_is_not_the_last_record_s() -> None:
    head, entries = chain(2)
    fault = first_fault(replace(head, hash=bytes(32)), entries)
    assert fault is not None
    assert (fault.sequence, fault.kind) == (2, "edited")


def test_the_fields_of_the_standard_are_in_the_record() -> None:
    head, entries = chain(1)
    assert head.sequence == 1
    assert record(entries[0]).keys() >= {
        *("schema_version", "record_id", "principal_id", "notice", "language", "purpose"),
        *("event_time", "valid_until", "entity", "type", "state", "recipients", "jurisdiction"),
    }


def test_canonical_json_of_the_scheme_s_example() -> None:
    # RFC 8785 section 3.2.2, without its floats.
    value = {"string": '€$\x0f\nA\'B"\\\\"/', "literals": [None, True, False], "a": 1}
    expected = '{"a":1,"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical(value).decode() == expected
