"""Acknowledgement, redelivery, streams and pushes: the local Pub/Sub and Google's emulator."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.pubsub_v1 import types

from . import test_pubsub
from .pubsub_backends import KNOWN_DIFFERENCES, WITHIN, Backend, Endpoint, case

# Acknowledgement and redelivery


@case
def test_a_nack_brings_a_message_back_at_once(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    ids = backend.publish(topic, b"lot")
    backend.nack(name, *backend.pull(name))
    again = backend.pull(name)
    assert [received.message.message_id for received in again] == ids
    backend.ack(name, *again)
    assert backend.nothing_for(name)


@case
def test_a_missed_deadline_brings_a_message_back(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, b"lot")
    received = backend.pull(name)
    assert backend.nothing_for(name)
    backend.modify(name, 1, *received)
    backend.advance(1)
    assert [found.message.data for found in backend.pull(name)] == [b"lot"]


@case
def test_a_deadline_is_not_modified_to_less_than_nothing(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, b"lot")
    received = backend.pull(name)
    with pytest.raises(exceptions.InvalidArgument):
        backend.modify(name, -1, *received)


@case
def test_a_deadline_is_modified_to_at_most_600_seconds(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, b"lot")
    received = backend.pull(name)
    with pytest.raises(exceptions.InvalidArgument):
        backend.modify(name, 601, *received)


@case
def test_a_retry_policy_delays_the_redelivery_of_a_pull(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, retry_policy={"minimum_backoff": {"seconds": 5}})
    backend.publish(topic, b"lot")
    backend.nack(name, *backend.pull(name))
    assert backend.nothing_for(name)
    backend.advance(5)
    assert [found.message.data for found in backend.pull(name)] == [b"lot"]


@case
def test_a_key_comes_back_in_order_from_what_was_nacked(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, enable_message_ordering=True)
    backend.publish(topic, b"1", b"2", b"3", key="a")
    received = backend.pull(name, 3)
    assert [found.message.data for found in received] == [b"1", b"2", b"3"]
    backend.ack(name, received[0])
    backend.nack(name, received[1])
    assert [found.message.data for found in backend.pull(name, 2)] == [b"2", b"3"]


@case
def test_a_key_waits_for_what_is_out(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, enable_message_ordering=True)
    backend.publish(topic, b"1", b"2", key="a")
    first = backend.pull(name, 1)
    assert backend.nothing_for(name)
    backend.ack(name, *first)
    assert [found.message.data for found in backend.pull(name)] == [b"2"]


@case
def test_a_message_that_always_fails_becomes_a_dead_letter(backend: Backend) -> None:
    topic, dead = backend.topic(), backend.topic()
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name = backend.subscription(topic, dead_letter_policy=policy)
    letters = backend.subscription(dead)
    backend.publish(topic, b"lot", type="lot.offered.v1")
    attempts: list[int] = []
    for _ in range(5):
        received = backend.pull(name)
        attempts += [found.delivery_attempt for found in received]
        backend.nack(name, *received)
    assert attempts == [1, 2, 3, 4, 5]
    assert backend.nothing_for(name)
    [letter] = backend.pull(letters)
    assert letter.message.data == b"lot"
    assert letter.message.attributes["type"] == "lot.offered.v1"
    assert letter.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    assert letter.message.attributes["CloudPubSubDeadLetterSourceSubscription"] == name.rsplit("/", 1)[-1]
    assert letter.message.attributes["CloudPubSubDeadLetterSourceSubscriptionProject"] == "kapas-test"
    assert letter.message.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"]


@case
def test_exactly_once_tells_that_an_acknowledgement_came_too_late(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, enable_exactly_once_delivery=True)
    backend.publish(topic, b"lot")
    received = backend.pull(name)
    backend.nack(name, *received)
    with pytest.raises(exceptions.InvalidArgument) as refused:
        backend.ack(name, *received)
    assert refused.value.metadata == {received[0].ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}


@case
def test_a_late_acknowledgement_is_forgiven_otherwise(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, b"lot")
    received = backend.pull(name)
    backend.nack(name, *received)
    backend.pull(name)
    backend.ack(name, *received)


@case
def test_seek_forward_acknowledges_and_seek_back_delivers_again(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, retain_acked_messages=True)
    backend.publish(topic, b"lot")
    received = backend.pull(name)
    published = received[0].message.publish_time
    backend.ack(name, *received)
    backend.subscriber.seek(request={"subscription": name, "time": published - timedelta(minutes=1)})
    assert [found.message.data for found in backend.pull(name)] == [b"lot"]
    backend.subscriber.seek(request={"subscription": name, "time": published + timedelta(minutes=1)})
    assert backend.nothing_for(name)


# Streaming pull


@contextmanager
def subscribed(backend: Backend, name: str, receive: Callable[[Any], object]) -> Iterator[None]:
    stream = backend.subscriber.subscribe(name, receive)
    try:
        yield
    finally:
        stream.cancel()
        stream.result(WITHIN)


@case
def test_a_subscriber_gets_the_messages_of_a_key_in_order(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, enable_message_ordering=True)
    sent = [b"%d" % n for n in range(20)]
    seen: list[bytes] = []
    complete = threading.Event()

    def receive(message: Any) -> None:
        seen.append(message.data)
        message.ack()
        if len(seen) == len(sent):
            complete.set()

    with subscribed(backend, name, receive):
        backend.publish(topic, *sent, key="a")
        assert complete.wait(WITHIN)
    assert seen == sent
    assert backend.nothing_for(name)


@case
def test_a_nack_of_a_subscriber_brings_the_rest_of_the_key_again(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, enable_message_ordering=True)
    sent = [b"%d" % n for n in range(20)]
    seen: list[bytes] = []
    complete = threading.Event()

    def receive(message: Any) -> None:
        seen.append(message.data)
        if message.data == b"3" and seen.count(b"3") == 1:
            message.nack()
            return
        message.ack()
        if message.data == b"19" and seen.count(b"3") == 2:
            complete.set()

    with subscribed(backend, name, receive):
        backend.publish(topic, *sent, key="a")
        assert complete.wait(WITHIN)
    assert seen[:4] == sent[:4]
    # The client may have had later ones already; they come again, after the one that came back.
    assert seen[-17:] == sent[3:]


@case
def test_a_stream_keeps_to_its_flow_control(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, *[b"x"] * 10)
    request = types.StreamingPullRequest(
        subscription=name, stream_ack_deadline_seconds=60, max_outstanding_messages=3, client_id="conformance"
    )
    done = threading.Event()

    def requests() -> Iterator[types.StreamingPullRequest]:
        yield request
        done.wait(WITHIN)

    stream = backend.subscriber.streaming_pull(requests=requests(), timeout=WITHIN, retry=None)
    try:
        count = 0
        while count < 3:
            count += len(next(stream).received_messages)
        assert count == 3
        # The rest is not out with the stream: somebody else can have it.
        assert len(backend.pull(name, 7)) == 7
    finally:
        done.set()
        stream.cancel()


@case
def test_exactly_once_confirms_each_acknowledgement_of_a_stream(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, enable_exactly_once_delivery=True)
    outcomes: list[str] = []
    complete = threading.Event()

    def receive(message: Any) -> None:
        outcomes.append(message.ack_with_response().result(WITHIN).name)
        complete.set()

    with subscribed(backend, name, receive):
        backend.publish(topic, b"lot")
        assert complete.wait(WITHIN)
    assert outcomes == ["SUCCESS"]


# Push


@case
def test_a_push_wraps_the_message(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, push_config={"push_endpoint": receiver.url})
    [number] = backend.publish(topic, b"lot", type="lot.offered.v1")
    [push] = receiver.wait_for(1)
    message = push.envelope["message"]
    assert push.headers["content-type"] == "application/json"
    assert push.envelope["subscription"] == name
    assert (message["data"], message["attributes"]) == ("bG90", {"type": "lot.offered.v1"})
    assert (message["messageId"], message["message_id"]) == (number, number)
    assert message["publishTime"] == message["publish_time"]
    assert message["publishTime"].endswith("Z")
    assert "deliveryAttempt" not in push.envelope


@case
def test_a_push_bears_the_token_of_its_service_account(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    token = {"service_account_email": "push@kapas.example.com", "audience": "https://feed.example.com"}
    backend.subscription(topic, push_config={"push_endpoint": receiver.url, "oidc_token": token})
    backend.publish(topic, b"lot")
    [push] = receiver.wait_for(1)
    assert push.headers.get("authorization") == "Bearer push@kapas.example.com for https://feed.example.com"


@case
def test_an_unwrapped_push_is_the_data_with_metadata_in_headers(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    config = {"push_endpoint": receiver.url, "no_wrapper": {"write_metadata": True}}
    name = backend.subscription(topic, push_config=config)
    [number] = backend.publish(topic, b"lot", grade="41-4-35")
    [push] = receiver.wait_for(1)
    assert push.body == b"lot"
    assert push.headers["x-goog-pubsub-subscription-name"] == name
    assert push.headers["x-goog-pubsub-message-id"] == number
    assert push.headers["x-goog-pubsub-publish-time"].endswith("Z")
    assert push.headers["grade"] == "41-4-35"


@case
def test_a_failed_push_is_made_again_until_it_succeeds(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    backend.subscription(topic, push_config={"push_endpoint": receiver.url})
    receiver.statuses = [500, 404, 302, 201]
    backend.publish(topic, b"lot")
    assert len(receiver.wait_for(4)) == 4
    backend.publish(topic, b"bid")
    pushes = receiver.wait_for(5)
    assert [push.envelope["message"]["data"] for push in pushes] == ["bG90"] * 4 + ["Ymlk"]


@case
def test_a_push_that_always_fails_becomes_a_dead_letter(backend: Backend, receiver: Endpoint) -> None:
    topic, dead = backend.topic(), backend.topic()
    letters = backend.subscription(dead)
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    backend.subscription(topic, push_config={"push_endpoint": receiver.url}, dead_letter_policy=policy)
    receiver.statuses = [500] * 5
    backend.publish(topic, b"lot")
    assert [found.message.data for found in backend.pull(letters)] == [b"lot"]
    assert len(receiver.pushes) == 5


@case
def test_a_push_tells_the_delivery_attempt(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    policy = {"dead_letter_topic": backend.topic(), "max_delivery_attempts": 5}
    backend.subscription(topic, push_config={"push_endpoint": receiver.url}, dead_letter_policy=policy)
    receiver.statuses = [500]
    backend.publish(topic, b"lot")
    assert [push.envelope.get("deliveryAttempt") for push in receiver.wait_for(2)] == [1, 2]


@case
def test_a_push_tells_the_ordering_key(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    backend.subscription(topic, push_config={"push_endpoint": receiver.url}, enable_message_ordering=True)
    backend.publish(topic, b"lot", key="a")
    [push] = receiver.wait_for(1)
    assert push.envelope["message"].get("orderingKey") == "a"


@case
def test_pushes_of_a_key_wait_for_each_other(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    backend.subscription(topic, push_config={"push_endpoint": receiver.url}, enable_message_ordering=True)
    receiver.hold = True
    receiver.statuses = [500]
    backend.publish(topic, b"1", b"2", b"3", key="a")
    assert len(receiver.wait_for(1)) == 1
    receiver.release()
    pushes = receiver.wait_for(4)
    assert [push.envelope["message"]["data"] for push in pushes] == ["MQ==", "MQ==", "Mg==", "Mw=="]


@case
def test_a_subscription_turns_from_pull_to_push_and_back(backend: Backend, receiver: Endpoint) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, b"lot")
    backend.subscriber.modify_push_config(subscription=name, push_config={"push_endpoint": receiver.url})
    [push] = receiver.wait_for(1)
    assert push.envelope["message"]["data"] == "bG90"
    backend.subscriber.modify_push_config(subscription=name, push_config={})
    backend.publish(topic, b"bid")
    assert [found.message.data for found in backend.pull(name)] == [b"bid"]


@case
def test_a_push_subscription_cannot_be_pulled(backend: Backend, receiver: Endpoint) -> None:
    name = backend.subscription(backend.topic(), push_config={"push_endpoint": receiver.url})
    with pytest.raises(exceptions.FailedPrecondition):
        backend.subscriber.pull(subscription=name, max_messages=1, timeout=WITHIN, retry=None)


def test_every_known_difference_names_a_case() -> None:
    assert set(KNOWN_DIFFERENCES) <= vars(test_pubsub).keys() | globals().keys()
