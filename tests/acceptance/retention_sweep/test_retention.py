"""What was kept long enough goes, by schedule and on demand, and each report says by which law; the rest stays."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from pg8000.native import Connection

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import bucket_name
from tests.journeys.consents import decide
from tests.journeys.deals import contracted, offer
from tests.journeys.partners import Partner, active_partner, register, submit

YEAR = 366
UNCONCLUDED = "negotiation_message_unconcluded"


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """A system of its own: years pass here, and other tests' data would grow old with them."""
    with LocalCloud() as running:
        yield running


def pass_days(client: Client, days: int) -> Client:
    """Let so many days pass; the officer with a token of then."""
    client.post("/_local/clock", {"advance": f"P{days}D"})
    return client.as_user("officer", None, "dpo")


def pass_years(client: Client, days: int) -> Client:
    """The same, and then one more day: over long times the nightly sweep runs a few times only."""
    pass_days(client, days)
    return pass_days(client, 1)


def sweep(client: Client, officer: Client, **body: Any) -> dict[str, Any]:
    """Begin a sweep and read its report when it has ended."""
    begun = officer.post("/v1/retention-sweeps", body, expect=201).body
    client.settle()
    swept = officer.get(f"/v1/retention-sweeps/{begun['id']}").body
    assert swept["status"] == "completed"
    return swept


def line(swept: dict[str, Any], place: str, policy: str = "") -> dict[str, Any]:
    [found] = [one for one in swept["lines"] if one["place"] == place and policy in ("", one["policy"])]
    return found


def count(sql: Connection, table: str) -> int:
    return sql.run(f"SELECT count(*) FROM {table}")[0][0]


def webhook(client: Client, partner: Partner) -> None:
    """Have the partner told of everything, and take it."""
    name = f"retention-{partner.id}"
    url = f"{client.url}/_local/receiver/{name}"
    secret = partner.owner.post("/v1/webhook-endpoints", {"url": url, "event_types": ["*"]}).body["secret"]
    client.call("PUT", f"/_local/receiver/{name}", {"secret": secret})


def rejected_partner(client: Client) -> Partner:
    """A partner that uploaded a document, was checked and was rejected."""
    partner, _ = register(client)
    path, data = f"/v1/partners/{partner.id}", b"%PDF-1.7"
    described = {"kind": "bank_proof", "content_type": "application/pdf", "size": len(data)}
    described["sha256"] = hashlib.sha256(data).hexdigest()
    announced = partner.owner.post(f"{path}/documents", described, expect=201).body
    signed = announced["upload"]
    assert urllib3.request(signed["method"], signed["url"], body=data, headers=signed["headers"]).status == 200
    partner.owner.post(f"{path}/documents/{announced['id']}/confirm", expect=200)
    version = submit(partner)
    operations = client.as_user("operations", None, "ops")
    operations.post(f"{path}/reject", {"reason_code": "further_proof"}, if_match=f'"{version}"', expect=200)
    return partner


def registration(cloud: LocalCloud, sql: Connection, partner: Partner) -> list[int]:
    """How many documents, checks, decisions and files of the partner there are."""
    tables = ("partner_documents", "partner_checks", "partner_decisions")
    rows = [sql.run(f"SELECT count(*) FROM {table} WHERE partner_id = :id", id=partner.id)[0][0] for table in tables]
    uploads = f"{cloud.addresses.storage}/storage/v1/b/{bucket_name('uploads')}/o"
    url = f"{uploads}?prefix=partners/{partner.id}/"
    files = json.loads(urllib3.request("GET", url).data)
    return [*rows, len(files.get("items", []))]


# Before years have passed


def test_a_sweep_of_today_deletes_nothing_and_says_why(client: Client, officer: Client) -> None:
    swept = sweep(client, officer)
    assert (swept["complete"], swept["dry_run"], swept["started_by"], swept["limit"]) == (True, False, "officer", None)
    assert all(one["deleted"] == 0 and one["law"] and one["article"] for one in swept["lines"])
    books = line(swept, "table trades", "books_of_account")
    assert (books["action"], books["law"], books["due_until"][5:]) == ("report", "Companies Act 2013", "03-31")
    listed = officer.get("/v1/retention-sweeps?limit=1").body
    assert listed["data"][0] == swept


