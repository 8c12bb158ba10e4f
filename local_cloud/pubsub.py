"""The local Pub/Sub: the Publisher and Subscriber services of google.pubsub.v1.

Serve it with `gapic.serve({PublisherGrpcTransport: pubsub, SubscriberGrpcTransport: pubsub}, port)`. What differs from
the real service: no snapshots, schemas, message transforms, IAM or expiration of subscriptions; push endpoints may be
plain http; push back-off is a message's own, not the subscription's; messages of an ordering key are handed to a puller
only when the earlier ones are acknowledged.
"""

from collections.abc import Iterator
from typing import Any

import grpc
from google.api_core import exceptions
from google.protobuf import empty_pb2
from google.pubsub_v1 import types
from google.rpc import code_pb2, error_details_pb2, status_pb2

from local_cloud import pubsub_rules as rules
from local_cloud.core import Core
from local_cloud.pubsub_delivery import Broker, Subscription
from local_cloud.pubsub_push import Identity
from local_cloud.pubsub_queue import Pb
from local_cloud.pubsub_stream import MAX_PER_RESPONSE, Stream, received_message
from local_cloud.state import State

Context = grpc.ServicerContext

_PULL_WAIT = 10.0
"""Seconds an empty Pull waits for a message, if its caller waits that long."""


