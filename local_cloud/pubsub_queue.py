"""What one subscription still has to deliver: lanes, leases and the times at which something happens to them.

A lane holds the messages of one ordering key in the order of publishing, or one message without a key. What is out
(leased) is always a prefix of its lane, and a lane hands out more only when nothing of it is out: so an earlier message
that comes back takes the later ones back with it, acknowledged or not, and order is kept.
Nothing here scans more than the lane it touches.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Pb = Any
"""A protobuf message: the generated classes carry no types."""


@dataclass(slots=True, eq=False)
class Message:
    """One published message, shared by the subscriptions that hold it."""

    number: int
    """The message id as a number: later messages have greater ones."""
    pb: Pb
    """`google.pubsub.v1.PubsubMessage`, with its id and publish time."""
    published: datetime
    size: int
    """Serialised, in bytes."""
    holders: int = 0
    """How many subscriptions still hold it."""


@dataclass(slots=True, eq=False)
class Consumer:
    """A stream that messages are leased to, for its flow control."""

    messages: int = 0
    bytes: int = 0


@dataclass(slots=True, eq=False)
class Lane:
    key: str | int
    """The ordering key, or the number of a message that has none."""
    deliveries: deque["Delivery"] = field(default_factory=deque["Delivery"])
    leased: int = 0
    """How many of `deliveries`, from the first, are out."""
    due: datetime | None = None
    """Until when the lane backs off."""
    offered: bool = False
    """In the queue's list of lanes that can deliver."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One message on one subscription."""

    message: Message
    lane: Lane
    failures: int = 0
    """Negative acknowledgements and missed deadlines so far; the delivery attempt is one more."""
    ack_id: str = ""
    """Set while leased and not yet acknowledged."""
    due: datetime | None = None
    """The acknowledgement deadline while leased to a puller; pushes end by themselves."""
    acked: bool = False
    """Acknowledged, while an earlier message of its lane is still out."""
    consumer: Consumer | None = None


class Queue:
    """The deliveries of one subscription. Finished ones gather in `finished` for the owner to collect."""

    def __init__(self, rng: random.Random, *, ordered: bool) -> None:
        self.finished: list[Delivery] = []
        self._random = rng
        self._ordered = ordered
        self._lanes: dict[str | int, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._leases: dict[str, Delivery] = {}
        self._timers: list[tuple[datetime, int, Lane | Delivery]] = []
        self._sequence = itertools.count()

    def add(self, message: Message, failures: int = 0) -> None:
        """Queue a message behind those of its key."""
        key = (message.pb.ordering_key if self._ordered else "") or message.number
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        lane.deliveries.append(Delivery(message, lane, failures))
        self._offer(lane)

    def lease(
        self,
        limit: int,
        *,
        oldest: datetime,
        deadline: datetime | None = None,
        max_bytes: int = 10_000_000,
        lane_limit: int | None = None,
        consumer: Consumer | None = None,
    ) -> list[Delivery]:
        """Hand out up to `limit` deliveries until `deadline`, at most `lane_limit` of a lane.

        Stops after the first one that reaches `max_bytes`. Messages published before `oldest` are past their
        retention and end up in `finished` instead.
        """
        taken: list[Delivery] = []
        size = 0
        while self._ready and len(taken) < limit and size < max_bytes:
            lane = self._ready.popleft()
            lane.offered = False
            while lane.deliveries and lane.deliveries[0].message.published < oldest:
                self.finished.append(lane.deliveries.popleft())
            room = min(limit - len(taken), lane_limit or limit)
            for delivery in itertools.islice(lane.deliveries, room):
                if size >= max_bytes:
                    break
                size += delivery.message.size
                lane.leased += 1
                self._lease(delivery, deadline, consumer)
                taken.append(delivery)
            self._forget_if_empty(lane)
        return taken

    def leased(self, ack_id: str) -> Delivery | None:
        """What is out under `ack_id`; None if it was acknowledged, came back or never was."""
        return self._leases.get(ack_id)

    def extend(self, delivery: Delivery, deadline: datetime) -> None:
        """Move the deadline of a leased delivery."""
        delivery.due = deadline
        heapq.heappush(self._timers, (deadline, next(self._sequence), delivery))

    def ack(self, delivery: Delivery) -> None:
        """Finish a leased delivery, once those before it in its lane are finished too."""
        self._unlease(delivery)
        delivery.acked = True
        lane = delivery.lane
        while lane.leased and lane.deliveries[0].acked:
            self.finished.append(lane.deliveries.popleft())
            lane.leased -= 1
        self._forget_if_empty(lane)
        self._offer(lane)

    def release(self, delivery: Delivery, due: datetime | None = None) -> None:
        """Take a leased delivery back, and the later ones of its lane with it, until `due`."""
        lane = delivery.lane
        kept = next(i for i, other in enumerate(lane.deliveries) if other is delivery)
        for other in itertools.islice(lane.deliveries, kept, lane.leased):
            self._unlease(other)
            other.acked = False
        lane.leased = kept
        lane.due = due
        if due is not None:
            heapq.heappush(self._timers, (due, next(self._sequence), lane))
        self._offer(lane)

    def next_due(self) -> datetime | None:
        """When the next deadline or back-off ends."""
        while self._timers and self._timers[0][2].due != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def ring(self, now: datetime) -> list[Delivery]:
        """End the back-offs that are over; the leased deliveries whose deadline has passed, still leased."""
        expired: list[Delivery] = []
        while (due := self.next_due()) is not None and due <= now:
            _, _, item = heapq.heappop(self._timers)
            item.due = None
            if isinstance(item, Lane):
                self._offer(item)
            else:
                expired.append(item)
        return expired

    def clear(self) -> list[Delivery]:
        """Take everything out, by message number; whoever holds a lease loses it."""
        deliveries = list(self)
        for delivery in deliveries:
            self._unlease(delivery)
            delivery.lane.due = None
        self._lanes.clear()
        self._ready.clear()
        return deliveries

    def __iter__(self) -> Iterator[Delivery]:
        """Every delivery that is not finished, by message number."""
        everything = (delivery for lane in self._lanes.values() for delivery in lane.deliveries)
        return iter(sorted(everything, key=lambda delivery: delivery.message.number))

    def _lease(self, delivery: Delivery, deadline: datetime | None, consumer: Consumer | None) -> None:
        delivery.ack_id = f"{delivery.message.number}.{self._random.getrandbits(96):024x}"
        self._leases[delivery.ack_id] = delivery
        if deadline is not None:
            self.extend(delivery, deadline)
        if consumer is not None:
            delivery.consumer = consumer
            consumer.messages += 1
            consumer.bytes += delivery.message.size

    def _unlease(self, delivery: Delivery) -> None:
        self._leases.pop(delivery.ack_id, None)
        delivery.ack_id, delivery.due = "", None
        if delivery.consumer is not None:
            delivery.consumer.messages -= 1
            delivery.consumer.bytes -= delivery.message.size
            delivery.consumer = None

    def _offer(self, lane: Lane) -> None:
        if lane.deliveries and not lane.leased and lane.due is None and not lane.offered:
            lane.offered = True
            self._ready.append(lane)

    def _forget_if_empty(self, lane: Lane) -> None:
        if not lane.deliveries:
            self._lanes.pop(lane.key, None)
