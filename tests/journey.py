"""The first steps of a user's journey, for tests that are about a later one. Names, phones and PANs are made up."""

import itertools
import string
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kapas import ids
from tools.local.client import Answer, Client

_numbers = itertools.count(ids.uuid7().int % 9000)

ASK = {"paise": 61_500_00, "unit": "candy_trade"}


@dataclass(frozen=True, slots=True)
class Partner:
    """An active partner: its owner's client, and what it registered with."""

    id: UUID
    owner: Client
    body: dict[str, Any]


def registration(**changes: Any) -> dict[str, Any]:
    """A valid registration, each with a PAN of its own."""
    number = next(_numbers)
    letters = string.ascii_uppercase
    series = "".join(letters[number // 26**power % 26] for power in range(2))
    return {
        "type": "ginner",
        "legal_name": f"Example Ginning {number}",
        "contact_name": f"Asha Example {number}",
        "phone": f"+9198{number % 10**8:08d}",
        "pan": f"{series}ACE{number % 10**4:04d}{letters[number % 26]}",
        "state_code": "24",
    } | changes


def register(client: Client, **changes: Any) -> tuple[Partner, Answer]:
    """A registered partner that is not active yet, and the answer it got."""
    partner_id = ids.uuid7()
    owner = client.as_user(f"owner-{partner_id}", partner_id, "owner")
    body = registration(**changes)
    return Partner(partner_id, owner, body), owner.post("/v1/partners", body, expect=201)


def active_partner(client: Client, **changes: Any) -> Partner:
    partner, registered = register(client, **changes)
    operations = client.as_user("operations", None, "ops")
    operations.post(f"/v1/partners/{partner.id}/activate", if_match=registered.etag)
    return partner


def lot(**changes: Any) -> dict[str, Any]:
    """A valid lot."""
    return {
        "variety": "Shankar-6",
        "crop_year": "2026-27",
        "station": "Rajkot",
        "bales": 100,
        "net_weight": {"value": "16350", "unit": "kg"},
        "quality": {
            "micronaire": 4.2,
            "strength_g_tex": 29.6,
            "upper_half_mean_length_in": 1.14,
            "uniformity_index_pct": 82.3,
        },
    } | changes


def offer(seller: Partner) -> dict[str, Any]:
    """A trade in its first state."""
    return seller.owner.post("/v1/trades", {"lot": lot(), "ask": ASK}, expect=201).body


def bid(version: int, paise: int = 61_200_00) -> dict[str, Any]:
    return {"event": {"type": "bid_placed", "expected_version": version, "price": {**ASK, "paise": paise}}}


def contracted(seller: Partner, buyer: Partner) -> dict[str, Any]:
    """A trade that went all the way."""
    trade = offer(seller)
    events = f"/v1/trades/{trade['id']}/events"
    buyer.owner.post(events, bid(1), expect=201)
    seller.owner.post(events, {"event": {"type": "bid_accepted", "expected_version": 2, "bid_sequence": 2}}, expect=201)
    return buyer.owner.post(events, {"event": {"type": "contract_signed", "expected_version": 3}}, expect=201).body
