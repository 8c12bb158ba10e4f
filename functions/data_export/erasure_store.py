"""Erasures, and what the books keep of an erased partner, in SQL."""

import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from kapas.errors import Conflict
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.keys import Field

from .schemas import Erasure

_ERASURE = "id, version, partner_id, status, statement, certificate, created_at, updated_at, completed_at"

_INSERT_ERASURE = """INSERT INTO erasures
    (id, version, partner_id, status, requested_by, requested_role, created_at, updated_at)
  VALUES (:id, 1, :partner_id, 'in_progress', :requested_by, :requested_role, :at, :at) RETURNING id, partner_id"""

_RESTRICT = """INSERT INTO restrictions (subject_id, reason, restricted_at)
  SELECT partner_id, 'erasure', :at FROM change"""

_COMPLETE = """UPDATE erasures SET version = version + 1, status = 'completed', statement = :statement,
    certificate = :certificate, completed_at = :at, updated_at = :at
  WHERE id = :id AND version = :version AND status = 'in_progress' RETURNING id"""

_KEEP = """INSERT INTO statutory_records
    (table_name, column_name, row_id, erasure_id, partner_id, sealed, anchored_on)
  VALUES (:table_name, :column_name, :row_id, :erasure_id, :partner_id, :sealed, :anchored_on)
  ON CONFLICT DO NOTHING"""


def insert(erasure: Erasure, requested_by: str, requested_role: str, event: Event) -> Change:
    """The request, and the restriction of all processing in the same statement."""
    return Change(
        _INSERT_ERASURE,
        {
            "id": erasure.id,
            "partner_id": erasure.partner_id,
            "requested_by": requested_by,
            "requested_role": requested_role,
            "at": erasure.created_at,
        },
        events=(event,),
        also=(_RESTRICT,),
        conflicts={"erasures_once": Conflict("This partner's data has been or is being erased already")},
    )


def find(db: Session, erasure_id: UUID) -> Erasure | None:
    row = db.one(f"SELECT {_ERASURE} FROM erasures WHERE id = :id", id=erasure_id)
    return _erasure(row) if row else None


def page(db: Session, limit: int, after: UUID | None) -> list[Erasure]:
    """The `limit` newest erasures older than `after`."""
    rows = db.run(
        f"SELECT {_ERASURE} FROM erasures WHERE :after::uuid IS NULL OR id < :after::uuid ORDER BY id DESC LIMIT :limit",
        after=after,
        limit=limit,
    )
    return [_erasure(row) for row in rows]


def keep_plan(db: Session, erasure_id: UUID, plan: Mapping[str, int], at: datetime) -> dict[str, int]:
    """Keep the counts of the first run, taken before anything was erased; the counts that are kept."""
    db.run(
        "UPDATE erasures SET plan = :plan, updated_at = :at WHERE id = :id AND plan IS NULL",
        id=erasure_id,
        plan=json.dumps(plan),
        at=at,
    )
    row = db.one("SELECT plan FROM erasures WHERE id = :id", id=erasure_id)
    return row[0] if row else {}


def complete(erasure: Erasure, version: int, event: Event) -> Change:
    """The erasure is done, provided that nobody else has said so."""
    return Change(
        _COMPLETE,
        {
            "id": erasure.id,
            "version": version,
            "statement": erasure.statement.model_dump_json() if erasure.statement else None,
            "certificate": erasure.certificate,
            "at": erasure.completed_at,
        },
        events=(event,),
    )


def list_open(db: Session, before: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Erasures that were asked for before `before` and are not done: erasure and partner."""
    rows = db.run(
        """SELECT id, partner_id FROM erasures WHERE status = 'in_progress' AND updated_at < :before
           ORDER BY updated_at, id LIMIT :limit""",
        before=before,
        limit=limit,
    )
    return [(row[0], row[1]) for row in rows]


def keep_value(db: Session, erasure: Erasure, field: Field, sealed: bytes, anchored_on: datetime) -> None:
    """Keep a value that retained records need, encrypted anew; nothing if it is kept already. `field` is where it was."""
    db.run(
        _KEEP,
        table_name=field.table,
        column_name=field.column,
        row_id=field.row,
        erasure_id=erasure.id,
        partner_id=erasure.partner_id,
        sealed=sealed,
        anchored_on=anchored_on,
    )


def _erasure(row: Row) -> Erasure:
    return Erasure(
        id=row[0],
        version=row[1],
        partner_id=row[2],
        status=row[3],
        statement=row[4],
        certificate=row[5],
        created_at=row[6],
        updated_at=row[7],
        completed_at=row[8],
    )
