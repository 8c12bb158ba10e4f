"""The first steps of a user's journey, for tests that are about a later one. Names, numbers and PANs are made up."""

import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from stdnum import luhn

from kapas.values import ids
from local_cloud.client import Answer, Client

_numbers = itertools.count(ids.uuid7().int % 9000)


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
