"""The first steps of a user's journey, for tests that are about a later one. Names, numbers and PANs are made up."""

import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from stdnum import luhn

from kapas.values import ids
from local_cloud.client import Answer, Client

_numbers = itertools.count(ids.uuid7().int % 9000)

ASK = {"paise": 61_500_00, "unit": "candy_trade"}


@dataclass(frozen=True, slots=True)
class Partner:
    """An active partner: its owner's client, and what it registered with."""

    id: UUID
    owner: Client
    body: dict[str, Any]


def registration(**changes: Any) -> dict[str, Any]:
    """A valid and complete registration, each with identifiers and a bank account of its own."""
    number = next(_numbers)
    letters = string.ascii_uppercase
    series = "".join(letters[number // 26**power % 26] for power in range(2))
    pan = f"{series}ACE{number % 10**4:04d}{letters[number % 26]}"
    return {
        "type": "ginner",
        "constitution": "private_limited",
        "legal_name": f"Example Ginning {number} Private Limited",
        "contact": {"name": f"Asha Example {number}", "phone": f"+9198{number % 10**8:08d}"},
        "identifiers": {"pan": pan, "gstin": gstin(pan), "cin": f"U17111GJ2015PTC{number % 10**6:06d}"},
        "address": {"line": f"Plot {number}, Example Road", "city": "Rajkot", "pin": "360001", "state_code": "24"},
        "bank_account": {"ifsc": "EXAM0000001", "number": f"50{number:09d}"},
        "beneficial_owners": [{"name": f"Meena Example {number}", "share_percent": 60}],
    } | changes


def gstin(pan: str, state_code: str = "24") -> str:
    """A GSTIN of this PAN, with its check character."""
    number = f"{state_code}{pan}1Z"
    return number + luhn.calc_check_digit(number, string.digits + string.ascii_uppercase)


def personal(body: dict[str, Any]) -> Iterator[str]:
    """What in a registration identifies somebody."""
    yield from (body["legal_name"], body["contact"]["name"], body["contact"]["phone"], body["address"]["line"])
    yield from (body["identifiers"]["pan"], body["identifiers"]["gstin"], body["bank_account"]["number"])
    yield from (owner["name"] for owner in body["beneficial_owners"])


def register(client: Client, **changes: Any) -> tuple[Partner, Answer]:
    """A registered partner that is not active yet, and the answer it got."""
    partner_id = ids.uuid7()
    owner = client.as_user(f"owner-{partner_id}", partner_id, "owner")
    body = registration(**changes)
    return Partner(partner_id, owner, body), owner.post("/v1/partners", body, expect=201)


def submit(partner: Partner, version: int = 1, until: str = "under_review") -> int:
    """Have a complete partner checked; its version when it has come to that status."""
    partner.owner.post(f"/v1/partners/{partner.id}/submit", if_match=f'"{version}"', expect=200)
    return wait_until(partner, until)


def wait_until(partner: Partner, status: str) -> int:
    """The partner's version at this status. The list is read: reading one is audited.

    A provider that a busy machine keeps from answering in time is asked again, a few seconds of the clock later.
    """
    for _ in range(10):
        partner.owner.settle()
        (listed,) = partner.owner.get("/v1/partners").body["data"]
        if listed["status"] == status:
            return listed["version"]
        partner.owner.post("/_local/clock", {"advance": "PT10S"})
    raise AssertionError(f"the partner is {listed['status']}, not {status}")


def active_partner(client: Client, **changes: Any) -> Partner:
    """A partner that was registered, checked and activated."""
    partner, _ = register(client, **changes)
    version = submit(partner)
    operations = client.as_user("operations", None, "ops")
    operations.post(f"/v1/partners/{partner.id}/activate", if_match=f'"{version}"')
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


@dataclass(frozen=True, slots=True)
class Deal:
    """A trade between two, and who takes its steps."""

    trade_id: str
    seller: Partner
    buyer: Partner
    inspector: Client
    operations: Client

    def take(self, party: str, event_type: str, *, expect: int = 201, **facts: Any) -> Answer:
        """A step of `seller`, `buyer`, `inspector` or `operations`, at the version the trade has."""
        client = {
            "seller": self.seller.owner,
            "buyer": self.buyer.owner,
            "inspector": self.inspector,
            "operations": self.operations,
        }[party]
        event = {"type": event_type, "expected_version": self.trade()["version"], **facts}
        return client.post(f"/v1/trades/{self.trade_id}/events", {"event": event}, expect=expect)

    def trade(self) -> dict[str, Any]:
        """As the platform's staff sees it."""
        return self.operations.get(f"/v1/trades/{self.trade_id}").body

    def timeline(self) -> list[dict[str, Any]]:
        return self.operations.get(f"/v1/trades/{self.trade_id}/events").body["data"]


def deal(client: Client, seller: Partner, buyer: Partner, **terms: Any) -> Deal:
    """A contracted trade of 10 bales."""
    body = {"lot": lot(bales=10, net_weight={"value": "1635", "unit": "kg"}), "ask": ASK} | terms
    trade = seller.owner.post("/v1/trades", body, expect=201).body
    events = f"/v1/trades/{trade['id']}/events"
    buyer.owner.post(events, bid(1), expect=201)
    seller.owner.post(events, {"event": {"type": "bid_accepted", "expected_version": 2, "bid_sequence": 2}}, expect=201)
    buyer.owner.post(events, {"event": {"type": "contract_signed", "expected_version": 3}}, expect=201)
    inspector, operations = client.as_user("inspector", None, "inspector"), client.as_user("operations", None, "ops")
    return Deal(trade["id"], seller, buyer, inspector, operations)


def bales(count: int = 10, **changes: Any) -> list[dict[str, Any]]:
    """Bales on the scale: 165.4 kg each of which 1.9 kg is wrapping, and dry."""
    bale = {"gross_kg": "165.400", "tare_kg": "1.900", "moisture_pct": "7.5"} | changes
    return [{"mark": f"P-{number}", **bale} for number in range(1, count + 1)]


def invoice(client: Client, days: int = 10) -> dict[str, Any]:
    """What a seller in Gujarat invoices a buyer in Tamil Nadu, due in so many days."""
    now = datetime.fromisoformat(client.get("/_local/clock").body["now"])
    due_at = (now + timedelta(days=days)).isoformat()
    return {"due_at": due_at, "invoice_number": "KP/26-27/0001", "supplier_state": "24", "place_of_supply": "33"}


def invoiced(client: Client, deal: Deal, **changes: Any) -> dict[str, Any]:
    """Weighed, sampled, found as contracted and invoiced; the trade."""
    deal.take("seller", "bales_weighed", bales=bales())
    deal.take("inspector", "sample_drawn", samples=1)
    deal.take("inspector", "quality_passed", grade="B")
    return deal.take("seller", "payment_requested", **invoice(client) | changes).body


def settled(client: Client, deal: Deal) -> dict[str, Any]:
    """All the way from the contract to the end; the trade."""
    invoiced(client, deal)
    deal.take("seller", "payment_confirmed")
    deal.take("seller", "dispatched", bales=10)
    deal.take("buyer", "delivered", bales=10)
    return deal.take("buyer", "settlement_accepted").body
