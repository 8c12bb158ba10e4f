"""Topics, subscriptions and the way of a message from one to the others, on the core and written through to the state.

Nothing here knows gRPC. Call everything under `core.lock`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1 import types

from kapas.values.clock import rfc3339
from local_cloud import pubsub_rules as rules
from local_cloud.core import Answer, Core, Entry
from local_cloud.pubsub_filter import Filter, compile_filter
from local_cloud.pubsub_push import ACKNOWLEDGED, Identity, push_request
from local_cloud.pubsub_queue import Consumer, Delivery, Message, Pb, Queue
from local_cloud.state import State

MAX_PUSHING = 100
"""Pushes of one subscription in flight at once."""

_TOPIC, _SUBSCRIPTION, _MESSAGE, _DELIVERY, _NUMBER = (
    f"pubsub.{kind}" for kind in ("topic", "subscription", "message", "delivery", "number")
)
_NUMBERS_RESERVED = 10_000
"""Message ids are reserved in the state this many at a time, so that no restart uses one twice."""
_ACKED = b"acked"


@dataclass(slots=True, eq=False)
class Subscription:
    spec: Pb
    """`google.pubsub.v1.Subscription`; replaced, never changed."""
    queue: Queue
    matches: Filter | None
    retained: list[Message] = field(default_factory=list[Message])
    """Acknowledged messages, where the subscription keeps them for a seek."""
    pushing: int = 0
    pumping: bool = False
    alarm: Entry | None = None

    @property
    def pushes(self) -> bool:
        return bool(self.spec.push_config.push_endpoint) and not self.spec.detached

    def oldest(self, now: datetime) -> datetime:
        """Messages published before this are past their retention."""
        return now - self.spec.message_retention_duration.ToTimedelta()


class Broker:
    """Every topic and subscription, with what is undelivered."""

    def __init__(self, core: Core, state: State, identity: Identity | None) -> None:
        self.topics: dict[str, Pb] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self._core = core
        self._state = state
        self._identity = identity
        self._number = self._reserved = 0
        self._load()

    # Resources

    def put_topic(self, topic: Pb) -> None:
        self.topics[topic.name] = topic
        self._state.put(_TOPIC, topic.name, topic.SerializeToString())

    def delete_topic(self, name: str) -> None:
        """Forget a topic; its subscriptions keep what they hold and belong to `_deleted-topic_`."""
        del self.topics[name]
        self._state.delete(_TOPIC, name)
        for subscription in self.attached(name):
            spec = types.Subscription.pb()()
            spec.CopyFrom(subscription.spec)
            spec.topic = rules.DELETED_TOPIC
            self.put_subscription(spec)

    def put_subscription(self, spec: Pb) -> None:
        """Create a subscription, or change one: its filter and its ordering stay."""
        subscription = self.subscriptions.get(spec.name)
        if subscription is None:
            subscription = self.subscriptions[spec.name] = self._subscription(spec)
        subscription.spec = spec
        self._state.put(_SUBSCRIPTION, spec.name, spec.SerializeToString())
        if spec.detached:
            self._drop(subscription)
        self._settle(subscription)

    def delete_subscription(self, name: str) -> None:
        subscription = self.subscriptions.pop(name)
        self._drop(subscription)
        self._state.delete(_SUBSCRIPTION, name)
        if subscription.alarm:
            subscription.alarm.cancel()
        self._core.wake()

    def attached(self, topic: str) -> list[Subscription]:
        """The subscriptions of a topic."""
        return [s for s in self.subscriptions.values() if s.spec.topic == topic and not s.spec.detached]

    # Messages

    def publish(self, topic: str, messages: Iterable[Pb]) -> list[str]:
        """Give each message its id and time, and queue it where the filter lets it through."""
        now = self._core.now()
        publish_time = Timestamp()
        publish_time.FromDatetime(now)
        attached = self.attached(topic)
        published: list[Message] = []
        deliveries: list[tuple[str, bytes]] = []
        ids: list[str] = []
        for source in messages:
            number = self._next_number()
            ids.append(str(number))
            takers = [s for s in attached if s.matches is None or s.matches(source.attributes)]
            if not takers:
                continue
            # A copy: the request's messages share its memory, which would live as long as the last of them.
            pb = types.PubsubMessage.pb()()
            pb.CopyFrom(source)
            pb.message_id = ids[-1]
            pb.publish_time.CopyFrom(publish_time)
            message = Message(number, pb, now, pb.ByteSize(), len(takers))
            published.append(message)
            for subscription in takers:
                subscription.queue.add(message)
                deliveries.append((_delivery_key(subscription, message), b"0"))
        if published:
            self._state.put_many(_MESSAGE, ((_message_key(m), m.pb.SerializeToString()) for m in published))
            self._state.put_many(_DELIVERY, deliveries)
        for subscription in attached:
            self._settle(subscription)
        return ids

    def lease(
        self, subscription: Subscription, limit: int, deadline_seconds: int = 0, consumer: Consumer | None = None
    ) -> list[Delivery]:
        """Hand out up to `limit` messages to a puller for `deadline_seconds` (0: as the subscription says)."""
        now = self._core.now()
        deadline = now + timedelta(seconds=deadline_seconds or subscription.spec.ack_deadline_seconds)
        oldest = subscription.oldest(now)
        taken = subscription.queue.lease(limit, oldest=oldest, deadline=deadline, consumer=consumer)
        if taken or subscription.queue.finished:
            self._settle(subscription, wake=False)
        return taken

    def acknowledge(self, subscription: Subscription, ack_ids: Iterable[str]) -> list[str]:
        """Acknowledge what is out under `ack_ids`; those of them that are not out (any more)."""
        invalid: list[str] = []
        for ack_id in ack_ids:
            delivery = subscription.queue.leased(ack_id)
            if delivery is None:
                invalid.append(ack_id)
            else:
                subscription.queue.ack(delivery)
        self._settle(subscription)
        return invalid

    def modify_deadline(self, subscription: Subscription, ack_ids: Iterable[str], seconds: int) -> list[str]:
        """Set the deadline to `seconds` from now, 0 for a negative acknowledgement; the ids that are not out."""
        found = {ack_id: subscription.queue.leased(ack_id) for ack_id in ack_ids}
        leased = [delivery for delivery in found.values() if delivery is not None]
        if seconds == 0:
            self._fail(subscription, leased)
        else:
            for delivery in leased:
                subscription.queue.extend(delivery, self._core.now() + timedelta(seconds=seconds))
        self._settle(subscription)
        return [ack_id for ack_id, delivery in found.items() if delivery is None]

    def seek(self, subscription: Subscription, at: datetime) -> None:
        """Acknowledge what was published before `moment`; deliver again what was published since and is retained."""
        held = subscription.queue.clear()
        failures = {delivery.message: delivery.failures for delivery in held}
        messages = sorted([*failures, *subscription.retained], key=lambda message: message.number)
        subscription.retained = [message for message in subscription.retained if message.published < at]
        again = [message for message in messages if message.published >= at]
        for message in again:
            subscription.queue.add(message, failures.get(message, 0))
        self._state.put_many(_DELIVERY, ((_delivery_key(subscription, m), b"%d" % failures.get(m, 0)) for m in again))
        subscription.queue.finished += [delivery for delivery in held if delivery.message.published < at]
        self._settle(subscription)

    def pending(self) -> list[dict[str, object]]:
        """What is undelivered, by subscription and message; `next_due` is null for what can be delivered now."""
        return [
            {
                "subscription": name,
                "message_id": delivery.message.pb.message_id,
                "ordering_key": delivery.message.pb.ordering_key,
                "attempts": delivery.failures + bool(delivery.ack_id),
                "next_due": rfc3339(due) if (due := delivery.due or delivery.lane.due) else None,
            }
            for name, subscription in sorted(self.subscriptions.items())
            for delivery in subscription.queue
        ]

    # Delivery

    def _pump(self, subscription: Subscription) -> None:
        # An answer may come while the request is being made: the loop that is already running goes on then.
        if subscription.pumping or not subscription.pushes:
            return
        subscription.pumping = True
        try:
            while room := MAX_PUSHING - subscription.pushing:
                oldest = subscription.oldest(self._core.now())
                taken = subscription.queue.lease(room, oldest=oldest, lane_limit=1)
                if not taken:
                    break
                for delivery in taken:
                    request = push_request(subscription.spec, delivery, self._identity)
                    subscription.pushing += 1
                    self._core.send(request, partial(self._pushed, subscription, delivery.ack_id))
        finally:
            subscription.pumping = False

    def _pushed(self, subscription: Subscription, ack_id: str, answer: Answer) -> None:
        subscription.pushing -= 1
        delivery = subscription.queue.leased(ack_id)
        if delivery is not None:
            if answer.status in ACKNOWLEDGED:
                subscription.queue.ack(delivery)
            else:
                self._fail(subscription, [delivery])
        self._settle(subscription)

    def _ring(self, subscription: Subscription) -> None:
        subscription.alarm = None
        self._fail(subscription, subscription.queue.ring(self._core.now()))
        self._settle(subscription)

    def _fail(self, subscription: Subscription, deliveries: Iterable[Delivery]) -> None:
        policy = subscription.spec.dead_letter_policy
        failed = sorted(deliveries, key=lambda delivery: delivery.message.number)
        if not failed:
            return
        forwarded: list[Pb] = []
        now = self._core.now()
        # From the last, because one that comes back takes the later ones of its key along.
        for delivery in reversed(failed):
            delivery.failures += 1
            exhausted = policy.dead_letter_topic and delivery.failures >= policy.max_delivery_attempts
            if exhausted and policy.dead_letter_topic in self.topics:
                message = delivery.message
                forwarded.append(rules.dead_letter(subscription.spec, message.pb, message.published, delivery.failures))
                subscription.queue.ack(delivery)
            else:
                wait = rules.backoff(subscription.spec, delivery.failures)
                subscription.queue.release(delivery, now + wait if wait else None)
        failures = ((_delivery_key(subscription, d.message), b"%d" % d.failures) for d in failed)
        self._state.put_many(_DELIVERY, failures)
        if forwarded:
            self.publish(policy.dead_letter_topic, reversed(forwarded))

    def _settle(self, subscription: Subscription, *, wake: bool = True) -> None:
        """After every change: push what can be, forget what is finished, set the alarm, wake who waits."""
        self._pump(subscription)
        self._forget(subscription)
        due = subscription.queue.next_due()
        alarm = subscription.alarm
        # An alarm that is early finds nothing and sets the next: cheaper than moving it with every message.
        if due is not None and (alarm is None or due < alarm.due):
            if alarm is not None:
                alarm.cancel()
            subscription.alarm = self._core.at(due, partial(self._ring, subscription))
        if wake:
            self._core.wake()

    def _forget(self, subscription: Subscription) -> None:
        finished = [delivery.message for delivery in subscription.queue.finished]
        subscription.queue.finished.clear()
        if subscription.spec.retain_acked_messages and finished:
            subscription.retained += finished
            self._state.put_many(_DELIVERY, ((_delivery_key(subscription, m), _ACKED) for m in finished))
            oldest = subscription.oldest(self._core.now())
            kept = [message for message in subscription.retained if message.published >= oldest]
            finished = [message for message in subscription.retained if message.published < oldest]
            subscription.retained = kept
        if finished:
            self._delete(subscription, finished)

    def _drop(self, subscription: Subscription) -> None:
        messages = [delivery.message for delivery in subscription.queue.clear()] + subscription.retained
        subscription.retained = []
        self._delete(subscription, messages)

    def _delete(self, subscription: Subscription, messages: list[Message]) -> None:
        self._state.delete_many(_DELIVERY, (_delivery_key(subscription, message) for message in messages))
        for message in messages:
            message.holders -= 1
        self._state.delete_many(_MESSAGE, (_message_key(message) for message in messages if not message.holders))

    # State

    def _next_number(self) -> int:
        self._number += 1
        if self._number > self._reserved:
            self._reserved = self._number + _NUMBERS_RESERVED
            self._state.put(_NUMBER, "reserved", str(self._reserved).encode())
        return self._number

    def _subscription(self, spec: Pb) -> Subscription:
        queue = Queue(self._core.random, ordered=spec.enable_message_ordering)
        return Subscription(spec, queue, compile_filter(spec.filter) if spec.filter else None)

    def _load(self) -> None:
        for name, value in self._state.items(_TOPIC):
            self.topics[name] = types.Topic.pb().FromString(value)
        for name, value in self._state.items(_SUBSCRIPTION):
            self.subscriptions[name] = self._subscription(types.Subscription.pb().FromString(value))
        for _, value in self._state.items(_NUMBER):
            self._number = self._reserved = int(value)
        messages: dict[str, Message] = {}
        for key, value in self._state.items(_MESSAGE):
            pb = types.PubsubMessage.pb().FromString(value)
            published = pb.publish_time.ToDatetime(self._core.now().tzinfo)
            messages[key] = Message(int(key), pb, published, pb.ByteSize())
        for key, value in self._state.items(_DELIVERY):
            name, _, number = key.partition("#")
            message = messages[number]
            message.holders += 1
            if value == _ACKED:
                self.subscriptions[name].retained.append(message)
            else:
                self.subscriptions[name].queue.add(message, int(value))
        # Killed in the middle of a publish, a message may have got no deliveries yet; its publisher tries again.
        self._state.delete_many(_MESSAGE, [key for key, message in messages.items() if not message.holders])
        for subscription in self.subscriptions.values():
            self._core.after(0, partial(self._settle, subscription))


def _message_key(message: Message) -> str:
    return f"{message.number:016}"


def _delivery_key(subscription: Subscription, message: Message) -> str:
    return f"{subscription.spec.name}#{message.number:016}"
