"""Cloud Scheduler, every night: the sweep of the day."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
    TaskSettings,
)

from . import service

function = Function(DatabaseSettings, CallerSettings, TaskSettings, RelaySettings)


@function.on_schedule
def retention_nightly() -> bool:
    return service.begin_nightly(function.database, function.tasks)
