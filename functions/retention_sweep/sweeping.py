"""The work of a sweep: page after page of what is due, each in a transaction that also holds how far the sweep has come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from pydantic import BaseModel

from kapas.errors import Unavailable, VersionConflict
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Documents, Files
from kapas.privacy import legal_holds
from kapas.privacy.retention import day_of
from kapas.values import clock

from . import due_store, periods, store
from .due_store import Due
from .event_models import RetentionSwept
from .places import Place, places
from .schemas import RetentionSweep
from .store import Found, Progress

PAGE = 500
"""Rows looked at in one transaction, and about so many in one task."""
OUTSIDE_PAGE = 25
"""The same where a file or a document goes with each row: the transaction is open meanwhile."""


class BatchTask(BaseModel):
    """What a task of the queue says: go on with this sweep, of which so many pages are done."""

    sweep_id: UUID
    batch: int


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a sweep needs."""

    database: Database
    documents: Callable[[], Documents]
    bucket: Callable[[str], Callable[[], Files]]
    """Both are made when they are needed: most pages are of rows only."""


def run(dependencies: Dependencies, task: BatchTask) -> int | None:
    """Do pages until about `PAGE` rows were looked at; the page to enqueue next, or None if the sweep is over.

    Of two that do the same page one finds it done. So does a task that is tried again because it was killed before the
    next one was enqueued: it answers the page that is to be done, and does nothing else.

    Raises:
        Unavailable: the database does not answer; what was done is done.
    """
    looked_at = 0
    while True:
        with dependencies.database.session(PLATFORM) as db:
            progress = store.progress(db, task.sweep_id)
            sweep = store.find(db, task.sweep_id) if progress else None
            if progress is None or sweep is None:
                return None
            if progress.batch != task.batch or looked_at >= PAGE:
                return progress.batch
            done = _page(dependencies, db, sweep, progress)
        if done is None:
            continue  # somebody else did this page: the next look says how far it is
        looked_at += done
        task = BatchTask(sweep_id=task.sweep_id, batch=progress.batch + 1)


def swept(sweep: RetentionSweep) -> Sequence[Place]:
    """The places that a sweep looks through, in order."""
    return [place for place in places() if sweep.policies is None or place.policy.name in sweep.policies]


def _page(dependencies: Dependencies, db: Session, sweep: RetentionSweep, progress: Progress) -> int | None:
    """Do the next page; how many rows were looked at, or None if somebody else did it."""
    todo = _remaining(sweep, progress.place)
    left = None if sweep.limit is None else sweep.limit - progress.looked_at
    if not todo or left == 0:
        return _finish(db, sweep, progress, complete=not todo)
    place = todo[0]
    due_until = periods.due_until(place.policy, day_of(sweep.as_of))
    size = OUTSIDE_PAGE if place.outside else PAGE
    size = size if left is None else min(size, left)
    rows = due_store.scan(db, place, periods.end_of(due_until), progress.after, size)
    after = rows[-1].position if len(rows) == size else None
    present = _with_file(dependencies, place, rows)
    with db.transaction():
        # A place that is done is left behind: the page after it begins at the start of the next one.
        marked = _mark(place) if after else _done(place)
        if not store.advance(db, sweep.id, progress.batch, marked, after, clock.now()):
            return None
        found = _remove(dependencies, db, sweep, place, present, due_until)
        store.add(db, sweep.id, place, due_until, found)
    return len(rows)


def _remaining(sweep: RetentionSweep, marked: str | None) -> Sequence[Place]:
    """The places that are still to be looked through, the one that is under way first."""
    todo = swept(sweep)
    for n, place in enumerate(todo):
        if marked == _mark(place):
            return todo[n:]
        if marked == _done(place):
            return todo[n + 1 :]
    return todo


def _mark(place: Place) -> str:
    return f"{place.name}: {place.policy.name}"


def _done(place: Place) -> str:
    return f"{_mark(place)}, done"


def _with_file(dependencies: Dependencies, place: Place, rows: Sequence[Due]) -> Sequence[Due]:
    """The rows that have something to delete: where files are swept and their rows stay, those whose file is there."""
    file = place.file
    if file is None or not place.rows_stay:
        return rows
    return [
        row for row in rows if row.path is not None and dependencies.bucket(file.bucket)().stat(row.path) is not None
    ]


def _remove(
    dependencies: Dependencies, db: Session, sweep: RetentionSweep, place: Place, rows: Sequence[Due], due_until: date
) -> Found:
    """What becomes of a page's rows, in the transaction of the page."""
    if not rows:
        return Found()
    if sweep.dry_run or not place.deletes:
        held = sum(row.held for row in rows)
        return Found(due=len(rows), deleted=len(rows) - held if place.deletes else 0, held=held)
    # From here on no hold can be placed; those that were placed since the rows were read count.
    legal_holds.share(db)
    keys = [row.position.key for row in rows]
    held_keys = due_store.held(db, place, keys)
    free = [row for row in rows if row.position.key not in held_keys]
    failed = _remove_outside(dependencies, place, free) if place.outside else 0
    gone = [row.position.key for row in free[: len(free) - failed]]
    deleted = len(gone) if place.rows_stay else due_store.delete(db, place, periods.end_of(due_until), gone)
    # What another sweep deleted meanwhile is none of this one's.
    return Found(deleted + len(held_keys) + failed, deleted, len(held_keys), failed)


def _remove_outside(dependencies: Dependencies, place: Place, rows: Sequence[Due]) -> int:
    """Delete the files and documents of the rows, before their rows: killed between, they are found again.

    How many rows are left, counted from the end, because a service does not answer.
    """
    for n, row in enumerate(rows):
        try:
            if place.file is not None and row.path is not None:
                dependencies.bucket(place.file.bucket)().delete(row.path)
            for collection in place.documents:
                dependencies.documents().delete(f"{collection}/{row.position.key}")
        except Unavailable as failure:
            log.error("retention_delete_failed", failure, place=place.name, left=len(rows) - n)
            return len(rows) - n
    return 0


def _finish(db: Session, sweep: RetentionSweep, progress: Progress, *, complete: bool) -> int | None:
    """End the sweep, and say so; None if somebody else did."""
    now = clock.now()
    after = sweep.model_copy(
        update={"version": sweep.version + 1, "status": "completed", "complete": complete, "finished_at": now}
    )
    total = Found(
        due=sum(line.due for line in sweep.lines),
        deleted=sum(line.deleted for line in sweep.lines),
        held=sum(line.held for line in sweep.lines),
        failed=sum(line.failed for line in sweep.lines),
    )
    data = RetentionSwept(
        sweep_id=sweep.id,
        dry_run=sweep.dry_run,
        as_of=sweep.as_of,
        complete=complete,
        due=total.due,
        deleted=total.deleted,
        held=total.held,
        failed=total.failed,
    )
    change = store.finish(after, progress.batch, Event(after.id, after.version, data, (), time=now))
    try:
        outbox.commit(db, change)
    except VersionConflict:
        return None
    log.info("retention_swept", sweep_id=sweep.id, dry_run=sweep.dry_run, due=total.due, deleted=total.deleted)
    return 0
