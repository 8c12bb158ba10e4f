"""Pub/Sub: events set deadlines, and gradings decide on quality."""

from kapas.http.function import Function
from kapas.messaging.events import CloudEvent
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
    TaskSettings,
)

from . import deadlines, gradings

scheduler = Function(CallerSettings, TaskSettings)
quality = Function(DatabaseSettings, CallerSettings, RelaySettings)


@scheduler.on_event
def trade_scheduler(event: CloudEvent) -> None:
    """Make a task for each time that the event sets."""
    deadlines.schedule(scheduler.tasks, event)


@quality.on_event
def trade_quality(event: CloudEvent) -> bool:
    """Decide on a sampled lot by a completed grading, or record the claim that it makes."""
    return gradings.decide(quality.database, event)
