"""Consents over HTTP: the notice in one's language, decisions, proof of them, and what follows from a withdrawal."""

import hashlib
import json
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from pg8000.native import Connection

from kapas.schemas.common import cursor
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from tests.journeys.consents import decide, decisions, on_behalf, shown, state
from tests.journeys.partners import Partner, register

PURPOSES = ["marketing", "analytics", "data_sharing", "ai_processing", "cross_border"]


@pytest.fixture
def partner(client: Client) -> Partner:
    return register(client)[0]


def verified(partner: Partner, receipt: str) -> dict[str, Any]:
    """The payload of a receipt, verified with the published keys."""
    keys = {key["kid"]: key for key in partner.owner.get("/v1/consents/receipt-keys").body["keys"]}
    key = jwt.PyJWK(keys[jwt.get_unverified_header(receipt)["kid"]])
    return json.loads(jwt.PyJWS().decode(receipt, key, algorithms=["ES256"]))


def canonical_hash(value: Any) -> str:
    """SHA-256 of the canonical JSON (RFC 8785), as a client would compute it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


# Notices


@pytest.mark.parametrize(("language", "word"), [("en", "Data Protection Board"), ("hi", "बोर्ड"), ("gu", "બોર્ડ")])
def test_the_notice_is_read_in_one_s_language(partner: Partner, language: str, word: str) -> None:
    notice = partner.owner.get(f"/v1/consent-notices/current?language={language}").body
    assert [purpose["purpose"] for purpose in notice["content"]["purposes"]] == PURPOSES
    assert word in notice["content"]["complaint"]["text"]
    assert canonical_hash(notice["content"]) == notice["sha256"]
    again = partner.owner.get(f"/v1/consent-notices/{notice['version']}?language={language}").body
    assert again == notice


def test_there_are_no_other_notices(partner: Partner) -> None:
    partner.owner.get("/v1/consent-notices/2020-01-01", expect=404)
    partner.owner.get("/v1/consent-notices/current?language=fr", expect=422)
    told = partner.owner.get("/v1/consent-notices/current?language=ta", expect=404).body
    assert "en, gu, hi" in told["detail"]


# The good path


def test_consent_is_asked_for_given_proved_and_withdrawn(client: Client, partner: Partner) -> None:
    before = partner.owner.get("/v1/consents/current").body
    assert {one["purpose"]: (one["state"], one["in_force"]) for one in before["data"]} == dict.fromkeys(
        PURPOSES, ("not_decided", False)
    )
    notice = shown(partner, "hi")
    answer = partner.owner.post("/v1/consents", decisions(notice, marketing="granted", ai_processing="denied"))
    assert answer.status == 201
    assert answer.etag == '"2"'
    decided = answer.body
    assert [(one["outcome"], one["sequence"]) for one in decided["outcomes"]] == [("recorded", 1), ("recorded", 2)]
    assert state(partner, "marketing")["in_force"]
    assert state(partner, "marketing")["notice"] == notice
    assert state(partner, "data_sharing")["state"] == "not_decided"

    client.post("/_local/clock", {"advance": "PT1M"})
    withdrawn = decide(partner, marketing="withdrawn").body
    assert not state(partner, "marketing")["in_force"]

    past = partner.owner.get(f"/v1/consents/as-of?at={decided['decided_at']}").body
    assert (past["version"], past["data"][0]["state"], past["data"][0]["in_force"]) == (2, "granted", True)
    records = partner.owner.get("/v1/consents/history").body["data"]
    assert [(one["sequence"], one["purpose"], one["state"]) for one in records] == [
        (3, "marketing", "withdrawn"),
        (2, "ai_processing", "denied"),
        (1, "marketing", "granted"),
    ]
    assert [one["previous_hash"] for one in records[:2]] == [one["hash"] for one in records[1:]]
    assert {one["entity"] for one in records} == {f"owner-{partner.id}"}

    receipt = verified(partner, decided["receipt"])
    assert [canonical_hash(record) for record in receipt["records"]] == [records[2]["hash"], records[1]["hash"]]
    assert receipt["records"][0]["notice"]["sha256"] == notice["sha256"]
    for one in (decided, withdrawn):
        path = f"/v1/consents/receipts/{one['decision_id']}"
        assert partner.owner.get(path).body == {"decision_id": one["decision_id"], "receipt": one["receipt"]}


def test_each_decision_is_on_its_own(partner: Partner) -> None:
    """What cannot be recorded holds up nothing else, and is told."""
    body = decisions(shown(partner), marketing="withdrawn", analytics="granted", data_sharing="granted")
    body["decisions"][2]["notice"] = {**body["decisions"][2]["notice"], "sha256": "0" * 64}
    outcomes = partner.owner.post("/v1/consents", body, expect=201).body["outcomes"]
    assert [(one["outcome"], one["code"]) for one in outcomes] == [
        ("refused", "not_granted"),
        ("recorded", None),
        ("refused", "notice_mismatch"),
    ]
    assert all((one["message"] is None) == (one["outcome"] == "recorded") for one in outcomes)
    states = partner.owner.get("/v1/consents/current").body["data"]
    assert [one["state"] for one in states] == ["not_decided", "granted", "not_decided", "not_decided", "not_decided"]


def test_withdrawing_takes_what_granting_took(partner: Partner) -> None:
    """As easy as grant (DPDP Act s.6(4)): the same request with another word; and a no always works."""
    notice = shown(partner, "gu")
    for decision in ("granted", "withdrawn", "granted", "denied", "denied"):
        partner.owner.post("/v1/consents", decisions(notice, cross_border=decision), expect=201)
        assert state(partner, "cross_border")["state"] == decision


def test_history_is_read_in_pages(partner: Partner) -> None:
    decide(partner, **dict.fromkeys(PURPOSES, "denied"))
    seen, after = list[int](), ""
    while True:
        page = partner.owner.get(f"/v1/consents/history?limit=2{after}").body
        seen += [record["sequence"] for record in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['next']}"
    assert seen == [5, 4, 3, 2, 1]


# The worst inputs


def without(member: str) -> Any:
    def change(body: dict[str, Any]) -> None:
        del body["decisions"][0][member]

    return change


def with_notice(**changes: str) -> Any:
    return lambda body: body["decisions"][0]["notice"].update(changes)


BAD: dict[str, tuple[Any, str]] = {
    "no notice": (without("notice"), "/decisions/0/notice"),
    "no decision": (without("decision"), "/decisions/0/decision"),
    "another text": (with_notice(sha256="0" * 64), "/decisions/0/notice/sha256"),
    "the text of another language": (with_notice(language="gu"), "/decisions/0/notice/sha256"),
    "a language that it is not published in": (with_notice(language="ta"), "/decisions/0/notice/version"),
    "a notice there never was": (with_notice(version="2020-01-01"), "/decisions/0/notice/version"),
    "all purposes in one": (lambda body: body["decisions"][0].update(purpose="*"), "/decisions/0/purpose"),
    "a purpose twice": (lambda body: body["decisions"].append(body["decisions"][0]), ""),
    "nothing": (lambda body: body["decisions"].clear(), "/decisions"),
    "a default": (lambda body: body.update(default="granted"), "/default"),
    "nobody": (lambda body: body.update(partner_id="somebody"), "/partner_id"),
    "a novel": (lambda body: body["decisions"][0].update(comment="x" * 501), "/decisions/0/comment"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_request_that_is_refused_as_a_whole(partner: Partner, fault: str) -> None:
    change, pointer = BAD[fault]
    body = json.loads(json.dumps(decisions(shown(partner), marketing="granted")))
    change(body)
    refused = partner.owner.post("/v1/consents", body, expect=422).body
    assert [error["pointer"] for error in refused["errors"]] == [pointer]
    assert partner.owner.get("/v1/consents/current").body["version"] == 0


def test_when_nothing_can_be_recorded_each_is_told_why(partner: Partner) -> None:
    refused = partner.owner.post(
        "/v1/consents", decisions(shown(partner), marketing="withdrawn", analytics="withdrawn"), expect=422
    ).body
    assert [(error["pointer"], error["code"]) for error in refused["errors"]] == [
        ("/decisions/0/decision", "not_granted"),
        ("/decisions/1/decision", "not_granted"),
    ]


def test_the_future_is_not_known(partner: Partner) -> None:
    refused = partner.owner.get("/v1/consents/as-of?at=2099-01-01T00:00:00Z", expect=422).body
    assert refused["errors"][0]["pointer"] == "query:at"
    partner.owner.get("/v1/consents/as-of?at=2026-11-24T06:30:00", expect=422)
    partner.owner.get("/v1/consents/as-of", expect=422)


def test_a_partner_that_is_not_registered_has_nothing_to_seal_with(client: Client) -> None:
    partner_id = uuid4()
    owner = client.as_user("owner", partner_id, "owner")
    stranger = Partner(partner_id, owner, {})
    assert "Register" in decide(stranger, marketing="granted", expect=409).body["detail"]
    assert owner.get("/v1/consents/current").body["version"] == 0


# Who may what


def test_the_owner_decides_and_the_others_read(client: Client, partner: Partner) -> None:
    decision_id = decide(partner, marketing="granted").body["decision_id"]
    body = decisions(shown(partner), marketing="withdrawn")
    for role in ("member", "viewer"):
        user = client.as_user(f"{role}-{partner.id}", partner.id, role)
        user.post("/v1/consents", body, expect=403)
        for path in ("current", "history", f"receipts/{decision_id}", "receipt-keys"):
            user.get(f"/v1/consents/{path}")
    named = f"?partner_id={partner.id}"
    for role in ("ops", "inspector"):
        staff = client.as_user(role, None, role)
        staff.post("/v1/consents", body, expect=403)
        staff.post("/v1/consents", {**body, "partner_id": str(partner.id)}, expect=403)
        for path in ("current", "history", f"receipts/{decision_id}"):
            staff.get(f"/v1/consents/{path}", expect=403)
            staff.get(f"/v1/consents/{path}{named}", expect=403)
    other = register(client)[0].owner
    other.post("/v1/consents", {**body, "partner_id": str(partner.id)}, expect=403)
    other.get(f"/v1/consents/current{named}", expect=403)
    partner.owner.get(f"/v1/consents/current{named}")
    assert state(partner, "marketing")["state"] == "granted"


def test_the_officer_records_a_withdrawal_that_came_by_e_mail(partner: Partner, officer: Client) -> None:
    """As the notice promises."""
    decide(partner, marketing="granted", ai_processing="granted")
    decided = officer.post("/v1/consents", on_behalf(partner, marketing="withdrawn"), expect=201).body
    assert not state(partner, "marketing")["in_force"]
    assert state(partner, "ai_processing")["in_force"]
    assert {one["processor"] for one in open_dispatches(officer, partner)} == {"sms-gateway", "call-centre"}
    record = partner.owner.get("/v1/consents/history?limit=1").body["data"][0]
    assert (record["state"], record["entity"]) == ("withdrawn", "dpo:officer")
    assert record["comment"] == "By e-mail of 24 November"
    assert verified(partner, decided["receipt"])["records"][0]["state"] == "withdrawn"
    officer.post("/v1/consents", on_behalf(partner, marketing="withdrawn"), expect=422)
    officer.post("/v1/consents", on_behalf(partner, ai_processing="denied"), expect=201)


def test_the_officer_consents_for_nobody(partner: Partner, officer: Client) -> None:
    officer.post("/v1/consents", on_behalf(partner, marketing="denied", analytics="granted"), expect=403)
    refused = officer.post("/v1/consents", on_behalf(partner, None, marketing="denied"), expect=422).body
    assert [error["pointer"] for error in refused["errors"]] == ["/decisions/0/comment"]
    unnamed = officer.post("/v1/consents", decisions(shown(partner), marketing="denied"), expect=422).body
    assert [error["pointer"] for error in unnamed["errors"]] == ["/partner_id"]
    assert partner.owner.get("/v1/consents/current").body["version"] == 0
    stranger = Partner(uuid4(), partner.owner, {})
    officer.post("/v1/consents", on_behalf(stranger, marketing="denied"), expect=409)


def test_what_the_officer_reads_is_in_the_audit_trail(
    cloud: LocalCloud, client: Client, sql: Connection, partner: Partner, officer: Client
) -> None:
    decided = decide(partner, marketing="granted").body
    paths = ("current", f"as-of?at={decided['decided_at']}", "history", f"receipts/{decided['decision_id']}")
    for path in paths:
        own = partner.owner.get(f"/v1/consents/{path}").body
        seen = officer.get(f"/v1/consents/{path}{'&' if '?' in path else '?'}partner_id={partner.id}").body
        assert {**seen, "at": None} == {**own, "at": None}
        unnamed = officer.get(f"/v1/consents/{path}", expect=422).body
        assert [error["pointer"] for error in unnamed["errors"]] == ["query:partner_id"]
    stranger = f"?partner_id={register(client)[0].id}"
    officer.get(f"/v1/consents/receipts/{decided['decision_id']}{stranger}", expect=404)
    cloud.driver.settle()
    rows = sql.run(
        """SELECT data->>'actor', data->>'actor_role', data->'fields'->>0 FROM audit_log
           WHERE type = 'audit.data_accessed.v1' AND data->>'partner_id' = :id ORDER BY event_id""",
        id=str(partner.id),
    )
    of_consents = [row for row in rows if row[2].startswith("consents.")]
    assert of_consents == [
        ["officer", "dpo", f"consents.{name}"] for name in ("current", "as_of", "history", "receipt")
    ]


def test_another_partner_sees_nothing(client: Client, partner: Partner) -> None:
    decided = decide(partner, marketing="granted").body
    other = register(client)[0]
    other.owner.get(f"/v1/consents/receipts/{decided['decision_id']}", expect=404)
    assert other.owner.get("/v1/consents/history").body["data"] == []
    record = partner.owner.get("/v1/consents/history?limit=1").body["data"][0]
    after = cursor(UUID(record["record_id"]))
    assert other.owner.get(f"/v1/consents/history?after={after}").body["data"] == []


# What follows


def test_processors_are_told_to_stop_and_say_that_they_did(client: Client, partner: Partner, officer: Client) -> None:
    decide(partner, marketing="granted", analytics="granted")
    assert not open_dispatches(officer, partner)
    decide(partner, marketing="withdrawn", analytics="denied")
    found = open_dispatches(officer, partner)
    assert {(one["purpose"], one["processor"]) for one in found} == {
        ("marketing", "sms-gateway"),
        ("marketing", "call-centre"),
        ("analytics", "product-analytics"),
    }
    path = f"/v1/consent-dispatches/{found[0]['id']}/acknowledge"
    partner.owner.post(path, expect=403)
    partner.owner.get("/v1/consent-dispatches", expect=403)
    key = str(uuid4())
    done = officer.post(path, key=key, expect=200)
    assert (done.body["status"], done.body["acknowledged_by"], done.etag) == ("acknowledged", "officer", '"2"')
    assert officer.post(path, key=key, expect=200).body == done.body
    client.as_user("operations", None, "ops").post(path, expect=409)
    officer.post(f"/v1/consent-dispatches/{uuid4()}/acknowledge", expect=404)
    assert len(open_dispatches(officer, partner)) == 2
    acknowledged = officer.get("/v1/consent-dispatches?status=acknowledged&limit=100").body["data"]
    assert found[0]["id"] in [one["id"] for one in acknowledged]


def test_nobody_is_to_stop_who_has_consent_again(partner: Partner, officer: Client) -> None:
    decide(partner, marketing="granted", analytics="granted")
    decide(partner, marketing="withdrawn", analytics="withdrawn")
    first = next(one for one in open_dispatches(officer, partner) if one["processor"] == "sms-gateway")
    path = f"/v1/consent-dispatches/{first['id']}/acknowledge"
    officer.post(path, expect=200)
    decide(partner, marketing="granted", data_sharing="granted")
    assert [one["processor"] for one in open_dispatches(officer, partner)] == ["product-analytics"]
    [superseded] = dispatches(officer, partner, "status=superseded")
    assert (superseded["processor"], superseded["version"], superseded["status"]) == ("call-centre", 2, "superseded")
    assert superseded["superseded_at"]
    again = officer.post(f"/v1/consent-dispatches/{superseded['id']}/acknowledge", expect=409).body
    assert "consented again" in again["detail"]
    decide(partner, marketing="withdrawn")
    assert len(open_dispatches(officer, partner)) == 3


def test_what_is_due_first_is_listed_first(partner: Partner, officer: Client) -> None:
    decide(partner, marketing="granted", analytics="granted")
    decide(partner, marketing="withdrawn", analytics="withdrawn")
    assert open_dispatches(officer, partner)[0]["processor"] == "product-analytics"
    assert not dispatches(officer, partner, "overdue=true")
    assert [one["processor"] for one in dispatches(officer, partner, "processor=call-centre")] == ["call-centre"]
    listed, after = list[dict[str, Any]](), ""
    while True:
        page = officer.get(f"/v1/consent-dispatches?limit=2{after}").body
        listed += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={page['next']}"
    order = [(one["due_at"], one["id"]) for one in listed]
    assert order == sorted(order)
    assert len({one["id"] for one in listed if one["principal_id"] == str(partner.id)}) == 3


def dispatches(officer: Client, partner: Partner, query: str) -> list[dict[str, Any]]:
    listed = officer.get(f"/v1/consent-dispatches?limit=100&{query}").body["data"]
    return [one for one in listed if one["principal_id"] == str(partner.id)]


def open_dispatches(officer: Client, partner: Partner) -> list[dict[str, Any]]:
    return dispatches(officer, partner, "status=open")


def test_an_erasure_stops_the_processors_and_every_consent(client: Client, partner: Partner, officer: Client) -> None:
    decide(partner, marketing="granted", analytics="granted", data_sharing="denied")
    partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    assert not state(partner, "marketing")["in_force"]
    client.post("/_local/clock", {"advance": "PT1H"})
    assert partner.owner.get("/v1/erasures").body["data"][0]["status"] == "completed"
    assert {(one["processor"], one["reason"]) for one in open_dispatches(officer, partner)} == {
        ("sms-gateway", "erasure"),
        ("call-centre", "erasure"),
        ("product-analytics", "erasure"),
    }
    assert (state(partner, "marketing")["state"], state(partner, "marketing")["in_force"]) == ("granted", False)


@pytest.mark.parametrize("kind", ["duplicate", "lose_answer", "drop", "fail"])
def test_the_audit_trail_hears_of_each_record_once(
    client: Client, sql: Connection, partner: Partner, kind: str
) -> None:
    client.settle()
    client.post("/_local/faults", {"edge": "push", "kind": kind, "times": 3, "status": 503})
    decide(partner, marketing="granted", analytics="denied")
    decide(partner, marketing="withdrawn")
    client.post("/_local/clock", {"advance": "PT5M"})
    records = partner.owner.get("/v1/consents/history").body["data"][::-1]
    assert audited(client, sql, partner) == [
        [1, "consent.granted.v1", records[0]["hash"]],
        [2, "consent.denied.v1", records[1]["hash"]],
        [3, "consent.withdrawn.v1", records[2]["hash"]],
    ]


def audited(client: Client, sql: Connection, partner: Partner) -> list[Any]:
    client.settle()
    return sql.run(
        """SELECT sequence, type, data->>'record_hash' FROM audit_log
           WHERE type LIKE 'consent.%' AND data->>'partner_id' = :id ORDER BY sequence""",
        id=str(partner.id),
    )


def test_the_partner_s_own_systems_hear_of_a_withdrawal(client: Client, partner: Partner) -> None:
    name = f"consents-{partner.id}"
    url = f"{client.url}/_local/receiver/{name}"
    endpoint = {"url": url, "event_types": ["consent.withdrawn.v1"]}
    secret = partner.owner.post("/v1/webhook-endpoints", endpoint).body["secret"]
    client.call("PUT", f"/_local/receiver/{name}", {"secret": secret})
    decide(partner, marketing="granted")
    decide(partner, marketing="withdrawn")
    client.post("/_local/clock", {"advance": "PT2M"})  # the relay's and the watchdog's sweeps, at the latest
    received = client.get(f"/_local/receiver/{name}").body
    assert "consent.withdrawn.v1" in json.dumps(received)
    assert "consent.granted.v1" not in json.dumps(received)


def test_who_decided_and_what_they_said_is_nowhere_in_clear(client: Client, sql: Connection, partner: Partner) -> None:
    words = f"Please stop calling {uuid4()}"
    decide(partner, marketing="granted")
    body = decisions(shown(partner), marketing="withdrawn")
    body["decisions"][0]["comment"] = words
    receipt = partner.owner.post("/v1/consents", body, expect=201).body["receipt"]
    assert partner.owner.get("/v1/consents/history?limit=1").body["data"][0]["comment"] == words
    client.settle()
    tables = [f"consent_{name}" for name in ("ledgers", "receipts", "entries", "states", "dispatches")]
    tables += ["outbox", "audit_log", "idempotency_keys", "webhook_messages"]
    rows = "".join(str(sql.run(f"SELECT t::text FROM {table} t ORDER BY 1")) for table in tables)
    told = rows + json.dumps(verified(partner, receipt))
    for secret in (words, f"owner-{partner.id}"):
        assert secret not in told
        assert secret.encode().hex() not in told
    # What is public is there: the search does look where it should.
    assert str(partner.id) in told


def test_another_request_under_the_same_key_is_refused(partner: Partner) -> None:
    key = str(uuid4())
    decide(partner, marketing="granted", key=key)
    decide(partner, marketing="denied", key=key, expect=422)
    assert state(partner, "marketing")["state"] == "granted"
