"""Use cases of onboarding: register a partner, read it, let it trade."""

from uuid import UUID

from kapas import clock, ids
from kapas.api import Outcome, require
from kapas.db import Session
from kapas.db.key_store import SqlKeyStore
from kapas.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from kapas.events import Event
from kapas.identity import Identity, Role
from kapas.keys import Keyring
from kapas.schemas.common import PageQuery, cursor
from kapas.schemas.events import DataAccessed, PartnerActivated, PartnerCreated
from kapas.schemas.partners import Partner, PartnerCreate, PartnerPage

from . import store


def register(db: Session, keyring: Keyring, caller: Identity, body: PartnerCreate) -> Outcome:
    """Register the partner that the caller's token names. To be called in a transaction: it writes the partner's key.

    Raises:
        Forbidden: the caller is not the owner of a partner.
        Conflict: when committed, if the partner or its PAN is registered already.
    """
    partner_id = caller.partner_id
    if partner_id is None or caller.role is not Role.OWNER:
        raise Forbidden("Only its owner registers a partner")
    now = clock.now()
    partner = Partner(
        id=partner_id,
        version=1,
        status="created",
        type=body.type,
        state_code=body.state_code,
        legal_name=body.legal_name,
        contact_name=body.contact_name,
        phone_ending=body.phone[-4:],
        pan_ending=body.pan[-4:],
        created_at=now,
        updated_at=now,
    )
    keys = SqlKeyStore(db)
    secret = store.Secrets(body.legal_name, body.contact_name, body.phone, body.pan)
    sealed = store.seal(keyring.create_subject(keys, partner_id), partner_id, secret)
    pan_index = keyring.blind_index(keys, "pan", body.pan)
    created = PartnerCreated(partner_id=partner_id, partner_type=body.type)
    return Outcome(
        store.insert(partner, sealed, pan_index, Event(partner_id, 1, created, (partner_id,), time=now)), partner, 1
    )


def read(db: Session, keyring: Keyring, partner_id: UUID) -> Partner:
    """One partner that the session may see. Raises `NotFound` otherwise."""
    partner = store.find(db, keyring, partner_id)
    if partner is None:
        raise NotFound("There is no such partner, or it is another's")
    return partner


def access(caller: Identity, partner: Partner) -> Event:
    """What the audit trail is told of a reading."""
    data = DataAccessed(
        actor=caller.subject,
        actor_role=caller.role,
        partner_id=partner.id,
        fields=["legal_name", "contact_name", "phone_ending", "pan_ending"],
    )
    return Event(ids.uuid7(), 1, data, (partner.id,))


def list_page(db: Session, query: PageQuery) -> PartnerPage:
    """Partners that the session may see, newest first."""
    partners = store.page(db, query.limit + 1, query.after_id())
    more = len(partners) > query.limit
    data = partners[: query.limit]
    return PartnerPage(data=data, has_more=more, next=cursor(data[-1].id) if more else None)


def activate(db: Session, keyring: Keyring, caller: Identity, partner_id: UUID, version: int) -> Outcome:
    """Let a partner trade.

    Raises:
        Forbidden: the caller is not of operations.
        PreconditionFailed: the partner is not at `version`.
        Conflict: it is active already.
    """
    require(caller.role is Role.OPS, "Only operations activate a partner")
    partner = read(db, keyring, partner_id)
    if partner.version != version:
        raise PreconditionFailed(f"The partner is at version {partner.version}")
    if partner.status == "active":
        raise Conflict("The partner is active already")
    now = clock.now()
    after = partner.model_copy(update={"version": version + 1, "status": "active", "updated_at": now})
    data = PartnerActivated(partner_id=partner_id, partner_type=partner.type)
    event = Event(partner_id, after.version, data, (partner_id,), time=now)
    return Outcome(store.set_status(after, version, event), after, after.version)
