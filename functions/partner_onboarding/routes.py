"""HTTP: partners, their documents, and what operations decides."""

from uuid import UUID

from flask import Request, Response, request

from kapas.errors import NotFound, VersionConflict
from kapas.http import calls
from kapas.http.app import App, Outcome
from kapas.http.function import Function
from kapas.platform.db import Session
from kapas.platform.settings import (
    ApiSettings,
    KeySettings,
    UploadSettings,
)
from kapas.privacy import restrictions
from kapas.schemas.common import Request as Model

from . import documents, service
from .profile import aadhaar
from .review import decisions, reviews
from .review_schemas import Activate, ClarificationRequest, PartnerReview, Reason, Reclassify
from .schemas import (
    DocumentCreate,
    Partner,
    PartnerChange,
    PartnerCreate,
    PartnerDocument,
    PartnerDocumentCreated,
    PartnerDocumentList,
    PartnerDocumentRead,
    PartnerPage,
    PartnerQuery,
    PartnerSummary,
    Submit,
)

function = Function(ApiSettings, KeySettings, UploadSettings)
app = App("Partner onboarding", function)


@app.before_request
def refuse_aadhaar() -> None:
    """Before anything of a request is validated, stored or repeated."""
    aadhaar.refuse({name: request.args.getlist(name) for name in request.args})
    if request.is_json and request.get_data():
        aadhaar.refuse(request.get_json())


class PartnerPath(Model):
    partner_id: UUID


class DocumentPath(PartnerPath):
    document_id: UUID


@app.post("/v1/partners", responses={201: Partner})
def register(body: PartnerCreate) -> Response:
    """Register the caller's partner. What is left out is asked for in `requirements`."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.register(db, function.keyring, app.caller, body), status=201)


@app.get("/v1/partners/<uuid:partner_id>", responses={200: Partner})
def read_partner(path: PartnerPath) -> Response:
    """One partner. Each reading of it is written to the audit trail."""
    with app.session() as db:
        partner = service.read(db, function.keyring, path.partner_id)
        app.publish(db, service.access(app.caller, partner.id, service.READ_FIELDS))
        return app.answer(partner, version=partner.version)


@app.get("/v1/partners", responses={200: PartnerPage})
def list_partners(query: PartnerQuery) -> Response:
    """The partners that the caller may see, newest first: its own, or all for the platform's staff."""
    with app.session() as db:
        return app.answer(service.list_page(db, query))


