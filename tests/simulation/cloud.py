"""Pub/Sub, Cloud Tasks and Cloud Scheduler of one run: the local cloud's own, on the kernel's core, without gRPC."""

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.cloud import scheduler_v1, tasks_v2
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import types

from local_cloud import pubsub_rules
from local_cloud.environment import PROJECT, PUSH_CALLER, SCHEDULE_CALLER, Addresses
from local_cloud.provision import DEAD_LETTER_ATTEMPTS, TIME_ZONE
from local_cloud.pubsub_delivery import Broker
from local_cloud.scheduler import CloudScheduler
from local_cloud.tasks import CloudTasks
from tests.simulation.fleet import Functions, identity
from tests.simulation.kernel import START, Kernel
from tools.catalog import Catalog

LONGEST_TICK = timedelta(hours=48)
"""How far apart the ticks of a schedule may be while nothing happens."""
SPARSER = 8
"""The ticks are so many times further apart than the time since something happened."""


class Forgetful:
    """A `local_cloud.state.State` that keeps nothing: a run does not outlive its process."""

    def put(self, *_: Any) -> None: ...

    def delete(self, *_: Any) -> None: ...

    def put_many(self, *_: Any) -> None: ...

    def delete_many(self, *_: Any) -> None: ...

    def items(self, _: str) -> list[tuple[str, bytes]]:
        return []


@dataclass
class Stretch:
    """A `core.Advance`: the longer nothing but schedules has happened, the further apart their ticks are."""

    kernel: Kernel
    active: datetime = START
    target: datetime = START + timedelta(days=100 * 365)

    @property
    def spacing(self) -> timedelta:
        return min(max(timedelta(minutes=1), SPARSER * (self.kernel.core.now() - self.active)), LONGEST_TICK)


class Cloud:
    """The services that deliver, with everything the catalog describes."""

    def __init__(self, kernel: Kernel, functions: Functions) -> None:
        state: Any = Forgetful()
        described = _described(functions)
        self._parent = described.parent
        self.broker = Broker(kernel.core, state, identity)
        self.tasks = CloudTasks(kernel.core, state, identity)
        self.stretch = Stretch(kernel)
        stretched: Any = self.stretch
        kernel.core.advance = stretched
        self._scheduler = CloudScheduler(kernel.core, state, identity)
        for topic in described.topics:
            self.broker.put_topic(topic)
        for subscription in described.subscriptions:
            self.broker.put_subscription(subscription)
        for queue in described.queues:
            self.tasks.CreateQueue(queue, None)
        for job in described.jobs:
            self._scheduler.CreateJob(job, None)

    def pause(self, job: str) -> None:
        """Have a job not tick in this run."""
        self._scheduler.PauseJob(scheduler_v1.PauseJobRequest(name=f"{self._parent}/jobs/{job}"), None)

    def undelivered(self) -> list[str]:
        """What has not been taken in yet, and what was given up, which waits in a dead-letter topic."""
        held = [str(message["subscription"]) for message in self.broker.pending()]
        return held + [task["task"] for task in self.tasks.pending()]


@dataclass(frozen=True)
class _Described:
    """What the catalog describes, as the services are told of it. They keep it as it is, so that it serves every run."""

    parent: str
    topics: list[Any]
    subscriptions: list[Any]
    queues: list[tasks_v2.CreateQueueRequest]
    jobs: list[scheduler_v1.CreateJobRequest]


@functools.cache
def _described(functions: Functions) -> _Described:
    catalog, addresses = functions.catalog, functions.addresses
    parent = f"projects/{PROJECT}/locations/{catalog.region}"
    return _Described(
        parent,
        _topics(catalog),
        _subscriptions(catalog, addresses),
        [tasks_v2.CreateQueueRequest(parent=parent, queue=queue) for queue in _queues(catalog)],
        [scheduler_v1.CreateJobRequest(parent=parent, job=job) for job in _jobs(catalog, addresses)],
    )


def _topics(catalog: Catalog) -> list[Any]:
    names = [*catalog.topics, *(f"{name}.dead-letter" for name in catalog.subscriptions())]
    return [types.Topic.pb()(name=_topic(name), state=types.Topic.State.ACTIVE) for name in names]


def _subscriptions(catalog: Catalog, at: Addresses) -> list[Any]:
    """Those of local_cloud/provision.py."""
    made: list[Any] = []
    for name, (topic, function) in catalog.subscriptions().items():
        dead, url = f"{name}.dead-letter", at.function(function)
        made.append(types.Subscription.pb()(name=_subscription(dead), topic=_topic(dead)))
        made.append(
            types.Subscription.pb()(
                name=_subscription(name),
                topic=_topic(topic),
                enable_message_ordering=True,
                ack_deadline_seconds=max(10, catalog.functions[function].timeout_seconds),
                push_config={
                    "push_endpoint": url,
                    "oidc_token": {"service_account_email": PUSH_CALLER, "audience": url},
                },
                retry_policy={"minimum_backoff": Duration(seconds=1), "maximum_backoff": Duration(seconds=60)},
                dead_letter_policy={
                    "dead_letter_topic": _topic(dead),
                    "max_delivery_attempts": DEAD_LETTER_ATTEMPTS,
                },
            )
        )
    for subscription in made:
        pubsub_rules.complete_subscription(subscription)
    return made


def _queues(catalog: Catalog) -> list[tasks_v2.Queue]:
    parent = f"projects/{PROJECT}/locations/{catalog.region}"
    return [
        tasks_v2.Queue(
            name=f"{parent}/queues/{name}",
            rate_limits=tasks_v2.RateLimits(
                max_dispatches_per_second=queue.max_dispatches_per_second,
                max_concurrent_dispatches=queue.max_concurrent_dispatches,
            ),
            retry_config=tasks_v2.RetryConfig(
                max_attempts=queue.max_attempts,
                min_backoff=timedelta(seconds=queue.min_backoff_seconds),
                max_backoff=timedelta(seconds=queue.max_backoff_seconds),
            ),
        )
        for name, queue in catalog.queues.items()
    ]


def _jobs(catalog: Catalog, at: Addresses) -> list[scheduler_v1.Job]:
    parent = f"projects/{PROJECT}/locations/{catalog.region}"
    return [
        scheduler_v1.Job(
            name=f"{parent}/jobs/{name}",
            schedule=function.trigger.schedule,
            time_zone=TIME_ZONE,
            attempt_deadline=timedelta(seconds=function.timeout_seconds),
            http_target=scheduler_v1.HttpTarget(
                uri=at.function(name),
                http_method=scheduler_v1.HttpMethod.POST,
                oidc_token=scheduler_v1.OidcToken(service_account_email=SCHEDULE_CALLER, audience=at.function(name)),
            ),
        )
        for name, function in catalog.functions.items()
        if function.trigger.schedule
    ]


def _topic(name: str) -> str:
    return f"projects/{PROJECT}/topics/{name}"


def _subscription(name: str) -> str:
    return f"projects/{PROJECT}/subscriptions/{name}"
