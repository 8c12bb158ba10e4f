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
    """Request a grading. A grading from figures completes at once; an image must be uploaded and submitted.

    A grading for a trade requires its contract, otherwise 409. Each grading counts towards the partner's daily budget;
    when it is used up, the answer is 429 with Retry-After.
    """
    with app.session() as db:
        outcome = service.request(db, function.uploads, app.caller, body.root)
        try:
            return app.commit(db, outcome, status=201)
        except VersionConflict:
            raise service.not_charged(db, app.caller) from None


@app.post("/v1/gradings/<uuid:grading_id>/upload-link", responses={201: Upload})
def link_upload(path: GradingPath) -> Response:
    """Create another upload URL, if the image was not uploaded within 15 minutes. It accepts the announced bytes, once."""
    with app.session() as db:
        return app.commit(db, service.link(db, function.uploads, app.caller, path.grading_id), status=201)


@app.post("/v1/gradings/<uuid:grading_id>/submit", responses={200: Grading})
def submit_grading(path: GradingPath) -> Response:
    """Submit the uploaded image for grading."""
    with app.session() as db:
        response = app.commit(db, service.submit(db, function.uploads, app.caller, path.grading_id))
    service.enqueue(function.tasks, path.grading_id)
    return response


@app.get("/v1/gradings/<uuid:grading_id>", responses={200: Grading})
def read_grading(path: GradingPath) -> Response:
    """Return one grading of the caller's partner; inspectors can read gradings of trades."""
    with app.session() as db:
        grading = service.read(db, app.caller, path.grading_id)
        return app.answer(grading, version=grading.version)


@app.get("/v1/gradings", responses={200: GradingPage})
def list_gradings(query: GradingQuery) -> Response:
    """List the gradings of the caller's partner, newest first. Inspectors must name a trade."""
    with app.session() as db:
        return app.answer(service.list_page(db, app.caller, query))


@app.get("/v1/grading-models/current", responses={200: GradingModel})
def read_model() -> Response:
    """Return the current grading model, for use on phones."""
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
    """Download the current model by its SHA-256, as a TensorFlow Lite file."""
    current = model.current()
    if path.sha256 != current.sha256:
        raise NotFound("This is not the current model; GET /v1/grading-models/current has it")
    return Response(current.content, content_type="application/octet-stream")


@calls.entry_point
def grading_requests(request: Request) -> Response:
    return app.serve(request)
