"""Retention: sweeps and legal holds over HTTP, the nightly sweep by schedule, its pages as tasks."""

from collections.abc import Callable
from uuid import UUID

from flask import Request, Response

from kapas.http import calls
from kapas.http.app import App
from kapas.messaging import tasks as task_handling
from kapas.messaging.relay import waker
from kapas.platform.db import Database
from kapas.platform.db.connect import open_database
from kapas.platform.gcp.storage import CloudStorage
from kapas.platform.once import once
from kapas.platform.ports import Documents, Files, Tasks
from kapas.platform.settings import (
    ApiSettings,
    CallerSettings,
    DatabaseSettings,
    FileSettings,
    HandlerSettings,
    RelaySettings,
    TaskSettings,
    UploadSettings,
    load,
)
from kapas.schemas.common import PageQuery
from kapas.schemas.common import Request as Model
from kapas.schemas.retention import (
    LegalHold,
    LegalHoldCreate,
    LegalHoldPage,
    RetentionSweep,
    RetentionSweepCreate,
    RetentionSweepPage,
)

from . import service, sweeping


class RequestSettings(ApiSettings, TaskSettings):
    """Settings of the function for the platform's staff."""


class NightlySettings(DatabaseSettings, CallerSettings, RelaySettings, TaskSettings):
    """Settings of the nightly run."""


class ArchiveSettings(FileSettings):
    """Where the archives of exports are."""

    export_bucket: str


class BatchSettings(NightlySettings, HandlerSettings, ArchiveSettings, UploadSettings):
    """Settings of the work on pages."""


# Each entry point is deployed as a function of its own, with its own settings. What several share loads only what it needs.


@once
def request_settings() -> RequestSettings:
    return load(RequestSettings)


@once
def nightly_settings() -> NightlySettings:
    return load(NightlySettings)


@once
def batch_settings() -> BatchSettings:
    return load(BatchSettings)


@once
def database() -> Database:
    return open_database(load(DatabaseSettings))


@once
def tasks() -> Tasks:
    from kapas.platform.gcp.tasks import CloudTasks

    return CloudTasks(load(TaskSettings))


@once
def archives() -> Files:
    settings = batch_settings()
    return CloudStorage(settings.export_bucket, settings)


@once
def uploads() -> Files:
    settings = batch_settings()
    return CloudStorage(settings.upload_bucket, settings)


@once
def documents() -> Documents:
    from kapas.platform.gcp.firestore import Firestore

    return Firestore(batch_settings().project)


@once
def wake() -> Callable[[], None]:
    return waker(load(RelaySettings))


@once
def means() -> sweeping.Means:
    return sweeping.Means(database(), documents, {"exports": archives, "uploads": uploads}.__getitem__)


app = App("Retention", settings=request_settings, database=database)


class SweepPath(Model):
    sweep_id: UUID


class HoldPath(Model):
    hold_id: UUID


@app.post("/v1/retention-sweeps", responses={201: RetentionSweep})
def begin_sweep(body: RetentionSweepCreate) -> Response:
    """Begin a sweep: for real, or dry. It runs on by itself; read it to see how far it is."""
    with app.session() as db:
        sweep = service.plan(app.caller, body)
        response = app.commit(db, service.begin(sweep), status=201)
    service.enqueue_first(tasks(), sweep.id)
    return response


@app.get("/v1/retention-sweeps/<uuid:sweep_id>", responses={200: RetentionSweep})
def read_sweep(path: SweepPath) -> Response:
    """One sweep with its report."""
    with app.session() as db:
        sweep = service.read(db, app.caller, path.sweep_id)
        return app.answer(sweep, version=sweep.version)


@app.get("/v1/retention-sweeps", responses={200: RetentionSweepPage})
def list_sweeps(query: PageQuery) -> Response:
    """The sweeps with their reports, newest first."""
    with app.session() as db:
        return app.answer(service.list_page(db, app.caller, query))


@app.post("/v1/legal-holds", responses={201: LegalHold})
def place_hold(body: LegalHoldCreate) -> Response:
    """Keep all of a partner's records, or one row. Once this is answered, no sweep and no erasure deletes what it names."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.place_hold(db, app.caller, body), status=201)


@app.get("/v1/legal-holds/<uuid:hold_id>", responses={200: LegalHold})
def read_hold(path: HoldPath) -> Response:
    """One legal hold, in force or released."""
    with app.session() as db:
        return app.answer(service.read_hold(db, app.caller, path.hold_id))


@app.get("/v1/legal-holds", responses={200: LegalHoldPage})
def list_holds(query: PageQuery) -> Response:
    """The legal holds, released ones too, newest first."""
    with app.session() as db:
        return app.answer(service.list_holds(db, app.caller, query))


@app.delete("/v1/legal-holds/<uuid:hold_id>", responses={204: None})
def release_hold(path: HoldPath) -> Response:
    """Release a legal hold. What it kept goes with the next sweep, if it is due, or with an erasure that waits for it."""
    with app.session() as db:
        service.release_hold(db, app.caller, path.hold_id)
        return Response(status=204)


@calls.entry_point
def retention_sweep(request: Request) -> Response:
    return app.serve(request)


@calls.entry_point
def retention_nightly(request: Request) -> Response:
    def work() -> Response:
        if service.begin_nightly(database(), tasks()):
            wake()()
        return Response(status=204)

    return calls.answer(request, nightly_settings(), work)


@calls.entry_point
def retention_batch(request: Request) -> Response:
    def work(task: sweeping.BatchTask) -> None:
        following = sweeping.run(means(), task)
        if following is not None:
            service.enqueue(tasks(), task.sweep_id, following)
        else:
            wake()()

    return task_handling.handle(request, batch_settings(), sweeping.BatchTask, work)
