"""What a partner looks up of its webhooks and asks for when something is wrong, and what operations does for it."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from local_cloud.client import ANY, Client
from tests.contract.json_schema import faults
from tests.journeys.partners import register
from tests.journeys.webhooks import Subscription, advance, assert_refused, subscribe
from tools.catalog import ROOT


@pytest.fixture
def subscription(client: Client) -> Subscription:
    """Of a new partner, to what is not going to happen."""
    partner, _ = register(client)
    client.settle()
    return subscribe(client, partner, "grading.refused.v1")


def test_who_asked_to_be_erased_starts_nothing_new(subscription: Subscription, client: Client) -> None:
    message_id = subscription.ask("test", expect=202).body["id"]
    owner = subscription.owner
    owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    headers = {"If-Match": subscription.read().etag}
    late = {"url": subscription.body["url"], "event_types": ["*"]}
    refused = [
        owner.post("/v1/webhook-endpoints", late, expect=ANY),
        owner.call("PATCH", subscription.path, {"event_types": ["*"]}, headers=headers, expect=ANY),
        subscription.ask("rotate-secret", expect=ANY),
        subscription.ask("test", expect=ANY),
        subscription.ask("recover", {"since": "2026-11-24T06:30:00Z"}, expect=ANY),
        owner.post(f"/v1/webhook-messages/{message_id}/redeliver", expect=ANY),
    ]
    for answer in refused:
        assert_refused(answer, 409, "conflict")
        assert "being erased" in answer.body["detail"]
    owner.call("DELETE", subscription.path, expect=204)


def listed(subscription: Subscription, **query: str) -> list[dict[str, Any]]:
    """The messages that fit, oldest first."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    path = f"/v1/webhook-messages?endpoint_id={subscription.body['id']}&{asked}"
    return subscription.owner.get(path).body["data"][::-1]


def test_messages_are_found_by_status_type_and_time_and_say_what_came_of_them(
    subscription: Subscription, client: Client
) -> None:
    subscription.answer({"status": 503}, {"status": 200})
    failed = subscription.ask("test", expect=202).body
    subscription.arrived()
    [waiting] = listed(subscription)
    assert (waiting["status"], waiting["last_status_code"], waiting["last_failure"]) == ("pending", 503, None)
    advance(client, "PT1H")
    taken = subscription.ask("test", expect=202).body
    assert (taken["last_status_code"], taken["last_failure"]) == (None, None)
    subscription.arrived()
    since, later = taken["created_at"], "2199-01-01T00:00:00Z"
    for query, ids in (
        ({}, [failed["id"], taken["id"]]),
        ({"status": "delivered"}, [failed["id"], taken["id"]]),
        ({"status": "exhausted"}, []),
        ({"status": "discarded"}, []),
        ({"status": "pending"}, []),
        ({"event_type": "webhook.test"}, [failed["id"], taken["id"]]),
        ({"event_type": "trade.matched.v1"}, []),
        ({"since": since}, [taken["id"]]),
        ({"until": since}, [failed["id"]]),
        ({"since": failed["created_at"], "until": later}, [failed["id"], taken["id"]]),
        ({"since": later}, []),
        ({"since": since, "status": "delivered", "event_type": "webhook.test"}, [taken["id"]]),
    ):
        assert [one["id"] for one in listed(subscription, **query)] == ids, query
    assert [one["last_status_code"] for one in listed(subscription)] == [200, 200]
    for name, unfit in (("status", "lost"), ("event_type", "*"), ("since", "yesterday"), ("until", "2026-11-24")):
        path = f"/v1/webhook-messages?endpoint_id={subscription.body['id']}&{name}={unfit}"
        assert_refused(subscription.owner.get(path, expect=ANY), 422, "invalid", f"query:{name}")


def test_an_endpoint_that_is_not_there_has_no_page_and_a_deleted_one_has(
    subscription: Subscription, client: Client
) -> None:
    message_id = subscription.ask("test", expect=202).body["id"]
    subscription.arrived()
    subscription.owner.call("DELETE", subscription.path, expect=204)
    assert [one["id"] for one in listed(subscription)] == [message_id]
    assert listed(subscription, status="exhausted") == []
    stranger, _ = register(client)
    unknown = subscription.owner.get(f"/v1/webhook-messages?endpoint_id={uuid4()}", expect=ANY)
    hidden = stranger.owner.get(f"/v1/webhook-messages?endpoint_id={subscription.body['id']}", expect=ANY)
    for answer in (unknown, hidden):
        assert_refused(answer, 404, "not-found")


