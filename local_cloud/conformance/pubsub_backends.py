"""The two Pub/Subs that the cases run against, and an endpoint that pushes go to."""

import itertools
import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

import grpc
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from local_cloud import gapic
from local_cloud.core import Core
from local_cloud.driver import Driver
from local_cloud.pubsub import PubSub
from local_cloud.state import State
from local_cloud.transport import HttpTransport

from .google_emulators import differing, start_emulator

PROJECT = "projects/kapas-test"
WITHIN = 60.0
"""Real seconds within which something that is due must have happened."""
_SERIAL = itertools.count(1)

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
"""Marks a function as a case that both backends are held to."""


@dataclass
class Backend:
    """Clients of a Pub/Sub, and what the cases do with them again and again."""

    name: str
    publisher: pubsub_v1.PublisherClient
    subscriber: pubsub_v1.SubscriberClient
    requests: PublisherClient
    """The publisher without batching: one request a call."""
    advance: Callable[[float], None]
    """Move time by so many seconds. Google's emulator has only real time, and only waits that a case can afford."""

    def topic(self) -> str:
        """A topic of its own for a case."""
        name = f"{PROJECT}/topics/topic-{next(_SERIAL)}"
        self.publisher.create_topic(name=name)
        return name

    def subscription(self, topic: str, **fields: Any) -> str:
        name = f"{PROJECT}/subscriptions/subscription-{next(_SERIAL)}"
        self.subscriber.create_subscription(request={"name": name, "topic": topic, **fields})
        return name

    def publish(self, topic: str, *data: bytes, key: str = "", **attributes: str) -> list[str]:
        """Publish in one request; the message ids."""
        messages = [types.PubsubMessage(data=d, ordering_key=key, attributes=attributes) for d in data]
        request = types.PublishRequest(topic=topic, messages=messages)
        return list(self.requests.publish(request=request, retry=None).message_ids)

    def pull(self, subscription: str, count: int = 1) -> list[types.ReceivedMessage]:
        """The next `count` messages, or fewer if they do not come in time."""
        received: list[types.ReceivedMessage] = []
        end = monotonic() + WITHIN
        while len(received) < count and monotonic() < end:
            received += self._pull(subscription, count - len(received), WITHIN)
        return received

    def nothing_for(self, subscription: str) -> bool:
        """Whether nothing is delivered right now."""
        return not self._pull(subscription, 1, 0.5)

    def nack(self, subscription: str, *received: types.ReceivedMessage) -> None:
        self.modify(subscription, 0, *received)

    def modify(self, subscription: str, seconds: int, *received: types.ReceivedMessage) -> None:
        ids = [message.ack_id for message in received]
        self.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=ids, ack_deadline_seconds=seconds)

    def ack(self, subscription: str, *received: types.ReceivedMessage) -> None:
        self.subscriber.acknowledge(subscription=subscription, ack_ids=[message.ack_id for message in received])

    def _pull(self, subscription: str, count: int, timeout: float) -> list[types.ReceivedMessage]:
        try:
            answer = self.subscriber.pull(subscription=subscription, max_messages=count, timeout=timeout, retry=None)
        except exceptions.DeadlineExceeded:
            return []
        return list(answer.received_messages)


@contextmanager
def local_backend() -> Generator[Backend]:
    """The local Pub/Sub, driven from real time, with a clock that can be moved."""
    transport = HttpTransport(8)
    core = Core(transport)
    driver = Driver(core)
    pubsub = PubSub(core, State(), lambda email, audience: f"{email} for {audience}")
    server, port = gapic.serve({PublisherGrpcTransport: pubsub, SubscriberGrpcTransport: pubsub}, threads=16)

    def advance(seconds: float) -> None:
        assert driver.advance(timedelta(seconds=seconds)), "what fell due was not answered in time"

    driver.start()
    try:
        with _backend("local", f"127.0.0.1:{port}", advance) as backend:
            yield backend
    finally:
        server.stop(None).wait()
        driver.stop()
        transport.close()


@contextmanager
def google_backend() -> Generator[Backend]:
    """Google's emulator."""
    with start_emulator("pubsub") as address, _backend("google", address, lambda _: None) as backend:
        yield backend


@contextmanager
def _backend(name: str, address: str, advance: Callable[[float], None]) -> Generator[Backend]:
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    with grpc.insecure_channel(address) as channel:
        transport = PublisherGrpcTransport(channel=channel)
        publisher = pubsub_v1.PublisherClient(publisher_options=options, transport=transport)
        subscriber = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        yield Backend(name, publisher, subscriber, PublisherClient(transport=transport), advance)
        publisher.stop()


@dataclass
class Push:
    """One request that an endpoint got."""

    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass
class Endpoint:
    """Answers pushes with `statuses`, one after the other, then 204."""

    url: str = ""
    statuses: list[int] = field(default_factory=list[int])
    pushes: list[Push] = field(default_factory=list[Push])
    hold: bool = False
    """While true, pushes are not answered."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int) -> list[Push]:
        """The pushes so far, once there are `count`, or if they do not come in time."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.pushes) >= count, WITHIN)
            return list(self.pushes)

    def release(self) -> None:
        with self._changed:
            self.hold = False
            self._changed.notify_all()

    def receive(self, push: Push) -> int:
        with self._changed:
            self.pushes.append(push)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.hold, WITHIN)
            return self.statuses.pop(0) if self.statuses else 204


@contextmanager
def endpoint() -> Generator[Endpoint]:
    """An HTTP server on the loopback."""
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status = state.receive(Push({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/push"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.release()
        server.shutdown()
        thread.join()
        server.server_close()
