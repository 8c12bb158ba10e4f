"""What a partner looks up of its webhooks, and what it is refused."""

import pytest

from tests.journey import register
from tests.webhook_journey import Subscription, assert_refused, subscribe
from tools.local.client import ANY, Client


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
