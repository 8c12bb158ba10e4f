"""HTTP: exports, erasures and the data map."""

from uuid import UUID

from flask import Request, Response

from kapas.http import calls
from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform.settings import (
    ApiSettings,
    ArchiveSettings,
)
from kapas.schemas.common import PageQuery
from kapas.schemas.common import Request as Model

from . import service
from .schemas import (
    DataMapSummary,
    DownloadLink,
    Erasure,
    ErasureCreate,
    ErasurePage,
    Export,
    ExportCreate,
    ExportPage,
)

function = Function(ApiSettings, ArchiveSettings)
app = App("Exports and erasures", function)


class ExportPath(Model):
    export_id: UUID


class ErasurePath(Model):
    erasure_id: UUID


@app.post("/v1/exports", responses={202: Export})
def request_export(body: ExportCreate) -> Response:
    """Request an archive of all data about a partner. `export.ready.v1` announces it."""
    with app.session() as db:
        return app.commit(db, service.request_export(db, app.caller, body), status=202)


@app.get("/v1/exports/<uuid:export_id>", responses={200: Export})
def read_export(path: ExportPath) -> Response:
    """Return an export and its status."""
    with app.session() as db:
        export = service.read_export(db, app.caller, path.export_id)
        return app.answer(export, version=export.version)


@app.get("/v1/exports", responses={200: ExportPage})
def list_exports(query: PageQuery) -> Response:
    """List the exports that the caller may see, newest first."""
    with app.session() as db:
        return app.answer(service.list_exports(db, app.caller, query))


@app.post("/v1/exports/<uuid:export_id>/download-link", responses={201: DownloadLink})
def link_archive(path: ExportPath) -> Response:
    """Create a link to the archive, valid for five minutes. For the partner's owner only; recorded in the audit trail."""
    with app.session() as db:
        return app.commit(db, service.link(db, lambda: function.archives, app.caller, path.export_id), status=201)


@app.post("/v1/erasures", responses={202: Erasure})
def request_erasure(body: ErasureCreate) -> Response:
    """Request the erasure of a partner's data. This cannot be undone.

    Processing is restricted at once; deletion starts half an hour later.
    """
    with app.session() as db:
        return app.commit(db, service.request_erasure(db, app.caller, body), status=202)


@app.get("/v1/erasures/<uuid:erasure_id>", responses={200: Erasure})
def read_erasure(path: ErasurePath) -> Response:
    """Return an erasure. Once completed, it states what was deleted, and what stays, why and until when."""
    with app.session() as db:
        erasure = service.read_erasure(db, app.caller, path.erasure_id)
        return app.answer(erasure, version=erasure.version)


@app.get("/v1/erasures", responses={200: ErasurePage})
def list_erasures(query: PageQuery) -> Response:
    """List the erasures that the caller may see, newest first."""
    with app.session() as db:
        return app.answer(service.list_erasures(db, app.caller, query))


@app.get("/v1/data-map", responses={200: DataMapSummary})
def read_data_map() -> Response:
    """Return what data is held about a partner: purposes, recipients, retention periods, and the effect of an erasure."""
    return app.answer(service.holdings())


@calls.entry_point
def data_export(request: Request) -> Response:
    return app.serve(request)
