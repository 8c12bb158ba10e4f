"""Use cases of retention: begin a sweep, read its report, place and release legal holds."""

from datetime import date, datetime, timedelta
from uuid import UUID

from kapas.errors import Conflict, FieldError, Invalid, NotFound
from kapas.http.app import Outcome, require
from kapas.http.identity import Identity, Role
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Tasks
from kapas.privacy import legal_holds
from kapas.privacy.data_map import data_map
from kapas.privacy.retention import day_of, policies
from kapas.schemas.common import PageQuery
from kapas.values import clock, ids

from . import hold_store, places, row_names, store
from .event_models import RetentionStarted
from .schemas import (
    HeldRow,
    LegalHold,
    LegalHoldCreate,
    LegalHoldPage,
    RetentionSweep,
    RetentionSweepCreate,
    RetentionSweepPage,
)
from .sweeping import BatchTask

QUEUE, HANDLER = "retention-batches", "retention-batch"

SCHEDULE = "schedule"
"""Who begins the sweep of a night."""
STALLED = timedelta(hours=1)
"""How long a running sweep stands still before the nightly run looks after it: until then its task is tried again."""
RESUME_LIMIT = 100
HOLD_WAIT = 8_000
"""Milliseconds that placing a hold waits for deletions under way, which take less: a page is small."""


# Sweeps


def plan(caller: Identity, body: RetentionSweepCreate) -> RetentionSweep:
    """The sweep that the caller asks for, to begin with `begin`.

    Raises:
        Forbidden: the caller is neither of operations nor the data protection officer.
        Invalid: a policy is unknown, or a sweep that deletes is to look into the future.
    """
    _require_staff(caller)
    now = clock.now()
    for n, name in enumerate(body.policies or ()):
        if name not in policies():
            message = "Unknown policy"
            raise Invalid(message, errors=[FieldError(f"/policies/{n}", "policy", message)])
    as_of = body.as_of or now
    if as_of > now and not body.dry_run:
        message = "Only a dry run may have a future as_of"
        raise Invalid(message, errors=[FieldError("/as_of", "future", message)])
    return _new(caller.subject, body.dry_run, as_of, body.policies, body.limit)


def begin(sweep: RetentionSweep, night: date | None = None) -> Outcome:
    """The beginning of a sweep; of a scheduled one, with its night. To be followed by `enqueue` when it is committed."""
    data = RetentionStarted(
        sweep_id=sweep.id, dry_run=sweep.dry_run, as_of=sweep.as_of, policies=sweep.policies, actor=sweep.started_by
    )
    event = Event(sweep.id, sweep.version, data, (), time=sweep.created_at)
    return Outcome(store.insert(sweep, night, event), sweep, sweep.version)


def begin_nightly(database: Database, tasks: Tasks) -> bool:
    """Begin tonight's sweep unless it has begun, and have those go on that stand still; whether one began.

    What is begun and loses its task, the next night finds.
    """
    sweep = _new(SCHEDULE, False, clock.now(), None, None)
    with database.session(PLATFORM) as db:
        stalled = store.stalled(db, sweep.created_at - STALLED, RESUME_LIMIT)
        try:
            outbox.commit(db, begin(sweep, day_of(sweep.created_at)).change)
        except Conflict:
            begun = False
        else:
            begun = True
    # Their tasks get names of their own: one that was used stays taken for hours.
    for sweep_id, batch in stalled:
        enqueue(tasks, sweep_id, batch, f"-{sweep.created_at:%Y%m%d%H%M}")
    if begun:
        enqueue_first(tasks, sweep.id)
    log.info("retention_night", begun=begun, resumed=len(stalled))
    return begun


def enqueue_first(tasks: Tasks, sweep_id: UUID) -> None:
    """Have a sweep that was committed begin. Failing is harmless: the nightly run finds what has no task."""
    try:
        enqueue(tasks, sweep_id, 0)
    except Exception as error:
        log.warning("retention_enqueue_failed", exception=type(error).__name__)


def enqueue(tasks: Tasks, sweep_id: UUID, batch: int, suffix: str = "") -> None:
    """Have the page `batch` of a sweep done. Raises what Cloud Tasks raises; a name that is taken is no failure."""
    payload = BatchTask(sweep_id=sweep_id, batch=batch)
    tasks.enqueue(new_task(QUEUE, HANDLER, payload, sweep_id, f"-{batch}{suffix}"))


