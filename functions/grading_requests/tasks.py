"""Cloud Tasks: an uploaded image is graded."""

from kapas.http.function import Function
from kapas.platform.settings import (
    DatabaseSettings,
    HandlerSettings,
    RelaySettings,
    UploadSettings,
)

from . import service

function = Function(DatabaseSettings, HandlerSettings, RelaySettings, UploadSettings)


def reader() -> service.Read:
    return function.keep("reader", _load_reader)


def _load_reader() -> service.Read:
    from .image.vision import read  # numpy, Pillow and LiteRT: only where images are graded

    return read


@function.on_task(service.GradingTask)
def grading_task(task: service.GradingTask) -> bool:
    return service.grade(function.database, function.uploads, reader(), task)
