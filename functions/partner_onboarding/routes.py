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
    """Register the caller's partner. `requirements` lists what is still missing."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.register(db, function.keyring, app.caller, body), status=201)


@app.get("/v1/partners/<uuid:partner_id>", responses={200: Partner})
def read_partner(path: PartnerPath) -> Response:
    """Return one partner. Each read is recorded in the audit trail."""
    with app.session() as db:
        with db.snapshot():
            partner = service.read(db, function.keyring, path.partner_id)
        app.publish(db, service.access(app.caller, partner.id, service.READ_FIELDS))
        return app.answer(partner, version=partner.version)


@app.get("/v1/partners", responses={200: PartnerPage})
def list_partners(query: PartnerQuery) -> Response:
    """List partners, newest first: the caller's own, or all for the platform's staff."""
    with app.session() as db:
        return app.answer(service.list_page(db, query))


@app.patch("/v1/partners/<uuid:partner_id>", responses={200: Partner})
def change_partner(path: PartnerPath, body: PartnerChange) -> Response:
    """Change a partner's details (merge patch); requires If-Match. Omitted members stay, null removes a member.

    An active partner can change only its contact and, within the same state, its address.
    """
    with app.session() as db:
        outcome = service.change(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return _commit(db, path.partner_id, outcome)


@app.post("/v1/partners/<uuid:partner_id>/submit", responses={200: Partner})
def submit_partner(path: PartnerPath, body: Submit) -> Response:
    """Submit the partner for its checks; requires If-Match. If details are missing or wrong: `requirements_due`.

    List questioned fields that are correct as they are, such as a restored GST registration, in `confirmed`.
    """
    with app.session() as db:
        return app.commit(db, service.submit(db, function.keyring, app.caller, path.partner_id, app.if_match(), body))


@app.post("/v1/partners/<uuid:partner_id>/documents", responses={201: PartnerDocumentCreated})
def announce_document(path: PartnerPath, body: DocumentCreate) -> Response:
    """Announce a document. The answer has an upload URL that accepts exactly these bytes for 15 minutes."""
    with app.session() as db:
        outcome = documents.announce(db, function.uploads, app.caller, path.partner_id, body)
        return _commit(db, path.partner_id, outcome, status=201)


@app.get("/v1/partners/<uuid:partner_id>/documents", responses={200: PartnerDocumentList})
def list_documents(path: PartnerPath) -> Response:
    """List the documents of a partner, newest first."""
    with app.session() as db, db.snapshot():
        return app.answer(documents.list_all(db, path.partner_id))


@app.get("/v1/partners/<uuid:partner_id>/documents/<uuid:document_id>", responses={200: PartnerDocumentRead})
def read_document(path: DocumentPath) -> Response:
    """Return one document with a download URL valid for five minutes. Each read is recorded in the audit trail."""
    with app.session() as db:
        document = documents.read(db, function.uploads, path.partner_id, path.document_id)
        app.publish(db, service.access(app.caller, path.partner_id, [f"documents.{document.kind}"]))
        return app.answer(document, version=document.version)


@app.post("/v1/partners/<uuid:partner_id>/documents/<uuid:document_id>/confirm", responses={200: PartnerDocument})
def confirm_document(path: DocumentPath) -> Response:
    """Confirm that a document has been uploaded."""
    with app.session() as db:
        outcome = documents.confirm(db, function.uploads, app.caller, path.partner_id, path.document_id)
        return _commit(db, path.partner_id, outcome)


@app.delete("/v1/partners/<uuid:partner_id>/documents/<uuid:document_id>", responses={200: PartnerSummary})
def withdraw_document(path: DocumentPath) -> Response:
    """Delete a wrong document. Possible while details may be changed, once the upload URL has expired."""
    with app.session() as db, db.transaction():
        return app.commit(db, documents.withdraw(db, function.uploads, app.caller, path.partner_id, path.document_id))


@app.get("/v1/partners/<uuid:partner_id>/review", responses={200: PartnerReview})
def review_partner(path: PartnerPath) -> Response:
    """Return the checks, the risk and the decisions of a partner. For the platform's staff.

    Operations and the data protection officer also see the providers' answers; the audit trail records that.
    """
    with app.session() as db:
        with db.snapshot():
            review = reviews.review(db, function.keyring, app.caller, path.partner_id)
        app.publish(db, service.access(app.caller, path.partner_id, reviews.read_fields(review)))
        return app.answer(review, version=review.version)


@app.post("/v1/partners/<uuid:partner_id>/activate", responses={200: PartnerSummary})
def activate(path: PartnerPath, body: Activate) -> Response:
    """Activate a partner, so that it can trade. For operations staff; requires If-Match."""
    with app.session() as db:
        outcome = decisions.activate(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/reject", responses={200: PartnerSummary})
def reject(path: PartnerPath, body: Reason) -> Response:
    """Reject a partner. For operations staff; requires If-Match."""
    with app.session() as db:
        outcome = decisions.reject(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/clarifications", responses={200: PartnerSummary})
def request_clarification(path: PartnerPath, body: ClarificationRequest) -> Response:
    """Ask a partner for corrections. For operations staff; requires If-Match."""
    with app.session() as db:
        outcome = decisions.request_clarification(
            db, function.keyring, app.caller, path.partner_id, app.if_match(), body
        )
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/recheck", responses={200: PartnerSummary})
def recheck(path: PartnerPath) -> Response:
    """Run all checks again and withdraw open questions. For operations staff; requires If-Match."""
    with app.session() as db:
        return app.commit(db, decisions.recheck(db, function.keyring, app.caller, path.partner_id, app.if_match()))


@app.post("/v1/partners/<uuid:partner_id>/reclassify", responses={200: PartnerSummary})
def reclassify(path: PartnerPath, body: Reclassify) -> Response:
    """Correct the type or the constitution of a partner. For operations staff; requires If-Match."""
    with app.session() as db:
        outcome = decisions.reclassify(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/suspend", responses={200: PartnerSummary})
def suspend(path: PartnerPath, body: Reason) -> Response:
    """Suspend a partner from trading. For operations staff; requires If-Match."""
    with app.session() as db:
        outcome = decisions.suspend(db, function.keyring, app.caller, path.partner_id, app.if_match(), body)
        return app.commit(db, outcome)


@app.post("/v1/partners/<uuid:partner_id>/reinstate", responses={200: PartnerSummary})
def reinstate(path: PartnerPath) -> Response:
    """Reinstate a suspended partner. For operations staff; requires If-Match."""
    with app.session() as db:
        return app.commit(db, decisions.reinstate(db, function.keyring, app.caller, path.partner_id, app.if_match()))


def _commit(db: Session, partner_id: UUID, outcome: Outcome, *, status: int = 200) -> Response:
    """Commit a partner's change. If an erasure was requested meanwhile, refuse it with that reason."""
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
