"""Pub/Sub, the publishing side, through Google's client, which `PUBSUB_EMULATOR_HOST` points to a stand-in."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.types import BatchSettings, PublisherOptions

from kapas.ports import Message

PUBLISH_BOUND = 20.0
"""Seconds to wait for Pub/Sub to acknowledge a batch."""


class PubSub:
    """A `kapas.ports.Bus`."""

    def __init__(self, project: str) -> None:
        self._project = project
        batching = BatchSettings(max_messages=500, max_bytes=1_000_000, max_latency=0.005)
        ordered = PublisherOptions(enable_message_ordering=True)
        self._client: Any = pubsub_v1.PublisherClient(batch_settings=batching, publisher_options=ordered)

    def publish(self, topic: str, messages: Sequence[Message]) -> Sequence[Exception | None]:
        path = f"projects/{self._project}/topics/{topic}"
        pending: list[Future[str] | Exception] = [self._send(path, message) for message in messages]
        outcomes = [_outcome(future) for future in pending]
        for key in {m.ordering_key for m, failure in zip(messages, outcomes, strict=True) if failure}:
            # After a failure the client refuses the key until told otherwise, so that nothing overtakes what failed.
            self._client.resume_publish(path, key)
        return outcomes

    def _send(self, path: str, message: Message) -> "Future[str] | Exception":
        try:
            return self._client.publish(
                path, message.data, ordering_key=message.ordering_key, **dict(message.attributes)
            )
        except Exception as error:  # the client raises here when the ordering key is paused
            return error


def _outcome(pending: "Future[str] | Exception") -> Exception | None:
    if isinstance(pending, Exception):
        return pending
    try:
        pending.result(timeout=PUBLISH_BOUND)
    except Exception as error:
        return error
    return None
