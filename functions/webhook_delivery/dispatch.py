"""Tasks that make an attempt: one for each message and number."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from kapas import log, trace
from kapas.ports import Task, Tasks

QUEUE, HANDLER = "webhook-attempts", "webhook-attempt"


class AttemptTask(BaseModel):
    """What a task of the queue says: make this attempt, if it has not been made."""

    message_id: UUID
    number: int


def task(message_id: UUID, number: int, *, at: datetime | None = None, again: datetime | None = None) -> Task:
    """The task of an attempt, due `at`. One that takes the place of an earlier task is named after `again`, its time: a
    name that was used stays taken for hours."""
    current = trace.current()
    suffix = "" if again is None else f"-{again:%Y%m%d%H%M%S%f}"
    return Task(
        queue=QUEUE,
        function=HANDLER,
        # Random digits first: Cloud Tasks is slow with names in sequence, which time-ordered ids are.
        name=f"{message_id.hex[-8:]}-{message_id}-{number}{suffix}",
        body=AttemptTask(message_id=message_id, number=number).model_dump_json().encode(),
        schedule_time=at,
        headers={"traceparent": str(current)} if current else {},
    )


def enqueue(tasks: Tasks, wanted: Iterable[Task]) -> None:
    """Enqueue, as far as Cloud Tasks answers. Failing is harmless: the reaper finds what has no task."""
    try:
        for one in wanted:
            tasks.enqueue(one)
    except Exception as error:
        log.warning("webhook_enqueue_failed", exception=type(error).__name__)
