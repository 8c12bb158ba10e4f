"""Events, tasks and schedules arrive, come again when they must, and are not lost when they cannot."""

from typing import Any

from local_cloud.provision import DEAD_LETTER_ATTEMPTS, TIME_ZONE
from tests.terraform.deployed import Deployed, seconds

MINUTE, HOUR, DAY = 60, 3600, 86400


def _subscriptions(deployed: Deployed) -> dict[str, dict[str, Any]]:
    return {values["name"]: values for values in deployed.values("pubsub_subscription")}


def test_each_topic_of_a_function_has_a_push_subscription(deployed: Deployed) -> None:
    push = {name: s["topic"].rpartition("/")[2] for name, s in _subscriptions(deployed).items() if s["push_config"]}
    assert push == {name: topic for name, (topic, _) in deployed.catalog.subscriptions().items()}


def test_pushes_go_to_their_function_as_its_caller(deployed: Deployed) -> None:
    for name, (_, function) in deployed.catalog.subscriptions().items():
        (push,) = _subscriptions(deployed)[name]["push_config"]
        (token,) = push["oidc_token"]
        assert token["audience"] == deployed.environments[function]["SERVICE_AUDIENCE"], name
        assert push["push_endpoint"].rstrip("/") == token["audience"], name
        assert token["service_account_email"] in deployed.environments[function]["ALLOWED_CALLERS"].split(","), name


def test_a_push_is_given_as_long_as_its_function_may_take(deployed: Deployed) -> None:
    for name, (_, function) in deployed.catalog.subscriptions().items():
        deadline = _subscriptions(deployed)[name]["ack_deadline_seconds"]
        assert 10 <= deadline <= 600
        assert deadline >= deployed.services[function]["timeout_seconds"], name


def test_pushes_are_in_order_and_come_again_with_growing_pauses(deployed: Deployed) -> None:
    for name in deployed.catalog.subscriptions():
        subscription = _subscriptions(deployed)[name]
        assert subscription["enable_message_ordering"] is True, name
        assert not subscription["filter"], name
        (retry,) = subscription["retry_policy"]
        assert 1 <= seconds(retry["minimum_backoff"]) < seconds(retry["maximum_backoff"]) <= 10 * MINUTE, name


def test_what_cannot_be_delivered_is_kept_where_it_is_read(deployed: Deployed) -> None:
    subscriptions = _subscriptions(deployed)
    readers = {target for member, target in deployed.granted("roles/pubsub.subscriber") if member.startswith("group:")}
    for name in deployed.catalog.subscriptions():
        (policy,) = subscriptions[name]["dead_letter_policy"]
        assert policy["max_delivery_attempts"] == DEAD_LETTER_ATTEMPTS, name
        kept = [s for s in subscriptions.values() if s["topic"] == policy["dead_letter_topic"]]
        assert [s["name"] for s in kept] == [f"{name}.dead-letter"]
        assert seconds(kept[0]["message_retention_duration"]) >= 14 * DAY, name
        assert kept[0]["name"] in readers, name


def test_no_subscription_expires(deployed: Deployed) -> None:
    for name, subscription in _subscriptions(deployed).items():
        assert [policy["ttl"] for policy in subscription["expiration_policy"]] == [""], name


def test_events_can_be_replayed_for_a_week(deployed: Deployed) -> None:
    topics = {topic["name"]: topic for topic in deployed.values("pubsub_topic")}
    for name in deployed.catalog.topics:
        assert seconds(topics[name]["message_retention_duration"]) >= 7 * DAY, name


def test_queues_are_as_the_catalog_says(deployed: Deployed) -> None:
    queues = {queue["name"]: queue for queue in deployed.values("cloud_tasks_queue")}
    assert set(queues) == set(deployed.catalog.queues)
    for name, wanted in deployed.catalog.queues.items():
        (limits,), (retry,) = queues[name]["rate_limits"], queues[name]["retry_config"]
        assert limits["max_dispatches_per_second"] == wanted.max_dispatches_per_second, name
        assert limits["max_concurrent_dispatches"] == wanted.max_concurrent_dispatches, name
        assert retry["max_attempts"] == wanted.max_attempts, name
        assert seconds(retry["min_backoff"]) == wanted.min_backoff_seconds, name
        assert seconds(retry["max_backoff"]) == wanted.max_backoff_seconds, name
        assert queues[name]["desired_state"] in (None, "RUNNING"), name


def test_a_queue_does_not_dispatch_more_than_its_function_takes(deployed: Deployed) -> None:
    for name, function in deployed.functions("task").items():
        service = deployed.services[name]
        capacity = service["max_instance_count"] * service["max_instance_request_concurrency"]
        assert deployed.catalog.queues[function.trigger.queue or ""].max_concurrent_dispatches <= capacity, name


def test_a_task_outlives_an_outage_by_its_retries_or_by_a_sweep(deployed: Deployed) -> None:
    """The pauses of a queue's retries double from the least to the most; past them a scheduled function finds the work."""
    for name, queue in deployed.catalog.queues.items():
        pauses, pause = 0.0, queue.min_backoff_seconds
        for _ in range(queue.max_attempts - 1):
            pauses, pause = pauses + pause, min(2 * pause, queue.max_backoff_seconds)
        handlers = {f.capability for f in deployed.functions("task").values() if f.trigger.queue == name}
        sweeps = [f for f in deployed.functions("schedule").values() if f.capability in handlers]
        assert sweeps or pauses >= HOUR, f"{name} gives up after {pauses:.0f} s, and nothing looks for what it lost"


def test_schedules_are_as_the_catalog_says(deployed: Deployed) -> None:
    jobs = {job["name"]: job for job in deployed.values("cloud_scheduler_job")}
    scheduled = deployed.functions("schedule")
    assert set(jobs) == set(scheduled)
    for name, function in scheduled.items():
        (target,) = jobs[name]["http_target"]
        (token,) = target["oidc_token"]
        variables = deployed.environments[name]
        assert jobs[name]["schedule"] == function.trigger.schedule, name
        assert jobs[name]["time_zone"] == TIME_ZONE, name
        assert not jobs[name]["paused"], name
        assert target["http_method"] == "POST", name
        assert target["uri"].rstrip("/") == token["audience"] == variables["SERVICE_AUDIENCE"], name
        assert token["service_account_email"] in variables["ALLOWED_CALLERS"].split(","), name
        assert seconds(jobs[name]["attempt_deadline"]) >= deployed.services[name]["timeout_seconds"], name


def test_who_enqueues_knows_where_to_and_as_whom(deployed: Deployed) -> None:
    for name, function in deployed.catalog.functions.items():
        if function.enqueues:
            variables = deployed.environments[name]
            urls = dict(pair.split("=", 1) for pair in variables["TASK_URLS"].split(","))
            assert urls == {t: deployed.environments[t]["SERVICE_AUDIENCE"] for t in function.enqueues.values()}, name
            for target in urls:
                assert variables["TASKS_CALLER"] in deployed.environments[target]["ALLOWED_CALLERS"].split(","), name


def test_who_publishes_reaches_the_relay(deployed: Deployed) -> None:
    (relay,) = [name for name, function in deployed.catalog.functions.items() if function.woken]
    for name, function in deployed.catalog.functions.items():
        if function.publishes:
            assert deployed.environments[name]["RELAY_URL"] == deployed.environments[relay]["SERVICE_AUDIENCE"], name
            # The relay takes calls from the network only.
            assert deployed.services[name]["direct_vpc_network_interface"], name
