"""HTTP: notices, decisions, receipts, and dispatches to processors."""

from uuid import UUID

from flask import Request, Response
from pydantic import Field

from kapas.http import calls
from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform.db import Session
from kapas.platform.settings import (
    ApiSettings,
    KeySettings,
    SigningSettings,
)
from kapas.schemas.common import Request as Model

from . import notices, processors, service
from .schemas import (
    AsOfQuery,
    ConsentDispatch,
    ConsentDispatchPage,
    ConsentHistory,
    ConsentNotice,
    ConsentQuery,
    ConsentReceipt,
    ConsentsDecide,
    ConsentsDecided,
    ConsentStates,
    DispatchQuery,
    HistoryQuery,
    NoticeQuery,
    ReceiptKeys,
)

function = Function(ApiSettings, KeySettings, SigningSettings)
app = App("Consents", function)


def published() -> notices.Notices:
    return function.keep("notices", notices.load)


def dependencies() -> service.Dependencies:
    return service.Dependencies(function.keyring, function.signer, published(), processors.load())


class NoticePath(Model):
    version: str = Field(max_length=20)


class DecisionPath(Model):
    decision_id: UUID


class DispatchPath(Model):
    dispatch_id: UUID


@app.get("/v1/consent-notices/current", responses={200: ConsentNotice})
def read_current_notice(query: NoticeQuery) -> Response:
    """Return the notice to show before asking for consent."""
    return app.answer(service.current_notice(published(), query.language))


@app.get("/v1/consent-notices/<string:version>", responses={200: ConsentNotice})
def read_notice(path: NoticePath, query: NoticeQuery) -> Response:
    """Return a current or earlier notice. A published text never changes."""
    return app.answer(service.notice(published(), path.version, query.language))


@app.post("/v1/consents", responses={201: ConsentsDecided})
def decide_consents(body: ConsentsDecide) -> Response:
    """Record decisions of the caller's partner on one or more purposes. The answer has an outcome for each decision; a
    refused one does not block the others. If none can be recorded, the answer is 422. For the partner's owner. The data
    protection officer records refusals and withdrawals made by other means, such as e-mail."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.decide(db, dependencies(), app.caller, body), status=201)


@app.get("/v1/consents/current", responses={200: ConsentStates})
def read_current_consents(query: ConsentQuery) -> Response:
    """Return the current state of each purpose."""
    with app.session() as db:
        subject_id = _reading(db, query.partner_id, "current")
        with db.snapshot():
            states = service.current(db, subject_id)
        return app.answer(states, version=states.version)


@app.get("/v1/consents/as-of", responses={200: ConsentStates})
def read_past_consents(query: AsOfQuery) -> Response:
    """Return the state of each purpose at a past time."""
    with app.session() as db:
        subject_id = _reading(db, query.partner_id, "as_of")
        with db.snapshot():
            states = service.as_of(db, subject_id, query.at)
        return app.answer(states, version=states.version)


@app.get("/v1/consents/history", responses={200: ConsentHistory})
def list_consent_records(query: HistoryQuery) -> Response:
    """List the consent records of the caller's partner, newest first."""
    with app.session() as db:
        return app.answer(service.history(db, function.keyring, _reading(db, query.partner_id, "history"), query))


@app.get("/v1/consents/receipts/<uuid:decision_id>", responses={200: ConsentReceipt})
def read_receipt(path: DecisionPath, query: ConsentQuery) -> Response:
    """Return the signed receipt of one decision."""
    with app.session() as db:
        subject_id = _reading(db, query.partner_id, "receipt")
        with db.snapshot():
            return app.answer(service.receipt(db, subject_id, path.decision_id))


def _reading(db: Session, requested_id: UUID | None, field: str) -> UUID:
    """The partner whose consents the caller may read. Reads by the platform's staff are recorded in the audit trail."""
    subject_id = service.subject(app.caller, requested_id)
    if not app.caller.role.of_partner:
        app.publish(db, service.access(app.caller, subject_id, field))
    return subject_id


@app.get("/v1/consents/receipt-keys", responses={200: ReceiptKeys})
def list_receipt_keys() -> Response:
    """List the public keys that verify receipts."""
    with app.session() as db:
        return app.answer(service.receipt_keys(db))


@app.get("/v1/consent-dispatches", responses={200: ConsentDispatchPage})
def list_dispatches(query: DispatchQuery) -> Response:
    """List processors that must stop because a consent ended, the earliest due first. For the platform's staff."""
    with app.session() as db:
        return app.answer(service.list_dispatches(db, app.caller, query))


@app.post("/v1/consent-dispatches/<uuid:dispatch_id>/acknowledge", responses={200: ConsentDispatch})
def acknowledge_dispatch(path: DispatchPath) -> Response:
    """Record that a processor has stopped. For the platform's staff."""
    with app.session() as db:
        return app.commit(db, service.acknowledge(db, app.caller, path.dispatch_id))


@calls.entry_point
def consent_updates(request: Request) -> Response:
    return app.serve(request)