def test_an_endpoint_tells_since_when_it_fails_and_until_when_it_is_spared(subscription: Subscription) -> None:
    well = subscription.read().body
    assert (well["failing_since"], well["spared_until"]) == (None, None)
    subscription.answer(*[{"status": 500}] * 12)
    for _ in range(12):
        subscription.ask("test", expect=202)
    subscription.arrived()
    failing = subscription.read().body
    since, until = (datetime.fromisoformat(failing[name]) for name in ("failing_since", "spared_until"))
    assert failing["status"] == "enabled"
    assert timedelta(seconds=30) <= until - since <= timedelta(minutes=2)
    assert subscription.change(status="enabled").body["spared_until"] is None
    forgotten = subscription.read().body
    assert (forgotten["failing_since"], forgotten["spared_until"]) == (None, None)


def test_a_new_secret_that_leaked_is_ended_at_once(subscription: Subscription) -> None:
    first = subscription.ask("rotate-secret", expect=200).body
    assert_refused(subscription.ask("rotate-secret", expect=ANY), 409, "conflict")
    assert_refused(subscription.ask("rotate-secret", {"end_previous": False}, expect=ANY), 409, "conflict")
    second = subscription.ask("rotate-secret", {"end_previous": True}, expect=200).body
    assert second["previous_until"] < first["previous_until"]
    subscription.ask("test", expect=202)
    [refused] = subscription.arrived()  # the receiver knows the secret of the beginning alone
    assert not refused["verified"]
    assert " " not in refused["headers"]["webhook-signature"]
    subscription.learn(second["secret"])
    subscription.ask("test", expect=202)
    assert subscription.arrived()[-1]["verified"]
    for unfit in ({"end_previous": "perhaps"}, {"end_previous": None}):
        assert_refused(subscription.ask("rotate-secret", unfit, expect=ANY), 422, "invalid", "/end_previous")


def test_a_test_can_be_an_example_of_an_event(subscription: Subscription) -> None:
    types = [one["type"] for one in subscription.owner.get("/v1/webhook-event-types").body["data"]]
    for event_type in ("trade.matched.v1", "partner.created.v1", types[-1]):
        message = subscription.ask("test", {"event_type": event_type}, expect=202).body
        assert message["event_type"] == "webhook.test"
        arrived = subscription.arrived()[-1]
        told = json.loads(arrived["body"])
        assert arrived["verified"]
        assert (told["type"], told["test"]) == (event_type, True)
        schema = subscription.owner.get(f"/v1/webhook-event-types/{event_type}/schema").body
        assert faults(told, schema) == []
        assert faults(told | {"test": False}, schema)
        examples = ROOT.glob(f"functions/*/examples/{event_type}/*.json")
        assert told["data"] in [json.loads(path.read_text())["data"] for path in examples]
    subscription.ask("test", {}, expect=202)
    told = json.loads(subscription.arrived()[-1]["body"])
    assert (told["type"], told["test"]) == ("webhook.test", True)
    for unfit in ("*", "webhook.test", "privacy.erased.v1", ""):
        refused = subscription.ask("test", {"event_type": unfit}, expect=ANY)
        assert_refused(refused, 422, "invalid", "/event_type")


def test_operations_has_sent_anew_what_failed_and_is_told_ids_alone(subscription: Subscription, client: Client) -> None:
    message_id = subscription.ask("test", expect=202).body["id"]
    subscription.arrived()
    ops = client.as_user("somebody", None, "ops")
    anew = ops.post(f"/v1/webhook-messages/{message_id}/redeliver", expect=202).body
    assert (anew["id"], anew["status"], "payload" in anew) == (message_id, "pending", False)
    assert [one["headers"]["webhook-id"] for one in subscription.arrived()] == [message_id] * 2
    recovered = ops.post(f"{subscription.path}/recover", {"since": "2026-01-01T00:00:00Z"}, expect=202).body
    assert recovered == {"messages": 0, "has_more": False}
    for role in ("dpo", "inspector"):
        other = client.as_user("somebody", None, role)
        for path, body in ((f"/v1/webhook-messages/{message_id}/redeliver", None), (f"{subscription.path}/test", {})):
            assert_refused(other.post(path, body, expect=ANY), 403, "forbidden")
    assert_refused(ops.post(f"{subscription.path}/test", expect=ANY), 403, "forbidden")
    assert_refused(ops.get(f"/v1/webhook-messages/{message_id}", expect=ANY), 403, "forbidden")
    assert_refused(ops.post(f"/v1/webhook-messages/{uuid4()}/redeliver", expect=ANY), 404, "not-found")
