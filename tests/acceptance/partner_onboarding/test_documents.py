"""Documents of a partner over HTTP: how many it may have, and that it withdraws one that was wrong."""

import hashlib
from typing import Any

import pytest
import urllib3
from pg8000.native import Connection

from local_cloud.client import Client
from tests.journeys.partners import Partner, active_partner, register, submit

PDF = b"%PDF-1.7 another firm's deed"
DESCRIBED = {
    "kind": "bank_proof",
    "content_type": "application/pdf",
    "size": len(PDF),
    "sha256": hashlib.sha256(PDF).hexdigest(),
}


def path(partner: Partner, rest: str = "") -> str:
    return f"/v1/partners/{partner.id}{rest}"


def announce(partner: Partner, expect: int = 201) -> dict[str, Any]:
    return partner.owner.post(path(partner, "/documents"), DESCRIBED, expect=expect).body


def upload(partner: Partner) -> str:
    """A document that is there; its id."""
    announced = announce(partner)
    signed = announced["upload"]
    assert urllib3.request(signed["method"], signed["url"], body=PDF, headers=signed["headers"]).status == 200
    partner.owner.post(path(partner, f"/documents/{announced['id']}/confirm"), expect=200)
    return announced["id"]


def withdraw(partner: Partner, document_id: str, expect: int = 200) -> dict[str, Any]:
    return partner.owner.call("DELETE", path(partner, f"/documents/{document_id}"), expect=expect).body


def later(client: Client, partner: Partner) -> Partner:
    """After a quarter of an hour and more, in which the URLs for uploads have ended."""
    client.post("/_local/clock", {"advance": "PT16M"})
    return Partner(partner.id, client.as_user("owner", partner.id, "owner"), partner.body)


def test_announcements_that_lapsed_do_not_use_the_limit_up(client: Client) -> None:
    partner, _ = register(client)
    for _ in range(50):
        announce(partner)
    announce(partner, expect=409)
    partner = later(client, partner)
    for _ in range(10):
        announce(partner)
    upload(partner)


def test_a_withdrawn_document_is_gone_file_and_row(client: Client, sql: Connection) -> None:
    partner, _ = register(client)
    document_id = upload(partner)
    early = withdraw(partner, document_id, expect=409)
    assert "upload" in early["detail"]  # its URL would take the file once more
    partner = later(client, partner)
    url = partner.owner.get(path(partner, f"/documents/{document_id}")).body["download_url"]
    withdrawn = withdraw(partner, document_id)
    assert (withdrawn["version"], withdrawn["status"]) == (2, "created")
    assert urllib3.request("GET", url).status == 404
    assert partner.owner.get(path(partner, "/documents")).body["data"] == []
    withdraw(partner, document_id, expect=404)
    told = sql.run("SELECT type, data FROM outbox WHERE subject = :id AND sequence = 2", id=partner.id)
    assert [(kind, data["fields"]) for kind, data in told] == [("partner.changed.v1", ["documents.bank_proof"])]
    assert upload(partner) != document_id


def test_what_is_checked_or_was_decided_on_stays(client: Client) -> None:
    partner, _ = register(client)
    document_id = upload(partner)
    partner = later(client, partner)
    version = submit(partner)
    assert "while the partner is under_review" in withdraw(partner, document_id, expect=409)["detail"]
    operations = client.as_user("operations", None, "ops")
    operations.post(path(partner, "/activate"), if_match=f'"{version}"')
    withdraw(partner, document_id, expect=409)
    operations.post(path(partner, "/suspend"), {"reason_code": "details_changed"}, if_match=f'"{version + 1}"')
    asked = {"clarifications": [{"field": "bank_account", "reason_code": "details_changed"}]}
    operations.post(path(partner, "/clarifications"), asked, if_match=f'"{version + 2}"')
    kept = withdraw(partner, document_id, expect=409)  # it was admitted by it
    assert kept["detail"] == "This document must be kept and cannot be withdrawn"


@pytest.mark.parametrize("about", ["partner", "row"])
def test_a_legal_hold_keeps_it_and_is_not_told_of(client: Client, about: str) -> None:
    partner, _ = register(client)
    document_id = upload(partner)
    partner = later(client, partner)
    officer = client.as_user("officer", None, "dpo")
    named: dict[str, Any] = {"subject_id": str(partner.id)}
    if about == "row":
        named = {"row": {"table": "partner_documents", "id": document_id}}
    hold = officer.post("/v1/legal-holds", named | {"reason": "an inquiry"}, expect=201).body
    assert withdraw(partner, document_id, expect=409)["detail"] == "This document must be kept and cannot be withdrawn"
    officer.call("DELETE", f"/v1/legal-holds/{hold['id']}", expect=204)
    withdraw(partner, document_id)


def test_a_document_is_withdrawn_by_its_partner_alone(client: Client) -> None:
    partner, _ = register(client)
    document_id = upload(partner)
    partner = later(client, partner)
    stranger = active_partner(client)
    for other, expect in (
        (stranger.owner, 404),
        (client.as_user("viewer", partner.id, "viewer"), 403),
        (client.as_user("operations", None, "ops"), 403),
    ):
        other.call("DELETE", path(partner, f"/documents/{document_id}"), expect=expect)
    partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    withdraw(partner, document_id, expect=409)
