"""Cloud Scheduler, every five minutes: deadlines that no task met."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
)

from . import deadlines

function = Function(DatabaseSettings, CallerSettings, RelaySettings)


@function.on_schedule
def trade_watchdog() -> bool:
    return deadlines.watch(function.database) > 0
