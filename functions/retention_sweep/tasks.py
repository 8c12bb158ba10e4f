"""Cloud Tasks: a page of a sweep."""

from kapas.http.function import Function
from kapas.platform.settings import (
    ArchiveSettings,
    DatabaseSettings,
    HandlerSettings,
    RelaySettings,
    TaskSettings,
    UploadSettings,
)

from . import service, sweeping

function = Function(DatabaseSettings, HandlerSettings, TaskSettings, RelaySettings, ArchiveSettings, UploadSettings)


def dependencies() -> sweeping.Dependencies:
    buckets = {"exports": lambda: function.archives, "uploads": lambda: function.uploads}
    return sweeping.Dependencies(function.database, lambda: function.documents, buckets.__getitem__)


@function.on_task(sweeping.BatchTask)
def retention_batch(task: sweeping.BatchTask) -> bool:
    """Do a page and enqueue the next; the last one ends the sweep."""
    following = sweeping.run(dependencies(), task)
    if following is None:
        return True
    service.enqueue(function.tasks, task.sweep_id, following)
    return False
