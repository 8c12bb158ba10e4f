"""Cloud Scheduler, every minute: messages whose task was lost."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    TaskSettings,
)

from . import service

function = Function(DatabaseSettings, CallerSettings, TaskSettings)


@function.on_schedule
def webhook_watchdog() -> None:
    service.watch(function.database, function.tasks)
