"""Cloud Scheduler, every five minutes: images whose task was lost."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    TaskSettings,
)

from . import service

function = Function(DatabaseSettings, CallerSettings, TaskSettings)


@function.on_schedule
def grading_watchdog() -> None:
    service.watch(function.database, function.tasks)
