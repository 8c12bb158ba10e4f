"""Cloud Tasks: a deadline of a trade."""

from kapas.http.function import Function
from kapas.platform.settings import (
    DatabaseSettings,
    HandlerSettings,
    RelaySettings,
    TaskSettings,
)

from . import deadlines

function = Function(DatabaseSettings, HandlerSettings, RelaySettings, TaskSettings)


@function.on_task(deadlines.DeadlineTask)
def trade_deadline(task: deadlines.DeadlineTask) -> bool:
    """Write what follows from what is due, if it still is."""
    return deadlines.meet(function.database, function.tasks, task)