def test_the_same_request_twice_is_one_sweep(client: Client, officer: Client) -> None:
    key = str(uuid4())
    first = officer.post("/v1/retention-sweeps", {"dry_run": True}, key=key, expect=201)
    second = officer.post("/v1/retention-sweeps", {"dry_run": True}, key=key, expect=201)
    assert first.body == second.body
    assert first.etag == '"1"'
    officer.post("/v1/retention-sweeps", {"dry_run": False}, key=key, expect=422)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"policies": ["no_such_policy"]}, "/policies/0"),
        ({"as_of": "2099-01-01T00:00:00Z"}, "/as_of"),
        ({"as_of": "2027-03-31T00:00:00"}, "/as_of"),
        ({"limit": 0}, "/limit"),
        ({"dry": True}, "/dry"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(officer: Client, body: dict[str, Any], pointer: str) -> None:
    problem = officer.post("/v1/retention-sweeps", body, expect=422).body
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": "Case 7"}, ""),
        ({"reason": "Case 7", "subject_id": str(uuid4()), "row": {"table": "trades", "id": "1"}}, ""),
        ({"reason": "Case 7", "row": {"table": "partners", "id": "1"}}, "/row/table"),
        ({"reason": "", "subject_id": str(uuid4())}, "/reason"),
        ({"reason": "Case 7", "subject_id": "everybody"}, "/subject_id"),
        ({"reason": "Case 7", "subject_id": str(uuid4())}, "/subject_id"),
        ({"reason": "Case 7", "row": {"table": "trades", "id": str(uuid4())}}, "/row/id"),
        ({"reason": "Case 7", "row": {"table": "trades", "id": "lot 7"}}, "/row/id"),
        ({"reason": "Case 7", "row": {"table": "idempotency_keys", "id": "f" * 200}}, "/row/id"),
        ({"reason": "Case 7", "row": {"table": "grading_budgets", "id": str(uuid4())}}, "/row/id"),
    ],
)
def test_a_hold_that_names_nothing_is_refused(officer: Client, body: dict[str, Any], pointer: str) -> None:
    problem = officer.post("/v1/legal-holds", body, expect=422).body
    assert problem["errors"][0]["pointer"] == pointer


def test_staff_sweeps_and_only_the_officer_holds(client: Client, officer: Client) -> None:
    partner = active_partner(client)
    operations = client.as_user("operations", None, "ops")
    inspector = client.as_user("inspector", None, "inspector")
    body = {"subject_id": str(partner.id), "reason": "Case 7"}
    for caller in (partner.owner, inspector):
        caller.post("/v1/retention-sweeps", {}, expect=403)
        caller.get("/v1/retention-sweeps", expect=403)
    sweep_id = operations.post("/v1/retention-sweeps", {"dry_run": True}, expect=201).body["id"]
    operations.get(f"/v1/retention-sweeps/{sweep_id}")
    for caller in (partner.owner, inspector, operations):
        caller.post("/v1/legal-holds", body, expect=403)
        caller.get("/v1/legal-holds", expect=403)
    hold = officer.post("/v1/legal-holds", body, expect=201).body
    assert (hold["placed_by"], hold["released_at"], hold["row"]) == ("officer", None, None)
    operations.call("DELETE", f"/v1/legal-holds/{hold['id']}", expect=403)
    officer.call("DELETE", f"/v1/legal-holds/{hold['id']}", expect=204)
    officer.call("DELETE", f"/v1/legal-holds/{hold['id']}", expect=404)
    released = officer.get(f"/v1/legal-holds/{hold['id']}").body
    assert (released["released_by"], released["reason"]) == ("officer", "Case 7")
    assert officer.get("/v1/legal-holds?limit=1").body["data"] == [released]
    officer.get(f"/v1/legal-holds/{uuid4()}", expect=404)
    officer.get(f"/v1/retention-sweeps/{uuid4()}", expect=404)


# Years pass


@pytest.mark.parametrize("kind", ["duplicate", "lose_answer", "drop", "fail"])
def test_a_sweep_survives_whatever_happens_to_its_tasks(
    client: Client, officer: Client, sql: Connection, kind: str
) -> None:
    client.settle()
    client.post("/_local/faults", {"edge": "task", "kind": kind, "match": "retention", "times": 3, "status": 503})
    begun = officer.post("/v1/retention-sweeps", {"dry_run": True}, expect=201).body
    client.post("/_local/clock", {"advance": "PT20M"})
    swept = officer.get(f"/v1/retention-sweeps/{begun['id']}").body
    assert (swept["status"], swept["version"], swept["complete"]) == ("completed", 2, True)
    told = sql.run("SELECT sequence, type FROM audit_log WHERE subject = :id ORDER BY sequence", id=begun["id"])
    assert told == [[1, "retention.started.v1"], [2, "retention.swept.v1"]]
    [rule] = client.get("/_local/faults").body
    assert rule["fired"] > 0


