"""HTTP: gradings, and the model that images are graded with."""

from uuid import UUID

from flask import Request, Response
from pydantic import Field

from kapas.errors import NotFound, VersionConflict
from kapas.http import calls
from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform.settings import (
    ApiSettings,
    TaskSettings,
    UploadSettings,
)
from kapas.schemas.common import Request as Model
from kapas.schemas.common import Upload

from . import service
from .image import model
from .schemas import (
    Grading,
    GradingCreate,
    GradingCreated,
    GradingModel,
    GradingPage,
    GradingQuery,
)

function = Function(ApiSettings, TaskSettings, UploadSettings)
app = App("Gradings", function)


class GradingPath(Model):
    grading_id: UUID


class ModelPath(Model):
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


@app.post("/v1/gradings", responses={201: GradingCreated})
def request_grading(body: GradingCreate) -> Response:
    """Have lint graded. A grading from figures completes at once; an image is to be uploaded and submitted.

    For a trade it is possible once a sample was drawn, else 409. Each grading counts towards the partner's daily budget;
    when that is spent, the answer is 429 with Retry-After.
    """
    with app.session() as db:
        outcome = service.request(db, function.uploads, app.caller, body.root)
        try:
            return app.commit(db, outcome, status=201)
        except VersionConflict:
            raise service.not_charged(db, app.caller) from None


@app.post("/v1/gradings/<uuid:grading_id>/upload-link", responses={201: Upload})
def link_upload(path: GradingPath) -> Response:
    """Another URL for an image that did not come within 15 minutes. It takes the bytes that were announced, once."""
    with app.session() as db:
        return app.commit(db, service.link(db, function.uploads, app.caller, path.grading_id), status=201)


@app.post("/v1/gradings/<uuid:grading_id>/submit", responses={200: Grading})
def submit_grading(path: GradingPath) -> Response:
    """Have the uploaded image graded."""
    with app.session() as db:
        response = app.commit(db, service.submit(db, function.uploads, app.caller, path.grading_id))
    service.enqueue(function.tasks, path.grading_id)
    return response


@app.get("/v1/gradings/<uuid:grading_id>", responses={200: Grading})
def read_grading(path: GradingPath) -> Response:
    """One grading of the caller's partner; inspectors read those of trades."""
    with app.session() as db:
        grading = service.read(db, app.caller, path.grading_id)
        return app.answer(grading, version=grading.version)


@app.get("/v1/gradings", responses={200: GradingPage})
def list_gradings(query: GradingQuery) -> Response:
    """The gradings of the caller's partner, newest first; of one trade, if it is named, as inspectors must."""
    with app.session() as db:
        return app.answer(service.list_page(db, app.caller, query))


@app.get("/v1/grading-models/current", responses={200: GradingModel})
def read_model() -> Response:
    """The model that images are graded with, to measure with the same on a telephone."""
    current = model.current()
    return app.answer(
        GradingModel(
            model_version=current.version,
            sha256=current.sha256,
            size=len(current.content),
            url=f"/v1/grading-models/{current.sha256}",
        )
    )


@app.get("/v1/grading-models/<string:sha256>")
def download_model(path: ModelPath) -> Response:
    """The bytes of the current model, by its SHA-256: a TensorFlow Lite file."""
    current = model.current()
    if path.sha256 != current.sha256:
        raise NotFound("This is not the current model; see /v1/grading-models/current")
    return Response(current.content, content_type="application/octet-stream")


@calls.entry_point
def grading_requests(request: Request) -> Response:
    return app.serve(request)
