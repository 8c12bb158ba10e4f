"""Legal holds, and the rows and partners that they name, in SQL."""

from datetime import datetime
from typing import Any
from uuid import UUID

from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.data_map import Subject, Table, data_map

from . import places
from .row_names import parts_of
from .schemas import HeldRow, LegalHold

_HOLD = "id, subject_id, table_name, row_id, reason, placed_by, held_from, released_by, released_at"

_PLACE_HOLD = """INSERT INTO legal_holds (id, subject_id, table_name, row_id, reason, placed_by, held_from)
  VALUES (:id, :subject_id, :table_name, :row_id, :reason, :placed_by, :held_from) RETURNING id"""

_RELEASE = """UPDATE legal_holds SET released_by = :by, released_at = :at
  WHERE id = :id AND released_at IS NULL RETURNING id"""


def insert(hold: LegalHold) -> Change:
    parameters: dict[str, Any] = {
        "id": hold.id,
        "subject_id": hold.subject_id,
        "table_name": hold.row.table if hold.row else None,
        "row_id": hold.row.id if hold.row else None,
        "reason": hold.reason,
        "placed_by": hold.placed_by,
        "held_from": hold.held_from,
    }
    return Change(_PLACE_HOLD, parameters)


def release(db: Session, hold_id: UUID, by: str, at: datetime) -> bool:
    """End a hold; False if it has ended, or there is none."""
    return db.one(_RELEASE, id=hold_id, by=by, at=at) is not None


def find(db: Session, hold_id: UUID) -> LegalHold | None:
    row = db.one(f"SELECT {_HOLD} FROM legal_holds WHERE id = :id", id=hold_id)
    return _hold(row) if row else None


def page(db: Session, limit: int, after: UUID | None) -> list[LegalHold]:
    """The `limit` newest holds older than `after`."""
    rows = db.run(
        f"""SELECT {_HOLD} FROM legal_holds WHERE :after::uuid IS NULL OR id < :after::uuid
            ORDER BY id DESC LIMIT :limit""",
        after=after,
        limit=limit,
    )
    return [_hold(row) for row in rows]


def has_row(db: Session, table: Table, name: str) -> bool:
    """Whether the table has the row of this name, as `row_names.canonical` writes it."""
    key = " AND ".join(f"t.{column} = :key_{n}::text::{kind}" for n, (column, kind) in enumerate(table.key.items()))
    parts = {f"key_{n}": part for n, part in enumerate(parts_of(table, name))}
    return db.one(f"SELECT FROM {table.name} t WHERE {key}", **parts) is not None


def knows_subject(db: Session, subject_id: UUID) -> bool:
    """Whether there is such a partner, or a row about one that never registered. Looks only where an index leads to it."""
    tables = [data_map().tables[name] for name in ("partners", *places.tables())]
    has_rows = " OR ".join(
        f"EXISTS (SELECT FROM {table.name} t WHERE {_is(path)})"
        for table in tables
        if table.counted
        for path in table.subject
    )
    return db.one(f"SELECT WHERE {has_rows}", subject=subject_id) is not None


def _is(path: Subject) -> str:
    column = f"t.{path.column}"
    return f"{column} @> ARRAY[:subject::uuid]" if path.array else f"{column} = :subject::uuid"


def _hold(row: Row) -> LegalHold:
    return LegalHold(
        id=row[0],
        subject_id=row[1],
        row=HeldRow(table=row[2], id=row[3]) if row[2] is not None else None,
        reason=row[4],
        placed_by=row[5],
        held_from=row[6],
        released_by=row[7],
        released_at=row[8],
    )
