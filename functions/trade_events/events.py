"""Pub/Sub: events set deadlines, gradings are read, and a partner that may not trade any more is reported in its trades."""

from kapas.http.function import Function
from kapas.messaging.events import CloudEvent
from kapas.platform.settings import (
    CallerSettings,
    DatabaseSettings,
    RelaySettings,
    TaskSettings,
)

from . import deadlines, facts

scheduler = Function(DatabaseSettings, CallerSettings, TaskSettings)
quality = Function(DatabaseSettings, CallerSettings, RelaySettings)
standing = Function(DatabaseSettings, CallerSettings, RelaySettings)


@scheduler.on_event
def trade_scheduler(event: CloudEvent) -> None:
    """Make a task for what is due next in the trade."""
    deadlines.schedule(scheduler.database, scheduler.tasks, event)


@quality.on_event
def trade_quality(event: CloudEvent) -> bool:
    """Record what a completed grading of a trade read."""
    return facts.record_grading(quality.database, event)


@standing.on_event
def trade_standing(event: CloudEvent) -> bool:
    """Record in a partner's trades that it may not go on, or may again."""
    return facts.report_standing(standing.database, event)
