"""A partner integrates by webhooks: it looks up what it can be told of, tries, fails, recovers, and changes its secret."""

import json
from typing import Any
from uuid import uuid4

import pytest

from local_cloud.client import ANY, Answer, Client
from tests.contract.json_schema import faults
from tests.journeys.deals import offer
from tests.journeys.partners import active_partner, register
from tests.journeys.webhooks import Subscription, advance, assert_refused, subscribe
from tools.catalog import ROOT

EXAMPLES = sorted(ROOT.glob("functions/*/examples/*/*.json"))


@pytest.fixture
def subscription(client: Client) -> Subscription:
    """Of a new partner, to what is not going to happen."""
    partner, _ = register(client)
    client.settle()
    return subscribe(client, partner, "grading.refused.v1")


# What there is


def test_every_type_of_the_catalogue_can_be_subscribed_to(client: Client) -> None:
    partner, _ = register(client)
    page = partner.owner.get("/v1/webhook-event-types").body
    types = [one["type"] for one in page["data"]]
    assert (types, page["has_more"], page["next"]) == (sorted(types), False, None)
    assert {"trade.matched.v1", "partner.created.v1"} <= set(types)
    assert not [name for name in types if name.startswith(("audit.", "retention."))]
    for one in page["data"]:
        assert one["json_schema"] == f"/v1/webhook-event-types/{one['type']}/schema"
    assert subscribe(client, partner, *types).body["event_types"] == types
    url = f"{client.url}/_local/receiver/any"
    for refused in (
        "audit.data_accessed.v1",
        "retention.swept.v1",
        "privacy.erased.v1",
        "webhook.test",
        "trade.matched.v9",
    ):
        problem = partner.owner.post("/v1/webhook-endpoints", {"url": url, "event_types": [refused]}, expect=422).body
        assert [error["pointer"] for error in problem["errors"]] == ["/event_types/0"]


def test_the_schema_of_every_type_is_served_and_fits_what_is_sent(client: Client) -> None:
    partner, _ = register(client)
    types = partner.owner.get("/v1/webhook-event-types").body["data"]
    assert {one["type"] for one in types} <= {path.parent.name for path in EXAMPLES}
    for one in types:
        answer = partner.owner.get(one["json_schema"])
        assert answer.headers["Content-Type"] == "application/schema+json"
        for path in (path for path in EXAMPLES if path.parent.name == one["type"]):
            event = json.loads(path.read_text())
            sent = {name: event[name] for name in ("id", "type", "time", "subject", "sequence", "data")}
            for fitting in (event, sent):
                assert faults(fitting, answer.body) == []
            without = {name: value for name, value in sent.items() if name != "sequence"}
            for unfit in (sent | {"type": "webhook.test"}, sent | {"data": {}}, without):
                assert faults(unfit, answer.body)


def test_what_arrives_fits_the_schema_that_is_served(client: Client) -> None:
    seller = active_partner(client)
    subscription = subscribe(client, seller, "trade.offered.v1")
    offer(seller)
    advance(client, "PT2M")  # the relay is woken, or comes every minute
    [delivery] = subscription.arrived()
    schema = seller.owner.get("/v1/webhook-event-types/trade.offered.v1/schema").body
    assert faults(json.loads(delivery["body"]), schema) == []


@pytest.mark.parametrize(
    "unknown", ["trade.offered.v9", "audit.data_accessed.v1", "webhook.test", "*", "..%2f..%2fetc"]
)
def test_there_is_no_schema_of_another_type(subscription: Subscription, unknown: str) -> None:
    answer = subscription.owner.get(f"/v1/webhook-event-types/{unknown}/schema", expect=ANY)
    assert_refused(answer, 404, "not-found")


# A test


def test_a_test_arrives_signed_and_a_repeated_request_sends_no_other(subscription: Subscription) -> None:
    key = str(uuid4())
    first, again = (subscription.ask("test", key=key, expect=202) for _ in range(2))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.body == again.body
    [delivery] = subscription.arrived()
    assert (delivery["verified"], delivery["webhook_id"]) == (True, first.body["id"])
    assert json.loads(delivery["body"])["type"] == "webhook.test"
    assert subscription.messages()[0]["status"] == "delivered"


