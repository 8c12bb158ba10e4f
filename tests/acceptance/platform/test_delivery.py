"""Events reach every consumer in order, and have their effect once, whatever is doubled, lost or killed on the way."""

import json
import threading
from typing import Any

import pytest
from google.cloud import pubsub_v1
from pg8000.native import Connection

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from tests.journeys.deals import contracted
from tests.journeys.partners import Partner, active_partner
from tests.times import PATIENCE


@pytest.fixture
def parties(client: Client) -> tuple[Partner, Partner]:
    seller, buyer = active_partner(client), active_partner(client, type="spinning_mill")
    client.settle()
    return seller, buyer


def assert_delivered_once(cloud: LocalCloud, sql: Connection, trade: dict[str, Any]) -> None:
    """All five events of a contracted trade: audited once each, and folded into its live document."""
    cloud.driver.settle()
    audited = sql.run("SELECT sequence FROM audit_log WHERE subject = :id ORDER BY sequence", id=trade["id"])
    assert audited == [[1], [2], [3], [4], [5]]
    document = dict(cloud.firestore.documents("trades/"))[f"trades/{trade['id']}"]
    assert (document["status"], document["sequence"], document["bids"]) == ("contracted", 5, 1)
    unpublished = sql.run("SELECT count(*) FROM outbox WHERE published_at IS NULL AND subject = :id", id=trade["id"])
    assert unpublished == [[0]]
    assert cloud.pubsub.pending() == []


@pytest.mark.parametrize("kind", ["duplicate", "lose_answer", "drop", "fail"])
def test_whatever_happens_to_a_push(
    cloud: LocalCloud, client: Client, sql: Connection, parties: tuple[Partner, Partner], kind: str
) -> None:
    """`lose_answer` is a consumer killed after its effect and before its acknowledgement."""
    client.post("/_local/faults", {"edge": "push", "kind": kind, "times": 9, "status": 503})
    trade = contracted(*parties)
    client.post("/_local/clock", {"advance": "PT5M"})  # the subscriptions' back-off
    assert [rule["fired"] for rule in client.get("/_local/faults").body] == [9]
    assert_delivered_once(cloud, sql, trade)


def test_a_publisher_killed_between_commit_and_publish(
    cloud: LocalCloud,
    client: Client,
    sql: Connection,
    parties: tuple[Partner, Partner],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wake never leaves: the minute sweep publishes."""
    monkeypatch.setattr(cloud.functions.module("trade-events").routes.function, "wake", lambda: None)
    with monkeypatch.context() as dead:  # a relay that somebody else woke must not do it meanwhile
        dead.setattr(cloud.functions.module("outbox-relay").store, "claim", lambda *_: [])
        trade = contracted(*parties)
    assert sql.run("SELECT count(*) FROM outbox WHERE published_at IS NULL AND subject = :id", id=trade["id"]) == [[5]]
    client.post("/_local/clock", {"advance": "PT2M"})
    assert_delivered_once(cloud, sql, trade)


def test_a_publisher_killed_between_publish_and_marking(
    cloud: LocalCloud,
    client: Client,
    sql: Connection,
    parties: tuple[Partner, Partner],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Published, and published again: every consumer sees the events twice."""
    relay = cloud.functions.module("outbox-relay").service
    mark, deaths = relay.store.mark_published, iter(range(3))

    def die_first(*arguments: Any) -> None:
        if next(deaths, None) is not None:
            raise ConnectionResetError
        mark(*arguments)

    monkeypatch.setattr(relay.store, "mark_published", die_first)
    trade = contracted(*parties)
    client.post("/_local/clock", {"advance": "PT5M"})
    assert next(deaths, None) is None
    assert_delivered_once(cloud, sql, trade)


def test_two_publishers_at_once(
    cloud: LocalCloud, sql: Connection, parties: tuple[Partner, Partner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each aggregate's events leave in order and once, while several relays drain the same outbox."""
    monkeypatch.setattr(cloud.functions.module("trade-events").routes.function, "wake", lambda: None)
    main = cloud.functions.module("outbox-relay")
    relay = main.scheduled.function
    published, lock = list[tuple[str, int]](), threading.Lock()
    publish = relay.bus.publish

    def recording(messages: Any) -> Any:
        with lock:
            published.extend((m.ordering_key, json.loads(m.data)["sequence"]) for m in messages)
        return publish(messages)

    # On the one bus of all publishers: the sweep may run meanwhile, and a relay woken before.
    monkeypatch.setattr(relay.bus, "publish", recording)
    monkeypatch.setattr(main.service, "BATCH", 3)
    trades = [contracted(*parties)["id"] for _ in range(5)]
    drains = [threading.Thread(target=main.service.drain, args=(relay.database, relay.bus)) for _ in range(3)]
    for drain in drains:
        drain.start()
    for drain in drains:
        drain.join()

    # These three leave alone what the sweep or an earlier relay holds, which goes on until nothing is left.
    cloud.driver.settle()
    left = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND subject = ANY(:ids::uuid[])"
    assert sql.run(left, ids=trades) == [[0]]
    for trade_id in trades:
        assert [sequence for subject, sequence in published if subject == trade_id] == [1, 2, 3, 4, 5]


def test_a_message_nobody_can_read_ends_in_the_dead_letter_topic(cloud: LocalCloud, client: Client) -> None:
    """It is neither dropped nor does it hold up the others."""
    path = "projects/kapas-local/topics/trade-events"
    pubsub_v1.PublisherClient().publish(path, b"not an event").result(PATIENCE)
    client.post("/_local/clock", {"advance": "PT1H"})
    for consumer in ("audit-trail", "live-feed", "webhook-fan-out"):
        subscription = f"projects/kapas-local/subscriptions/{consumer}.trade-events.dead-letter"
        pulled = pubsub_v1.SubscriberClient().pull(subscription=subscription, max_messages=10).received_messages
        assert [received.message.data for received in pulled] == [b"not an event"]
        pubsub_v1.SubscriberClient().acknowledge(subscription=subscription, ack_ids=[pulled[0].ack_id])
    seller, buyer = active_partner(client), active_partner(client)
    trade = contracted(seller, buyer)
    cloud.driver.settle()
    assert f"trades/{trade['id']}" in dict(cloud.firestore.documents("trades/"))
