"""Cloud Tasks: steps of exports and of erasures."""

from kapas.http.function import Function
from kapas.platform.ports import Files
from kapas.platform.settings import (
    ArchiveSettings,
    DatabaseSettings,
    HandlerSettings,
    KeySettings,
    RelaySettings,
    SigningSettings,
    TaskSettings,
    UploadSettings,
)

from . import erasing, preparing

function = Function(
    DatabaseSettings,
    HandlerSettings,
    TaskSettings,
    RelaySettings,
    KeySettings,
    SigningSettings,
    ArchiveSettings,
    UploadSettings,
)


def bucket(name: str) -> Files:
    return {"exports": lambda: function.archives, "uploads": lambda: function.uploads}[name]()


def dependencies() -> preparing.Dependencies:
    return preparing.Dependencies(
        function.database, function.keyring, function.archives, bucket, function.tasks, function.signer
    )


@function.on_task(preparing.ExportTask)
def export_work(task: preparing.ExportTask) -> bool:
    preparing.work(dependencies(), task)
    return True


@function.on_task(erasing.ErasureTask)
def erasure_work(task: erasing.ErasureTask) -> bool:
    erasing.erase(erasing.Dependencies(dependencies(), function.documents), task)
    return True
