"""One StreamingPull call: what its caller sends is read on one thread, what it gets is produced on another."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import grpc
from google.pubsub_v1 import types

from local_cloud import pubsub_rules as rules
from local_cloud.core import Core
from local_cloud.pubsub_delivery import Broker, Subscription
from local_cloud.pubsub_queue import Consumer, Delivery, Pb

MAX_PER_RESPONSE = 1000
"""Messages in one response, of Pull or of a stream."""

_POLL = 5.0
"""Seconds after which an idle stream looks whether its caller is still there; messages wake it at once."""


def received_message(spec: Pb, delivery: Delivery) -> Pb:
    """The `ReceivedMessage` of a leased delivery; attempts are counted only where there is a dead-letter policy."""
    attempt = delivery.failures + 1 if spec.dead_letter_policy.dead_letter_topic else 0
    return types.ReceivedMessage.pb()(ack_id=delivery.ack_id, message=delivery.message.pb, delivery_attempt=attempt)


class Stream:
    """The state of one call. `find` looks the subscription up, and raises once it can no longer be pulled from."""

    def __init__(
        self, core: Core, broker: Broker, find: Callable[[], Subscription], first: types.StreamingPullRequest
    ) -> None:
        self._core = core
        self._broker = broker
        self._find = find
        self._deadline_seconds = first.stream_ack_deadline_seconds
        self._max_messages = first.max_outstanding_messages
        self._max_bytes = first.max_outstanding_bytes
        self._consumer = Consumer()
        self._over = False

    def responses(
        self, requests: Iterator[types.StreamingPullRequest], context: grpc.ServicerContext
    ) -> Iterator[types.StreamingPullResponse]:
        """Messages as they come, within the caller's flow control, until the caller or the subscription goes."""
        context.add_callback(self._core.wake)
        # gRPC gives what the caller sends as a blocking iterator, so reading it takes a thread; it ends with the call.
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        with self._core.lock:
            properties = self._response([])
        yield properties
        while context.is_active() and not self._over:
            with self._core.changed:
                taken = self._core.changed.wait_for(lambda: self._lease(context), _POLL)
                response = self._response(taken) if isinstance(taken, list) and taken else None
            if response is not None:
                yield response

    def _lease(self, context: grpc.ServicerContext) -> list[Delivery] | bool:
        """What can be handed out now; True to stop waiting without any."""
        if self._over or not context.is_active():
            return True
        subscription = self._find()
        room = MAX_PER_RESPONSE if self._max_messages < 1 else self._max_messages - self._consumer.messages
        if room < 1 or 0 < self._max_bytes <= self._consumer.bytes:
            return False
        return self._broker.lease(subscription, min(room, MAX_PER_RESPONSE), self._deadline_seconds, self._consumer)

    def _response(self, deliveries: list[Delivery]) -> types.StreamingPullResponse:
        spec = self._find().spec
        response = types.StreamingPullResponse.pb()(received_messages=[received_message(spec, d) for d in deliveries])
        response.subscription_properties.exactly_once_delivery_enabled = spec.enable_exactly_once_delivery
        response.subscription_properties.message_ordering_enabled = spec.enable_message_ordering
        return types.StreamingPullResponse.wrap(response)

    def _read(self, requests: Iterator[types.StreamingPullRequest]) -> None:
        # The iterator raises a bare Exception when the call ends; `_find` raises when the subscription is gone.
        with contextlib.suppress(Exception):
            for request in requests:
                self._receive(request)
        self._over = True
        self._core.wake()

    def _receive(self, request: types.StreamingPullRequest) -> None:
        with self._core.lock:
            subscription = self._find()
            if request.stream_ack_deadline_seconds:
                rules.check_ack_deadline(request.stream_ack_deadline_seconds)
                self._deadline_seconds = request.stream_ack_deadline_seconds
            if request.ack_ids:
                self._broker.acknowledge(subscription, request.ack_ids)
            for ack_id, seconds in zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=False):
                self._broker.modify_deadline(subscription, [ack_id], seconds)
