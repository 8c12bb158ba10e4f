"""Partner onboarding over HTTP: register, read, list, activate."""

from uuid import UUID

from flask import Request, Response

from kapas.api import App
from kapas.calls import entry_point
from kapas.db import Database
from kapas.db.connect import open_database
from kapas.gcp.kms import CloudKms
from kapas.keys import Keyring
from kapas.once import once
from kapas.schemas.common import PageQuery
from kapas.schemas.common import Request as Model
from kapas.schemas.partners import Partner, PartnerCreate, PartnerPage
from kapas.settings import ApiSettings, KeySettings, load

from . import service


class Settings(ApiSettings, KeySettings):
    """What partner onboarding is told."""


@once
def settings() -> Settings:
    return load(Settings)


@once
def database() -> Database:
    return open_database(settings())


@once
def keyring() -> Keyring:
    return Keyring(CloudKms(settings().kms_key, settings().kms_url))


app = App("Partner onboarding", settings=settings, database=database)


class PartnerPath(Model):
    partner_id: UUID


@app.post("/v1/partners", responses={201: Partner})
def register(body: PartnerCreate) -> Response:
    """Register the caller's partner. It may trade once the platform has activated it."""
    with app.session() as db, db.transaction():
        return app.commit(db, service.register(db, keyring(), app.caller, body), status=201)


@app.get("/v1/partners/<uuid:partner_id>", responses={200: Partner})
def read_partner(path: PartnerPath) -> Response:
    """One partner. Each reading of it is written to the audit trail."""
    with app.session() as db:
        partner = service.read(db, keyring(), path.partner_id)
        app.publish(db, service.access(app.caller, partner))
        return app.answer(partner, version=partner.version)


@app.get("/v1/partners", responses={200: PartnerPage})
def list_partners(query: PageQuery) -> Response:
    """The partners that the caller may see, newest first: its own, or all for the platform's staff."""
    with app.session() as db:
        return app.answer(service.list_page(db, query))


@app.post("/v1/partners/<uuid:partner_id>/activate", responses={200: Partner})
def activate(path: PartnerPath) -> Response:
    """Let a partner trade. For the platform's operations staff; needs If-Match."""
    with app.session() as db:
        return app.commit(db, service.activate(db, keyring(), app.caller, path.partner_id, app.if_match()))


@entry_point
def partner_onboarding(request: Request) -> Response:
    return app.serve(request)
