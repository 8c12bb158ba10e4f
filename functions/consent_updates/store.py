"""The consent ledger in SQL. The function's role may append to it, and change no record.

Row level security decides which rows a session sees.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.keys import Field
from kapas.values.clock import rfc3339

from . import dispatch_store
from .ledger import Entry, Head
from .schemas import ConsentDispatch, NoticeReference, Purpose

_HEAD = "SELECT id, subject_id, sequence, head_hash, updated_at FROM consent_ledgers WHERE subject_id = :subject_id"

_OPEN = """INSERT INTO consent_ledgers (subject_id, id, sequence, head_hash, created_at, updated_at)
  VALUES (:subject_id, :id, 0, :head_hash, :at, :at) ON CONFLICT (subject_id) DO NOTHING"""

_ENTRY = """SELECT l.id, e.subject_id, e.sequence, e.id, e.decision_id, e.purpose, e.state, e.notice_version,
    e.notice_language, e.notice_sha256, e.terms, e.actor, e.comment, e.decided_at, e.valid_until, e.previous_hash,
    e.schema_version, e.hash
  FROM consent_entries e JOIN consent_ledgers l USING (subject_id)"""

_ADVANCE = """UPDATE consent_ledgers SET sequence = :sequence, head_hash = :hash, updated_at = :at
  WHERE subject_id = :subject_id AND sequence = :expected AND head_hash = :previous_hash RETURNING subject_id"""

_KEEP_KEY = """INSERT INTO receipt_keys (id, public_key, created_at)
  SELECT :key_id, :public_key, :at::timestamptz FROM change ON CONFLICT (id) DO NOTHING"""

_KEEP_RECEIPT = """INSERT INTO consent_receipts
    (decision_id, subject_id, first_sequence, last_sequence, key_id, signature, created_at)
  SELECT :decision_id::uuid, subject_id, :expected::bigint + 1, :sequence::bigint, :key_id, :signature::bytea,
    :at::timestamptz
  FROM change"""

_APPEND = """INSERT INTO consent_entries (subject_id, sequence, id, decision_id, schema_version, purpose, state,
    notice_version, notice_language, notice_sha256, terms, actor, comment, decided_at, valid_until, previous_hash, hash)
  SELECT change.subject_id, e.sequence, e.id, :decision_id::uuid, e.schema_version, e.purpose, e.state, e.version,
    e.language, e.sha256, e.terms, decode(e.actor, 'hex'), decode(e.comment, 'hex'), :at::timestamptz, e.valid_until,
    decode(e.previous_hash, 'hex'), decode(e.hash, 'hex')
  FROM change, jsonb_to_recordset(:entries::jsonb) AS e (sequence bigint, id uuid, schema_version text, purpose text,
    state text, version text, language text, sha256 text, terms jsonb, actor text, comment text,
    valid_until timestamptz, previous_hash text, hash text)"""

_KEEP_STATES = """INSERT INTO consent_states (subject_id, purpose, sequence, state, valid_until)
  SELECT change.subject_id, e.purpose, e.sequence, e.state, e.valid_until
  FROM change, jsonb_to_recordset(:entries::jsonb)
    AS e (purpose text, sequence bigint, state text, valid_until timestamptz)
  ON CONFLICT (subject_id, purpose) DO UPDATE
    SET sequence = excluded.sequence, state = excluded.state, valid_until = excluded.valid_until, ended_at = NULL"""

# Whoever decides holds the ledger: of a decision and an end at the same moment the second sees the first.
_END = """UPDATE consent_states SET ended_at = :at
  WHERE subject_id = (SELECT subject_id FROM consent_ledgers WHERE subject_id = :subject_id FOR UPDATE)
    AND purpose = :purpose AND sequence = :sequence AND ended_at IS NULL RETURNING subject_id"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is kept of the receipt over some consecutive records: all of a decision's."""

    decision_id: UUID
    first_sequence: int
    last_sequence: int
    key_id: str
    public_key: str
    signature: bytes


def actor_field(record_id: UUID) -> Field:
    """Where a record's decider is stored encrypted."""
    return Field("consent_entries", "actor", record_id)


