"""Tasks that make an attempt: one for each message and number."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.ports import Task, Tasks

QUEUE, HANDLER = "webhook-attempts", "webhook-attempt"


class AttemptTask(BaseModel):
    """What a task of the queue says: make this attempt, if it has not been made."""

    message_id: UUID
    number: int


def task(message_id: UUID, number: int, *, at: datetime | None = None, again: datetime | None = None) -> Task:
    """The task of an attempt, due `at`. One that takes the place of an earlier task is named after `again`, its time: a
    name that was used stays taken for hours."""
    return _task(message_id, f"-{number}{_digits(again)}", message_id, number, at)


def probe(endpoint_id: UUID, message_id: UUID, number: int, open_until: datetime, at: datetime) -> Task:
    """The task, due `at`, for all that waits at an endpoint that is spared until `open_until`: an attempt at one message,
    after whose success the others are sent. Each that is turned away asks for it, and by its name there is one."""
    return _task(endpoint_id, _digits(open_until), message_id, number, at)


def _task(named: UUID, suffix: str, message_id: UUID, number: int, at: datetime | None) -> Task:
    return new_task(QUEUE, HANDLER, AttemptTask(message_id=message_id, number=number), named, suffix, at=at)


def _digits(again: datetime | None) -> str:
    return "" if again is None else f"-{again:%Y%m%d%H%M%S%f}"


def enqueue(tasks: Tasks, wanted: Iterable[Task]) -> None:
    """Enqueue, as far as Cloud Tasks answers. Failing is harmless: the watchdog finds what has no task."""
    try:
        for one in wanted:
            tasks.enqueue(one)
    except Exception as error:
        log.warning("webhook_enqueue_failed", exception=type(error).__name__)