def read(db: Session, caller: Identity, sweep_id: UUID) -> RetentionSweep:
    """One sweep and its report. Raises `NotFound` or `Forbidden`."""
    _require_staff(caller)
    sweep = store.find(db, sweep_id)
    if sweep is None:
        raise NotFound("Sweep not found")
    return sweep


def list_page(db: Session, caller: Identity, query: PageQuery) -> RetentionSweepPage:
    """The sweeps, newest first. Raises `Forbidden`."""
    _require_staff(caller)
    return RetentionSweepPage.of(store.page(db, query.limit + 1, query.after_id()), query.limit)


def _new(started_by: str, dry_run: bool, as_of: datetime, names: list[str] | None, limit: int | None) -> RetentionSweep:
    return RetentionSweep(
        id=ids.uuid7(),
        version=1,
        status="running",
        dry_run=dry_run,
        as_of=as_of,
        policies=names,
        limit=limit,
        started_by=started_by,
        complete=False,
        created_at=clock.now(),
        finished_at=None,
        lines=[],
    )


def _require_staff(caller: Identity) -> None:
    require(caller.role in (Role.OPS, Role.DPO), "Only operations and the data protection officer may use sweeps")


# Legal holds


def place_hold(db: Session, caller: Identity, body: LegalHoldCreate) -> Outcome:
    """A new hold. To be called in a transaction: it waits for deletions under way, and once it is committed nothing
    that it names is deleted.

    Raises:
        Forbidden: the caller is not the data protection officer.
        Invalid: the row's table is none that is swept, or there is no such row, or nobody of this number.
        StillRunning: a deletion takes longer than it should; the request can be repeated.
    """
    _require_officer(caller)
    if body.row is not None and body.row.table not in places.tables():
        message = f"Must be one of {', '.join(places.tables())}"
        raise Invalid(message, errors=[FieldError("/row/table", "table", message)])
    legal_holds.take(db, HOLD_WAIT)
    row = _require_row(db, body.row) if body.row else None
    if body.subject_id is not None and not hold_store.knows_subject(db, body.subject_id):
        message = "There is no partner with this id, and no record about one"
        raise Invalid(message, errors=[FieldError("/subject_id", "unknown", message)])
    hold = LegalHold(
        id=ids.uuid7(),
        subject_id=body.subject_id,
        row=row,
        reason=body.reason,
        placed_by=caller.subject,
        held_from=clock.now(),
        released_by=None,
        released_at=None,
    )
    return Outcome(hold_store.insert(hold), hold, 1)


def _require_row(db: Session, row: HeldRow) -> HeldRow:
    """The row that is to be held, with its key as deletions compare it."""
    table = data_map().tables[row.table]
    name = row_names.canonical(table, row.id)
    if name is None or not hold_store.has_row(db, table, name):
        message = f"There is no such row; its id is {' / '.join(table.key)}"
        raise Invalid(message, errors=[FieldError("/row/id", "unknown", message)])
    return HeldRow(table=row.table, id=name)


def release_hold(db: Session, caller: Identity, hold_id: UUID) -> None:
    """End a hold: what it kept goes with the next sweep, if it is due. Raises `NotFound` or `Forbidden`."""
    _require_officer(caller)
    if not hold_store.release(db, hold_id, caller.subject, clock.now()):
        raise NotFound("Legal hold not found, or already released")


def read_hold(db: Session, caller: Identity, hold_id: UUID) -> LegalHold:
    """One hold, also a released one. Raises `NotFound` or `Forbidden`."""
    _require_officer(caller)
    hold = hold_store.find(db, hold_id)
    if hold is None:
        raise NotFound("Legal hold not found")
    return hold


def list_holds(db: Session, caller: Identity, query: PageQuery) -> LegalHoldPage:
    """The holds, released ones too, newest first. Raises `Forbidden`."""
    _require_officer(caller)
    return LegalHoldPage.of(hold_store.page(db, query.limit + 1, query.after_id()), query.limit)


def _require_officer(caller: Identity) -> None:
    require(caller.role is Role.DPO, "Only the data protection officer may use legal holds")
