"""Pub/Sub through the official clients: the local one, and Google's emulator as the second opinion."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.pubsub_v1 import types

from .google_emulators import differing
from .pubsub_backends import PROJECT, WITHIN, Backend, Endpoint, endpoint, google_backend, local_backend

KNOWN_DIFFERENCES = {
    "test_an_ack_deadline_is_at_least_10_seconds": "It takes shorter deadlines.",
    "test_labels_are_replaced_by_an_update": "It cannot update labels.",
    "test_a_detached_subscription_delivers_no_more": "It cannot detach.",
    "test_ordering_keys_and_attributes_have_a_longest_length": "It takes keys of any length.",
    "test_a_request_has_at_most_10_megabytes": "It never answers a request that is too large.",
    "test_filtered_messages_are_not_delivered": "It ignores filters.",
    "test_a_malformed_filter_is_refused": "It does not parse filters.",
    "test_a_deadline_is_modified_to_at_most_600_seconds": "It takes longer deadlines.",
    "test_a_retry_policy_delays_the_redelivery_of_a_pull": "It has no back-off for pulls: a nack redelivers at once.",
    "test_a_key_comes_back_in_order_from_what_was_nacked": "It redelivers a key's message without the later ones.",
    "test_a_nack_of_a_subscriber_brings_the_rest_of_the_key_again": "The same, on a stream.",
    "test_a_stream_keeps_to_its_flow_control": "It sends a stream everything, whatever its limits.",
    "test_a_push_bears_the_token_of_its_service_account": "It sends no token.",
    "test_a_push_tells_the_delivery_attempt": "It counts attempts of pushes, but does not tell.",
    "test_a_push_tells_the_ordering_key": "It keeps the order, but does not tell the key.",
    "test_a_push_subscription_cannot_be_pulled": "It lets one pull a push subscription.",
}
"""What Google's emulator does otherwise than the service. A case named here must fail against it."""

case = differing(KNOWN_DIFFERENCES)


