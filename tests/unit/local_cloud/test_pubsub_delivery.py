import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.pubsub_v1 import types
from hypothesis import given
from hypothesis import strategies as st

from local_cloud import pubsub_delivery
from local_cloud import pubsub_rules as rules
from local_cloud.core import Answer, Core, Done, Outgoing, VirtualClock
from local_cloud.pubsub_delivery import Broker, Subscription
from local_cloud.pubsub_queue import Message, Queue
from local_cloud.state import State

TOPIC = "projects/kapas/topics/trade-events"
DEAD = "projects/kapas/topics/dead-letters"
SUBSCRIPTION = "projects/kapas/subscriptions/live-feed"
ENDPOINT = "https://feed.example.com/push"


class Wire:
    """A `Send` that keeps what is sent until the test answers it, oldest first."""

    def __init__(self) -> None:
        self.sent: list[tuple[Outgoing, Done]] = []

    def __call__(self, request: Outgoing, done: Done) -> None:
        self.sent.append((request, done))

    def answer(self, status: int) -> Outgoing:
        request, done = self.sent.pop(0)
        done(Answer(status))
        return request


class Cloud:
    """A broker on a frozen clock, with one topic."""

    def __init__(self, state: State | None = None) -> None:
        self.wire = Wire()
        self.core = Core(self.wire, clock=VirtualClock(frozen=True), seed=1)
        self.state = state or State()
        self.broker = Broker(self.core, self.state, lambda email, audience: f"{email} for {audience}")
        self.run()
        for name in (TOPIC, DEAD):
            if name not in self.broker.topics:
                self.broker.put_topic(types.Topic.pb()(name=name))

    def subscribe(self, name: str = SUBSCRIPTION, topic: str = TOPIC, **fields: object) -> Subscription:
        spec = types.Subscription.pb(types.Subscription(name=name, topic=topic, **fields))
        rules.complete_subscription(spec)
        self.broker.put_subscription(spec)
        return self.broker.subscriptions[name]

    def publish(self, *data: str, key: str = "", **attributes: str) -> list[str]:
        messages = [types.PubsubMessage.pb()(data=d.encode(), ordering_key=key, attributes=attributes) for d in data]
        return self.broker.publish(TOPIC, messages)

    def pull(self, subscription: Subscription, limit: int = 100) -> dict[str, str]:
        """What is delivered now: data -> acknowledgement id, in order."""
        return {d.message.pb.data.decode(): d.ack_id for d in self.broker.lease(subscription, limit)}

    def run(self) -> None:
        while self.core.step():
            pass

    def advance(self, seconds: float) -> None:
        self.core.clock.advance(timedelta(seconds=seconds))
        self.run()

    def pushed(self) -> list[str]:
        """The bodies of the pushes in flight."""
        return [request.body.decode() for request, _ in self.wire.sent]


def test_what_is_not_acknowledged_in_time_is_delivered_again() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe(ack_deadline_seconds=20)
    cloud.publish("lot")
    first = cloud.pull(subscription)
    cloud.advance(19)
    assert cloud.pull(subscription) == {}
    cloud.advance(1)
    second = cloud.pull(subscription)
    assert list(second) == ["lot"]
    assert cloud.broker.acknowledge(subscription, first.values()) == list(first.values())
    assert cloud.broker.acknowledge(subscription, second.values()) == []
    cloud.advance(60)
    assert cloud.pull(subscription) == {}
    assert cloud.core.next_due() is None


def test_an_extended_deadline_counts_from_the_extension() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe()
    cloud.publish("lot")
    ids = cloud.pull(subscription).values()
    cloud.advance(8)
    assert cloud.broker.modify_deadline(subscription, ids, 30) == []
    cloud.advance(29)
    assert cloud.pull(subscription) == {}
    cloud.advance(1)
    assert list(cloud.pull(subscription)) == ["lot"]


def test_a_shortened_deadline_counts_too() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe()
    cloud.publish("lot")
    cloud.broker.modify_deadline(subscription, cloud.pull(subscription).values(), 1)
    cloud.advance(1)
    assert list(cloud.pull(subscription)) == ["lot"]


