"""Pub/Sub: every event of every topic becomes a row."""

from kapas.http.function import Function
from kapas.messaging.events import CloudEvent
from kapas.platform.db import PLATFORM
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
)

from . import service

function = Function(DatabaseSettings, CallerSettings)


@function.on_event
def audit_trail(event: CloudEvent) -> None:
    with function.database.session(PLATFORM) as db:
        service.record(db, event)