@pytest.mark.parametrize("kind", ["duplicate", "lose_answer", "drop", "fail"])
def test_whatever_happens_to_the_task_of_an_attempt(subscription: Subscription, client: Client, kind: str) -> None:
    """`lose_answer` is an attempt killed after it was recorded; `drop` a task that never arrives."""
    client.post("/_local/faults", {"edge": "task", "kind": kind, "times": 1, "status": 503})
    subscription.ask("test", expect=202)
    advance(client, "PT5M")
    assert [rule["fired"] for rule in client.get("/_local/faults").body] == [1]
    assert [delivery["seen"] for delivery in subscription.arrived()] == [1]
    [message] = subscription.messages()
    assert (message["status"], message["attempt_count"]) == ("delivered", 1)


# The secret


def test_a_receiver_changes_its_secret_without_losing_a_message(subscription: Subscription, client: Client) -> None:
    old, key = subscription.body["secret"], str(uuid4())
    rotated, again = (subscription.ask("rotate-secret", key=key, expect=200).body for _ in range(2))
    assert rotated == again
    assert rotated["secret"] != old
    assert "secret" not in subscription.read().body
    subscription.ask("test", expect=202)  # the receiver knows the old one alone
    assert [delivery["verified"] for delivery in subscription.arrived()] == [True]
    assert subscription.ask("rotate-secret", expect=409).body["type"].endswith("/conflict")
    advance(client, "PT24H")
    subscription.answer()
    subscription.ask("test", expect=202)
    assert [delivery["status"] for delivery in subscription.arrived()] == [200, 401]
    subscription.learn(rotated["secret"])
    subscription.ask("test", expect=202)
    assert subscription.arrived()[-1]["verified"]


# Down, and back


def test_an_endpoint_that_was_down_gets_all_it_missed(subscription: Subscription, client: Client) -> None:
    since = client.get("/_local/clock").body["now"]
    subscription.answer({"status": 500, "times": None})
    for _ in range(12):
        subscription.ask("test", expect=202)
        client.settle()
    refused = len(subscription.arrived())
    assert refused == 10  # then it was spared
    assert sorted(message["attempt_count"] for message in subscription.messages()) == [0, 0, *[1] * 10]
    subscription.answer()
    advance(client, "PT2M")  # a probe, and what waited for it
    assert len([message for message in subscription.messages() if message["status"] == "delivered"]) >= 2
    key = str(uuid4())
    recovered, again = (subscription.ask("recover", {"since": since}, key=key, expect=202) for _ in range(2))
    assert recovered.body == again.body
    advance(client, "PT3M")
    messages = subscription.messages()
    assert [message["status"] for message in messages] == ["delivered"] * 12
    taken = [delivery["webhook_id"] for delivery in subscription.arrived() if delivery["status"] == 200]
    assert sorted(taken) == sorted(message["id"] for message in messages)


def test_an_endpoint_that_fails_for_days_is_disabled_and_says_why(subscription: Subscription, client: Client) -> None:
    subscription.answer({"status": 500, "times": None})
    subscription.ask("test", expect=202)
    advance(client, "P5D")
    assert subscription.messages()[0]["status"] == "exhausted"
    assert subscription.read().body["status"] == "enabled"
    subscription.ask("test", expect=202)
    client.settle()
    endpoint = subscription.read().body
    assert (endpoint["status"], endpoint["disabled"]["reason"]) == ("disabled", "failing")
    assert endpoint["disabled"]["since"] == endpoint["updated_at"]
    for asked in (("test", None), ("recover", {"since": endpoint["created_at"]})):
        assert subscription.ask(*asked, expect=409).body["detail"].endswith("enable it first")
    advance(client, "PT5M")
    assert [message["status"] for message in subscription.messages()] == ["discarded", "exhausted"]
    subscription.answer()
    assert subscription.change(status="enabled").body["disabled"] is None
    assert subscription.ask("recover", {"since": endpoint["created_at"]}).body == {"messages": 2, "has_more": False}
    advance(client, "PT3M")
    assert [message["status"] for message in subscription.messages()] == ["delivered"] * 2


