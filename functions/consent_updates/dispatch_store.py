"""Dispatches in SQL: whom of the processors somebody has to tell that a consent ended."""

import json
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session

from .ledger import Entry
from .schemas import ConsentDispatch, DispatchQuery, DispatchStatus

ADD = """INSERT INTO consent_dispatches
    (id, version, subject_id, sequence, record_id, purpose, reason, processor, due_at, created_at)
  SELECT d.id, 1, change.subject_id, d.sequence, d.record_id, d.purpose, d.reason, d.processor, d.due_at,
    :at::timestamptz
  FROM change, jsonb_to_recordset(:dispatches::jsonb)
    AS d (id uuid, sequence bigint, record_id uuid, purpose text, reason text, processor text, due_at timestamptz)"""
"""A part of the change that ends consents. `:dispatches` is what `rows` gives."""

SUPERSEDE = """UPDATE consent_dispatches d SET version = d.version + 1, superseded_at = :at::timestamptz
  FROM change, jsonb_to_recordset(:entries::jsonb) AS e (purpose text, state text)
  WHERE e.state = 'granted' AND d.subject_id = change.subject_id AND d.purpose = e.purpose
    AND d.acknowledged_at IS NULL AND d.superseded_at IS NULL"""
"""A part of the change that grants: nobody is to stop a processor that has consent again."""

_COLUMNS = """id, version, subject_id, record_id, purpose, reason, processor, due_at, created_at, acknowledged_at,
    acknowledged_by, superseded_at"""

_OPEN = "acknowledged_at IS NULL AND superseded_at IS NULL"
_OF_STATUS: dict[DispatchStatus, str] = {
    "open": _OPEN,
    "acknowledged": "acknowledged_at IS NOT NULL",
    "superseded": "superseded_at IS NOT NULL",
}

_ACKNOWLEDGE = f"""UPDATE consent_dispatches
  SET version = version + 1, acknowledged_at = :at, acknowledged_by = :by
  WHERE id = :id AND version = :version AND {_OPEN} RETURNING id"""


def rows(entries: Sequence[Entry], dispatches: Sequence[ConsentDispatch]) -> str:
    """Dispatches as the parameter of a statement, each with the place of its record."""
    sequences = {entry.id: entry.sequence for entry in entries}
    return json.dumps([{**one.model_dump(mode="json"), "sequence": sequences[one.record_id]} for one in dispatches])


def find(db: Session, dispatch_id: UUID) -> ConsentDispatch | None:
    row = db.one(f"SELECT {_COLUMNS} FROM consent_dispatches WHERE id = :id", id=dispatch_id)
    return _dispatch(row) if row else None


def page(db: Session, query: DispatchQuery, at: datetime, limit: int) -> list[ConsentDispatch]:
    """The `limit` first that fit the query, those that are due first before the others."""
    found = db.run(
        f"""SELECT {_COLUMNS} FROM consent_dispatches
            WHERE {_OF_STATUS[query.status]} AND (NOT :overdue OR due_at < :at)
              AND (:processor::text IS NULL OR processor = :processor::text)
              AND (:after::uuid IS NULL
                OR (due_at, id) > (SELECT due_at, id FROM consent_dispatches WHERE id = :after::uuid))
            ORDER BY due_at, id LIMIT :limit""",
        overdue=query.overdue,
        at=at,
        processor=query.processor,
        after=query.after_id(),
        limit=limit,
    )
    return [_dispatch(row) for row in found]


def overdue(db: Session, at: datetime) -> tuple[int, datetime | None]:
    """How many should have been acknowledged by now, and since when the first of them."""
    row = db.one(f"SELECT count(*), min(due_at) FROM consent_dispatches WHERE {_OPEN} AND due_at < :at", at=at)
    return (row[0], row[1]) if row else (0, None)


def acknowledge(dispatch: ConsentDispatch) -> Change:
    """The dispatch as acknowledged, provided that it still is open. `dispatch` is as it will be after it."""
    return Change(
        _ACKNOWLEDGE,
        {
            "id": dispatch.id,
            "version": dispatch.version - 1,
            "at": dispatch.acknowledged_at,
            "by": dispatch.acknowledged_by,
        },
    )


def _dispatch(row: Row) -> ConsentDispatch:
    return ConsentDispatch(
        id=row[0],
        version=row[1],
        principal_id=row[2],
        record_id=row[3],
        purpose=row[4],
        reason=row[5],
        processor=row[6],
        status="acknowledged" if row[9] else "superseded" if row[11] else "open",
        due_at=row[7],
        created_at=row[8],
        acknowledged_at=row[9],
        acknowledged_by=row[10],
        superseded_at=row[11],
    )