@pytest.fixture(scope="module", params=["local", pytest.param("google", marks=pytest.mark.emulator)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with local_backend() if request.param == "local" else google_backend() as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Endpoint]:
    with endpoint() as made:
        yield made


# Resources


@case
def test_a_topic_lives_until_it_is_deleted(backend: Backend) -> None:
    topic = backend.topic()
    with pytest.raises(exceptions.AlreadyExists):
        backend.publisher.create_topic(name=topic)
    assert backend.publisher.get_topic(topic=topic).name == topic
    assert topic in [found.name for found in backend.publisher.list_topics(project=PROJECT)]
    backend.publisher.delete_topic(topic=topic)
    with pytest.raises(exceptions.NotFound):
        backend.publisher.get_topic(topic=topic)
    with pytest.raises(exceptions.NotFound):
        backend.publish(topic, b"lot")


@case
@pytest.mark.parametrize("identifier", ["ab", "1lots", "googlots", "lots!", "a" * 256])
def test_names_that_are_refused(backend: Backend, identifier: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        backend.publisher.create_topic(name=f"{PROJECT}/topics/{identifier}")


@case
def test_lists_come_in_pages(backend: Backend) -> None:
    topic = backend.topic()
    names = {backend.subscription(topic) for _ in range(3)}
    pager = backend.publisher.list_topic_subscriptions(request={"topic": topic, "page_size": 2})
    assert [len(page.subscriptions) for page in pager.pages] == [2, 1]
    assert set(backend.publisher.list_topic_subscriptions(topic=topic)) == names
    assert names <= {found.name for found in backend.subscriber.list_subscriptions(project=PROJECT)}


@case
def test_what_a_subscription_is_given_by_default(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, dead_letter_policy={"dead_letter_topic": backend.topic()})
    found = backend.subscriber.get_subscription(subscription=name)
    assert (found.topic, found.ack_deadline_seconds) == (topic, 10)
    assert found.message_retention_duration == timedelta(days=7)
    assert found.dead_letter_policy.max_delivery_attempts == 5


@case
def test_a_subscription_needs_a_topic_and_a_free_name(backend: Backend) -> None:
    with pytest.raises(exceptions.NotFound):
        backend.subscription(f"{PROJECT}/topics/missing")
    topic = backend.topic()
    name = backend.subscription(topic)
    with pytest.raises(exceptions.AlreadyExists):
        backend.subscriber.create_subscription(name=name, topic=topic)
    backend.subscriber.delete_subscription(subscription=name)
    with pytest.raises(exceptions.NotFound):
        backend.subscriber.get_subscription(subscription=name)


@case
@pytest.mark.parametrize("attempts", [4, 101])
def test_delivery_attempts_are_between_5_and_100(backend: Backend, attempts: int) -> None:
    policy = {"dead_letter_topic": backend.topic(), "max_delivery_attempts": attempts}
    with pytest.raises(exceptions.OutOfRange):
        backend.subscription(backend.topic(), dead_letter_policy=policy)


@case
def test_an_ack_deadline_is_at_least_10_seconds(backend: Backend) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        backend.subscription(backend.topic(), ack_deadline_seconds=9)


@case
def test_an_ack_deadline_is_at_most_600_seconds(backend: Backend) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        backend.subscription(backend.topic(), ack_deadline_seconds=601)


@case
def test_an_update_changes_what_its_mask_names(backend: Backend) -> None:
    name = backend.subscription(backend.topic())
    change = {"name": name, "ack_deadline_seconds": 60, "message_retention_duration": timedelta(hours=1)}

    def update(path: str) -> tuple[int, timedelta]:
        updated = backend.subscriber.update_subscription(subscription=change, update_mask={"paths": [path]})
        assert updated == backend.subscriber.get_subscription(subscription=name)
        return updated.ack_deadline_seconds, updated.message_retention_duration

    assert update("ack_deadline_seconds") == (60, timedelta(days=7))
    assert update("message_retention_duration") == (60, timedelta(hours=1))


@case
def test_labels_are_replaced_by_an_update(backend: Backend) -> None:
    name = backend.subscription(backend.topic(), labels={"old": "1"})
    change = {"name": name, "labels": {"new": "2"}}
    try:
        backend.subscriber.update_subscription(subscription=change, update_mask={"paths": ["labels"]})
    except exceptions.InvalidArgument as refused:
        pytest.fail(refused.message)
    assert dict(backend.subscriber.get_subscription(subscription=name).labels) == {"new": "2"}


@case
@pytest.mark.parametrize("path", ["topic", "enable_message_ordering", "nonsense"])
def test_what_cannot_be_updated(backend: Backend, path: str) -> None:
    name = backend.subscription(backend.topic())
    with pytest.raises(exceptions.InvalidArgument):
        backend.subscriber.update_subscription(subscription={"name": name}, update_mask={"paths": [path]})


@case
def test_a_filter_cannot_be_updated(backend: Backend) -> None:
    name = backend.subscription(backend.topic(), filter="attributes:lot")
    change = {"name": name, "filter": "attributes:bid"}
    with pytest.raises(exceptions.InvalidArgument):
        backend.subscriber.update_subscription(subscription=change, update_mask={"paths": ["filter"]})


@case
def test_a_subscription_outlives_its_topic(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, b"lot")
    backend.publisher.delete_topic(topic=topic)
    assert backend.subscriber.get_subscription(subscription=name).topic == "_deleted-topic_"
    assert [found.message.data for found in backend.pull(name)] == [b"lot"]


@case
def test_a_detached_subscription_delivers_no_more(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    backend.publish(topic, b"lot")
    backend.publisher.detach_subscription(request={"subscription": name})
    assert backend.subscriber.get_subscription(subscription=name).detached
    with pytest.raises(exceptions.FailedPrecondition):
        backend.subscriber.pull(subscription=name, max_messages=1, timeout=2, retry=None)


# Publish and pull


@case
def test_a_message_arrives_as_it_was_published_and_once(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic)
    before = datetime.now(UTC)
    ids = backend.publish(topic, b"lot", key="a", type="lot.offered.v1")
    [received] = backend.pull(name)
    assert [received.message.message_id] == ids
    assert (received.message.data, received.message.ordering_key) == (b"lot", "a")
    assert dict(received.message.attributes) == {"type": "lot.offered.v1"}
    assert received.message.publish_time >= before - timedelta(seconds=1)
    assert received.delivery_attempt == 0
    backend.ack(name, received)
    assert backend.nothing_for(name)


@case
def test_every_subscription_gets_its_copy(backend: Backend) -> None:
    topic = backend.topic()
    names = [backend.subscription(topic) for _ in range(2)]
    backend.publish(topic, b"lot")
    assert [backend.pull(name)[0].message.data for name in names] == [b"lot", b"lot"]


@case
def test_an_empty_message_is_refused(backend: Backend) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        backend.publish(backend.topic(), b"")


@case
@pytest.mark.parametrize(
    "message", [{"ordering_key": "k" * 1025}, {"attributes": {"k" * 257: "v"}}], ids=["key", "attribute"]
)
def test_ordering_keys_and_attributes_have_a_longest_length(backend: Backend, message: dict[str, Any]) -> None:
    topic = backend.topic()
    with pytest.raises(exceptions.InvalidArgument):
        backend.requests.publish(topic=topic, messages=[{"data": b"x", **message}], retry=None)


@case
def test_a_request_has_at_most_1000_messages(backend: Backend) -> None:
    topic = backend.topic()
    assert len(set(backend.publish(topic, *[b"x"] * 1000))) == 1000
    with pytest.raises(exceptions.InvalidArgument):
        backend.publish(topic, *[b"x"] * 1001)


@case
def test_a_request_has_at_most_10_megabytes(backend: Backend) -> None:
    topic = backend.topic()
    backend.publish(topic, b"x" * 9_900_000)
    with pytest.raises(exceptions.InvalidArgument):
        backend.requests.publish(topic=topic, messages=[{"data": b"x" * 6_000_000}] * 2, retry=None, timeout=5)


@case
def test_the_publisher_client_publishes_in_order_per_key(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, enable_message_ordering=True)
    sent = [(f"key-{n % 3}", b"%d" % n) for n in range(60)]
    futures = [backend.publisher.publish(topic, data, ordering_key=key) for key, data in sent]
    assert len({future.result(WITHIN) for future in futures}) == 60
    received = backend.pull(name, 60)
    for key in ("key-0", "key-1", "key-2"):
        expected = [data for k, data in sent if k == key]
        assert [r.message.data for r in received if r.message.ordering_key == key] == expected


@case
def test_filtered_messages_are_not_delivered(backend: Backend) -> None:
    topic = backend.topic()
    name = backend.subscription(topic, filter='attributes.type = "lot" AND NOT hasPrefix(attributes.state, "GJ")')
    backend.publish(topic, b"bid", type="bid")
    backend.publish(topic, b"rajkot", type="lot", state="GJ-03")
    backend.publish(topic, b"nagpur", type="lot", state="MH-31")
    assert [found.message.data for found in backend.pull(name)] == [b"nagpur"]


@case
def test_a_malformed_filter_is_refused(backend: Backend) -> None:
    topic = backend.topic()
    with pytest.raises(exceptions.InvalidArgument):
        backend.subscription(topic, filter="attributes.type = lot")


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
    asked = types.StreamingPullRequest(
        subscription=name, stream_ack_deadline_seconds=60, max_outstanding_messages=3, client_id="conformance"
    )
    done = threading.Event()

    def requests() -> Iterator[types.StreamingPullRequest]:
        yield asked
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
        backend.subscriber.pull(subscription=name, max_messages=1, timeout=2, retry=None)


def test_every_known_difference_names_a_case() -> None:
    assert set(KNOWN_DIFFERENCES) <= set(globals())
