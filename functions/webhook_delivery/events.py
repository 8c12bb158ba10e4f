"""Pub/Sub: an event becomes a message for each endpoint that subscribes to it."""

from kapas.http.function import Function
from kapas.messaging.events import CloudEvent
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    TaskSettings,
)

from . import service

function = Function(DatabaseSettings, CallerSettings, TaskSettings)


@function.on_event
def webhook_fan_out(event: CloudEvent) -> None:
    service.fan_out(function.database, function.tasks, event)
