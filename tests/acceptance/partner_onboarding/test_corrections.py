"""A partner that trades corrects what is said of it over HTTP, and not what it was checked for."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pg8000.native import Connection

from local_cloud.client import Answer, Client
from tests.journeys.partners import Partner, active_partner, register, registration, submit
from tests.times import PATIENCE, eventually

CONTACT = {"name": "Bhavna Example", "phone": "+919812345678", "email": "bhavna@example.com"}
ADDRESS = {"line": "Plot 7, Another Road", "city": "Gondal", "pin": "360311", "state_code": "24"}


def correct(partner: Partner, version: int, body: dict[str, Any], expect: int = 200) -> Answer:
    headers = {"If-Match": f'"{version}"'}
    return partner.owner.call("PATCH", f"/v1/partners/{partner.id}", body, headers=headers, expect=expect)


def test_an_active_partner_corrects_its_contact_and_address(client: Client, sql: Connection) -> None:
    partner = active_partner(client)
    corrected = correct(partner, 5, {"contact": CONTACT, "address": ADDRESS})
    assert (corrected.body["status"], corrected.body["version"], corrected.etag) == ("active", 6, '"6"')
    read = partner.owner.get(f"/v1/partners/{partner.id}").body
    assert read["contact"] == {"name": "Bhavna Example", "phone": "*********5678", "email": "b***@example.com"}
    assert read["address"] == {"city": "Gondal", "pin": "360311", "state_code": "24"}
    assert read["legal_name"] == partner.body["legal_name"]
    ((kind, told),) = sql.run("SELECT type, data::text FROM outbox WHERE subject = :id AND sequence = 6", id=partner.id)
    assert kind == "partner.changed.v1"
    ((stored,),) = sql.run("SELECT p::text FROM partners p WHERE id = :id", id=partner.id)
    for text in (told, stored):
        assert not any(plain in text for plain in ("Bhavna", "9812345678", "Another Road"))
    assert '"address"' in told
    assert '"contact"' in told


def test_a_correction_is_of_what_was_read_last(client: Client) -> None:
    partner = active_partner(client)
    correct(partner, 5, {"contact": {"email": "asha@example.com"}})
    correct(partner, 5, {"contact": {"email": "other@example.com"}}, expect=412)
    removed = correct(partner, 6, {"contact": {"email": None}})
    assert removed.body["contact"]["email"] is None


def test_a_suspended_partner_corrects_as_well_and_stays_suspended(client: Client) -> None:
    partner = active_partner(client)
    operations = client.as_user("operations", None, "ops")
    reason = {"reason_code": "further_proof"}
    operations.post(f"/v1/partners/{partner.id}/suspend", reason, if_match='"5"')
    assert correct(partner, 6, {"contact": CONTACT}).body["status"] == "suspended"
    correct(partner, 7, {"legal_name": "Another Example Limited"}, expect=409)
    assert operations.post(f"/v1/partners/{partner.id}/reinstate", if_match='"7"').body["status"] == "active"


def test_a_bank_account_changes_once_the_new_one_is_checked(client: Client) -> None:
    partner = active_partner(client)
    operations = client.as_user("operations", None, "ops")
    path = f"/v1/partners/{partner.id}"
    asked = {"clarifications": [{"field": "bank_account", "reason_code": "details_changed"}]}
    operations.post(f"{path}/clarifications", asked, if_match='"5"', expect=409)  # it trades
    operations.post(f"{path}/suspend", {"reason_code": "details_changed"}, if_match='"5"')
    assert operations.post(f"{path}/clarifications", asked, if_match='"6"').body["status"] == "needs_clarification"
    due = partner.owner.get(path).body["requirements"]
    assert (due["currently_due"], due["errors"][0]["how_to_mend"]) == (
        ["bank_account"],
        "Enter the current value and submit it for checking",
    )
    assert partner.owner.post(f"{path}/submit", if_match='"7"').body["status"] == "requirements_due"
    correct(partner, 8, {"bank_account": registration()["bank_account"]})
    version = submit(partner, 9)
    (checked,) = [c for c in operations.get(f"{path}/review").body["checks"] if c["kind"] == "bank_account"]
    assert (checked["submission"], checked["result"]) == (2, "clear")
    assert operations.post(f"{path}/activate", if_match=f'"{version}"').body["status"] == "active"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"legal_name": "Another Example Private Limited"}, "legal_name"),
        ({"identifiers": {"pan": registration()["identifiers"]["pan"]}}, "identifiers.pan"),
        ({"identifiers": {"udyam": "UDYAM-GJ-24-0000001"}}, "identifiers.udyam"),
        ({"bank_account": registration()["bank_account"]}, "bank_account"),
        ({"beneficial_owners": [{"name": "Another Example", "share_percent": 60}]}, "beneficial_owners"),
        ({"address": ADDRESS | {"pin": "400001", "state_code": "27"}}, "address.state_code"),
        ({"address": None}, "address.state_code"),
    ],
)
def test_what_a_partner_was_checked_for_stays(client: Client, change: dict[str, Any], field: str) -> None:
    partner = active_partner(client)
    problem = correct(partner, 5, {"contact": CONTACT} | change, expect=409).body
    assert problem["detail"].startswith(f"Checked details cannot be changed here: {field}. ")
    assert "operations" in problem["detail"]
    unchanged = partner.owner.get(f"/v1/partners/{partner.id}").body
    assert (unchanged["version"], unchanged["contact"]["email"]) == (5, None)


def test_what_is_said_again_is_no_change(client: Client) -> None:
    partner = active_partner(client)
    same = {name: partner.body[name] for name in ("legal_name", "identifiers", "bank_account", "beneficial_owners")}
    assert correct(partner, 5, same | {"contact": CONTACT}).body["version"] == 6
    correct(partner, 6, {"contact": {"phone": "0281 2345"}}, expect=422)


def test_who_asked_to_be_erased_corrects_nothing(client: Client) -> None:
    partner = active_partner(client)
    partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    assert "being erased" in correct(partner, 5, {"contact": CONTACT}, expect=409).body["detail"]


def test_what_an_erasure_overtakes_is_refused_as_it_is_from_then_on(client: Client, sql: Connection) -> None:
    partner = active_partner(client)
    with ThreadPoolExecutor(1) as threads:
        sql.run("START TRANSACTION")
        sql.run("UPDATE partners SET version = version + 1 WHERE id = :id", id=partner.id)
        sql.run(
            "INSERT INTO restrictions (subject_id, reason, restricted_at) VALUES (:id, 'erasure', now())", id=partner.id
        )
        held_up = threads.submit(correct, partner, 5, {"contact": CONTACT}, 409)
        eventually(
            lambda: held_up.done() or sql.run("SELECT pid FROM pg_locks WHERE NOT granted"), "a wait for the lock"
        )
        assert not held_up.done()
        sql.run("COMMIT")
        assert "being erased" in held_up.result(PATIENCE).body["detail"]


# A merge patch (RFC 7396)


def test_a_part_of_the_address_or_account_is_changed_and_the_rest_stays(client: Client, sql: Connection) -> None:
    partner, _ = register(client)
    changed = correct(partner, 1, {"address": {"pin": "360002"}, "bank_account": {"ifsc": "EXAM0000009"}}).body
    assert changed["address"] == {"city": "Rajkot", "pin": "360002", "state_code": "24"}
    assert changed["bank_account"]["ifsc"] == "EXAM0000009"
    assert changed["bank_account"]["number"].endswith(partner.body["bank_account"]["number"][-4:])
    ((told,),) = sql.run("SELECT data FROM outbox WHERE subject = :id AND sequence = 2", id=partner.id)
    assert told["fields"] == ["address", "bank_account"]


def test_what_is_not_there_yet_needs_all_of_it(client: Client) -> None:
    partner, _ = register(client, address=None, bank_account=None)
    missing = correct(partner, 1, {"address": {"pin": "360002", "city": "Rajkot"}}, expect=422).body
    assert [error["pointer"] for error in missing["errors"]] == ["/address/line", "/address/state_code"]
    assert correct(partner, 1, {"address": ADDRESS}).body["address"]["city"] == "Gondal"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"address": {"line": None}}, "/address/line"),
        ({"bank_account": {"number": None}}, "/bank_account/number"),
        ({"contact": {"phone": None}}, "/contact/phone"),
        ({"contact": None}, "/contact"),
        ({"address": {"street": "1 Road"}}, "/address/street"),
        ({}, ""),
    ],
)
def test_what_has_to_be_there_is_not_removed(client: Client, change: dict[str, Any], pointer: str) -> None:
    partner, _ = register(client)
    refused = correct(partner, 1, change, expect=422).body
    assert [error["pointer"] for error in refused["errors"]] == [pointer]


def test_a_member_that_is_null_is_removed(client: Client) -> None:
    partner, _ = register(client)
    removed = correct(partner, 1, {"address": None, "bank_account": None, "identifiers": {"cin": None}}).body
    assert (removed["address"], removed["bank_account"]) == (None, None)
    assert sorted(removed["identifiers"]) == ["gstin", "pan"]
    assert correct(partner, 2, {"identifiers": None}).body["identifiers"] == {}


def test_a_change_of_nothing_changes_nothing(client: Client, sql: Connection) -> None:
    partner, _ = register(client)
    same = {name: partner.body[name] for name in ("address", "bank_account", "legal_name")}
    answer = correct(partner, 1, same | {"contact": {"email": None}})
    assert (answer.body["version"], answer.etag) == (1, '"1"')
    assert sql.run("SELECT count(*) FROM outbox WHERE subject = :id", id=partner.id) == [[1]]
    correct(partner, 2, same, expect=412)
