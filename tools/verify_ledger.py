"""Verify every consent ledger of the database of `DATABASE_URL` (`make verify-ledger`).

Recomputes each chain of hashes, verifies each receipt's signature, and compares the records with the events that told of
them and with where each purpose stands. Prints the first fault of each broken ledger; exits 1 if there is one.

`--key FILE` names a public key in PEM that receipts may be signed with, as it was read from Cloud KMS, and may be
repeated. Without it the keys kept beside the ledger are trusted, which whoever may write there could have replaced.

The role of `DATABASE_URL` must be able to read the consent tables, `outbox` and `audit_log`.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from functions.consent_updates import receipts, store
from functions.consent_updates.ledger import Entry, Fault, Head, first_fault
from kapas.platform.db import PLATFORM, Row, Session
from kapas.platform.settings import DatabaseSettings
from kapas.privacy import signing
from tools.database import FAILURES, opened

PAGE = 500
"""Ledgers whose heads are read at once."""

_HEADS = """SELECT id, subject_id, sequence, head_hash, updated_at FROM consent_ledgers
  WHERE :after::uuid IS NULL OR subject_id > :after::uuid ORDER BY subject_id LIMIT :limit"""

_RECEIPTS = """SELECT decision_id, first_sequence, last_sequence, key_id, signature FROM consent_receipts
  WHERE subject_id = :subject_id ORDER BY first_sequence, decision_id"""

# What left the ledger: an event of a record is kept in two tables that the ledger's role cannot change.
_EVENTS = """SELECT sequence, data->>'record_hash' FROM outbox WHERE subject = :ledger_id
  UNION SELECT sequence, data->>'record_hash' FROM audit_log WHERE subject = :ledger_id ORDER BY 1, 2"""

_STATES = """SELECT purpose, sequence, state, valid_until FROM consent_states WHERE subject_id = :subject_id
  ORDER BY purpose"""

_GONE = """SELECT l.id, l.subject_id FROM (
    SELECT subject AS id, partner_ids[1] AS subject_id FROM audit_log WHERE type LIKE 'consent.%'
    UNION SELECT subject, partner_ids[1] FROM outbox WHERE type LIKE 'consent.%') AS l
  WHERE NOT EXISTS (SELECT FROM consent_ledgers c WHERE c.id = l.id) ORDER BY l.id"""


@dataclass(frozen=True, slots=True)
class Broken:
    """A ledger that is not what was written."""

    ledger_id: UUID
    subject_id: UUID
    fault: Fault

    def __str__(self) -> str:
        fault = self.fault
        return f"ledger {self.ledger_id} of {self.subject_id}: record {fault.sequence} {fault.kind}: {fault.detail}"


def verify(db: Session, keys: Mapping[str, str]) -> Iterator[Broken | Head]:
    """Each ledger in turn: its head if it is whole, else what is broken. `keys` are the trusted ones by their id."""
    after: UUID | None = None
    while heads := db.run(_HEADS, after=after, limit=PAGE):
        for row in heads:
            yield verify_one(db, _head(row), keys)
        after = heads[-1][1]
    for ledger_id, subject_id in db.run(_GONE):
        yield Broken(ledger_id, subject_id, Fault(1, "deleted", "events tell of it, and the whole ledger is gone"))


def verify_one(db: Session, head: Head, keys: Mapping[str, str]) -> Broken | Head:
    """One ledger: `head` if it is whole, else its first fault."""
    entries = store.chain(db, head.subject_id)
    broken = first_fault(head, entries)
    # A receipt is over several records: behind a broken one it cannot hold, and would hide which one it is.
    sound = entries if broken is None else entries[: broken.sequence - 1]
    found = [
        broken,
        _unsigned(sound, db.run(_RECEIPTS, subject_id=head.subject_id), keys),
        _unlike_its_event(entries, db.run(_EVENTS, ledger_id=head.ledger_id)),
        None if broken else _misstated(entries, db.run(_STATES, subject_id=head.subject_id)),
    ]
    first = min((fault for fault in found if fault is not None), key=lambda fault: fault.sequence, default=None)
    return head if first is None else Broken(head.ledger_id, head.subject_id, first)


def _unsigned(entries: Sequence[Entry], kept: Iterable[Row], keys: Mapping[str, str]) -> Fault | None:
    """The first record whose receipt is missing or does not hold."""
    signed = 0
    for decision_id, first, last, key_id, signature in kept:
        if signed >= len(entries):
            break
        if first > signed + 1:
            break
        covered = entries[first - 1 : last]
        alien = next((entry for entry in covered if entry.decision_id != decision_id), None)
        if alien is not None:
            return Fault(alien.sequence, "inserted", "it is of another decision than its receipt")
        signed = last
        if last > len(entries):
            break
        if key_id not in keys:
            return Fault(first, "edited", "its receipt is signed with a key that is not trusted")
        if not signing.is_signed(receipts.signing_input(covered, key_id), bytes(signature), keys[key_id]):
            return Fault(first, "edited", "the signature of its receipt does not hold")
    return Fault(signed + 1, "inserted", "no receipt is over it") if signed < len(entries) else None


def _unlike_its_event(entries: Sequence[Entry], events: Iterable[Row]) -> Fault | None:
    """The first record that is not the one an event told of. Events may be gone already, their retention being shorter."""
    for sequence, record_hash in events:
        if sequence > len(entries):
            return Fault(sequence, "deleted", "an event tells of it, and it is gone")
        if entries[sequence - 1].hash.hex() != record_hash:
            return Fault(sequence, "edited", "it is not the record that its event tells of")
    return None


def _misstated(entries: Sequence[Entry], states: Sequence[Row]) -> Fault | None:
    """The first purpose that does not stand where its last record says."""
    last = {entry.purpose: entry for entry in entries}
    stated = {row[0]: tuple(row[1:]) for row in states}
    for purpose in sorted({*last, *stated}):
        entry = last.get(purpose)
        written = None if entry is None else (entry.sequence, entry.state, entry.valid_until)
        if stated.get(purpose) != written:
            sequence = entry.sequence if entry else len(entries) + 1
            return Fault(sequence, "edited", f"{purpose} does not stand where its last record says")
    return None


def stored_keys(db: Session) -> dict[str, str]:
    """The keys that are kept beside the ledger, by their id."""
    return by_id(store.public_keys(db))


def by_id(public_keys: Iterable[str]) -> dict[str, str]:
    """Public keys in PEM by their id."""
    return {signing.key_id(public_key): public_key for public_key in public_keys}


def _head(row: Row) -> Head:
    return Head(row[0], row[1], row[2], bytes(row[3]), row[4])


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Verify, and print what is broken; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify_ledger", description=__doc__)
    parser.add_argument("--key", type=Path, action="append", default=[], help="a public key in PEM to trust")
    pinned = parser.parse_args(arguments).key
    try:
        with (
            opened("verify-ledger", environment, DatabaseSettings) as (_, database),
            database.session(PLATFORM) as db,
            db.transaction(),
        ):
            # One moment for all statements: what is decided meanwhile must not look like a fault.
            db.command("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            keys = by_id(path.read_text() for path in pinned) if pinned else stored_keys(db)
            return _report(verify(db, keys))
    except FAILURES as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 2


def _report(verified: Iterable[Broken | Head]) -> int:
    whole = records = broken = 0
    for one in verified:
        if isinstance(one, Broken):
            print(one)
            broken += 1
        else:
            whole += 1
            records += one.sequence
    print(f"{whole} ledgers with {records} records are whole, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
