"""What comes due: an offer, a signature, a payment. A task for each, made from the events; a sweep behind the tasks.

A task names the trade and when it was due. It does nothing where the trade has moved on: the step is guarded by the
state, the due time and the version in the statement that takes it.
"""

from datetime import datetime, timedelta
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

from . import service, store
from .lifecycle import DEADLINES
from .moment import Body, OfferExpired, PaymentOverdue, SignatureOverdue
from .schemas import Trade

QUEUE, HANDLER = "trade-deadlines", "trade-deadline"

FURTHEST = timedelta(days=29)
"""How far ahead a task is scheduled: Cloud Tasks takes 30 days at most. A later one is reached in several hops."""
OVERDUE = timedelta(minutes=2)
"""How late a trade is before the sweep looks after it: until then its task is on its way."""
SWEEP_LIMIT = 500
TRIES = 3

_DUE_FIELDS = {
    "trade.offered.v1": "expires_at",
    "trade.matched.v1": "sign_by",
    "trade.payment_requested.v1": "due_at",
}
"""Events that set a due time, and where it stands in their data."""

_STEPS: dict[str, Body] = {
    "offer_expired": OfferExpired(),
    "signature_overdue": SignatureOverdue(),
    "payment_overdue": PaymentOverdue(),
}


class DeadlineTask(BaseModel):
    """What a task of the queue says: this trade was due then, if it still is."""

    trade_id: UUID
    due_at: AwareDatetime


class _Due(BaseModel):
    at: AwareDatetime


def schedule(tasks: Tasks, event: CloudEvent) -> None:
    """Make the task for what the event sets a time for. Twice is once: the task's name is taken."""
    field = _DUE_FIELDS.get(event.type)
    due_at = None if field is None else event.data.get(field)
    if due_at is not None:
        _enqueue(tasks, DeadlineTask(trade_id=event.subject, due_at=_Due(at=due_at).at))


def meet(database: Database, tasks: Tasks, task: DeadlineTask) -> bool:
    """Take the step that is due, or make the next task if it is not yet; whether a step was taken.

    Raises `Unavailable` when others change the trade all the time; Cloud Tasks tries again.
    """
    if clock.now() < task.due_at:
        _enqueue(tasks, task)
        return False
    return expire(database, task.trade_id, task.due_at)


def watch(database: Database) -> int:
    """Take the steps that are overdue and that no task took; how many there were."""
    with database.session(PLATFORM) as db:
        overdue = store.due(db, clock.now() - OVERDUE, SWEEP_LIMIT)
    taken = sum(expire(database, trade_id) for trade_id in overdue)
    if taken:
        log.warning("trade_deadlines_swept", trades=taken)
    return taken


def expire(database: Database, trade_id: UUID, due_at: datetime | None = None) -> bool:
    """Take the step of a trade that is due (since `due_at`, if given); False if there is none."""
    for _ in range(TRIES):
        with database.session(PLATFORM) as db:
            found = store.find(db, trade_id, None)
            if found is None or not _is_due(found.trade, due_at):
                return False
            body = _STEPS[DEADLINES[found.trade.status]]
            try:
                history = store.SqlHistory(db, trade_id)
                outbox.commit(db, service.take(history, found.trade, service.SYSTEM, body).change)
            except VersionConflict:
                continue  # somebody took a step meanwhile: what is due now?
            log.info("trade_due", trade_id=trade_id, step=body.type, version=found.trade.version + 1)
            return True
    raise Unavailable("Others change the trade all the time")


def _is_due(trade: Trade, since: datetime | None) -> bool:
    if trade.due_at is None or trade.due_at > clock.now():
        return False
    return since is None or trade.due_at == since


def _enqueue(tasks: Tasks, task: DeadlineTask) -> None:
    at = min(task.due_at, clock.now() + FURTHEST)
    suffix = f"-{task.due_at:%Y%m%d%H%M%S}-{at:%Y%m%d}"
    tasks.enqueue(new_task(QUEUE, HANDLER, task, task.trade_id, suffix, at=at))
