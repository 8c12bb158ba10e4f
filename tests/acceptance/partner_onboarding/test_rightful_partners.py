"""Over HTTP, operations corrects what kind of partner one is, and who was rejected holds nobody's PAN."""

from typing import Any

from pg8000.native import Connection

from kapas.values import ids
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from tests.journeys.partners import Partner, active_partner, register, registration, submit


def path(partner: Partner, rest: str = "") -> str:
    return f"/v1/partners/{partner.id}{rest}"


def reclassify(operations: Client, partner: Partner, version: int, expect: int = 200, **kind: Any) -> dict[str, Any]:
    return operations.post(path(partner, "/reclassify"), kind, if_match=f'"{version}"', expect=expect).body


def mistaken(client: Client) -> Partner:
    """A private company that said it was a public trust: neither its PAN nor what it has fits."""
    partner, answer = register(client, constitution="trust")
    requirements = answer.body["requirements"]
    assert [error["code"] for error in requirements["errors"]] == ["pan_entity_differs"]
    assert requirements["currently_due"] == ["documents.trust_deed"]
    return partner


def test_a_wrong_constitution_is_corrected_and_the_partner_becomes_active(
    client: Client, sql: Connection, operations: Client
) -> None:
    partner = mistaken(client)
    partner.owner.post(path(partner, "/submit"), if_match='"1"', expect=200)
    corrected = reclassify(operations, partner, 2, constitution="private_limited")
    assert (corrected["version"], corrected["status"]) == (3, "requirements_due")
    assert (corrected["constitution"], corrected["type"]) == ("private_limited", "ginner")
    read = partner.owner.get(path(partner)).body
    assert (read["requirements"]["currently_due"], read["requirements"]["errors"]) == ([], [])
    version = submit(partner, 3)
    review = operations.get(path(partner, "/review")).body
    assert [(d["action"], d["type"], d["constitution"]) for d in review["decisions"]] == [
        ("reclassify", None, "private_limited")
    ]
    assert operations.post(path(partner, "/activate"), if_match=f'"{version}"').body["status"] == "active"
    ((kind, data),) = sql.run("SELECT type, data FROM outbox WHERE subject = :id AND sequence = 3", id=partner.id)
    assert (kind, data["fields"], data["partner_type"]) == ("partner.changed.v1", ["constitution"], "ginner")


def test_a_wrong_type_is_corrected_and_what_is_asked_for_follows(
    cloud: LocalCloud, client: Client, operations: Client
) -> None:
    partner, _ = register(client, type="farmer", identifiers={"pan": registration()["identifiers"]["pan"]})
    corrected = reclassify(operations, partner, 1, type="broker", constitution="proprietorship")
    assert (corrected["type"], corrected["constitution"]) == ("broker", "proprietorship")
    assert partner.owner.get(path(partner)).body["requirements"]["currently_due"] == ["identifiers.gstin"]
    client.settle()
    client.post("/_local/clock", {"advance": "PT2M"})
    assert dict(cloud.firestore.documents("partners/"))[f"partners/{partner.id}"]["type"] == "broker"


def test_the_kind_is_corrected_by_operations_while_nobody_checks_it(client: Client, operations: Client) -> None:
    partner = mistaken(client)
    partner.owner.post(path(partner, "/reclassify"), {"type": "trader"}, if_match='"1"', expect=403)
    reclassify(operations, partner, 1, expect=422)
    reclassify(operations, partner, 1, expect=422, type="weaver")
    reclassify(operations, partner, 2, expect=412, type="trader")
    same = reclassify(operations, partner, 1, expect=409, type="ginner", constitution="trust")
    assert same["detail"] == "The partner already has this type and constitution"
    active = active_partner(client)
    refused = reclassify(operations, active, 5, expect=409, type="trader")
    assert "while the partner is active" in refused["detail"]
    assert partner.owner.get(path(partner)).body["version"] == 1


def test_who_registers_with_anothers_pan_is_rejected_and_its_holder_registers(
    client: Client, operations: Client
) -> None:
    first, _ = register(client)
    rightful = client.as_user("rightful", ids.uuid7(), "owner")
    rightful.post("/v1/partners", first.body, expect=409)
    operations.post(path(first, "/reject"), {"reason_code": "details_of_another"}, if_match='"1"')
    registered = rightful.post("/v1/partners", first.body, expect=201).body
    review = operations.get(f"/v1/partners/{registered['id']}/review").body
    assert review["rejected_alike"] == [
        {"partner_id": str(first.id), "same": ["identifiers.pan", "identifiers.gstin", "bank_account"]}
    ]
    assert operations.get(path(first, "/review")).body["rejected_alike"] == []
    third = client.as_user("third", ids.uuid7(), "owner")
    third.post("/v1/partners", first.body, expect=409)
    rejected = first.owner.get(path(first)).body
    assert (rejected["status"], rejected["identifiers"]) == ("rejected", registered["identifiers"])
