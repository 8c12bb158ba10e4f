"""Exports and their shards in SQL. Row level security decides which rows a session sees."""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kapas.errors import Conflict
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.legal_holds import of_row
from kapas.privacy.restrictions import UNRESTRICTED

from .archive import Part
from .schemas import Export, ExportFailure
from .shards import Range, Written, path

_EXPORT = """id, version, partner_id, status, failure, record_count, size_bytes, sha256, ready_at, expires_at, created_at,
  updated_at"""

_INSERT_EXPORT = """INSERT INTO exports
    (id, version, partner_id, status, requested_by, requested_role, attempt, created_at, updated_at)
  VALUES (:id, 1, :partner_id, 'preparing', :requested_by, :requested_role, 0, :at, :at) RETURNING id"""

_LINK = "UPDATE exports SET version = version + 1, updated_at = :at WHERE id = :id AND version = :version RETURNING id"

# An erasure may have begun meanwhile: then the archive must not appear. It waits for this row, and this statement for it.
_READY = f"""UPDATE exports SET version = version + 1, status = 'ready', ready_at = :at, expires_at = :expires_at,
    size_bytes = :size_bytes, sha256 = :sha256, record_count = :record_count, updated_at = :at
  WHERE id = :id AND version = :version AND status = 'preparing'
    AND {UNRESTRICTED.format("exports.partner_id")}
  RETURNING id"""

_FAIL = """UPDATE exports SET version = version + 1, status = 'failed', failure = :failure, updated_at = :at
  WHERE id = :id AND version = :version AND status = 'preparing' RETURNING id"""

_STUCK = """SELECT e.id, e.attempt, e.partner_id FROM exports e
  WHERE e.status = 'preparing'
    AND greatest(e.updated_at, (SELECT max(s.done_at) FROM export_shards s WHERE s.export_id = e.id)) < :before
  ORDER BY e.updated_at, e.id LIMIT :limit"""

_HELD = f"EXISTS (SELECT FROM legal_holds h WHERE {of_row('exports', ['id'], 'e')})"
"""That a legal hold keeps the row of the export, with its archive."""

_ADD_SHARDS = """WITH planned AS (
    UPDATE exports SET planned_at = :at, updated_at = :at
    WHERE id = :export_id AND status = 'preparing' AND planned_at IS NULL RETURNING id)
  INSERT INTO export_shards (export_id, number, partner_id, table_name, lower_key, upper_key, planned)
  SELECT planned.id, s.number, :partner_id::uuid, s.table_name, s.lower_key, s.upper_key, s.planned FROM planned,
    jsonb_to_recordset(:shards::jsonb)
      AS s (number integer, table_name text, lower_key jsonb, upper_key jsonb, planned bigint)"""


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as planned; `part` once it is done."""

    number: int
    rows: Range
    part: Part | None


def is_registered(db: Session, partner_id: UUID) -> bool:
    return db.one("SELECT FROM partners WHERE id = :id", id=partner_id) is not None


# Exports


def insert_export(export: Export, requested_by: str, requested_role: str, event: Event) -> Change:
    return Change(
        _INSERT_EXPORT,
        {
            "id": export.id,
            "partner_id": export.partner_id,
            "requested_by": requested_by,
            "requested_role": requested_role,
            "at": export.created_at,
        },
        events=(event,),
        conflicts={"exports_preparing": Conflict("An archive for this partner is already being prepared")},
    )


def find_export(db: Session, export_id: UUID) -> Export | None:
    row = db.one(f"SELECT {_EXPORT} FROM exports WHERE id = :id", id=export_id)
    return _export(row) if row else None


def export_page(db: Session, limit: int, after: UUID | None) -> list[Export]:
    """The `limit` newest exports older than `after`."""
    rows = db.run(
        f"SELECT {_EXPORT} FROM exports WHERE :after::uuid IS NULL OR id < :after::uuid ORDER BY id DESC LIMIT :limit",
        after=after,
        limit=limit,
    )
    return [_export(row) for row in rows]


def add_link(export: Export, version: int, event: Event) -> Change:
    """That a link to the archive is handed out, provided that the export still is at `version`."""
    return Change(_LINK, {"id": export.id, "version": version, "at": export.updated_at}, events=(event,))


def ready(export: Export, version: int, event: Event) -> Change:
    """The archive of `export` can be downloaded, provided that nobody was faster and that it is not being erased."""
    names = ("id", "expires_at", "size_bytes", "sha256", "record_count")
    values = {name: getattr(export, name) for name in names}
    return Change(_READY, {**values, "version": version, "at": export.updated_at}, events=(event,))


def fail(export: Export, failure: ExportFailure, at: datetime, event: Event) -> Change:
    return Change(_FAIL, {"id": export.id, "version": export.version, "failure": failure, "at": at}, events=(event,))


def stuck(db: Session, before: datetime, limit: int) -> list[tuple[UUID, int, UUID]]:
    """Exports that nothing was done for since `before`: id, attempt and partner."""
    return [(row[0], row[1], row[2]) for row in db.run(_STUCK, before=before, limit=limit)]


def restart(db: Session, export_id: UUID, attempt: int, at: datetime) -> bool:
    """Count one more attempt, provided that nobody else did."""
    restarted = db.run(
        """UPDATE exports SET attempt = attempt + 1, updated_at = :at
           WHERE id = :id AND attempt = :attempt AND status = 'preparing' RETURNING id""",
        id=export_id,
        attempt=attempt,
        at=at,
    )
    return bool(restarted)


def list_expired(db: Session, now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Archives past their time that no legal hold keeps: export and partner."""
    rows = db.run(
        f"""SELECT e.id, e.partner_id FROM exports e WHERE e.status = 'ready' AND e.expires_at <= :now AND NOT {_HELD}
            ORDER BY e.expires_at, e.id LIMIT :limit""",
        now=now,
        limit=limit,
    )
    return [(row[0], row[1]) for row in rows]


