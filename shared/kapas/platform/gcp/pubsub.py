"""Pub/Sub, the publishing side, through Google's client, which `PUBSUB_EMULATOR_HOST` points to a stand-in."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions

from kapas.platform.ports import Message

REQUEST_BOUND = 10.0
"""Seconds to wait for Pub/Sub to answer one request."""
PUBLISH_BOUND = 15.0
"""Seconds to wait for all of them: less than PostgreSQL leaves a transaction idle (`kapas.platform.db.connect`)."""


class PubSub:
    """A `kapas.platform.ports.Bus`."""

    def __init__(self, project: str) -> None:
        self._project = project
        batching = BatchSettings(max_messages=500, max_bytes=1_000_000, max_latency=0.005)
        # With ordering and a retry, whichever, the client tries for 136 years. What fails waits for the relay's next run.
        ordered = PublisherOptions(enable_message_ordering=True, retry=None, timeout=REQUEST_BOUND)
        self._client: Any = pubsub_v1.PublisherClient(batch_settings=batching, publisher_options=ordered)

    def publish(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
        deadline = time.monotonic() + PUBLISH_BOUND
        pending = [self._send(message) for message in messages]
        outcomes = [_outcome(future, deadline) for future in pending]
        failed = {(m.topic, m.ordering_key) for m, failure in zip(messages, outcomes, strict=True) if failure}
        for topic, key in sorted(failed):
            # After a failure the client refuses the key until told otherwise, so that nothing overtakes what failed.
            with suppress(RuntimeError):  # it does not refuse this one: the answer is still to come
                self._client.resume_publish(self._path(topic), key)
        return outcomes

    def _path(self, topic: str) -> str:
        return f"projects/{self._project}/topics/{topic}"

    def _send(self, message: Message) -> "Future[str] | Exception":
        try:
            return self._client.publish(
                self._path(message.topic), message.data, ordering_key=message.ordering_key, **dict(message.attributes)
            )
        except Exception as error:  # the client raises here what it cannot even batch
            return error


def _outcome(pending: "Future[str] | Exception", deadline: float) -> Exception | None:
    if isinstance(pending, Exception):
        return pending
    try:
        pending.result(timeout=max(0.0, deadline - time.monotonic()))
    except Exception as error:
        return error
    return None