@app.patch("/v1/partners/<uuid:partner_id>", responses={200: Partner})
def change_partner(path: PartnerPath, body: PartnerChange) -> Response:
    """Change what the partner tells of itself; needs If-Match. A member left out stays, null removes it.

    An active partner corrects only its contact and, within the same state, its address.
    """
    with app.session() as db:
        outcome = service.change(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return _commit(db, path.partner_id, outcome)


@app.post("/v1/partners/<uuid:partner_id>/submit", responses={200: Partner})
def submit_partner(path: PartnerPath, body: Submit) -> Response:
    """Have the partner checked; needs If-Match. Where something is due or wrong, it is `requirements_due` instead.

    What the partner was asked about and holds as it is, a restored GST registration say, is named in `confirmed`.
    """
    with app.session() as db:
        return app.commit(db, service.submit(db, function.keyring, app.caller, path.partner_id, app.if_match(), body))


@app.post("/v1/partners/<uuid:partner_id>/documents", responses={201: PartnerDocumentCreated})
def announce_document(path: PartnerPath, body: DocumentCreate) -> Response:
    """Announce a document. The answer holds the URL that takes exactly these bytes, for 15 minutes."""
    with app.session() as db:
        outcome = documents.announce(db, function.uploads, app.caller, path.partner_id, body)
        return _commit(db, path.partner_id, outcome, status=201)


@app.get("/v1/partners/<uuid:partner_id>/documents", responses={200: PartnerDocumentList})
def list_documents(path: PartnerPath) -> Response:
    """The documents of a partner, newest first."""
    with app.session() as db:
        return app.answer(documents.list_all(db, path.partner_id))


@app.get("/v1/partners/<uuid:partner_id>/documents/<uuid:document_id>", responses={200: PartnerDocumentRead})
def read_document(path: DocumentPath) -> Response:
    """One document with a URL to read it at for five minutes. Each reading is written to the audit trail."""
    with app.session() as db:
        document = documents.read(db, function.uploads, path.partner_id, path.document_id)
        app.publish(db, service.access(app.caller, path.partner_id, [f"documents.{document.kind}"]))
        return app.answer(document, version=document.version)


@app.post("/v1/partners/<uuid:partner_id>/documents/<uuid:document_id>/confirm", responses={200: PartnerDocument})
def confirm_document(path: DocumentPath) -> Response:
    """Say that a document is uploaded."""
    with app.session() as db:
        outcome = documents.confirm(db, function.uploads, app.caller, path.partner_id, path.document_id)
        return _commit(db, path.partner_id, outcome)


@app.delete("/v1/partners/<uuid:partner_id>/documents/<uuid:document_id>", responses={200: PartnerSummary})
def withdraw_document(path: DocumentPath) -> Response:
    """Delete a document that is wrong, while details may be changed and once its URL for the upload has ended."""
    with app.session() as db, db.transaction():
        return app.commit(db, documents.withdraw(db, function.uploads, app.caller, path.partner_id, path.document_id))


@app.get("/v1/partners/<uuid:partner_id>/review", responses={200: PartnerReview})
def review_partner(path: PartnerPath) -> Response:
    """The checks, the risk and the decisions of a partner. For the platform's staff.

    What the providers answered is shown to operations and the data protection officer, and the audit trail says so.
    """
    with app.session() as db:
        review = reviews.review(db, function.keyring, app.caller, path.partner_id)
        app.publish(db, service.access(app.caller, path.partner_id, reviews.read_fields(review)))
        return app.answer(review, version=review.version)


@app.post("/v1/partners/<uuid:partner_id>/activate", responses={200: PartnerSummary})
def activate(path: PartnerPath, body: Activate) -> Response:
    """Let a partner trade. For the platform's operations staff; needs If-Match."""
    with app.session() as db:
        outcome = decisions.activate(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/reject", responses={200: PartnerSummary})
def reject(path: PartnerPath, body: Reason) -> Response:
    """Reject a partner. For the platform's operations staff; needs If-Match."""
    with app.session() as db:
        outcome = decisions.reject(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/clarifications", responses={200: PartnerSummary})
def request_clarification(path: PartnerPath, body: ClarificationRequest) -> Response:
    """Ask a partner to mend something. For the platform's operations staff; needs If-Match."""
    with app.session() as db:
        outcome = decisions.request_clarification(
            db, function.keyring, app.caller, path.partner_id, app.if_match(), body
        )
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/recheck", responses={200: PartnerSummary})
def recheck(path: PartnerPath) -> Response:
    """Run all checks anew, and take back what the partner was asked. For operations staff; needs If-Match."""
    with app.session() as db:
        return app.commit(db, decisions.recheck(db, function.keyring, app.caller, path.partner_id, app.if_match()))


@app.post("/v1/partners/<uuid:partner_id>/reclassify", responses={200: PartnerSummary})
def reclassify(path: PartnerPath, body: Reclassify) -> Response:
    """Correct the type or the constitution of a partner. For the platform's operations staff; needs If-Match."""
    with app.session() as db:
        outcome = decisions.reclassify(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/suspend", responses={200: PartnerSummary})
def suspend(path: PartnerPath, body: Reason) -> Response:
    """Stop a partner from trading. For the platform's operations staff; needs If-Match."""
    with app.session() as db:
        outcome = decisions.suspend(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/reinstate", responses={200: PartnerSummary})
def reinstate(path: PartnerPath) -> Response:
    """Let a suspended partner trade again. For the platform's operations staff; needs If-Match."""
    with app.session() as db:
        return app.commit(db, decisions.reinstate(db, function.keyring, app.caller, path.partner_id, app.if_match()))


def _commit(db: Session, partner_id: UUID, outcome: Outcome, *, status: int = 200) -> Response:
    """Commit what a partner brings; what its erasure overtook is refused as it is from then on."""
    try:
        return app.commit(db, outcome, status=status)
    except VersionConflict:
        restrictions.refuse(db, partner_id)
        raise


@calls.entry_point
def partner_onboarding(request: Request) -> Response:
    if aadhaar.in_path(request.path):  # a problem names the path it is about
        return calls.problem_response(NotFound(), "/v1/partners")
    return app.serve(request)