def test_each_night_is_swept_once(client: Client, sql: Connection) -> None:
    before = sql.run("SELECT count(*) FROM retention_sweeps WHERE night IS NOT NULL")[0][0]
    client.post("/_local/faults", {"edge": "schedule", "kind": "duplicate", "match": "retention", "times": 9})
    officer = pass_days(client, 2)
    nightly = [
        one for one in officer.get("/v1/retention-sweeps?limit=100").body["data"] if one["started_by"] == "schedule"
    ]
    assert 1 <= len(nightly) - before <= 2
    assert {(one["status"], one["dry_run"]) for one in nightly} == {("completed", False)}
    nights = sql.run("SELECT night FROM retention_sweeps WHERE night IS NOT NULL ORDER BY night")
    assert len(nights) == len(nightly)
    [rule] = client.get("/_local/faults").body
    assert rule["fired"] >= len(nightly) - before


def test_eight_years_pass(client: Client, cloud: LocalCloud, sql: Connection) -> None:
    """One deal, one lot nobody wanted, one consent, one registration that was rejected; a hold on the lot, and what is left
    of each as the years go by."""
    seller, buyer, rejected = active_partner(client), active_partner(client), rejected_partner(client)
    webhook(client, buyer)
    trade = contracted(seller, buyer)
    unwanted = offer(seller)
    decide(buyer, marketing="granted")
    decide(buyer, marketing="withdrawn")
    officer = pass_days(client, 3)
    held = {"row": {"table": "trades", "id": unwanted["id"].upper()}, "reason": "Case 7"}
    hold = officer.post("/v1/legal-holds", held, expect=201).body
    assert hold["row"] == {"table": "trades", "id": unwanted["id"]}
    messages = count(sql, "webhook_messages")
    assert messages > 0
    assert unwanted["id"] in str(client.get("/_local/documents?prefix=trades").body)

    officer = pass_years(
        client, YEAR + 40
    )  # what was processed is kept for one year; the trade was cancelled in a month
    assert count(sql, "webhook_messages") < messages
    assert sql.run("SELECT count(*) FROM outbox WHERE subject = :id", id=trade["id"]) == [[0]]
    assert line(sweep(client, officer), "table webhook_messages")["law"] == "DPDP Rules 2025"

    before = registration(cloud, sql, rejected)
    assert 0 not in before
    owner = client.as_user(f"owner-{rejected.id}", rejected.id, "owner")
    assert len(owner.get(f"/v1/partners/{rejected.id}/documents").body["data"]) == 1
    officer = pass_years(client, 2 * YEAR + 40)  # an offer nobody took, and a registration, for three from their end
    assert registration(cloud, sql, rejected) == [0, 0, 0, 0]
    owner = client.as_user(f"owner-{rejected.id}", rejected.id, "owner")
    assert owner.get(f"/v1/partners/{rejected.id}/documents").body["data"] == []
    assert 0 not in registration(cloud, sql, seller)[1:3]
    dry, real = sweep(client, officer, dry_run=True), sweep(client, officer)
    assert [(one["place"], one["deleted"]) for one in dry["lines"]] == [
        (one["place"], one["deleted"]) for one in real["lines"]
    ]
    assert line(real, "table trades", UNCONCLUDED)["held"] == 1
    assert sql.run("SELECT count(*) FROM trades WHERE id = :id", id=unwanted["id"]) == [[1]]
    officer.call("DELETE", f"/v1/legal-holds/{hold['id']}", expect=204)
    assert line(sweep(client, officer), "table trades", UNCONCLUDED)["deleted"] == 1
    assert sql.run("SELECT count(*) FROM trade_events WHERE trade_id = :id", id=unwanted["id"]) == [[0]]
    assert unwanted["id"] not in str(client.get("/_local/documents?prefix=trades").body)

    assert count(sql, "consent_entries") == 2
    officer = pass_years(client, 4 * YEAR + 1)  # the trail, and the proof of a consent, for seven
    assert count(sql, "consent_entries") == count(sql, "consent_ledgers") == 0
    assert sql.run("SELECT count(*) FROM audit_log WHERE subject = :id", id=trade["id"]) == [[0]]
    assert line(sweep(client, officer), "table trades", "books_of_account")["due"] == 0

    officer = pass_years(client, 2 * YEAR + 1)  # the books: eight financial years, and then a person decides
    books = line(sweep(client, officer), "table trades", "books_of_account")
    assert (books["due"], books["deleted"], books["action"]) == (1, 0, "report")
    assert "s.128(5)" in books["article"]
    owner = client.as_user("owner", buyer.id, "owner")
    assert owner.get(f"/v1/trades/{trade['id']}").body["status"] == "cancelled"  # nobody delivered it
