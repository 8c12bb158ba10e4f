"""Cloud Scheduler, every five minutes: checks whose task was lost, and deadlines that partners missed."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
    TaskSettings,
)

from . import deadlines
from .checks import verification

function = Function(DatabaseSettings, CallerSettings, TaskSettings, RelaySettings)


@function.on_schedule
def partner_watchdog() -> bool:
    overdue = deadlines.notify(function.database) > 0  # first: it needs no queue, which may be down
    return verification.watch(function.database, function.tasks) > 0 or overdue
