"""Who the other side is: opened for whom the trade is with, and nobody else."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.trade_events import counterparties
from functions.trade_events.schemas import Counterparties
from kapas.errors import Conflict, NotFound
from kapas.http.identity import Identity
from kapas.platform.db import Database
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring
from tests.integration.trade_events.market import OPERATIONS, Market, trading
from tests.unit.kapas.fake_keys import Kms

ACCOUNT = {"ifsc": "SBIN0000300", "number": "00000012345678901"}
PROFILES: dict[str, dict[str, Any]] = {
    "seller": {
        "legal_name": "Saurashtra Ginning Company",
        "contact": {"name": "A. Patel", "phone": "+919800000001", "email": None},
        "gstin": "24AAACS1234A1Z5",
        "address": {"line": "Gondal Road 1", "city": "Rajkot", "pin": "360001", "state_code": "24"},
        "bank_account": ACCOUNT,
    },
    "buyer": {
        "legal_name": "Kovai Mills",
        "contact": {"name": "M. Raman", "phone": "+919800000002", "email": "m@example.com"},
        "address": {"line": "Avinashi Road 9", "city": "Coimbatore", "pin": "641018", "state_code": "33"},
        "bank_account": {**ACCOUNT, "number": "999"},
    },
}


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(Kms())


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection, keyring: Keyring) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        onboarding = open_as("partner_onboarding")
        seal(onboarding, admin, keyring, market.seller.partner_id, PROFILES["seller"])
        seal(onboarding, admin, keyring, market.buyer.partner_id, PROFILES["buyer"])
        yield market


def seal(
    database: Database, admin: Connection, keyring: Keyring, partner_id: UUID | None, profile: dict[str, Any]
) -> None:
    """As partner onboarding keeps a profile."""
    assert partner_id is not None
    with database.session(partner_id) as db, db.transaction():
        cipher = keyring.create_subject(SqlKeyStore(db), partner_id)
    for name, value in profile.items():
        plain = value if isinstance(value, str) else json.dumps(value)
        sealed = cipher.encrypt(Field("partners", name, partner_id), plain)
        index = {"gstin": ", gstin_index = :sealed", "bank_account": ", bank_index = :sealed"}.get(name, "")
        admin.run(f"UPDATE partners SET {name} = :sealed{index} WHERE id = :id", sealed=sealed, id=partner_id)


def read(market: Market, keyring: Keyring, who: Identity, trade_id: UUID) -> Counterparties:
    with market.session(who) as db:
        return counterparties.read(db, keyring, who, trade_id)


def test_each_side_reads_the_other_from_the_match_on(market: Market, keyring: Keyring) -> None:
    offered = market.offer().id
    with pytest.raises(Conflict, match="from the match on"):
        read(market, keyring, market.seller, offered)
    with pytest.raises(NotFound):
        read(market, keyring, market.buyer, offered)
    trade_id = market.matched()
    [seller] = read(market, keyring, market.buyer, trade_id).data
    assert (seller.side, seller.legal_name, seller.gstin) == (
        "seller",
        "Saurashtra Ginning Company",
        "24AAACS1234A1Z5",
    )
    assert seller.address is not None
    assert (seller.address.city, seller.bank_account) == ("Rajkot", None)
    [buyer] = read(market, keyring, market.seller, trade_id).data
    assert buyer.contact is not None
    assert (buyer.side, buyer.gstin, buyer.contact.name) == ("buyer", None, "M. Raman")
    with pytest.raises(NotFound):
        read(market, keyring, market.rival, trade_id)


def test_the_payer_reads_the_payees_account_from_the_contract_on(market: Market, keyring: Keyring) -> None:
    trade_id = market.contracted()
    [seller] = read(market, keyring, market.buyer, trade_id).data
    assert seller.bank_account is not None
    assert seller.bank_account.number == ACCOUNT["number"]
    [buyer] = read(market, keyring, market.seller, trade_id).data
    assert buyer.bank_account is None
    assert [one.bank_account for one in read(market, keyring, OPERATIONS, trade_id).data] == [None, None]


def test_each_reading_is_an_event_of_the_trail(market: Market, keyring: Keyring) -> None:
    trade_id = market.contracted()
    found = read(market, keyring, market.buyer, trade_id)
    [event] = counterparties.accesses(market.buyer, found)
    assert event.data.model_dump(mode="json") == {
        "actor": "owner-1",
        "actor_role": "owner",
        "partner_id": str(market.seller.partner_id),
        "fields": ["legal_name", "contact", "gstin", "address", "bank_account"],
    }
    assert (event.data.source, event.partner_ids) == ("/trade_events", (market.seller.partner_id,))


def test_of_who_is_erased_nothing_is_left_to_read(market: Market, keyring: Keyring) -> None:
    trade_id = market.contracted()
    market.admin.run("DELETE FROM subject_keys WHERE subject_id = :id", id=market.seller.partner_id)
    keyring.forget(market.seller.partner_id)  # type: ignore[arg-type]
    [seller] = read(market, keyring, market.buyer, trade_id).data
    assert (seller.legal_name, seller.address, seller.bank_account) == (None, None, None)


def test_nothing_of_who_the_parties_are_is_in_events(market: Market, keyring: Keyring) -> None:
    trade_id = market.contracted()
    market.weighed(trade_id)
    kept = json.dumps([event.data for event in market.cloud_events(trade_id)])
    for secret in ("Saurashtra", "24AAACS1234A1Z5", "Gondal", "+9198", ACCOUNT["number"]):
        assert secret not in kept
