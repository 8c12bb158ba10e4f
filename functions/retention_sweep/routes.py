"""HTTP: retention sweeps and legal holds, for the platform's staff."""

from uuid import UUID

from flask import Request, Response

from kapas.http import calls
from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform.settings import (
    ApiSettings,
    TaskSettings,
)
from kapas.schemas.common import PageQuery
from kapas.schemas.common import Request as Model

from . import service
from .schemas import (
    LegalHold,
    LegalHoldCreate,
    LegalHoldPage,
    RetentionSweep,
    RetentionSweepCreate,
    RetentionSweepPage,
)

function = Function(ApiSettings, TaskSettings)
app = App("Retention", function)


class SweepPath(Model):
    sweep_id: UUID


class HoldPath(Model):
    hold_id: UUID


@app.post("/v1/retention-sweeps", responses={201: RetentionSweep})
def begin_sweep(body: RetentionSweepCreate) -> Response:
    """Start a sweep, real or dry. It runs in the background; read it to follow its progress."""
    with app.session() as db:
        sweep = service.plan(app.caller, body)
        response = app.commit(db, service.begin(sweep), status=201)
    service.enqueue_first(function.tasks, sweep.id)
    return response


@app.get("/v1/retention-sweeps/<uuid:sweep_id>", responses={200: RetentionSweep})
def read_sweep(path: SweepPath) -> Response:
    """Return one sweep with its report."""
    with app.session() as db, db.snapshot():
        sweep = service.read(db, app.caller, path.sweep_id)
        return app.answer(sweep, version=sweep.version)


@app.get("/v1/retention-sweeps", responses={200: RetentionSweepPage})
def list_sweeps(query: PageQuery) -> Response:
    """List the sweeps with their reports, newest first."""
    with app.session() as db, db.snapshot():
        return app.answer(service.list_page(db, app.caller, query))


@app.post("/v1/legal-holds", responses={201: LegalHold})
def place_hold(body: LegalHoldCreate) -> Response:
    """Hold all records of a partner, or one row. From the answer on, no sweep or erasure deletes what the hold names."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.place_hold(db, app.caller, body), status=201)


@app.get("/v1/legal-holds/<uuid:hold_id>", responses={200: LegalHold})
def read_hold(path: HoldPath) -> Response:
    """Return one legal hold, in force or released."""
    with app.session() as db:
        return app.answer(service.read_hold(db, app.caller, path.hold_id))


@app.get("/v1/legal-holds", responses={200: LegalHoldPage})
def list_holds(query: PageQuery) -> Response:
    """List the legal holds, including released ones, newest first."""
    with app.session() as db:
        return app.answer(service.list_holds(db, app.caller, query))


@app.delete("/v1/legal-holds/<uuid:hold_id>", responses={204: None})
def release_hold(path: HoldPath) -> Response:
    """Release a legal hold. What it kept is deleted by the next sweep, if due, or by an erasure that waits for it."""
    with app.session() as db:
        service.release_hold(db, app.caller, path.hold_id)
        return Response(status=204)


@calls.entry_point
def retention_sweep(request: Request) -> Response:
    return app.serve(request)
