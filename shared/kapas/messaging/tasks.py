"""Cloud Tasks: one unit of work a task."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from kapas.platform import trace
from kapas.platform.ports import Task


def new_task(
    queue: str, function: str, payload: BaseModel, of: UUID, suffix: str = "", *, at: datetime | None = None
) -> Task:
    """A task for `function`, due `at` or now, in the trace of what asks for it.

    Its name is of what it is about and `suffix`. A name is taken once, and for hours after its task is gone: so the same
    task that is made twice is one. Random digits first: Cloud Tasks is slow with names in sequence, which time-ordered ids
    are.
    """
    current = trace.current()
    return Task(
        queue=queue,
        function=function,
        name=f"{of.hex[-8:]}-{of}{suffix}",
        body=payload.model_dump_json().encode(),
        schedule_time=at,
        headers={"traceparent": str(current)} if current else {},
    )
