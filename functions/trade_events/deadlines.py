"""What comes due: the most urgent open step of a trade. A task for it, made after each event; a sweep behind the tasks.

A task names the trade and when it was due. It does nothing where the trade has moved on: what follows from a deadline is
decided on the trade as it stands, and written only if nobody else changed it.
"""

from datetime import timedelta
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from kapas.errors import Unavailable, VersionConflict
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Tasks
from kapas.values import clock

from . import recording, store
from .deal.agenda import overdue

QUEUE, HANDLER = "trade-deadlines", "trade-deadline"

FURTHEST = timedelta(days=29)
"""How far ahead a task is scheduled: Cloud Tasks takes 30 days at most. A later one is reached in several hops."""
OVERDUE = timedelta(minutes=2)
"""How late a trade is before the sweep looks after it: until then its task is on its way."""
SWEEP_LIMIT = 500
TRIES = 3


class DeadlineTask(BaseModel):
    """What a task of the queue says: a step of this trade was due then, if it still is."""

    trade_id: UUID
    due_at: AwareDatetime


def schedule(database: Database, tasks: Tasks, event: CloudEvent) -> None:
    """Make the task for what is due next after the event. Twice is once: the task's name is taken.

    An event that others have followed needs none: theirs make it.
    """
    with database.session(PLATFORM) as db:
        position = store.position(db, event.subject)
    if position is None:
        return
    version, due_at = position
    if due_at is not None and event.sequence >= version:
        _enqueue(tasks, DeadlineTask(trade_id=event.subject, due_at=due_at))


def meet(database: Database, tasks: Tasks, task: DeadlineTask) -> bool:
    """Write what follows from what is due, or make the next task if it is not yet; whether anything was written.

    Raises `Unavailable` when others change the trade all the time; Cloud Tasks tries again.
    """
    if clock.now() < task.due_at:
        _enqueue(tasks, task)
        return False
    return expire(database, task.trade_id)


def watch(database: Database) -> int:
    """Do for trades that are overdue what no task did; how many there were. One that fails holds up no other."""
    with database.session(PLATFORM) as db:
        found = store.due(db, clock.now() - OVERDUE, SWEEP_LIMIT)
    swept = 0
    for trade_id in found:
        try:
            swept += expire(database, trade_id)
        except Exception as failure:
            log.error("trade_deadline_failed", failure, trade_id=trade_id)
    if swept:
        log.warning("trade_deadlines_swept", trades=swept)
    return swept


def expire(database: Database, trade_id: UUID) -> bool:
    """Write what follows from each deadline of a trade that has passed; whether there was one."""
    for _ in range(TRIES):
        with database.session(PLATFORM) as db:
            found = store.find(db, trade_id, None)
            events = [] if found is None else overdue(found.trade, clock.now())
            if found is None or not events:
                return False
            try:
                outbox.commit(db, recording.record(found.trade, events).change)
            except VersionConflict:
                continue  # somebody took a step meanwhile: what is due now?
            log.info("trade_due", trade_id=trade_id, events=len(events), version=events[-1].sequence)
            return True
    raise Unavailable("Others change the trade all the time")


def _enqueue(tasks: Tasks, task: DeadlineTask) -> None:
    at = min(task.due_at, clock.now() + FURTHEST)
    suffix = f"-{task.due_at:%Y%m%d%H%M%S}-{at:%Y%m%d}"
    tasks.enqueue(new_task(QUEUE, HANDLER, task, task.trade_id, suffix, at=at))
