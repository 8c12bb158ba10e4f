"""Which tax a supply bears, derived from the parties' registrations and the terms. Nobody types a state.

Rates and sources stand in `../terms/rates.json`; a tax adviser has not signed them off.
"""

import functools
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

from kapas.values.states import states

from .parties import Party
from .refusal import Refused
from .terms import TEMPLATES, Terms
from .values import Model, Side

Kind = Literal["within_state", "between_states", "none"]


class Details(Model):
    """What a party names for the deal: its registration, the account to pay to, the place where the goods go or lie."""

    registration_id: UUID | None = None
    account_id: UUID | None = None
    place_id: UUID | None = None


class Tax(Model):
    """The tax of a contract: GST state codes, never numbers of registration."""

    kind: Kind
    reverse_charge: bool
    supplier_state: str
    place_of_supply: str
    seller_registered: bool
    buyer_registered: bool
    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class Rates:
    """`rates.json`: the rate on cotton and where it stands."""

    version: str
    hsn: str
    pct: Decimal
    source: str


@functools.cache
def rates() -> Rates:
    data = json.loads((TEMPLATES / "rates.json").read_text("utf-8"))["cotton"]
    return Rates(data["version"], data["hsn"], Decimal(data["rate_pct"]), data["source"])


def derive(terms: Terms, lot_place: UUID | None, seller: Party, sells: Details, buyer: Party, buys: Details) -> Tax:
    """The tax of a supply from `seller` to `buyer`.

    Raises:
        Refused: a named registration or place is not the party's own, the goods lie in another state than the
            registration that sells them, or an unregistered trader would sell into another state.
    """
    supplier = _registered(seller, "seller", sells)
    recipient = _registered(buyer, "buyer", buys)
    lies_in = _place(seller, "seller", sells.place_id or lot_place) or supplier or _successor(seller.state)
    if supplier is not None and supplier != lies_in:
        raise Refused(
            f"The goods lie in state {lies_in}: only a registration there can sell them, not one of state {supplier}",
            against="the seller's registration",
            code="invalid",
            pointer="/registration_id",
        )
    goes_to = _place(buyer, "buyer", buys.place_id) or recipient or _successor(buyer.state)
    place = lies_in if terms.delivery.basis == "in_warehouse" else goes_to
    kind: Kind = "within_state" if lies_in == place else "between_states"
    agriculturist = seller.agriculturist
    made = functools.partial(
        Tax,
        supplier_state=lies_in,
        place_of_supply=place,
        seller_registered=supplier is not None,
        buyer_registered=recipient is not None,
    )
    if agriculturist and recipient is not None:
        number = "43/2017-CT(R)" if kind == "within_state" else "45/2017-IT(R)"
        amended = "4/2017-CT(R)" if kind == "within_state" else "4/2017-IT(R)"
        rule = "Raw cotton of an agriculturist to a registered person: the recipient pays the tax"
        source = f"Notification {amended}, serial 4A, inserted by {number}, from 15 November 2017"
        return made(kind=kind, reverse_charge=True, rule=rule, source=source)
    if supplier is not None and not agriculturist:
        rule = f"Cotton (HSN {rates().hsn}): the supplier charges the tax"
        return made(kind=kind, reverse_charge=False, rule=rule, source=rates().source)
    if not agriculturist and kind == "between_states":
        raise Refused(
            "A supply into another state needs a registered seller: register, or sell within the state",
            against="CGST Act 2017, section 24(i)",
            pointer="/registration_id",
        )
    rule = "Neither charged nor due under reverse charge: " + (
        "the recipient is not a registered person" if agriculturist else "the supplier is not registered"
    )
    source = "CGST Act 2017, sections 23(1)(b), 32(1); notification 4/2017-CT(R), serial 4A"
    return made(kind="none", reverse_charge=False, rule=rule, source=source)


def check_details(party: Party, side: Side, details: Details) -> None:
    """Raises `Refused` for a registration, place or account that is not the party's own."""
    _registered(party, side, details)
    _place(party, side, details.place_id)
    if details.account_id is not None and details.account_id not in party.accounts:
        raise Refused(
            f"The {side} has no verified bank account of that id",
            against="the party's accounts",
            code="invalid",
            pointer="/account_id",
        )


def _registered(party: Party, side: Side, details: Details) -> str | None:
    """The state of the registration that counts: the named one, or the only one there is."""
    if details.registration_id is not None:
        state = party.registrations.get(details.registration_id)
        if state is None:
            raise Refused(
                f"The {side} has no registration of that id",
                against="the party's registrations",
                code="invalid",
                pointer="/registration_id",
            )
        return _successor(state)
    if len(party.registrations) > 1:
        raise Refused(
            f"The {side} has {len(party.registrations)} registrations and names the one for this deal first",
            against=f"the {side}'s registrations",
            pointer="/registration_id",
        )
    return next((_successor(state) for state in party.registrations.values()), None)


def _place(party: Party, side: Side, place_id: UUID | None) -> str | None:
    if place_id is None:
        return None
    if place_id not in party.places:
        raise Refused(
            f"The {side} has no place of that id", against="the party's places", code="invalid", pointer="/place_id"
        )
    return _successor(party.places[place_id])


def _successor(state: str) -> str:
    """Codes that are no longer issued stand for the state that took their place."""
    successor = states().successors.get(state)
    if successor is None:
        raise Refused("A party's address names no state: it corrects its registration", against="the party's address")
    return successor