def test_what_happens_while_an_endpoint_is_disabled_can_be_recovered(client: Client) -> None:
    seller = active_partner(client)
    subscription, since = subscribe(client, seller, "trade.offered.v1"), client.get("/_local/clock").body["now"]
    subscription.change(status="disabled")
    lots = [offer(seller)["id"] for _ in range(3)]
    advance(client, "PT2M")
    assert subscription.arrived() == []
    missed = subscription.messages("trade.offered.v1")
    assert [(message["status"], message["attempts"]) for message in missed] == [("discarded", [])] * 3
    subscription.change(status="enabled")
    advance(client, "PT2M")
    assert subscription.arrived() == []  # nobody asked for it yet
    assert subscription.ask("recover", {"since": since}).body == {"messages": 3, "has_more": False}
    advance(client, "PT3M")
    assert sorted(json.loads(delivery["body"])["subject"] for delivery in subscription.arrived()) == sorted(lots)
    assert all(delivery["verified"] for delivery in subscription.arrived())
    assert {message["status"] for message in subscription.messages("trade.offered.v1")} == {"delivered"}


def test_a_delivered_message_is_sent_once_more_on_request(subscription: Subscription) -> None:
    message_id = subscription.ask("test", expect=202).body["id"]
    assert len(subscription.arrived()) == 1
    key = str(uuid4())
    for _ in range(2):
        subscription.owner.post(f"/v1/webhook-messages/{message_id}/redeliver", key=key, expect=202)
    assert [(delivery["webhook_id"], delivery["seen"]) for delivery in subscription.arrived()] == [
        (message_id, 1),
        (message_id, 2),
    ]
    [message] = subscription.messages()
    assert (message["status"], message["attempt_count"]) == ("delivered", 2)


# What is refused


REFUSED_URLS = {
    "the metadata server": "https://169.254.169.254/computeMetadata/v1/",
    "a private address": "https://10.0.0.1/",
    "a private address in brackets": "https://[fd00::1]/",
    "a private address of IPv4 in brackets": "https://[::ffff:192.168.0.1]/",
    "a private address as one number": "https://3232235521/",
    "loopback in hexadecimal": "https://0x7f.1/",
    "a name of our own network": "https://metadata.google.internal./",
    "no domain": "https://localhost/",
    "plain http": "http://hooks.example.com/",
    "another scheme": "file:///etc/passwd",
    "credentials": "https://user:hunter2@hooks.example.com/",
    "credentials that look like the host": "https://hooks.example.com@169.254.169.254/",
    "a port of another service": "https://hooks.example.com:25/",
    "a fragment": "https://hooks.example.com/#top",
    "a line of its own": "https://hooks.example.com/\r\nX-Injected: 1",
    "nothing": "",
}


@pytest.mark.parametrize("url", REFUSED_URLS.values(), ids=REFUSED_URLS.keys())
def test_where_webhooks_never_go(subscription: Subscription, url: str) -> None:
    body = {"url": url, "event_types": ["*"]}
    asked = subscription.owner.post("/v1/webhook-endpoints", body, expect=ANY)
    headers = {"If-Match": subscription.read().etag}
    changed = subscription.owner.call("PATCH", subscription.path, {"url": url}, headers=headers, expect=ANY)
    for answer in (asked, changed):
        assert_refused(answer, 422, "invalid", "/url")
        assert "hunter2" not in json.dumps(answer.body)
    listed = subscription.owner.get("/v1/webhook-endpoints").body["data"]
    assert [(one["url"], one["version"]) for one in listed] == [(subscription.body["url"], 1)]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"event_types": ["trade.unknown.v1"]}, "/event_types/0"),
        ({"event_types": ["*", "audit.data_accessed.v1"]}, "/event_types/1"),
        ({"event_types": []}, "/event_types"),
        ({"event_types": ["*"] * 101}, "/event_types"),
        ({"event_types": "*"}, "/event_types"),
        ({"url": f"https://hooks.example.com/{'a' * 2048}"}, "/url"),
        ({"url": None}, "/url"),
        ({"secret": "whsec_" + "A" * 44}, "/secret"),
        ({"partner_id": str(uuid4())}, "/partner_id"),
    ],
)
def test_an_endpoint_that_is_not_valid_is_refused_with_a_pointer(
    subscription: Subscription, changes: dict[str, Any], pointer: str
) -> None:
    body = {"url": subscription.body["url"], "event_types": ["*"]} | changes
    answer = subscription.owner.post("/v1/webhook-endpoints", body, expect=ANY)
    assert_refused(answer, 422, "invalid", pointer)


