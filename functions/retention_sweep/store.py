"""Sweeps and what they found, in SQL."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from kapas.errors import Conflict
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session

from .due_store import Position
from .places import Place
from .schemas import RetentionLine, RetentionSweep

_SWEEP = """id, version, status, dry_run, as_of, policies, row_limit, started_by, complete, created_at, finished_at"""

_INSERT = """INSERT INTO retention_sweeps (id, version, status, dry_run, as_of, policies, row_limit, night, started_by,
    complete, batch, created_at, updated_at)
  VALUES (:id, 1, 'running', :dry_run, :as_of, :policies, :limit, :night, :started_by, false, 0, :at, :at) RETURNING id"""

_ADVANCE = """UPDATE retention_sweeps
  SET batch = batch + 1, place = :place, after_anchor = :after_anchor, after_key = :after_key, updated_at = :at
  WHERE id = :id AND batch = :batch AND status = 'running' RETURNING batch"""

_ADD = """INSERT INTO retention_findings AS f
    (sweep_id, place, policy, law, article, due_until, action, due, deleted, held, failed)
  VALUES (:sweep_id, :place, :policy, :law, :article, :due_until, :action, :due, :deleted, :held, :failed)
  ON CONFLICT (sweep_id, place, policy) DO UPDATE SET due = f.due + excluded.due, deleted = f.deleted + excluded.deleted,
    held = f.held + excluded.held, failed = f.failed + excluded.failed"""

_FINISH = """UPDATE retention_sweeps
  SET version = version + 1, status = 'completed', complete = :complete, updated_at = :at, finished_at = :at
  WHERE id = :id AND version = :version AND batch = :batch AND status = 'running' RETURNING id"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a page came to: how many rows were due, and what became of them."""

    due: int = 0
    deleted: int = 0
    held: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running sweep has come: `batch` pages are done, the last one in `place`, where it ended at `after`."""

    batch: int
    place: str | None
    after: Position | None
    looked_at: int
    """The rows that were due so far, which its limit counts."""


# Sweeps


def insert(sweep: RetentionSweep, night: date | None, event: Event) -> Change:
    """A new sweep; of the scheduled ones, one a night."""
    return Change(
        _INSERT,
        {
            "id": sweep.id,
            "dry_run": sweep.dry_run,
            "as_of": sweep.as_of,
            "policies": sweep.policies,
            "limit": sweep.limit,
            "night": night,
            "started_by": sweep.started_by,
            "at": sweep.created_at,
        },
        events=(event,),
        conflicts={"retention_sweeps_night": Conflict("Tonight's sweep has already started")},
    )


def finish(sweep: RetentionSweep, batch: int, event: Event) -> Change:
    """The sweep as finished, provided that nobody has moved it on since its page `batch`."""
    parameters = {"id": sweep.id, "version": sweep.version - 1, "batch": batch, "complete": sweep.complete}
    return Change(_FINISH, parameters | {"at": sweep.finished_at}, events=(event,))


def find(db: Session, sweep_id: UUID) -> RetentionSweep | None:
    row = db.one(f"SELECT {_SWEEP} FROM retention_sweeps WHERE id = :id", id=sweep_id)
    return _sweeps(db, [row])[0] if row else None


def page(db: Session, limit: int, after: UUID | None) -> list[RetentionSweep]:
    """The `limit` newest sweeps older than `after`."""
    rows = db.run(
        f"""SELECT {_SWEEP} FROM retention_sweeps WHERE :after::uuid IS NULL OR id < :after::uuid
            ORDER BY id DESC LIMIT :limit""",
        after=after,
        limit=limit,
    )
    return _sweeps(db, rows)


def stalled(db: Session, before: datetime, limit: int) -> list[tuple[UUID, int]]:
    """At most `limit` running sweeps that nobody moved on since `before`, and their next page."""
    rows = db.run(
        """SELECT id, batch FROM retention_sweeps WHERE status = 'running' AND updated_at < :before
           ORDER BY updated_at, id LIMIT :limit""",
        before=before,
        limit=limit,
    )
    return [(row[0], row[1]) for row in rows]


def progress(db: Session, sweep_id: UUID) -> Progress | None:
    """How far the sweep has come; None if it is over, or there is none."""
    row = db.one(
        """SELECT s.batch, s.place, s.after_anchor, s.after_key,
             (SELECT coalesce(sum(f.due), 0) FROM retention_findings f WHERE f.sweep_id = s.id)::bigint
           FROM retention_sweeps s WHERE s.id = :id AND s.status = 'running'""",
        id=sweep_id,
    )
    if row is None:
        return None
    return Progress(row[0], row[1], Position(row[2], row[3]) if row[2] is not None else None, row[4])


def advance(db: Session, sweep_id: UUID, batch: int, place: str, after: Position | None, at: datetime) -> bool:
    """Take the page `batch` as this transaction's own; False if somebody else did it.

    Two that come at once wait for each other on the sweep's row.
    """
    moved = db.one(
        _ADVANCE,
        id=sweep_id,
        batch=batch,
        place=place,
        after_anchor=after.anchor if after else None,
        after_key=after.key if after else None,
        at=at,
    )
    return moved is not None


def add(db: Session, sweep_id: UUID, place: Place, due_until: date, found: Found) -> None:
    """Add what a page came to to the report."""
    policy = place.policy
    db.run(
        _ADD,
        sweep_id=sweep_id,
        place=place.name,
        policy=policy.name,
        law=policy.law,
        article=policy.article,
        due_until=due_until,
        action="delete" if place.deletes else "report",
        due=found.due,
        deleted=found.deleted,
        held=found.held,
        failed=found.failed,
    )


def _sweeps(db: Session, rows: list[Row]) -> list[RetentionSweep]:
    found = db.run(
        """SELECT sweep_id, place, policy, law, article, due_until, action, due, deleted, held, failed
           FROM retention_findings WHERE sweep_id = ANY(:ids) ORDER BY sweep_id, place, policy""",
        ids=[row[0] for row in rows],
    )
    lines: dict[UUID, list[RetentionLine]] = {}
    for line in found:
        lines.setdefault(line[0], []).append(_line(line))
    return [_sweep(row, lines.get(row[0], [])) for row in rows]


def _sweep(row: Row, lines: list[RetentionLine]) -> RetentionSweep:
    return RetentionSweep(
        id=row[0],
        version=row[1],
        status=row[2],
        dry_run=row[3],
        as_of=row[4],
        policies=row[5],
        limit=row[6],
        started_by=row[7],
        complete=row[8],
        created_at=row[9],
        finished_at=row[10],
        lines=lines,
    )


def _line(row: Row) -> RetentionLine:
    return RetentionLine(
        place=row[1],
        policy=row[2],
        law=row[3],
        article=row[4],
        due_until=row[5],
        action=row[6],
        due=row[7],
        deleted=row[8],
        held=row[9],
        failed=row[10],
    )
