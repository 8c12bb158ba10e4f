"""The ledger of one principal: records linked by their hashes, and how to find where such a chain is broken.

A record's hash covers all of its fields, those that are kept encrypted as ciphertext, and the hash of the record before
it. So the chain still verifies after the principal's key was shredded.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from kapas.privacy.signing import digest
from kapas.values.clock import rfc3339

from .schemas import Decision, NoticeReference, Purpose

SCHEMA_VERSION = "kapas-consent-1; ISO/IEC TS 27560:2023"
CONSENT_TYPE = "explicit"

FaultKind = Literal["edited", "deleted", "inserted", "swapped", "forked"]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain, as it is kept apart from the records."""

    ledger_id: UUID
    subject_id: UUID
    sequence: int
    hash: bytes
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it is stored. All of it but `hash` is hashed."""

    ledger_id: UUID
    subject_id: UUID
    sequence: int
    id: UUID
    decision_id: UUID
    purpose: Purpose
    state: Decision
    notice: NoticeReference
    terms: dict[str, Any]
    actor: bytes
    """Who decided: ciphertext."""
    comment: bytes | None
    """What they said of it: ciphertext."""
    decided_at: datetime
    valid_until: datetime | None
    previous_hash: bytes
    schema_version: str = SCHEMA_VERSION
    hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where a ledger is not what was written."""

    sequence: int
    kind: FaultKind
    detail: str


def genesis(ledger_id: UUID, subject_id: UUID) -> bytes:
    """What the first record of a ledger has as the hash before it: it binds the chain to its principal."""
    return digest({"ledger_id": str(ledger_id), "principal_id": str(subject_id)})


def record(entry: Entry) -> dict[str, Any]:
    """The record as it is hashed and signed: the fields of ISO/IEC TS 27560:2023, of strings and integers only."""
    return {
        "schema_version": entry.schema_version,
        "record_id": str(entry.id),
        "principal_id": str(entry.subject_id),
        "ledger_id": str(entry.ledger_id),
        "sequence": entry.sequence,
        "decision_id": str(entry.decision_id),
        "notice": {"version": entry.notice.version, "sha256": entry.notice.sha256},
        "language": entry.notice.language,
        "purpose": entry.purpose,
        "event_time": rfc3339(entry.decided_at),
        "valid_until": None if entry.valid_until is None else rfc3339(entry.valid_until),
        "entity": _base64(entry.actor),
        "comment": None if entry.comment is None else _base64(entry.comment),
        "type": CONSENT_TYPE,
        "state": entry.state,
        "previous_hash": entry.previous_hash.hex(),
        **entry.terms,
    }


def hash_of(entry: Entry) -> bytes:
    """The hash that the record should have: SHA-256 over its canonical JSON."""
    return digest(record(entry))


def first_fault(head: Head, entries: Sequence[Entry]) -> Fault | None:
    """Where the chain first is not what was written, None if it is whole. `entries` are in the order of sequence."""
    previous = genesis(head.ledger_id, head.subject_id)
    followed: dict[bytes, int] = {}
    """Hash of a record -> the sequence of the one that follows it."""
    for position, entry in enumerate(entries, start=1):
        fault = _fault(entry, position, previous, followed, len(entries))
        if fault is not None:
            return fault
        followed[previous] = entry.sequence
        previous = entry.hash
    last = len(entries)
    if head.sequence > last:
        return Fault(last + 1, "deleted", f"the ledger ends with record {head.sequence}, and {last + 1} is missing")
    if head.sequence < last:
        return Fault(head.sequence + 1, "inserted", f"the ledger ends with record {head.sequence}, and more follow")
    if head.hash != previous:
        return Fault(last, "edited", "the ledger's head is not the hash of its last record")
    return None


def _fault(entry: Entry, position: int, previous: bytes, followed: dict[bytes, int], count: int) -> Fault | None:
    if entry.sequence < position:
        return Fault(entry.sequence, "forked", f"there are two records {entry.sequence}")
    if entry.sequence > position:
        return Fault(position, "deleted", f"record {position} is missing")
    if hash_of(entry) != entry.hash:
        written = _written_as(entry, count)
        if written is not None:
            return Fault(position, "swapped", f"what is there was written as record {written}")
        return Fault(position, "edited", "its fields do not have its hash")
    if entry.previous_hash in followed:
        other = followed[entry.previous_hash]
        return Fault(position, "forked", f"it follows the same record as record {other}")
    if entry.previous_hash != previous:
        return Fault(position, "inserted", f"it does not follow record {position - 1}")
    return None


def _written_as(entry: Entry, count: int) -> int | None:
    """The sequence under which the entry has its hash."""
    others = range(1, count + 1)
    return next((n for n in others if hash_of(replace(entry, sequence=n)) == entry.hash), None)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
