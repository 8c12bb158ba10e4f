"""What Pub/Sub accepts and what it fills in: names, limits, defaults, update masks, pages.

Source: cloud.google.com/pubsub/quotas (resource limits) and the field comments of google.pubsub.v1. A check raises
InvalidArgument unless it says otherwise. Messages are the raw protobuf ones, not the clients' wrappers: those cost more
than all the rest.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from google.api_core import exceptions
from google.pubsub_v1 import types

from local_cloud.pubsub_filter import compile_filter
from local_cloud.pubsub_queue import Pb

DELETED_TOPIC = "_deleted-topic_"

_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_MAX_REQUEST_BYTES = 10_000_000
_MAX_MESSAGES = 1000
_PUSH_BACKOFF = (timedelta(milliseconds=100), timedelta(seconds=60))
"""First and longest wait of a push subscription that has no retry policy."""
_RETRY_DEFAULTS = (timedelta(seconds=10), timedelta(seconds=600))
_FIXED = {
    types.Topic: {"name"},
    types.Subscription: {"name", "topic", "filter", "enable_message_ordering"},
}

T = TypeVar("T")


def check_name(name: str, collection: str) -> None:
    """`projects/{project}/{collection}/{id}`, the id 3-255 characters, from a letter, not from `goog`."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != collection:
        raise exceptions.InvalidArgument(f"Invalid [{collection}] name: (name={name}).")


def check_publish(request: Pb) -> None:
    """A `PublishRequest` within the limits of the service."""
    if not request.messages:
        raise exceptions.InvalidArgument("The publish request has no messages.")
    if len(request.messages) > _MAX_MESSAGES:
        raise _too_large("message_count", len(request.messages), _MAX_MESSAGES)
    if request.ByteSize() > _MAX_REQUEST_BYTES:
        raise _too_large("request_size", request.ByteSize(), _MAX_REQUEST_BYTES)
    for message in request.messages:
        if not message.data and not message.attributes:
            raise exceptions.InvalidArgument(
                "One or more messages in the publish request is empty. "
                "Each message must contain either non-empty data, or at least one attribute."
            )
        if len(message.ordering_key.encode()) > 1024:
            raise _too_large("ordering_key", len(message.ordering_key.encode()), 1024)
        if message.attributes:
            _check_attributes(message.attributes)


def _check_attributes(attributes: Mapping[str, str]) -> None:
    if len(attributes) > 100:
        raise _too_large("attribute_count", len(attributes), 100)
    for key, value in attributes.items():
        if not key or key.startswith("goog"):
            raise exceptions.InvalidArgument(f"Invalid attribute key: {key!r}.")
        if len(key.encode()) > 256:
            raise _too_large("attribute_key", len(key.encode()), 256)
        if len(value.encode()) > 1024:
            raise _too_large("attribute_value", len(value.encode()), 1024)


def complete_subscription(spec: Pb) -> None:
    """Check `spec` and fill in, in place, the defaults that the service answers.

    Raises OutOfRange for `max_delivery_attempts`.
    """
    spec.ack_deadline_seconds = spec.ack_deadline_seconds or 10
    check_ack_deadline(spec.ack_deadline_seconds)
    if spec.filter:
        compile_filter(spec.filter)
    _complete_duration(spec, "message_retention_duration", timedelta(days=7), timedelta(minutes=10), timedelta(days=31))
    if spec.HasField("dead_letter_policy"):
        policy = spec.dead_letter_policy
        check_name(policy.dead_letter_topic, "topics")
        policy.max_delivery_attempts = policy.max_delivery_attempts or 5
        if not 5 <= policy.max_delivery_attempts <= 100:
            # Of all checks only this one answers OUT_OF_RANGE, in Google's own emulator too.
            raise exceptions.OutOfRange(
                f"Invalid max_delivery_attempts ({policy.max_delivery_attempts}): must be between 5 and 100."
            )
    if spec.HasField("retry_policy"):
        longest = timedelta(seconds=600)
        _complete_duration(spec.retry_policy, "minimum_backoff", _RETRY_DEFAULTS[0], timedelta(0), longest)
        _complete_duration(spec.retry_policy, "maximum_backoff", _RETRY_DEFAULTS[1], timedelta(0), longest)
        if spec.retry_policy.minimum_backoff.ToTimedelta() > spec.retry_policy.maximum_backoff.ToTimedelta():
            raise exceptions.InvalidArgument("Invalid retry policy: minimum_backoff is above maximum_backoff.")
    check_push_config(spec.push_config)
    spec.state = types.Subscription.State.ACTIVE