def comment_field(record_id: UUID) -> Field:
    """Where a record's comment is stored encrypted."""
    return Field("consent_entries", "comment", record_id)


# The ledger


def lock(db: Session, new: Head) -> Head:
    """The end of the principal's chain, locked until the transaction ends; the `new` one if there is none yet."""
    statement = f"{_HEAD} FOR UPDATE"
    row = db.one(statement, subject_id=new.subject_id)
    if row is None:
        db.run(_OPEN, subject_id=new.subject_id, id=new.ledger_id, head_hash=new.hash, at=new.updated_at)
        row = db.one(statement, subject_id=new.subject_id)
    return new if row is None else _head(row)


def append(
    head: Head,
    entries: Sequence[Entry],
    receipt: Receipt,
    dispatches: Sequence[ConsentDispatch],
    events: tuple[Event, ...],
) -> Change:
    """The records of one decision at the end of the chain, provided that it still ends with `head`."""
    last = entries[-1]
    return Change(
        _ADVANCE,
        {
            "subject_id": head.subject_id,
            "expected": head.sequence,
            "previous_hash": head.hash,
            "sequence": last.sequence,
            "hash": last.hash,
            "at": last.decided_at,
            "decision_id": receipt.decision_id,
            "key_id": receipt.key_id,
            "public_key": receipt.public_key,
            "signature": receipt.signature,
            "entries": json.dumps([_columns(entry) for entry in entries]),
            "dispatches": dispatch_store.rows(entries, dispatches),
        },
        events=events,
        also=(_KEEP_KEY, _KEEP_RECEIPT, _APPEND, _KEEP_STATES, dispatch_store.ADD, dispatch_store.SUPERSEDE),
    )


def latest(db: Session, subject_id: UUID) -> list[Entry]:
    """The last record of each purpose, by purpose."""
    rows = db.run(
        f"""{_ENTRY} JOIN consent_states s ON s.subject_id = e.subject_id AND s.sequence = e.sequence
            WHERE e.subject_id = :subject_id ORDER BY e.purpose""",
        subject_id=subject_id,
    )
    return [_entry(row) for row in rows]


def notified_purposes(db: Session, subject_id: UUID) -> set[Purpose]:
    """The purposes whose last grant ended without a decision: their processors are notified already."""
    rows = db.run(
        "SELECT purpose FROM consent_states WHERE subject_id = :subject_id AND ended_at IS NOT NULL ORDER BY purpose",
        subject_id=subject_id,
    )
    return {row[0] for row in rows}


def restricted_at(db: Session, subject_id: UUID) -> datetime | None:
    """Since when the subject's data is restricted: no consent of it is in force any more."""
    row = db.one("SELECT restricted_at FROM restrictions WHERE subject_id = :subject_id", subject_id=subject_id)
    return row[0] if row else None


def latest_at(db: Session, subject_id: UUID, at: datetime) -> list[Entry]:
    """The last record of each purpose up to `at`, by purpose."""
    rows = db.run(
        f"""{_ENTRY} WHERE e.subject_id = :subject_id AND e.sequence = (
              SELECT max(sequence) FROM consent_entries o
              WHERE o.subject_id = e.subject_id AND o.purpose = e.purpose AND o.decided_at <= :at)
            ORDER BY e.purpose""",
        subject_id=subject_id,
        at=at,
    )
    return [_entry(row) for row in rows]


def page(db: Session, subject_id: UUID, limit: int, after: UUID | None) -> list[Entry]:
    """The `limit` last records before the record `after`, the newest first."""
    rows = db.run(
        f"""{_ENTRY} WHERE e.subject_id = :subject_id AND (:after::uuid IS NULL OR e.sequence < (
              SELECT sequence FROM consent_entries WHERE subject_id = :subject_id AND id = :after::uuid))
            ORDER BY e.sequence DESC LIMIT :limit""",
        subject_id=subject_id,
        after=after,
        limit=limit,
    )
    return [_entry(row) for row in rows]


