"""Topics, subscriptions, publishing and what is let through: the local Pub/Sub and Google's emulator."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions

from .pubsub_backends import PROJECT, WITHIN, Backend, case

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
        backend.subscriber.pull(subscription=name, max_messages=1, timeout=WITHIN, retry=None)


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
        backend.requests.publish(topic=topic, messages=[{"data": b"x" * 6_000_000}] * 2, retry=None, timeout=WITHIN)


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
