"""Cloud Scheduler every minute, and every function that committed events: publish what the outbox holds."""

from kapas.http.function import Function
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
)

from . import service

function = Function(DatabaseSettings, CallerSettings)


@function.on_schedule
def outbox_relay() -> None:
    service.drain(function.database, function.bus)