def test_a_message_that_comes_back_takes_the_later_ones_of_its_key_along_even_acknowledged() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe(enable_message_ordering=True)
    cloud.publish("a1", "a2", "a3", key="a")
    cloud.publish("b1", key="b")
    ids = cloud.pull(subscription)
    assert list(ids) == ["a1", "a2", "a3", "b1"]
    cloud.broker.acknowledge(subscription, [ids["a1"], ids["a3"], ids["b1"]])
    cloud.publish("a4", key="a")
    assert cloud.pull(subscription) == {}
    cloud.broker.modify_deadline(subscription, [ids["a2"]], 0)
    assert list(cloud.pull(subscription)) == ["a2", "a3", "a4"]


def test_deadlines_of_a_key_that_pass_together_count_one_attempt_each() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe(enable_message_ordering=True)
    cloud.publish("a1", "a2", key="a")
    cloud.pull(subscription)
    cloud.advance(10)
    again = cloud.broker.lease(subscription, 9)
    assert [(d.message.pb.data, d.failures) for d in again] == [(b"a1", 1), (b"a2", 1)]
    cloud.broker.acknowledge(subscription, [d.ack_id for d in again])
    cloud.publish("a3", key="a")
    assert list(cloud.pull(subscription)) == ["a3"]


def test_without_ordering_a_failed_message_goes_behind_the_others() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe()
    cloud.publish("poison", "fine", key="ignored")
    ids = cloud.pull(subscription, 1)
    cloud.broker.modify_deadline(subscription, ids.values(), 0)
    assert list(cloud.pull(subscription)) == ["fine", "poison"]


def test_retry_policy_doubles_from_the_minimum_to_the_maximum() -> None:
    cloud = Cloud()
    policy = {"minimum_backoff": timedelta(seconds=10), "maximum_backoff": timedelta(seconds=35)}
    subscription = cloud.subscribe(retry_policy=policy)
    cloud.publish("lot")
    for wait in (10, 20, 35, 35):
        cloud.broker.modify_deadline(subscription, cloud.pull(subscription).values(), 0)
        cloud.advance(wait - 0.001)
        assert cloud.pull(subscription) == {}
        cloud.advance(0.001)
    assert list(cloud.pull(subscription)) == ["lot"]


def test_a_push_carries_the_message_and_the_token() -> None:
    cloud = Cloud()
    token = {"service_account_email": "push@kapas.example.com", "audience": "feed"}
    cloud.subscribe(
        push_config={"push_endpoint": ENDPOINT, "oidc_token": token},
        ack_deadline_seconds=30,
        dead_letter_policy={"dead_letter_topic": DEAD},
    )
    [number] = cloud.publish("lot", key="a", type="lot.offered.v1")
    request, _ = cloud.wire.sent[0]
    assert (request.edge, request.name, request.method, request.url) == ("push", SUBSCRIPTION, "POST", ENDPOINT)
    assert request.timeout == 30
    assert request.headers["Authorization"] == "Bearer push@kapas.example.com for feed"
    assert json.loads(request.body) == {
        "message": {
            "data": "bG90",
            "attributes": {"type": "lot.offered.v1"},
            "messageId": number,
            "message_id": number,
            "orderingKey": "a",
            "publishTime": "2026-01-01T00:00:00.000Z",
            "publish_time": "2026-01-01T00:00:00.000Z",
        },
        "subscription": SUBSCRIPTION,
        "deliveryAttempt": 1,
    }


def test_an_unwrapped_push_is_the_data_with_the_metadata_in_headers() -> None:
    cloud = Cloud()
    cloud.subscribe(push_config={"push_endpoint": ENDPOINT, "no_wrapper": {"write_metadata": True}})
    [number] = cloud.publish("lot", grade="41-4-35")
    request, _ = cloud.wire.sent[0]
    assert request.body == b"lot"
    assert request.headers["x-goog-pubsub-subscription-name"] == SUBSCRIPTION
    assert request.headers["x-goog-pubsub-message-id"] == number
    assert request.headers["grade"] == "41-4-35"
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("status", "acknowledged"),
    [
        (102, True),
        (200, True),
        (201, True),
        (202, True),
        (204, True),
        (203, False),
        (302, False),
        (500, False),
        (0, False),
    ],
)
def test_which_answers_acknowledge_a_push(status: int, acknowledged: bool) -> None:
    cloud = Cloud()
    cloud.subscribe(push_config={"push_endpoint": ENDPOINT})
    cloud.publish("lot")
    cloud.wire.answer(status)
    assert (cloud.broker.pending() == []) is acknowledged
    cloud.advance(0.1)
    assert (cloud.wire.sent == []) is acknowledged