def test_a_change_names_the_version_that_was_read(subscription: Subscription) -> None:
    def change(**headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return subscription.owner.call("PATCH", subscription.path, {"event_types": ["*"]}, headers=named, expect=ANY)

    assert_refused(change(), 428, "precondition-required")
    for stale in ('"2"', '"0"', "whatever", '"-1"'):
        assert_refused(change(If_Match=stale), 412, "precondition-failed")
    assert change(If_Match='"1"').etag == '"2"'
    assert_refused(change(If_Match='"1"'), 412, "precondition-failed")
    assert subscription.read().body["version"] == 2


def test_somebody_else_s_endpoint_is_not_there(subscription: Subscription, client: Client) -> None:
    message_id = subscription.ask("test", expect=202).body["id"]
    stranger, _ = register(client)
    for path in (subscription.path, f"/v1/webhook-endpoints/{uuid4()}"):
        assert_refused(stranger.owner.get(path, expect=ANY), 404, "not-found")
        headers = {"If-Match": '"1"'}
        changed = stranger.owner.call("PATCH", path, {"status": "disabled"}, headers=headers, expect=ANY)
        assert_refused(changed, 404, "not-found")
        assert_refused(stranger.owner.call("DELETE", path, expect=ANY), 404, "not-found")
        for action, body in (("rotate-secret", None), ("test", None), ("recover", {"since": "2026-11-24T06:30:00Z"})):
            assert_refused(stranger.owner.post(f"{path}/{action}", body, expect=ANY), 404, "not-found")
    for path in (f"/v1/webhook-messages/{message_id}", f"/v1/webhook-messages/{uuid4()}"):
        assert_refused(stranger.owner.get(path, expect=ANY), 404, "not-found")
        assert_refused(stranger.owner.post(f"{path}/redeliver", expect=ANY), 404, "not-found")
    hidden = stranger.owner.get(f"/v1/webhook-messages?endpoint_id={subscription.body['id']}", expect=ANY)
    assert_refused(hidden, 404, "not-found")
    assert stranger.owner.get("/v1/webhook-endpoints").body["data"] == []
    assert (subscription.read().body["status"], subscription.read().body["version"]) == ("enabled", 1)
    for role in ("ops", "dpo"):
        refused = client.as_user("somebody", None, role).post(f"{subscription.path}/rotate-secret", expect=ANY)
        assert_refused(refused, 403, "forbidden")
    viewer = client.as_user("viewer", subscription.partner.id, "viewer")
    assert_refused(viewer.get(subscription.path, expect=ANY), 403, "forbidden")


def test_a_secret_is_never_shown_again(subscription: Subscription) -> None:
    message_id = subscription.ask("test", expect=202).body["id"]
    subscription.arrived()
    rotated = subscription.ask("rotate-secret", expect=200).body["secret"]
    shown = [
        subscription.read(),
        subscription.owner.get("/v1/webhook-endpoints"),
        subscription.owner.get(f"/v1/webhook-messages/{message_id}"),
        subscription.owner.get(f"/v1/webhook-messages?endpoint_id={subscription.body['id']}"),
        subscription.change(event_types=["*"]),
        subscription.change(status="disabled"),
    ]
    for secret in (subscription.body["secret"], rotated):
        assert not [answer for answer in shown if secret.removeprefix("whsec_") in json.dumps(answer.body)]
    assert_refused(subscription.owner.get(f"{subscription.path}/rotate-secret", expect=ANY), 405, "method-not-allowed")
    assert_refused(subscription.owner.get(f"{subscription.path}/secret", expect=ANY), 404, "not-found")


@pytest.mark.parametrize("body", [{}, {"since": None}, {"since": "yesterday"}, {"since": "2026-11-24T06:30:00"}])
def test_a_time_to_recover_since_is_a_time(subscription: Subscription, body: dict[str, Any]) -> None:
    assert_refused(subscription.ask("recover", body, expect=ANY), 422, "invalid", "/since")


def test_a_key_is_for_one_request(subscription: Subscription) -> None:
    key = str(uuid4())
    subscription.ask("test", key=key, expect=202)
    assert_refused(subscription.ask("rotate-secret", key=key, expect=ANY), 422, "idempotency-key-reused")
    assert subscription.read().body["version"] == 1
