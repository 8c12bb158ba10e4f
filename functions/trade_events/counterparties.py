"""Who the other side of a trade is: sealed at registration, opened for whom the trade is with, and told nobody else."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from kapas.errors import Conflict
from kapas.http.identity import Identity
from kapas.messaging.events import Event
from kapas.platform.db import Session
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring, Shredded
from kapas.schemas.access import CounterpartyAccessed
from kapas.values import ids

from . import partner_store, service
from .deal.trade import Trade
from .deal.values import Side
from .schemas import BankAccount, ContactPerson, Counterparties, Counterparty, PostalAddress


def read(db: Session, keyring: Keyring, caller: Identity, trade_id: UUID) -> Counterparties:
    """The parties of a trade but the caller's own.

    Raises:
        NotFound: there is no such trade, or it is not the caller's.
        Conflict: nobody is matched yet.
    """
    trade = service.find_own(db, caller, trade_id)
    if trade.buyer_id is None:
        raise Conflict("Who the other side is can be read from the match on")
    known = partner_store.find(db, [trade.seller_id, trade.buyer_id])
    sides: tuple[tuple[Side, UUID], ...] = (("seller", trade.seller_id), ("buyer", trade.buyer_id))
    data = [
        _counterparty(db, keyring, trade, side, known[partner_id], pays=caller.partner_id == trade.buyer_id)
        for side, partner_id in sides
        if partner_id != caller.partner_id and partner_id in known
    ]
    return Counterparties(trade_id=trade.id, data=data)


def accesses(caller: Identity, found: Counterparties) -> Sequence[Event]:
    """What the audit trail says of the reading: which fields of whom."""
    events: list[Event] = []
    for one in found.data:
        fields = [name for name in partner_store.SEALED if getattr(one, name) is not None]
        data = CounterpartyAccessed(
            actor=caller.subject, actor_role=caller.role, partner_id=one.partner_id, fields=fields
        )
        events.append(Event(ids.uuid7(), 1, data, (one.partner_id,)))
    return events


def _counterparty(
    db: Session, keyring: Keyring, trade: Trade, side: Side, known: partner_store.Known, *, pays: bool
) -> Counterparty:
    """`pays`: whether it is read by who pays it."""
    partner_id, details = known.party.id, trade.details(side)
    plain = _opened(db, keyring, partner_id)
    registration_id = next(iter(known.party.registrations), None)
    address = plain.get("address")
    account = plain.get("bank_account") if side == "seller" and pays and trade.contracted_at is not None else None
    return Counterparty(
        side=side,
        partner_id=partner_id,
        status=known.party.status,
        legal_name=plain.get("legal_name"),
        registration_id=details.registration_id or registration_id,
        gstin=plain.get("gstin"),
        state_code=known.party.state or None,
        address=address and PostalAddress.model_validate(address),
        contact=plain.get("contact") and ContactPerson.model_validate(plain["contact"]),
        bank_account=account
        and BankAccount(
            account_id=partner_store.account_id(partner_id), ifsc=account["ifsc"], number=account["number"]
        ),
    )


def _opened(db: Session, keyring: Keyring, partner_id: UUID) -> dict[str, Any]:
    """Field -> what the partner's registration says; nothing of one whose key was destroyed."""
    sealed = {
        Field("partners", name, partner_id): value for name, value in partner_store.sealed(db, partner_id).items()
    }
    try:
        opened = keyring.decrypt_many(SqlKeyStore(db), partner_id, sealed)
    except Shredded:
        return {}
    structured = ("contact", "address", "bank_account")
    return {
        field.column: json.loads(value) if field.column in structured else value.decode()
        for field, value in opened.items()
    }