def _complete_duration(message: Pb, name: str, default: timedelta, least: timedelta, most: timedelta) -> None:
    if not message.HasField(name):
        getattr(message, name).FromTimedelta(default)
    if not least <= getattr(message, name).ToTimedelta() <= most:
        raise exceptions.InvalidArgument(f"Invalid {name}: must be from {least} to {most}.")


def check_push_config(config: Pb) -> None:
    """A push endpoint, if there is one, is a URL. The service wants https; this one also takes http, for loopback."""
    if config.push_endpoint and not re.match(r"https?://[^/\s]+", config.push_endpoint):
        raise exceptions.InvalidArgument(f"Invalid push endpoint given (endpoint={config.push_endpoint}).")


def check_ack_deadline(seconds: int, *, least: int = 10) -> None:
    """From `least` to 600 seconds."""
    if not least <= seconds <= 600:
        raise exceptions.InvalidArgument(f"Invalid ack deadline given (ack_deadline_secs={seconds}).")


def backoff(spec: Pb, failures: int) -> timedelta:
    """How long a message waits after its `failures`-th failure (from 1): exponential, from minimum to maximum.

    With no retry policy a pull subscription redelivers at once.
    """
    if spec.HasField("retry_policy"):
        least = spec.retry_policy.minimum_backoff.ToTimedelta()
        most = spec.retry_policy.maximum_backoff.ToTimedelta()
    elif spec.push_config.push_endpoint:
        least, most = _PUSH_BACKOFF
    else:
        return timedelta(0)
    return min(most, least * 2 ** min(failures - 1, 20))


def dead_letter(spec: Pb, pb: Pb, published: datetime, attempts: int) -> Pb:
    """The message that is forwarded to the dead-letter topic after `attempts`: with its data, key and origin."""
    _, project, _, subscription = spec.name.split("/")
    forwarded = types.PubsubMessage.pb()(data=pb.data, attributes=pb.attributes, ordering_key=pb.ordering_key)
    forwarded.attributes.update(
        CloudPubSubDeadLetterSourceDeliveryCount=str(attempts),
        CloudPubSubDeadLetterSourceSubscription=subscription,
        CloudPubSubDeadLetterSourceSubscriptionProject=project,
        CloudPubSubDeadLetterSourceTopicPublishTime=published.isoformat(timespec="milliseconds"),
    )
    return forwarded


def updated(kind: type, current: Pb, change: Pb, mask: Pb) -> Pb:
    """A copy of `current` with the fields of `mask` taken from `change`."""
    if not mask.paths:
        raise exceptions.InvalidArgument("The update_mask must be set, and must contain a non-empty paths list.")
    for path in mask.paths:
        name = path.split(".")[0]
        if name in _FIXED[kind] or name not in current.DESCRIPTOR.fields_by_name:
            raise exceptions.InvalidArgument(f"Invalid update_mask provided: {path!r} cannot be updated.")
    result = type(current)()
    result.CopyFrom(current)
    mask.MergeMessage(change, result, True, True)
    return result


def page(items: Mapping[str, T], project: str, size: int, token: str) -> tuple[list[T], str]:
    """The next `size` (0: as many as allowed, 1000) of `items` under `project`, by name, and the token that goes on."""
    names: Iterable[str] = sorted(name for name in items if name.startswith(f"{project}/") and name > token)
    size = min(size or 1000, 1000)
    chosen = list(names)[: size + 1]
    more = chosen[size - 1] if len(chosen) > size else ""
    return [items[name] for name in chosen[:size]], more


def _too_large(what: str, value: int, maximum: int) -> exceptions.InvalidArgument:
    return exceptions.InvalidArgument(
        f"The value for {what} is too large. You passed {value} in the request, but the maximum value is {maximum}."
    )
