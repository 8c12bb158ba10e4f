"""Cloud Scheduler, every five minutes: exports and erasures whose task was lost, and archives that are over."""

from kapas.http.function import Function
from kapas.platform.settings import (
    ArchiveSettings,
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
    TaskSettings,
)

from . import erasing, preparing

function = Function(DatabaseSettings, CallerSettings, TaskSettings, RelaySettings, ArchiveSettings)


@function.on_schedule
def export_watchdog() -> bool:
    preparing.watch(function.database, function.tasks, function.archives)
    erasing.watch(function.database, function.tasks)
    return True
