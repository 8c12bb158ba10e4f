"""Cloud Scheduler, every five minutes: deadlines that no task met, and parties that nobody reported."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
)

from . import deadlines, facts

function = Function(DatabaseSettings, CallerSettings, RelaySettings)


@function.on_schedule
def trade_watchdog() -> bool:
    return deadlines.watch(function.database) + facts.watch_standing(function.database) > 0