def test_pushes_of_a_key_go_one_at_a_time_and_wait_for_a_failed_one() -> None:
    cloud = Cloud()
    unwrapped = {"push_endpoint": ENDPOINT, "no_wrapper": {}}
    cloud.subscribe(push_config=unwrapped, enable_message_ordering=True)
    cloud.publish("a1", "a2", key="a")
    cloud.publish("b1", key="b")
    assert cloud.pushed() == ["a1", "b1"]
    cloud.wire.answer(500)
    assert cloud.pushed() == ["b1"]
    cloud.advance(0.1)
    assert cloud.pushed() == ["b1", "a1"]
    cloud.wire.answer(200)
    cloud.wire.answer(200)
    assert cloud.pushed() == ["a2"]


def test_pushes_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub_delivery, "MAX_PUSHING", 3)
    cloud = Cloud()
    cloud.subscribe(push_config={"push_endpoint": ENDPOINT, "no_wrapper": {}})
    cloud.publish(*"abcde")
    assert cloud.pushed() == ["a", "b", "c"]
    cloud.wire.answer(200)
    assert cloud.pushed() == ["b", "c", "d"]


def test_a_send_that_answers_at_once_drains_any_backlog() -> None:
    received: list[bytes] = []
    core = Core(lambda request, done: (received.append(request.body), done(Answer(200)))[1])
    broker = Broker(core, State(), None)
    broker.put_topic(types.Topic.pb()(name=TOPIC))
    config = {"push_endpoint": ENDPOINT, "no_wrapper": {}}
    spec = types.Subscription.pb(types.Subscription(name=SUBSCRIPTION, topic=TOPIC, push_config=config))
    rules.complete_subscription(spec)
    broker.put_subscription(spec)
    broker.publish(TOPIC, [types.PubsubMessage.pb()(data=b"%d" % n) for n in range(5000)])
    assert received == [b"%d" % n for n in range(5000)]
    assert broker.pending() == []


def test_a_message_that_fails_too_often_goes_to_the_dead_letter_topic() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe(dead_letter_policy={"dead_letter_topic": DEAD, "max_delivery_attempts": 5})
    dead = cloud.subscribe("projects/kapas/subscriptions/dead-letters", DEAD)
    cloud.publish("lot", key="a", type="lot.offered.v1")
    for attempt in range(1, 6):
        [delivery] = cloud.broker.lease(subscription, 1)
        assert delivery.failures + 1 == attempt
        cloud.broker.modify_deadline(subscription, [delivery.ack_id], 0)
    assert cloud.pull(subscription) == {}
    [delivery] = cloud.broker.lease(dead, 1)
    assert (delivery.message.pb.data, delivery.message.pb.ordering_key) == (b"lot", "a")
    assert dict(delivery.message.pb.attributes) == {
        "type": "lot.offered.v1",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "live-feed",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "kapas",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-01-01T00:00:00.000+00:00",
    }


def test_without_its_dead_letter_topic_a_message_is_tried_on() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe(dead_letter_policy={"dead_letter_topic": DEAD})
    cloud.broker.delete_topic(DEAD)
    cloud.publish("lot")
    for _ in range(7):
        cloud.broker.modify_deadline(subscription, cloud.pull(subscription).values(), 0)
    assert list(cloud.pull(subscription)) == ["lot"]


def test_messages_past_their_retention_are_dropped() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe(message_retention_duration=timedelta(hours=1))
    cloud.publish("old")
    cloud.advance(3601)
    cloud.publish("new")
    assert list(cloud.pull(subscription)) == ["new"]
    assert len(cloud.broker.pending()) == 1


def test_seek_forward_drops_and_seek_back_replays_what_was_retained() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe(retain_acked_messages=True)
    start = cloud.core.now()
    cloud.publish("first")
    cloud.advance(10)
    cloud.publish("second")
    cloud.broker.acknowledge(subscription, cloud.pull(subscription).values())
    cloud.broker.seek(subscription, start + timedelta(seconds=5))
    assert list(cloud.pull(subscription)) == ["second"]
    cloud.broker.seek(subscription, start + timedelta(seconds=60))
    assert cloud.pull(subscription) == {}
    cloud.broker.seek(subscription, start)
    assert list(cloud.pull(subscription)) == ["first", "second"]


