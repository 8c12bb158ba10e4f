"""Cloud Scheduler, every five minutes: consents whose year is over, and dispatches that are overdue."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
)

from . import expiry, processors

function = Function(DatabaseSettings, CallerSettings, RelaySettings)


@function.on_schedule
def consent_watchdog() -> bool:
    ended = expiry.end(function.database, processors.load()) > 0
    expiry.watch(function.database)
    return ended
