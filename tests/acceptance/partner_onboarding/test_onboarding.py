"""Onboarding over HTTP: from the registration to the decision, what goes wrong on the way, and what is refused."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from pg8000.native import Connection

from kapas.values import ids
from local_cloud.client import ANY, Answer, Client
from local_cloud.cloud import LocalCloud
from local_cloud.providers import Behaviour
from tests.journeys.deals import offer, offering
from tests.journeys.partners import Partner, active_partner, gstin, register, registration, submit, wait_until
from tools.catalog import catalog

AADHAAR = "234123412346"  # the example of python-stdnum: of the right form, and nobody's
PDF = b"%PDF-1.7 a deed between Asha Example and Meena Example"


@pytest.fixture(autouse=True)
def honest(cloud: LocalCloud) -> Iterator[None]:
    """Providers that a test made behave otherwise are honest again after it."""
    yield
    for name in ("gst-registry", "bank-verification", "screening"):
        cloud.providers.behave(name)


def path(partner: Partner, rest: str = "") -> str:
    return f"/v1/partners/{partner.id}{rest}"


def read(partner: Partner) -> dict[str, Any]:
    return partner.owner.get(path(partner)).body


def patch(partner: Partner, version: int, body: dict[str, Any], expect: int | None = 200) -> Answer:
    return partner.owner.call("PATCH", path(partner), body, headers={"If-Match": f'"{version}"'}, expect=expect)


def upload(partner: Partner, kind: str, data: bytes = PDF) -> dict[str, Any]:
    """Announce a document, upload it and say so."""
    announced = partner.owner.post(path(partner, "/documents"), _described(kind), expect=201).body
    assert _put(announced["upload"], data) == 200
    return partner.owner.post(path(partner, f"/documents/{announced['id']}/confirm"), expect=200).body


def _described(kind: str, **changes: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(PDF).hexdigest()
    return {"kind": kind, "content_type": "application/pdf", "size": len(PDF), "sha256": sha256} | changes


def _put(signed: dict[str, Any], data: bytes, **headers: str) -> int:
    return urllib3.request(signed["method"], signed["url"], body=data, headers=signed["headers"] | headers).status


# The good path


def test_a_partnership_is_asked_checked_activated_and_trades(client: Client, operations: Client) -> None:
    partner, registered = register(
        client,
        constitution="partnership",
        legal_name="Asha and Meena Example",
        identifiers={"pan": f"{_series()}AFE1234K"},
        bank_account=None,
    )
    due = ["bank_account", "identifiers.gstin", "documents.partnership_deed"]
    assert registered.body["requirements"]["currently_due"] == due
    early = partner.owner.post(path(partner, "/submit"), if_match=registered.etag, expect=200).body
    assert (early["status"], early["version"], early["requirements"]["currently_due"]) == ("requirements_due", 2, due)

    other = registration()
    known = {"gstin": gstin(partner.body["identifiers"]["pan"])}
    changed = patch(partner, 2, {"identifiers": known, "bank_account": other["bank_account"]}).body
    assert changed["requirements"]["currently_due"] == ["documents.partnership_deed"]
    document = upload(partner, "partnership_deed")
    assert document["status"] == "uploaded"
    url = partner.owner.get(path(partner, f"/documents/{document['id']}")).body["download_url"]
    assert urllib3.request("GET", url).data == PDF

    version = submit(partner, 3)
    review = operations.get(path(partner, "/review"))
    assert {check["result"] for check in review.body["checks"]} == {"clear"}
    assert review.etag == f'"{version}"'
    assert operations.post(path(partner, "/activate"), if_match=review.etag).body["status"] == "active"
    offer(partner)


def test_identifiers_are_shown_by_their_end(client: Client, operations: Client) -> None:
    partner = active_partner(client)
    for answer in (partner.owner.get(path(partner)), operations.get(path(partner))):
        text = json.dumps(answer.body)
        known = partner.body["identifiers"]
        assert answer.body["identifiers"]["pan"] == "*" * 6 + known["pan"][-4:]
        for secret in (*known.values(), known["pan"][:-4], partner.body["bank_account"]["number"], "Example Road"):
            assert secret not in text


def test_each_reading_is_audited(client: Client, sql: Connection, operations: Client) -> None:
    partner, _ = register(client)
    for rest in ("", "/review"):
        operations.get(path(partner, rest))
    rows = sql.run(
        "SELECT data FROM outbox WHERE type = 'audit.data_accessed.v1' AND :id = ANY (partner_ids) ORDER BY event_id",
        id=partner.id,
    )
    assert [(row[0]["actor_role"], row[0]["fields"][0]) for row in rows] == [("ops", "legal_name"), ("ops", "checks")]


def test_the_list_is_filtered_and_paged(client: Client, operations: Client) -> None:
    made = {str(register(client, type="broker")[0].id) for _ in range(3)}
    seen, after = set[str](), ""
    while True:
        page = operations.get(f"/v1/partners?type=broker&status=created&limit=2{after}").body
        assert all((one["type"], one["status"]) == ("broker", "created") for one in page["data"])
        seen |= {one["id"] for one in page["data"]}
        if not page["has_more"]:
            break
        after = f"&after={page['next']}"
    assert made <= seen
    operations.get("/v1/partners?status=asleep", expect=422)


def test_a_suspended_partner_does_not_trade_until_it_is_reinstated(client: Client, operations: Client) -> None:
    partner = active_partner(client)
    reason = {"reason_code": "details_differ"}
    suspended = operations.post(path(partner, "/suspend"), reason, if_match='"5"')
    partner.owner.post("/v1/trades", offering(client), expect=403)
    assert operations.post(path(partner, "/reinstate"), if_match=suspended.etag).body["status"] == "active"
    offer(partner)


def test_the_live_document_follows(cloud: LocalCloud, client: Client, sql: Connection) -> None:
    partner = active_partner(client)
    client.settle()
    assert sql.run("SELECT count(*) FROM outbox WHERE subject = :id", id=partner.id) == [[5]]
    client.post("/_local/clock", {"advance": "PT2M"})
    document = dict(cloud.firestore.documents("partners/"))[f"partners/{partner.id}"]
    assert (document["status"], document["sequence"]) == ("active", 5)


# Held, mended, unavailable


def test_a_mismatch_holds_a_partner_says_how_to_mend_it_and_is_mended(
    cloud: LocalCloud, client: Client, operations: Client
) -> None:
    partner, _ = register(client)
    cloud.providers.behave("bank-verification", Behaviour("mismatch", about=partner.body["bank_account"]["number"]))
    version = submit(partner, until="needs_clarification")
    (error,) = read(partner)["requirements"]["errors"]
    assert (error["field"], error["code"]) == ("bank_account", "account_name_differs")
    assert "legal name" in error["how_to_mend"]
    operations.post(path(partner, "/activate"), if_match=f'"{version}"', expect=409)
    patch(partner, version, {"bank_account": registration()["bank_account"]})
    assert submit(partner, version + 1) == version + 4


def test_operations_asks_and_gets_a_document(client: Client, operations: Client) -> None:
    partner, _ = register(client)
    version = submit(partner)
    wrong = {"clarifications": [{"field": "documents.passport", "reason_code": "because"}]}
    refused = operations.post(path(partner, "/clarifications"), wrong, if_match=f'"{version}"', expect=422)
    assert [error["pointer"] for error in refused.body["errors"]] == [
        "/clarifications/0/field",
        "/clarifications/0/reason_code",
    ]
    asked = {"clarifications": [{"field": "documents.address_proof", "reason_code": "further_proof"}]}
    answer = operations.post(path(partner, "/clarifications"), asked, if_match=f'"{version}"')
    assert read(partner)["requirements"]["currently_due"] == ["documents.address_proof"]
    client.post("/_local/clock", {"advance": "P14D"})
    owner = client.as_user("owner", partner.id, "owner")
    partner = Partner(partner.id, owner, partner.body)
    assert read(partner)["requirements"]["past_due"] == ["documents.address_proof"]
    upload(partner, "address_proof")
    assert read(partner)["requirements"]["currently_due"] == []
    submit(partner, int(answer.etag.strip('"')))


@pytest.mark.parametrize(
    ("provider", "behaviour", "kind"),
    [
        ("gst-registry", Behaviour("down"), "gst_registry"),
        ("bank-verification", Behaviour("slow", delay=4.0, times=1), "bank_account"),
        ("screening", Behaviour("stale"), "screening"),
    ],
)
def test_a_provider_that_is_down_slow_or_stale_is_asked_again(
    cloud: LocalCloud, client: Client, operations: Client, provider: str, behaviour: Behaviour, kind: str
) -> None:
    cloud.providers.behave(provider, behaviour)
    partner, _ = register(client)
    partner.owner.post(path(partner, "/submit"), if_match='"1"', expect=200)
    version = wait_until(partner, "verifying")
    checks = operations.get(path(partner, "/review")).body["checks"]
    assert [check["attempts"] for check in checks if check["kind"] == kind] >= [1]
    operations.post(path(partner, "/activate"), if_match=f'"{version}"', expect=409)
    cloud.providers.behave(provider)
    client.post("/_local/clock", {"advance": "PT5M"})
    wait_until(partner, "under_review")
    results = {c["kind"]: c["result"] for c in operations.get(path(partner, "/review")).body["checks"]}
    assert results[kind] == "clear"


def test_a_provider_that_stays_away_leaves_it_to_a_person(
    cloud: LocalCloud, client: Client, operations: Client
) -> None:
    cloud.providers.behave("screening", Behaviour("missing"))
    partner, _ = register(client)
    partner.owner.post(path(partner, "/submit"), if_match='"1"', expect=200)
    wait_until(partner, "verifying")
    client.post("/_local/clock", {"advance": "PT30M"})
    version = wait_until(partner, "under_review")
    review = client.as_user("operations", None, "ops").get(path(partner, "/review")).body
    assert {c["kind"]: c["result"] for c in review["checks"]}["screening"] == "unavailable"
    assert review["risk"]["level"] == "high"
    refused = operations.post(path(partner, "/activate"), if_match=f'"{version}"', expect=409)
    assert "screening" in refused.body["detail"]
    cloud.providers.behave("screening")
    operations.post(path(partner, "/recheck"), if_match=f'"{version}"')
    version = wait_until(partner, "under_review")
    operations.post(path(partner, "/activate"), if_match=f'"{version}"')


@pytest.mark.parametrize("kind", ["duplicate", "lose_answer", "drop", "fail"])
def test_whatever_happens_to_a_task(cloud: LocalCloud, client: Client, kind: str) -> None:
    """`lose_answer` is a function killed after its commit and before its answer."""
    client.post("/_local/faults", {"edge": "task", "kind": kind, "match": "partner-check", "times": 3, "status": 503})
    partner, _ = register(client)
    partner.owner.post(path(partner, "/submit"), if_match='"1"', expect=200)
    client.settle()
    client.post("/_local/clock", {"advance": "PT5M"})
    assert wait_until(partner, "under_review") == 4


def test_checks_that_the_queue_gave_up_are_made_again(client: Client) -> None:
    tries = 3 * catalog().queues["partner-checks"].max_attempts
    client.post("/_local/faults", {"edge": "task", "kind": "drop", "match": "partner-check", "times": tries})
    partner, _ = register(client)
    partner.owner.post(path(partner, "/submit"), if_match='"1"', expect=200)
    client.settle()
    client.post("/_local/clock", {"advance": "PT2H"})
    later = replace(partner, owner=client.as_user("owner", partner.id, "owner"))  # its token has expired
    assert wait_until(later, "under_review") == 4


# Refused


def test_an_aadhaar_number_is_refused_wherever_it_stands_and_kept_nowhere(
    client: Client, sql: Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    partner, _ = register(client)
    grouped = "2341 2341 2346"
    body = registration()
    bodies = [
        body | {"legal_name": f"Asha {grouped}"},
        body | {"contact": body["contact"] | {"name": AADHAAR}},
        body | {"address": body["address"] | {"line": f"Plot {AADHAAR}"}},
        body | {"bank_account": body["bank_account"] | {"number": AADHAAR}},
        body | {AADHAAR: "surprise"},
        body | {"beneficial_owners": [{"name": "Meena", AADHAAR: 1}]},
    ]
    answers = [partner.owner.post("/v1/partners", sent, expect=422) for sent in bodies]
    answers += [
        patch(partner, 1, {"legal_name": AADHAAR}, expect=422),
        partner.owner.get(f"/v1/partners?{AADHAAR}=1", expect=422),
        partner.owner.get(f"/v1/partners?status={AADHAAR}", expect=422),
        partner.owner.get(f"/v1/partners/{AADHAAR}", expect=404),
    ]
    assert answers[0].body["errors"][0]["pointer"] == "/legal_name"
    client.settle()
    rows = sql.run("SELECT coalesce(string_agg(o::text, ' '), '') FROM outbox o")[0][0]
    written = capfd.readouterr()
    for text in (*(json.dumps(answer.body) for answer in answers), rows, written.out, written.err):
        assert AADHAAR not in text
        assert grouped not in text


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"identifiers": {"gstin": "24AAACE1234K1Z0"}}, "/identifiers/gstin"),
        ({"identifiers": {"pan": "AAAXE1234K"}}, "/identifiers/pan"),
        ({"address": {"line": "1 Road", "city": "Rajkot", "pin": "360001", "state_code": "98"}}, "/address/state_code"),
        ({"beneficial_owners": [{"name": "Meena Example", "share_percent": 9}]}, "/beneficial_owners/0/share_percent"),
        ({"beneficial_owners": [{"name": f"Owner {n}", "share_percent": 60} for n in "AB"]}, ""),
        ({"contact": {"name": "Asha", "phone": "0281 2345"}}, "/contact/phone"),
        ({"bank_account": {"ifsc": "EXAM1000001", "number": "50100000001"}}, "/bank_account/ifsc"),
    ],
)
def test_a_bad_registration_is_told_field_by_field(client: Client, changes: dict[str, Any], pointer: str) -> None:
    owner = client.as_user("owner", ids.uuid7(), "owner")
    answer = owner.post("/v1/partners", registration(**changes), expect=422)
    assert pointer in [error["pointer"] for error in answer.body["errors"]]


def test_a_duplicate_is_refused_whoever_is_first(client: Client) -> None:
    body = registration()
    answers: list[Answer] = []

    def attempt() -> None:
        owner = client.as_user("owner", ids.uuid7(), "owner")
        answers.append(owner.post("/v1/partners", body, expect=ANY))

    threads = [threading.Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409]


def test_details_change_only_while_nobody_checks_them(client: Client) -> None:
    partner, _ = register(client)
    stale = patch(partner, 7, {"legal_name": "Another Example Limited"}, expect=412)
    assert stale.body["type"].endswith("/precondition-failed")
    removed = patch(partner, 1, {"identifiers": {"gstin": None}, "beneficial_owners": None}).body
    assert removed["requirements"]["currently_due"] == ["identifiers.gstin", "beneficial_owners"]
    assert "gstin" not in removed["identifiers"]
    missing = patch(partner, 2, {"legal_name": None}, expect=422)
    assert missing.body["errors"][0]["pointer"] == "/legal_name"
    reviewed, _ = register(client)
    waits = patch(reviewed, submit(reviewed), {"contact": {"email": "asha@example.com"}}, expect=409)
    assert waits.body["detail"].startswith("A partner that is under_review cannot change")
    active = active_partner(client)
    fixed = patch(active, 5, {"legal_name": "Another Example Limited"}, expect=409)
    assert fixed.body["detail"].startswith("Checked details cannot be changed here: legal_name. ")


def test_a_file_that_is_not_the_announced_one_is_not_taken(client: Client) -> None:
    partner, _ = register(client)
    announced = partner.owner.post(path(partner, "/documents"), _described("bank_proof"), expect=201).body
    confirm = path(partner, f"/documents/{announced['id']}/confirm")
    partner.owner.post(confirm, expect=409)
    assert _put(announced["upload"], PDF + b"!") >= 400
    assert _put(announced["upload"], PDF.upper()) >= 400
    assert _put(announced["upload"], PDF, **{"content-type": "text/html"}) >= 400
    partner.owner.post(confirm, expect=409)
    assert _put(announced["upload"], PDF) == 200
    partner.owner.post(confirm, expect=200)
    partner.owner.post(path(partner, "/documents"), _described("bank_proof", size=20 << 20), expect=422)


def test_decisions_and_reviews_are_for_the_platform_and_documents_for_the_partner(
    client: Client, operations: Client
) -> None:
    partner, _ = register(client)
    stranger, _ = register(client)
    reason = {"reason_code": "further_proof"}
    for step, body in (("activate", None), ("reject", reason), ("suspend", reason), ("recheck", None)):
        partner.owner.post(path(partner, f"/{step}"), body, if_match='"1"', expect=403)
    partner.owner.get(path(partner, "/review"), expect=403)
    stranger.owner.get(path(partner, "/documents"), expect=404)
    stranger.owner.post(path(partner, "/submit"), if_match='"1"', expect=404)
    operations.post(path(partner, "/submit"), if_match='"1"', expect=403)
    operations.post(path(partner, "/documents"), _described("bank_proof"), expect=403)
    operations.post(path(partner, "/activate"), if_match='"1"', expect=409)


def test_a_repeated_submit_gets_the_first_answer(client: Client) -> None:
    partner, _ = register(client)
    key = str(uuid4())
    first = partner.owner.post(path(partner, "/submit"), if_match='"1"', key=key, expect=200)
    wait_until(partner, "under_review")
    again = partner.owner.post(path(partner, "/submit"), if_match='"1"', key=key, expect=200)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"


def _series() -> str:
    letters = ids.uuid7().int % 26**2
    return chr(65 + letters // 26) + chr(65 + letters % 26)