def chain(db: Session, subject_id: UUID) -> list[Entry]:
    """Every record of a ledger, in its order."""
    rows = db.run(f"{_ENTRY} WHERE e.subject_id = :subject_id ORDER BY e.sequence, e.id", subject_id=subject_id)
    return [_entry(row) for row in rows]


# Ends without a decision


def expired(db: Session, at: datetime, limit: int) -> list[Entry]:
    """The `limit` grants whose year was over first by `at`, of which their processors do not know."""
    return _ended(db, "s.valid_until <= :at", at=at, limit=limit)


def restricted(db: Session, limit: int) -> list[Entry]:
    """`limit` grants of those whose data is restricted, of which their processors do not know."""
    return _ended(db, "s.subject_id IN (SELECT subject_id FROM restrictions)", limit=limit)


def end(entry: Entry, dispatches: Sequence[ConsentDispatch], events: tuple[Event, ...], at: datetime) -> Change:
    """The end of a grant, provided that it is the last word on its purpose and nobody was told before."""
    return Change(
        _END,
        {
            "subject_id": entry.subject_id,
            "purpose": entry.purpose,
            "sequence": entry.sequence,
            "at": at,
            "dispatches": dispatch_store.rows([entry], dispatches),
        },
        events=events,
        also=(dispatch_store.ADD,),
    )


def _ended(db: Session, condition: str, **parameters: Any) -> list[Entry]:
    rows = db.run(
        f"""{_ENTRY} JOIN consent_states s ON s.subject_id = e.subject_id AND s.sequence = e.sequence
            WHERE s.state = 'granted' AND s.ended_at IS NULL AND {condition}
            ORDER BY s.valid_until, s.subject_id, s.purpose LIMIT :limit""",
        **parameters,
    )
    return [_entry(row) for row in rows]


# Receipts


def receipt(db: Session, subject_id: UUID, decision_id: UUID) -> tuple[Receipt, list[Entry]] | None:
    """The receipt of a decision of the subject's, and the records it is over."""
    row = db.one(
        """SELECT r.decision_id, r.first_sequence, r.last_sequence, r.key_id, k.public_key, r.signature
           FROM consent_receipts r JOIN receipt_keys k ON k.id = r.key_id
           WHERE r.decision_id = :id AND r.subject_id = :subject_id""",
        id=decision_id,
        subject_id=subject_id,
    )
    if row is None:
        return None
    rows = db.run(f"{_ENTRY} WHERE e.decision_id = :id ORDER BY e.sequence", id=decision_id)
    return Receipt(row[0], row[1], row[2], row[3], row[4], bytes(row[5])), [_entry(entry) for entry in rows]


def public_keys(db: Session) -> list[str]:
    """The public keys of all receipts, oldest first."""
    return [row[0] for row in db.run("SELECT public_key FROM receipt_keys ORDER BY created_at, id")]


def _columns(entry: Entry) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "id": str(entry.id),
        "schema_version": entry.schema_version,
        "purpose": entry.purpose,
        "state": entry.state,
        **entry.notice.model_dump(),
        "terms": entry.terms,
        "actor": entry.actor.hex(),
        "comment": None if entry.comment is None else entry.comment.hex(),
        "valid_until": None if entry.valid_until is None else rfc3339(entry.valid_until),
        "previous_hash": entry.previous_hash.hex(),
        "hash": entry.hash.hex(),
    }


def _head(row: Row) -> Head:
    return Head(row[0], row[1], row[2], bytes(row[3]), row[4])


def _entry(row: Row) -> Entry:
    return Entry(
        ledger_id=row[0],
        subject_id=row[1],
        sequence=row[2],
        id=row[3],
        decision_id=row[4],
        purpose=row[5],
        state=row[6],
        # A stored reference is shown as it is, also one that was tampered with.
        notice=NoticeReference.model_construct(version=row[7], language=row[8], sha256=row[9]),
        terms=row[10],
        actor=bytes(row[11]),
        comment=None if row[12] is None else bytes(row[12]),
        decided_at=row[13],
        valid_until=row[14],
        previous_hash=bytes(row[15]),
        schema_version=row[16],
        hash=bytes(row[17]),
    )