def test_everything_undelivered_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    before = Cloud(State(path))
    subscription = before.subscribe(
        enable_message_ordering=True, filter='attributes.type = "lot"', dead_letter_policy={"dead_letter_topic": DEAD}
    )
    ids = before.publish("a1", "a2", "a3", key="a", type="lot")
    before.publish("b1", key="b", type="bid")
    leased = before.pull(subscription)
    before.broker.acknowledge(subscription, [leased["a1"]])
    before.broker.modify_deadline(subscription, [leased["a2"]], 0)

    Cloud(State(path)).state.close()
    after = Cloud(State(path))
    revived = after.broker.subscriptions[SUBSCRIPTION]
    assert set(after.broker.topics) == {TOPIC, DEAD}
    assert revived.spec == subscription.spec
    assert [(d.message.pb.data, d.failures) for d in after.broker.lease(revived, 9)] == [(b"a2", 1), (b"a3", 0)]
    [number] = after.publish("a4", key="a", type="lot")
    assert int(number) > int(ids[-1])


def test_pushes_that_were_in_flight_at_a_kill_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    before = Cloud(State(path))
    before.subscribe(push_config={"push_endpoint": ENDPOINT, "no_wrapper": {}})
    before.publish("lot", "bid")
    before.wire.answer(200)
    assert Cloud(State(path)).pushed() == ["bid"]


def test_what_everybody_has_acknowledged_leaves_the_state() -> None:
    cloud = Cloud()
    one = cloud.subscribe()
    other = cloud.subscribe("projects/kapas/subscriptions/audit-trail")
    cloud.publish("lot")
    cloud.broker.acknowledge(one, cloud.pull(one).values())
    assert len(list(cloud.state.items("pubsub.message"))) == 1
    cloud.broker.delete_subscription(other.spec.name)
    assert list(cloud.state.items("pubsub.message")) == []
    assert list(cloud.state.items("pubsub.delivery")) == []


def test_pending_tells_where_each_message_stands_and_no_payload() -> None:
    cloud = Cloud()
    subscription = cloud.subscribe()
    first, second = cloud.publish("lot", "bid", key="a")
    cloud.pull(subscription, 1)
    assert cloud.broker.pending() == [
        {
            "subscription": SUBSCRIPTION,
            "message_id": first,
            "ordering_key": "a",
            "attempts": 1,
            "next_due": "2026-01-01T00:00:10.000000Z",
        },
        {"subscription": SUBSCRIPTION, "message_id": second, "ordering_key": "a", "attempts": 0, "next_due": None},
    ]


@given(st.lists(st.sampled_from("aabc"), min_size=1, max_size=20), st.integers(), st.integers(1, 5))
def test_every_message_is_finished_once_and_in_order_whatever_comes_back(keys: str, seed: int, limit: int) -> None:
    chance = random.Random(seed)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    queue = Queue(chance, ordered=True)
    for number, key in enumerate(keys, 1):
        pb = types.PubsubMessage.pb()(data=b"x", ordering_key=key)
        queue.add(Message(number, pb, now, pb.ByteSize()))
    seen: dict[str, list[int]] = defaultdict(list)
    while pending := list(queue):
        now += timedelta(seconds=1)
        for delivery in queue.ring(now):
            if delivery.ack_id:
                queue.release(delivery)
        deadline = now + timedelta(seconds=chance.randint(1, 3))
        queue.lease(limit, oldest=now - timedelta(days=1), deadline=deadline)
        out = [delivery for delivery in pending if delivery.ack_id]
        chance.shuffle(out)
        for delivery in out[: chance.randint(0, len(out))]:
            if not delivery.ack_id:
                continue
            if chance.random() < 0.3:
                queue.release(delivery, now + timedelta(seconds=chance.randint(0, 2)))
            else:
                queue.ack(delivery)
        for delivery in queue.finished:
            seen[delivery.message.pb.ordering_key].append(delivery.message.number)
        queue.finished.clear()
    expected = {key: [n for n, k in enumerate(keys, 1) if k == key] for key in set(keys)}
    assert seen == expected
