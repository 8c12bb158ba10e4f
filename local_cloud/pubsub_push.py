"""The HTTP request of a push delivery, wrapped in JSON or not.

Source: cloud.google.com/pubsub/docs/push and the `PushConfig` message of google.pubsub.v1.
"""

import base64
import json
from collections.abc import Callable
from datetime import UTC

from local_cloud.core import Outgoing
from local_cloud.pubsub_queue import Delivery, Pb

Identity = Callable[[str, str], str]
"""(service account email, audience) -> the OIDC token that the account would get for this audience."""

ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})
"""The statuses that acknowledge a push; every other answer, and none, is a negative acknowledgement."""


def push_request(spec: Pb, delivery: Delivery, identity: Identity | None) -> Outgoing:
    """The request that delivers `delivery` to the endpoint of the subscription `spec`.

    The acknowledgement deadline is its timeout. Without `identity` it bears no token.
    """
    config = spec.push_config
    headers = {"User-Agent": "CloudPubSub-Google"}
    if identity is not None and config.oidc_token.service_account_email:
        audience = config.oidc_token.audience or config.push_endpoint
        headers["Authorization"] = f"Bearer {identity(config.oidc_token.service_account_email, audience)}"
    if config.HasField("no_wrapper"):
        headers["Content-Type"] = "application/octet-stream"
        if config.no_wrapper.write_metadata:
            headers |= _metadata(spec, delivery)
        body = delivery.message.pb.data
    else:
        headers["Content-Type"] = "application/json"
        body = _envelope(spec, delivery)
    return Outgoing("push", spec.name, "POST", config.push_endpoint, headers, body, float(spec.ack_deadline_seconds))


def _metadata(spec: Pb, delivery: Delivery) -> dict[str, str]:
    pb = delivery.message.pb
    headers = {
        "x-goog-pubsub-subscription-name": spec.name,
        "x-goog-pubsub-message-id": pb.message_id,
        "x-goog-pubsub-publish-time": _publish_time(delivery),
    }
    if pb.ordering_key:
        headers["x-goog-pubsub-ordering-key"] = pb.ordering_key
    if spec.dead_letter_policy.dead_letter_topic:
        headers["x-goog-pubsub-delivery-attempt"] = str(delivery.failures + 1)
    return headers | dict(pb.attributes)


def _envelope(spec: Pb, delivery: Delivery) -> bytes:
    pb = delivery.message.pb
    published = _publish_time(delivery)
    # The service writes these two names twice, for readers of either spelling.
    message: dict[str, object] = {
        "messageId": pb.message_id,
        "message_id": pb.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if pb.data:
        message["data"] = base64.b64encode(pb.data).decode()
    if pb.attributes:
        message["attributes"] = dict(pb.attributes)
    if pb.ordering_key:
        message["orderingKey"] = pb.ordering_key
    envelope: dict[str, object] = {"message": message, "subscription": spec.name}
    if spec.dead_letter_policy.dead_letter_topic:
        envelope["deliveryAttempt"] = delivery.failures + 1
    return json.dumps(envelope).encode()


def _publish_time(delivery: Delivery) -> str:
    at = delivery.message.published.astimezone(UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
