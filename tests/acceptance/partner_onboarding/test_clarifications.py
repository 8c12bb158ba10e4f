"""What a partner is asked to mend over HTTP: by operations or by its checks, and every way to answer it or take it back."""

from collections.abc import Iterator
from typing import Any

import pytest
from pg8000.native import Connection

from local_cloud.client import Answer, Client
from local_cloud.cloud import LocalCloud
from local_cloud.providers import Behaviour
from tests.journeys.partners import Partner, active_partner, register, submit, wait_until


@pytest.fixture(autouse=True)
def honest(cloud: LocalCloud) -> Iterator[None]:
    """Providers that a test made behave otherwise are honest again after it."""
    yield
    cloud.providers.behave("gst-registry")


def path(partner: Partner, rest: str = "") -> str:
    return f"/v1/partners/{partner.id}{rest}"


def due(partner: Partner) -> list[str]:
    return partner.owner.get(path(partner)).body["requirements"]["currently_due"]


def again(partner: Partner, version: int, *confirmed: str, expect: int = 200) -> Answer:
    """Submit once more, with these fields confirmed."""
    body = {"confirmed": list(confirmed)}
    return partner.owner.post(path(partner, "/submit"), body, if_match=f'"{version}"', expect=expect)


def ask(operations: Client, partner: Partner, version: int, *fields: str, expect: int = 200) -> Answer:
    body = {"clarifications": [{"field": field, "reason_code": "details_differ"} for field in fields]}
    return operations.post(path(partner, "/clarifications"), body, if_match=f'"{version}"', expect=expect)


def cancelled(cloud: LocalCloud, client: Client, **changes: Any) -> tuple[Partner, int]:
    """A partner whose GST registration was not active when the registry was first asked."""
    partner, _ = register(client, **changes)
    gstin = partner.body["identifiers"]["gstin"]
    cloud.providers.behave("gst-registry", Behaviour("inactive", about=gstin, times=1))
    return partner, submit(partner, until="needs_clarification")


@pytest.mark.parametrize(
    "field", ["identifiers", "documents", "contact.phone", "identifiers.aadhaar", "documents.other"]
)
def test_what_cannot_be_answered_is_not_asked(client: Client, operations: Client, field: str) -> None:
    partner, _ = register(client)
    refused = ask(operations, partner, submit(partner), "legal_name", field, expect=422)
    assert [error["pointer"] for error in refused.body["errors"]] == ["/clarifications/1/field"]


def test_a_registration_that_was_restored_is_confirmed_and_checked_anew(
    cloud: LocalCloud, client: Client, sql: Connection, operations: Client
) -> None:
    partner, version = cancelled(cloud, client)
    (error,) = partner.owner.get(path(partner)).body["requirements"]["errors"]
    assert (error["code"], "confirm" in error["how_to_mend"]) == ("gst_not_active", True)
    held = again(partner, version)
    assert (held.body["status"], due(partner)) == ("requirements_due", ["identifiers.gstin"])
    submitted = again(partner, version + 1, "identifiers.gstin").body
    assert (submitted["status"], submitted["requirements"]["errors"]) == ("submitted", [])
    told = sql.run("SELECT data FROM outbox WHERE subject = :id AND sequence = :n", id=partner.id, n=version + 2)
    assert told[0][0]["confirmed"] == ["identifiers.gstin"]
    wait_until(partner, "under_review")
    checks = {check["kind"]: check for check in operations.get(path(partner, "/review")).body["checks"]}
    assert (checks["gst_registry"]["result"], checks["gst_registry"]["submission"]) == ("clear", 2)


def test_a_confirmation_does_not_stand_in_for_what_else_is_due(client: Client, operations: Client) -> None:
    partner, _ = register(client)
    version = int(ask(operations, partner, submit(partner), "legal_name", "documents.bank_proof").etag.strip('"'))
    held = again(partner, version, "legal_name").body
    assert (held["status"], held["requirements"]["currently_due"]) == (
        "requirements_due",
        ["legal_name", "documents.bank_proof"],
    )


@pytest.mark.parametrize("field", ["bank_account", "documents.bank_proof"])
def test_what_was_not_asked_or_is_a_document_is_not_confirmed(client: Client, operations: Client, field: str) -> None:
    partner, _ = register(client)
    version = int(ask(operations, partner, submit(partner), "legal_name", "documents.bank_proof").etag.strip('"'))
    refused = again(partner, version, "legal_name", field, expect=422)
    assert [error["pointer"] for error in refused.body["errors"]] == ["/confirmed/1"]


@pytest.mark.parametrize("submitted", [False, True])
def test_operations_takes_back_what_it_asked(client: Client, operations: Client, *, submitted: bool) -> None:
    partner = active_partner(client)
    operations.post(path(partner, "/suspend"), {"reason_code": "details_changed"}, if_match='"5"')
    ask(operations, partner, 6, "bank_account")
    version = 7
    if submitted:
        assert again(partner, version).body["status"] == "requirements_due"
        version += 1
    rechecked = operations.post(path(partner, "/recheck"), if_match=f'"{version}"')
    assert rechecked.body["status"] == "submitted"
    version = wait_until(partner, "under_review")
    assert operations.post(path(partner, "/activate"), if_match=f'"{version}"').body["status"] == "active"


def test_operations_does_not_have_an_incomplete_partner_checked(client: Client, operations: Client) -> None:
    partner, _ = register(client, bank_account=None)
    operations.post(path(partner, "/recheck"), if_match='"1"', expect=409)  # it was never submitted
    assert again(partner, 1).body["status"] == "requirements_due"
    refused = operations.post(path(partner, "/recheck"), if_match='"2"', expect=409)
    assert refused.body["detail"] == "The partner cannot be checked before this is corrected: bank_account"


def test_who_lets_a_deadline_pass_is_told_of_it_and_listed(client: Client, sql: Connection) -> None:
    partner, _ = register(client)
    client.post("/_local/clock", {"advance": "P30D"})
    client.post("/_local/clock", {"advance": "PT6M"})  # the watchdog comes every five minutes
    client.settle()
    operations = client.as_user("operations", None, "ops")
    listed = operations.get(f"/v1/partners?overdue=true&limit=100&type={partner.body['type']}").body["data"]
    assert str(partner.id) in [one["id"] for one in listed]
    told = sql.run("SELECT type FROM outbox WHERE subject = :id ORDER BY sequence", id=partner.id)
    assert told == [["partner.created.v1"], ["partner.requirements_overdue.v1"]]
    owner = client.as_user("owner", partner.id, "owner")
    assert [one["id"] for one in owner.get("/v1/partners?overdue=true").body["data"]] == [str(partner.id)]