def is_held(db: Session, export_id: UUID) -> bool:
    """Whether a legal hold keeps the export: it, not its partner."""
    return db.one(f"SELECT FROM exports e WHERE e.id = :id AND {_HELD}", id=export_id) is not None


def expire(db: Session, export_id: UUID, at: datetime) -> None:
    """Say that the archive is gone."""
    db.run(
        "UPDATE exports SET status = 'expired', updated_at = :at WHERE id = :id AND status = 'ready'",
        id=export_id,
        at=at,
    )


def all_exports(db: Session, partner_id: UUID) -> list[Export]:
    rows = db.run(f"SELECT {_EXPORT} FROM exports WHERE partner_id = :partner_id ORDER BY id", partner_id=partner_id)
    return [_export(row) for row in rows]


# Shards


def add_shards(db: Session, export_id: UUID, partner_id: UUID, shards: list[Range], at: datetime) -> None:
    """Write the plan of an export, unless it has one."""
    entries = [
        {
            "number": number,
            "table_name": shard.table,
            "lower_key": shard.lower,
            "upper_key": shard.upper,
            "planned": shard.planned,
        }
        for number, shard in enumerate(shards)
    ]
    db.run(_ADD_SHARDS, export_id=export_id, partner_id=partner_id, shards=json.dumps(entries), at=at)


def shards(db: Session, export_id: UUID) -> list[Shard]:
    """The shards of an export, in the order of its tables and their rows."""
    rows = db.run(
        """SELECT number, table_name, lower_key, upper_key, planned, expected, sha256, done_at FROM export_shards
           WHERE export_id = :export_id ORDER BY number""",
        export_id=export_id,
    )
    return [
        Shard(
            number=row[0],
            rows=Range(row[1], row[2], row[3], row[4]),
            part=None if row[7] is None else Part(path(export_id, row[0]), row[5], row[6]),
        )
        for row in rows
    ]


def finish_shard(db: Session, export_id: UUID, number: int, written: Written, at: datetime) -> None:
    db.run(
        """UPDATE export_shards SET expected = :expected, sha256 = :sha256, done_at = :at
           WHERE export_id = :export_id AND number = :number AND done_at IS NULL""",
        export_id=export_id,
        number=number,
        expected=written.expected,
        sha256=written.sha256,
        at=at,
    )


def _export(row: Row) -> Export:
    return Export(
        id=row[0],
        version=row[1],
        partner_id=row[2],
        status=row[3],
        failure=row[4],
        record_count=row[5],
        size_bytes=row[6],
        sha256=row[7],
        ready_at=row[8],
        expires_at=row[9],
        created_at=row[10],
        updated_at=row[11],
    )
