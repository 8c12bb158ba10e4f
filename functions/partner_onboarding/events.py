"""Pub/Sub: a submission begins its checks."""

from kapas.http.function import Function
from kapas.messaging.events import CloudEvent
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
    TaskSettings,
)

from .checks import verification

function = Function(DatabaseSettings, CallerSettings, TaskSettings, RelaySettings)


@function.on_event
def partner_submissions(event: CloudEvent) -> bool:
    return verification.begin(function.database, function.tasks, event)
