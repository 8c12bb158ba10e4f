"""A partner gets its data and has it erased, over HTTP through the whole local cloud."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import urllib3

from kapas.values import ids
from local_cloud.client import ANY, Answer, Client
from tests.journeys.deals import contracted, offer, offering, take
from tests.journeys.gradings import consent, image, upload
from tests.journeys.partners import Partner, active_partner, register, submit
from tools.verify_archive import faults


def finished(client: Client, path: str) -> dict[str, Any]:
    """The export or erasure at `path` a minute later: the queue that its shards pass has a rate."""
    advance(client, "PT1M")
    body = client.get(path).body
    assert body["status"] not in ("preparing", "in_progress")
    return body


def exported(partner: Partner) -> dict[str, Any]:
    export = partner.owner.post("/v1/exports", {}, expect=202).body
    return finished(partner.owner, f"/v1/exports/{export['id']}")


def erased(client: Client, partner: Partner) -> dict[str, Any]:
    """The erasure of a partner, when it is done: it begins half an hour after it was asked for."""
    erasure = partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202).body
    client.settle()
    advance(client, "PT31M")
    return finished(partner.owner, f"/v1/erasures/{erasure['id']}")


def link(partner: Partner, export: dict[str, Any], expect: int = 201) -> Answer:
    return partner.owner.post(f"/v1/exports/{export['id']}/download-link", expect=expect)


def download(url: str) -> urllib3.BaseHTTPResponse:
    return urllib3.PoolManager(retries=False).request("GET", url)


def stored(*urls: str) -> list[str]:
    """Those of the files at these URLs that are there, also as an older version."""
    found: list[str] = []
    for url in map(urllib3.util.parse_url, urls):
        bucket, _, path = str(url.path).removeprefix("/").partition("/")
        listing = f"{url.scheme}://{url.netloc}/storage/v1/b/{bucket}/o?versions=true&prefix={path}"
        items = urllib3.request("GET", listing, retries=False).json().get("items", [])
        found += [item["name"] for item in items]
    return found


def advance(client: Client, period: str) -> None:
    client.post("/_local/clock", {"advance": period})


def test_a_partner_downloads_its_data_and_verifies_it(client: Client, tmp_path: Path) -> None:
    seller, buyer = active_partner(client), active_partner(client)
    contracted(seller, buyer)
    export = exported(seller)
    assert export["status"] == "ready"
    handed = link(seller, export).body
    answer = download(handed["url"])
    assert answer.status == 200
    assert "kapas-export-" in answer.headers["Content-Disposition"]
    path = tmp_path / "archive.zip"
    path.write_bytes(answer.data)
    assert len(answer.data) == export["size_bytes"]
    assert list(faults(path)) == []
    client.settle()
    trail = [event["type"] for event in client.get("/_local/outbox").body["events"] if event["subject"] == export["id"]]
    assert trail == ["export.requested.v1", "export.ready.v1", "export.link_issued.v1"]
    # What was downloaded and then changed on its way is found.
    path.write_bytes(answer.data.replace(b"manifest.json", b"manifest.jsom"))
    assert list(faults(path))


def test_what_the_screening_found_is_not_in_the_archive(client: Client, tmp_path: Path) -> None:
    """Neither that somebody is listed nor who: not as a check, not as a risk, not as what a person accepted."""
    partner, _ = register(client)
    screening = "/_local/providers/screening"
    client.call("PUT", screening, {"behaviours": [{"kind": "mismatch", "about": partner.body["legal_name"]}]})
    version = submit(partner)
    client.call("PUT", screening, {"behaviours": []})
    operations = client.as_user("operations", None, "ops")
    review = f"/v1/partners/{partner.id}/review"
    assert "listed_name" in str(operations.get(review).body["checks"])
    accepted = {"accepted_checks": ["screening"], "reason_code": "another_of_that_name"}
    operations.post(f"/v1/partners/{partner.id}/activate", accepted, if_match=f'"{version}"', expect=200)
    assert "possible_screening_hit" in str(operations.get(review).body["decisions"])
    export = exported(partner)
    path = tmp_path / "archive.zip"
    path.write_bytes(download(link(partner, export).body["url"]).data)
    assert list(faults(path)) == []
    with zipfile.ZipFile(path) as archive:
        text = "".join(archive.read(name).decode() for name in archive.namelist())
        checks = [json.loads(line) for line in archive.read("data/partner_checks.jsonl").splitlines()]
        [decision] = map(json.loads, archive.read("data/partner_decisions.jsonl").splitlines())
        page = archive.read("index.html").decode()
    for found in ("listed_name", "possible_screening_hit", "0.97", accepted["reason_code"]):
        assert found not in text
    # What the registry and the bank said is there; that what the screening said is not, is told to everybody.
    assert sorted(check["kind"] for check in checks) == ["bank_account", "gst_registry"]
    assert all(check["evidence"] for check in checks)
    assert (decision["action"], decision.keys() & {"risk", "accepted_checks", "reason_code"}) == ("activate", set())
    assert "for the platform&#x27;s staff only" in page


def test_nobody_else_gets_the_link(client: Client) -> None:
    owner, other = active_partner(client), active_partner(client)
    export = exported(owner)
    path = f"/v1/exports/{export['id']}"
    for method, at in (("GET", path), ("POST", f"{path}/download-link")):
        headers = {"Idempotency-Key": str(ids.uuid7())}
        assert other.owner.call(method, at, headers=headers, expect=ANY).status == 404
        for role in ("member", "viewer"):
            colleague = client.as_user("colleague", owner.id, role)
            assert colleague.call(method, at, headers=headers, expect=ANY).status == 403
    officer = client.as_user("officer", None, "dpo")
    assert officer.get(path).body["status"] == "ready"
    officer.post(f"{path}/download-link", expect=403)


def test_a_link_ends_after_five_minutes_and_the_archive_after_seven_days(client: Client) -> None:
    owner = active_partner(client)
    export = exported(owner)
    handed = link(owner, export).body
    parts = urllib3.util.parse_url(handed["url"])
    assert download(handed["url"].replace("X-Goog-Expires=300", "X-Goog-Expires=3000")).status in (400, 403)
    assert download(f"{parts.scheme}://{parts.netloc}{parts.path}").status in (401, 403)
    advance(client, "PT6M")
    assert download(handed["url"]).status in (400, 403)
    advance(client, "P7D")
    owner = Partner(owner.id, client.as_user("owner", owner.id, "owner"), owner.body)
    assert owner.owner.get(f"/v1/exports/{export['id']}").body["status"] == "expired"
    problem = link(owner, export, expect=409).body
    assert "expired" in problem["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/exports", {"partner_id": "not-a-uuid"}, 422),
        ("/v1/exports", {"everything": True}, 422),
        ("/v1/exports", {"partner_id": str(ids.uuid7())}, 403),
        ("/v1/erasures", {}, 422),
        ("/v1/erasures", {"confirm": "yes"}, 422),
    ],
)
def test_what_cannot_be_asked_for(client: Client, path: str, body: dict[str, Any], status: int) -> None:
    owner = active_partner(client)
    answer = owner.owner.post(path, body, expect=status)
    assert answer.body["status"] == status


def test_a_stranger_registers_first(client: Client) -> None:
    partner_id = ids.uuid7()
    stranger = client.as_user("stranger", partner_id, "owner")
    for path, body in (("/v1/exports", {}), ("/v1/erasures", {"confirm": "erase"})):
        assert "Register" in stranger.post(path, body, expect=409).body["detail"]


@pytest.mark.parametrize(("path", "body"), [("/v1/exports", {}), ("/v1/erasures", {"confirm": "erase"})])
def test_the_protection_officer_names_the_partner(client: Client, path: str, body: dict[str, Any]) -> None:
    problem = client.as_user("officer", None, "dpo").post(path, body, expect=422).body
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [("/partner_id", "missing")]


def test_a_repeated_request_is_answered_as_before(client: Client) -> None:
    owner = active_partner(client)
    first = owner.owner.post("/v1/exports", {}, key="export-0123456789ab", expect=202)
    again = owner.owner.post("/v1/exports", {}, key="export-0123456789ab", expect=202)
    assert again.body == first.body
    client.settle()
    found = owner.owner.get("/v1/exports").body
    assert [export["id"] for export in found["data"]] == [first.body["id"]]
    assert not found["has_more"]


@pytest.mark.parametrize("kind", ["duplicate", "lose_answer", "fail", "reorder"])
@pytest.mark.parametrize(
    ("edge", "match"), [("push", "privacy-intake"), ("task", "export-work"), ("task", "erasure-work")]
)
def test_every_edge_may_fail(client: Client, kind: str, edge: str, match: str) -> None:
    owner = active_partner(client)
    client.settle()
    client.post("/_local/faults", {"edge": edge, "kind": kind, "match": match, "times": 3, "status": 503})
    export = owner.owner.post("/v1/exports", {}, expect=202).body
    client.settle()
    advance(client, "PT3M")
    assert finished(owner.owner, f"/v1/exports/{export['id']}")["status"] == "ready"
    erasure = owner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202).body
    client.settle()
    advance(client, "PT33M")
    assert finished(owner.owner, f"/v1/erasures/{erasure['id']}")["status"] == "completed"
    [rule] = client.get("/_local/faults").body
    assert rule["fired"] > 0
    types = ["export.requested.v1", "export.ready.v1", "erasure.requested.v1", "privacy.erased.v1"]
    told = [event for event in client.get("/_local/outbox").body["events"] if event["type"] in types]
    assert [event["type"] for event in told if event["subject"] in (export["id"], erasure["id"])] == types


def test_who_asked_to_be_erased_brings_no_more_documents(client: Client) -> None:
    partner = active_partner(client)
    documents = f"/v1/partners/{partner.id}/documents"
    scan = {"kind": "bank_proof", "content_type": "application/pdf", "size": 8, "sha256": "ab" * 32}
    announced = partner.owner.post(documents, scan, expect=201).body
    erasure = partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202).body

    def refused() -> None:
        for path, body in ((documents, scan), (f"{documents}/{announced['id']}/confirm", None)):
            problem = partner.owner.post(path, body, expect=409).body
            assert problem["detail"].startswith("This partner's data has been or is being erased")

    refused()
    client.settle()
    advance(client, "PT31M")
    finished(partner.owner, f"/v1/erasures/{erasure['id']}")
    refused()


def test_what_stays_after_an_erasure_says_why(client: Client) -> None:
    seller, buyer = active_partner(client), active_partner(client)
    trade, open_lot = contracted(seller, buyer), offer(seller)
    export = exported(seller)
    handed = link(seller, export).body
    assert len(stored(handed["url"])) == 1
    url = f"{client.url}/_local/receiver/seller"
    seller.owner.post("/v1/webhook-endpoints", {"url": url, "event_types": ["*"]})
    client.settle()
    erasure = erased(client, seller)
    assert erasure["status"] == "completed"
    stays = {(entry["store"], entry["law"]): entry for entry in erasure["statement"]["retained"]}
    invoice = stays["table trades", "Companies Act 2013"]
    assert invoice["article"].startswith("s.128(5)")
    assert invoice["earliest_deletion"].endswith("-04-01")
    assert stays["table statutory_records", "Companies Act 2013"]["count"] >= 2
    # The other party has its contract, the market no lot, and the archive is gone.
    assert buyer.owner.get(f"/v1/trades/{trade['id']}").body["seller_id"] == str(seller.id)
    documents = client.get("/_local/documents").body
    assert documents[f"trades/{open_lot['id']}"]["open"] is False
    assert documents[f"partners/{seller.id}"]["status"] == "erased"
    assert stored(handed["url"]) == []
    assert seller.owner.get(f"/v1/exports/{export['id']}").body["status"] == "expired"
    seller.owner.post("/v1/exports", {}, expect=409)
    seller.owner.post("/v1/erasures", {"confirm": "erase"}, expect=409)
    assert seller.body["legal_name"] not in json.dumps(documents)


def test_a_withdrawn_lot_keeps_nobodys_name(client: Client) -> None:
    seller = active_partner(client)
    trade = offer(seller)
    take(seller, trade, "withdraw_offer")
    client.settle()
    stays = erased(client, seller)["statement"]["retained"]
    assert [entry["law"] for entry in stays if entry["store"] == "table trades"] == ["Limitation Act 1963"]
    assert not [entry for entry in stays if entry["store"] == "table statutory_records"]
    assert client.get("/_local/documents").body[f"trades/{trade['id']}"]["seller_id"] is None


def test_the_protection_officer_acts_on_behalf(client: Client) -> None:
    owner = active_partner(client)
    officer = client.as_user("officer", None, "dpo")
    export = officer.post("/v1/exports", {"partner_id": str(owner.id)}, expect=202).body
    assert finished(owner.owner, f"/v1/exports/{export['id']}")["status"] == "ready"
    link(owner, export)
    erasure = officer.post("/v1/erasures", {"partner_id": str(owner.id), "confirm": "erase"}, expect=202).body
    client.settle()
    advance(client, "PT31M")
    assert finished(officer, f"/v1/erasures/{erasure['id']}")["certificate"]
    assert [one["id"] for one in owner.owner.get("/v1/erasures").body["data"]] == [erasure["id"]]


@pytest.mark.parametrize("named", ["subject", "row"])
def test_a_legal_hold_keeps_everything_until_it_is_released(client: Client, named: str) -> None:
    partner, officer = active_partner(client), client.as_user("officer", None, "dpo")
    held: dict[str, Any] = {"subject_id": str(partner.id)}
    if named == "row":
        held = {"row": {"table": "trades", "id": offer(partner)["id"]}}
    hold = officer.post("/v1/legal-holds", {**held, "reason": "case 7"}, expect=201).body
    erasure = partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202).body
    client.settle()
    advance(client, "PT40M")
    assert officer.get(f"/v1/erasures/{erasure['id']}").body["status"] == "in_progress"
    assert officer.get(f"/v1/partners/{partner.id}").body["legal_name"]

    officer.call("DELETE", f"/v1/legal-holds/{hold['id']}")
    advance(client, "PT35M")
    operations = client.as_user("officer", None, "dpo")
    done = finished(operations, f"/v1/erasures/{erasure['id']}")
    assert done["status"] == "completed"
    operations.get(f"/v1/partners/{partner.id}", expect=404)


def test_what_is_uploaded_after_the_request_goes_too(client: Client) -> None:
    """By URLs that were handed out before it; afterwards none is."""
    partner, data = consent(active_partner(client)), b"a late file"
    sha256 = hashlib.sha256(data).hexdigest()
    deed = {"kind": "bank_proof", "content_type": "application/pdf", "size": len(data), "sha256": sha256}
    documents = f"/v1/partners/{partner.id}/documents"
    document = partner.owner.post(documents, deed, expect=201)
    grading = partner.owner.post("/v1/gradings", {"kind": "image", **image(data)}, expect=201)
    erasure = partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202).body
    client.settle()
    advance(client, "PT14M")
    partner.owner.post(documents, deed, expect=409)
    assert [upload(document, data), upload(grading, data)] == [200, 200]
    urls = [announced.body["upload"]["url"] for announced in (document, grading)]
    assert len(stored(*urls)) == 2
    advance(client, "PT17M")
    done = finished(partner.owner, f"/v1/erasures/{erasure['id']}")
    assert done["status"] == "completed"
    assert stored(*urls) == []
    assert [upload(document, data), upload(grading, data)] == [400, 400]


def test_whoever_is_being_erased_starts_nothing_new(client: Client) -> None:
    partner = active_partner(client)
    erased(client, partner)
    partner.owner.post("/v1/trades", offering(client), expect=403)
    partner.owner.post("/v1/exports", {}, expect=409)


def test_what_is_held_is_told(client: Client) -> None:
    told = active_partner(client).owner.get("/v1/data-map").body
    held = {holding["store"]: holding for holding in told["holdings"]}
    assert held["table trades"]["retention"][-1]["period"] == "8 years"
    assert held["table partners"]["exported"]
    assert {"name", "purpose"} == told["recipients"][0].keys()
