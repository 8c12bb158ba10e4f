"""Pub/Sub: a request begins its work."""

from kapas.http.function import Function
from kapas.messaging.events import CloudEvent
from kapas.platform.settings import (
    CallerSettings,
    TaskSettings,
)

from . import service

function = Function(CallerSettings, TaskSettings)


@function.on_event
def privacy_intake(event: CloudEvent) -> None:
    service.begin(function.tasks, event)
