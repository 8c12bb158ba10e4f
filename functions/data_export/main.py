"""Exports and erasures: asked for over HTTP, begun by their events, carried out as tasks, watched by schedule."""

from collections.abc import Callable
from uuid import UUID

from flask import Request, Response

from kapas.http import calls
from kapas.http.app import App
from kapas.messaging import events
from kapas.messaging import tasks as task_handling
from kapas.messaging.relay import waker
from kapas.platform.db import Database
from kapas.platform.db.connect import open_database
from kapas.platform.gcp.kms import CloudKms
from kapas.platform.gcp.kms_signer import KmsSigner
from kapas.platform.gcp.storage import CloudStorage
from kapas.platform.once import once
from kapas.platform.ports import Documents, Files, Tasks
from kapas.platform.settings import (
    ApiSettings,
    CallerSettings,
    DatabaseSettings,
    FileSettings,
    HandlerSettings,
    KeySettings,
    RelaySettings,
    SigningSettings,
    TaskSettings,
    UploadSettings,
    load,
)
from kapas.privacy.keys import Keyring
from kapas.schemas.common import PageQuery
from kapas.schemas.common import Request as Model
from kapas.schemas.exports import (
    DataMapSummary,
    DownloadLink,
    Erasure,
    ErasureCreate,
    ErasurePage,
    Export,
    ExportCreate,
    ExportPage,
)

from . import erasing, preparing, service


class ArchiveSettings(FileSettings):
    """Where archives are."""

    export_bucket: str


class RequestSettings(ApiSettings, ArchiveSettings):
    """Settings of the function for partners."""


class IntakeSettings(CallerSettings, TaskSettings):
    """Settings of the function that begins the work."""


class WatchdogSettings(DatabaseSettings, CallerSettings, TaskSettings, RelaySettings, ArchiveSettings):
    """Settings of the watchdog."""


class WorkSettings(WatchdogSettings, HandlerSettings, KeySettings, SigningSettings, UploadSettings):
    """Settings of the work on exports and erasures."""


# Each entry point is deployed as a function of its own, with its own settings. What several share loads only what it needs.


@once
def request_settings() -> RequestSettings:
    return load(RequestSettings)


@once
def intake_settings() -> IntakeSettings:
    return load(IntakeSettings)


@once
def work_settings() -> WorkSettings:
    return load(WorkSettings)


@once
def watchdog_settings() -> WatchdogSettings:
    return load(WatchdogSettings)


@once
def database() -> Database:
    return open_database(load(DatabaseSettings))


@once
def tasks() -> Tasks:
    from kapas.platform.gcp.tasks import CloudTasks

    return CloudTasks(load(TaskSettings))


@once
def archives() -> Files:
    settings = load(ArchiveSettings)
    return CloudStorage(settings.export_bucket, settings)


@once
def uploads() -> Files:
    settings = load(UploadSettings)
    return CloudStorage(settings.upload_bucket, settings)


@once
def documents() -> Documents:
    from kapas.platform.gcp.firestore import Firestore

    return Firestore(load(WorkSettings).project)


@once
def means() -> preparing.Means:
    settings = work_settings()
    return preparing.Means(
        database=database(),
        keyring=Keyring(CloudKms(settings.kms_key, settings.kms_url)),
        archives=archives(),
        bucket=lambda name: {"exports": archives, "uploads": uploads}[name](),
        tasks=tasks(),
        signer=KmsSigner(settings.receipt_key, settings.kms_url),
    )


@once
def wake() -> Callable[[], None]:
    return waker(load(RelaySettings))


app = App("Exports and erasures", settings=request_settings, database=database)


class ExportPath(Model):
    export_id: UUID


class ErasurePath(Model):
    erasure_id: UUID


@app.post("/v1/exports", responses={202: Export})
def request_export(body: ExportCreate) -> Response:
    """Ask for an archive of everything that is held of a partner. `export.ready.v1` tells when it is there."""
    with app.session() as db:
        return app.commit(db, service.request_export(db, app.caller, body), status=202)


@app.get("/v1/exports/<uuid:export_id>", responses={200: Export})
def read_export(path: ExportPath) -> Response:
    """How an export stands."""
    with app.session() as db:
        export = service.read_export(db, app.caller, path.export_id)
        return app.answer(export, version=export.version)


@app.get("/v1/exports", responses={200: ExportPage})
def list_exports(query: PageQuery) -> Response:
    """The exports that the caller may see, newest first."""
    with app.session() as db:
        return app.answer(service.list_exports(db, app.caller, query))


@app.post("/v1/exports/<uuid:export_id>/download-link", responses={201: DownloadLink})
def link_archive(path: ExportPath) -> Response:
    """A link to the archive, valid for five minutes. For the partner's owner alone, and written to the audit trail."""
    with app.session() as db:
        return app.commit(db, service.link(db, archives, app.caller, path.export_id), status=201)


@app.post("/v1/erasures", responses={202: Erasure})
def request_erasure(body: ErasureCreate) -> Response:
    """Ask for the erasure of a partner's data, which cannot be undone.

    Its processing is restricted at once; what may be deleted is deleted half an hour later.
    """
    with app.session() as db:
        return app.commit(db, service.request_erasure(db, app.caller, body), status=202)


@app.get("/v1/erasures/<uuid:erasure_id>", responses={200: Erasure})
def read_erasure(path: ErasurePath) -> Response:
    """How an erasure stands: once it is completed, what went, what stays, why and until when."""
    with app.session() as db:
        erasure = service.read_erasure(db, app.caller, path.erasure_id)
        return app.answer(erasure, version=erasure.version)


@app.get("/v1/erasures", responses={200: ErasurePage})
def list_erasures(query: PageQuery) -> Response:
    """The erasures that the caller may see, newest first."""
    with app.session() as db:
        return app.answer(service.list_erasures(db, app.caller, query))


@app.get("/v1/data-map", responses={200: DataMapSummary})
def read_data_map() -> Response:
    """What is held of a partner, what for, who else gets it, for how long, and what an erasure does with it."""
    return app.answer(service.holdings())


@calls.entry_point
def data_export(request: Request) -> Response:
    return app.serve(request)


@calls.entry_point
def privacy_intake(request: Request) -> Response:
    return events.receive(request, intake_settings(), lambda event: service.begin(tasks(), event))


@calls.entry_point
def export_work(request: Request) -> Response:
    def work(task: preparing.ExportTask) -> None:
        preparing.work(means(), task)
        wake()()

    return task_handling.handle(request, work_settings(), preparing.ExportTask, work)


@calls.entry_point
def erasure_work(request: Request) -> Response:
    def work(task: erasing.ErasureTask) -> None:
        erasing.erase(erasing.Means(means(), documents()), task)
        wake()()

    return task_handling.handle(request, work_settings(), erasing.ErasureTask, work)


@calls.entry_point
def export_watchdog(request: Request) -> Response:
    def work() -> Response:
        preparing.watch(database(), tasks(), archives())
        erasing.watch(database(), tasks())
        wake()()
        return Response(status=204)

    return calls.answer(request, watchdog_settings(), work)
