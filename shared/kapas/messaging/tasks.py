"""Cloud Tasks: one unit of work a task, how it is made and how it is handled."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from flask import Request, Response
from pydantic import BaseModel, ValidationError

from kapas.http import calls
from kapas.platform import log, trace
from kapas.platform.ports import Task
from kapas.platform.settings import HandlerSettings

P = TypeVar("P", bound=BaseModel)


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


def handle(request: Request, settings: HandlerSettings, payload: type[P], work: Callable[[P], None]) -> Response:
    """Answer one dispatch of a task: check the caller, parse the payload, do the work.

    204 ends the task. A failure of the work answers 5xx, and Cloud Tasks tries again as its queue says; the last try's is
    logged, for Cloud Tasks drops the task after it and tells nobody. A payload that does not parse ends the task with an
    error in the log: every later try would fail alike.
    """

    def run() -> Response:
        name = request.headers.get("X-CloudTasks-TaskName", "")
        try:
            parsed = payload.model_validate_json(request.get_data())
        except ValidationError:
            log.error("task_unreadable", task=name)
            return Response(status=204)
        try:
            work(parsed)
        except Exception as failure:
            if request.headers.get("X-CloudTasks-TaskRetryCount", 0, type=int) + 1 >= settings.task_attempts:
                log.error("task_given_up", failure, task=name)
            raise
        return Response(status=204)

    return calls.answer(request, settings, run)
