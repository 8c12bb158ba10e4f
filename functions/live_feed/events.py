"""Pub/Sub: events change the documents that clients listen to."""

from kapas.http.function import Function
from kapas.messaging.events import CloudEvent
from kapas.platform.settings import (
    CallerSettings,
)

from . import service

function = Function(CallerSettings)


@function.on_event
def live_feed(event: CloudEvent) -> None:
    service.project(function.documents, event)