class PubSub:
    """Topics, subscriptions, publishing, pull, streaming pull and push.

    `identity(service_account_email, audience)` makes the OIDC token of a push; None sends none.
    """

    def __init__(self, core: Core, state: State, identity: Identity | None = None) -> None:
        self._core = core
        self._broker = Broker(core, state, identity)

    def pending(self) -> list[dict[str, object]]:
        """What is undelivered: `subscription`, `message_id`, `ordering_key`, `attempts`, `next_due`; no payload."""
        with self._core.lock:
            return self._broker.pending()

    # Publisher

    def CreateTopic(self, request: types.Topic, _: Context) -> types.Topic:
        topic = _copy(types.Topic.pb(request))
        rules.check_name(topic.name, "topics")
        with self._core.lock:
            if topic.name in self._broker.topics:
                raise _exists(topic.name)
            topic.state = types.Topic.State.ACTIVE
            self._broker.put_topic(topic)
        return types.Topic.wrap(topic)

    def GetTopic(self, request: types.GetTopicRequest, _: Context) -> types.Topic:
        with self._core.lock:
            return types.Topic.wrap(self._topic(request.topic))

    def UpdateTopic(self, request: types.UpdateTopicRequest, _: Context) -> types.Topic:
        pb = types.UpdateTopicRequest.pb(request)
        with self._core.lock:
            topic = rules.updated(types.Topic, self._topic(pb.topic.name), pb.topic, pb.update_mask)
            self._broker.put_topic(topic)
        return types.Topic.wrap(topic)

    def ListTopics(self, request: types.ListTopicsRequest, _: Context) -> types.ListTopicsResponse:
        with self._core.lock:
            found, more = rules.page(self._broker.topics, request.project, request.page_size, request.page_token)
        return _wrap(types.ListTopicsResponse, topics=found, next_page_token=more)

    def ListTopicSubscriptions(
        self, request: types.ListTopicSubscriptionsRequest, _: Context
    ) -> types.ListTopicSubscriptionsResponse:
        with self._core.lock:
            self._topic(request.topic)
            names = {s.spec.name: s.spec.name for s in self._broker.attached(request.topic)}
        found, more = rules.page(names, "projects", request.page_size, request.page_token)
        return types.ListTopicSubscriptionsResponse(subscriptions=found, next_page_token=more)

    def DeleteTopic(self, request: types.DeleteTopicRequest, _: Context) -> empty_pb2.Empty:
        with self._core.lock:
            self._topic(request.topic)
            self._broker.delete_topic(request.topic)
        return empty_pb2.Empty()

    def DetachSubscription(
        self, request: types.DetachSubscriptionRequest, _: Context
    ) -> types.DetachSubscriptionResponse:
        with self._core.lock:
            spec = _copy(self._subscription(request.subscription).spec)
            spec.detached = True
            self._broker.put_subscription(spec)
        return types.DetachSubscriptionResponse()

    def Publish(self, request: types.PublishRequest, _: Context) -> types.PublishResponse:
        pb = types.PublishRequest.pb(request)
        rules.check_publish(pb)
        with self._core.lock:
            self._topic(pb.topic)
            ids = self._broker.publish(pb.topic, pb.messages)
        return _wrap(types.PublishResponse, message_ids=ids)

    # Subscriber

    def CreateSubscription(self, request: types.Subscription, _: Context) -> types.Subscription:
        spec = _copy(types.Subscription.pb(request))
        rules.check_name(spec.name, "subscriptions")
        with self._core.lock:
            if spec.name in self._broker.subscriptions:
                raise _exists(spec.name)
            self._topic(spec.topic)
            self._complete(spec)
            self._broker.put_subscription(spec)
        return types.Subscription.wrap(spec)

    def GetSubscription(self, request: types.GetSubscriptionRequest, _: Context) -> types.Subscription:
        with self._core.lock:
            return types.Subscription.wrap(self._subscription(request.subscription).spec)

    def UpdateSubscription(self, request: types.UpdateSubscriptionRequest, _: Context) -> types.Subscription:
        pb = types.UpdateSubscriptionRequest.pb(request)
        with self._core.lock:
            current = self._subscription(pb.subscription.name).spec
            spec = rules.updated(types.Subscription, current, pb.subscription, pb.update_mask)
            self._complete(spec)
            self._broker.put_subscription(spec)
        return types.Subscription.wrap(spec)

    def ListSubscriptions(self, request: types.ListSubscriptionsRequest, _: Context) -> types.ListSubscriptionsResponse:
        with self._core.lock:
            specs = {name: subscription.spec for name, subscription in self._broker.subscriptions.items()}
        found, more = rules.page(specs, request.project, request.page_size, request.page_token)
        return _wrap(types.ListSubscriptionsResponse, subscriptions=found, next_page_token=more)

    def DeleteSubscription(self, request: types.DeleteSubscriptionRequest, _: Context) -> empty_pb2.Empty:
        with self._core.lock:
            self._subscription(request.subscription)
            self._broker.delete_subscription(request.subscription)
        return empty_pb2.Empty()

    def ModifyPushConfig(self, request: types.ModifyPushConfigRequest, _: Context) -> empty_pb2.Empty:
        pb = types.ModifyPushConfigRequest.pb(request)
        rules.check_push_config(pb.push_config)
        with self._core.lock:
            spec = _copy(self._subscription(pb.subscription).spec)
            spec.push_config.CopyFrom(pb.push_config)
            self._broker.put_subscription(spec)
        return empty_pb2.Empty()

    def Seek(self, request: types.SeekRequest, _: Context) -> types.SeekResponse:
        pb = types.SeekRequest.pb(request)
        if pb.WhichOneof("target") != "time":
            raise exceptions.MethodNotImplemented("Seek takes a time here: there are no snapshots.")
        with self._core.lock:
            at = pb.time.ToDatetime(self._core.now().tzinfo)
            self._broker.seek(self._subscription(pb.subscription), at)
        return types.SeekResponse()

    def Pull(self, request: types.PullRequest, context: Context) -> types.PullResponse:
        if request.max_messages < 1:
            raise exceptions.InvalidArgument(f"Invalid max_messages ({request.max_messages}): must be positive.")
        limit = min(request.max_messages, MAX_PER_RESPONSE)
        remaining = context.time_remaining()
        # Answer before the caller gives up: an empty response is cheaper for it than DEADLINE_EXCEEDED.
        wait = _PULL_WAIT if remaining is None else min(_PULL_WAIT, 0.8 * remaining)
        with self._core.changed:
            deliveries = self._core.changed.wait_for(
                lambda: self._broker.lease(self._pullable(request.subscription), limit) or not context.is_active(),
                0 if request.return_immediately else wait,
            )
            spec = self._subscription(request.subscription).spec
            received = (
                [received_message(spec, delivery) for delivery in deliveries] if isinstance(deliveries, list) else []
            )
        return _wrap(types.PullResponse, received_messages=received)

    def Acknowledge(self, request: types.AcknowledgeRequest, context: Context) -> empty_pb2.Empty:
        with self._core.lock:
            subscription = self._subscription(request.subscription)
            invalid = self._broker.acknowledge(subscription, request.ack_ids)
        self._report(subscription, invalid, context)
        return empty_pb2.Empty()

    def ModifyAckDeadline(self, request: types.ModifyAckDeadlineRequest, context: Context) -> empty_pb2.Empty:
        rules.check_ack_deadline(request.ack_deadline_seconds, least=0)
        with self._core.lock:
            subscription = self._subscription(request.subscription)
            invalid = self._broker.modify_deadline(subscription, request.ack_ids, request.ack_deadline_seconds)
        self._report(subscription, invalid, context)
        return empty_pb2.Empty()

    def StreamingPull(
        self, requests: Iterator[types.StreamingPullRequest], context: Context
    ) -> Iterator[types.StreamingPullResponse]:
        first = next(requests)
        rules.check_ack_deadline(first.stream_ack_deadline_seconds)
        with self._core.lock:
            self._pullable(first.subscription)
        stream = Stream(self._core, self._broker, lambda: self._pullable(first.subscription), first)
        return stream.responses(requests, context)

    # Shared by the methods

    def _topic(self, name: str) -> Pb:
        if name not in self._broker.topics:
            raise _missing(name)
        return self._broker.topics[name]

    def _subscription(self, name: str) -> Subscription:
        if name not in self._broker.subscriptions:
            raise _missing(name)
        return self._broker.subscriptions[name]

    def _pullable(self, name: str) -> Subscription:
        subscription = self._subscription(name)
        if subscription.spec.detached:
            raise exceptions.FailedPrecondition(f"The subscription is detached (resource={_short(name)}).")
        if subscription.pushes:
            raise exceptions.FailedPrecondition("This method is not supported for this subscription type.")
        return subscription

    def _complete(self, spec: Pb) -> None:
        rules.complete_subscription(spec)
        if spec.HasField("dead_letter_policy"):
            self._topic(spec.dead_letter_policy.dead_letter_topic)

    def _report(self, subscription: Subscription, invalid: list[str], context: Context) -> None:
        """Exactly-once subscriptions tell, per acknowledgement id, what failed; the others forgive."""
        if not invalid or not subscription.spec.enable_exactly_once_delivery:
            return
        message = "Some acknowledgement ids in the request were invalid."
        info = error_details_pb2.ErrorInfo(
            reason="ACKNOWLEDGEMENT_IDS_INVALID",
            domain="pubsub.googleapis.com",
            metadata=dict.fromkeys(invalid, "PERMANENT_FAILURE_INVALID_ACK_ID"),
        )
        status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=message)
        status.details.add().Pack(info)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        raise exceptions.InvalidArgument(message)


def _wrap(kind: Any, **fields: Any) -> Any:
    """A response made as a raw message: the wrappers' own constructor copies every element."""
    return kind.wrap(kind.pb()(**fields))


def _copy(pb: Pb) -> Pb:
    copy = type(pb)()
    copy.CopyFrom(pb)
    return copy


def _short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _missing(name: str) -> exceptions.NotFound:
    return exceptions.NotFound(f"Resource not found (resource={_short(name)}).")


def _exists(name: str) -> exceptions.AlreadyExists:
    return exceptions.AlreadyExists(f"Resource already exists in the project (resource={_short(name)}).")
