"""Cloud Tasks of the local cloud, through the official client."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask

from local_cloud.core import Answer
from local_cloud.state import State
from local_cloud.tasks import CloudTasks
from tests.receiver import Receiver, last_parts, serving

LOCATION = "projects/kapas-local/locations/asia-south1"
QUEUE = f"{LOCATION}/queues/webhooks"
URL = "https://receiver.example.com/attempt"
Client = tasks_v2.CloudTasksClient


def identity(email: str, audience: str) -> str:
    return f"{email}|{audience}"


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def service(receiver: Receiver) -> CloudTasks:
    return CloudTasks(receiver.core, State(), identity)


@pytest.fixture
def client(service: CloudTasks) -> Iterator[Client]:
    with serving(service, Client, CloudTasksGrpcTransport) as client:
        client.create_queue(parent=LOCATION, queue={"name": QUEUE})
        yield client


def task(name: str = "", **fields: Any) -> dict[str, Any]:
    request = {"url": URL, "body": b"{}", **fields.pop("http_request", {})}
    return {"name": f"{QUEUE}/tasks/{name}" if name else "", "http_request": request, **fields}


def create(client: Client, name: str = "", **fields: Any) -> tasks_v2.Task:
    return client.create_task(parent=QUEUE, task=task(name, **fields))


def retrying(client: Client, **config: Any) -> None:
    client.update_queue(queue={"name": QUEUE, "retry_config": config})


def advance(receiver: Receiver, **delta: float) -> None:
    assert receiver.driver.advance(timedelta(**delta))


def test_a_task_is_dispatched_with_its_body_headers_and_identity(receiver: Receiver, client: Client) -> None:
    http = {
        "body": b'{"n": 1}',
        "headers": {"Content-Type": "application/json", "User-Agent": "mine", "authorization": "none", "X-Trace": "t"},
        "oidc_token": {
            "service_account_email": "tasks@kapas-local.example.com",
            "audience": "https://kapas.example.com",
        },
    }
    create(client, "t1", http_request=http, dispatch_deadline={"seconds": 20})
    advance(receiver)
    (request,) = receiver.requests
    assert (request.edge, request.name) == ("task", f"{QUEUE}/tasks/t1")
    assert (request.method, request.url, request.body, request.timeout) == ("POST", URL, b'{"n": 1}', 20.0)
    assert request.headers == {
        "Content-Type": "application/json",
        "X-Trace": "t",
        "User-Agent": "Google-Cloud-Tasks",
        "Authorization": "Bearer tasks@kapas-local.example.com|https://kapas.example.com",
        "X-CloudTasks-QueueName": "webhooks",
        "X-CloudTasks-TaskName": "t1",
        "X-CloudTasks-TaskRetryCount": "0",
        "X-CloudTasks-TaskExecutionCount": "0",
        "X-CloudTasks-TaskETA": "1767225600.000000",
    }
    assert list(client.list_tasks(parent=QUEUE)) == []


def test_the_audience_of_the_token_is_the_url_unless_one_is_given(receiver: Receiver, client: Client) -> None:
    create(client, http_request={"oidc_token": {"service_account_email": "tasks@example.com"}})
    advance(receiver)
    assert receiver.requests[0].headers["Authorization"] == f"Bearer tasks@example.com|{URL}"


def test_a_name_is_taken_until_an_hour_after_the_task_has_finished(receiver: Receiver, client: Client) -> None:
    created = create(client, "once", schedule_time=receiver.core.now() + timedelta(hours=2))
    assert created.name == f"{QUEUE}/tasks/once"
    with pytest.raises(exceptions.AlreadyExists):
        create(client, "once")
    advance(receiver, hours=2)
    advance(receiver, minutes=59)
    with pytest.raises(exceptions.AlreadyExists):
        create(client, "once")
    with pytest.raises(exceptions.NotFound, match="existed recently"):
        client.get_task(name=f"{QUEUE}/tasks/once")
    advance(receiver, minutes=1)
    create(client, "once")
    advance(receiver)
    assert receiver.names() == ["once", "once"]


def test_a_task_waits_for_its_schedule_time(receiver: Receiver, client: Client) -> None:
    start = receiver.core.now()
    create(client, "late", schedule_time=start + timedelta(days=30))
    create(client, "past", schedule_time=start - timedelta(hours=1))
    advance(receiver, days=29, hours=23)
    assert receiver.names() == ["past"]
    advance(receiver, hours=1)
    assert receiver.seconds() == [0, timedelta(days=30).total_seconds()]


def test_retries_double_then_grow_linearly_then_stay_at_the_maximum(receiver: Receiver, client: Client) -> None:
    """The example of `RetryConfig.max_doublings`: 10s, 20s, 40s, 80s, 160s, 240s, 300s, 300s, ..."""
    retrying(client, min_backoff={"seconds": 10}, max_backoff={"seconds": 300}, max_doublings=3)
    receiver.answer(*[500] * 8)
    create(client)
    advance(receiver, days=3)
    gaps = [after - before for before, after in zip(receiver.seconds(), receiver.seconds()[1:], strict=False)]
    assert gaps == [10, 20, 40, 80, 160, 240, 300, 300]
    assert [request.headers["X-CloudTasks-TaskRetryCount"] for request in receiver.requests] == list("012345678")


def test_the_headers_of_a_retry_tell_of_the_answers_before_it(receiver: Receiver, client: Client) -> None:
    receiver.answer(503, 0, 404, 409)
    create(client)
    advance(receiver, hours=1)
    headers = [request.headers for request in receiver.requests]
    assert [h["X-CloudTasks-TaskExecutionCount"] for h in headers] == ["0", "0", "0", "1", "2"]
    assert [h.get("X-CloudTasks-TaskPreviousResponse") for h in headers] == [None, "503", None, "404", "409"]


def test_a_task_is_given_up_when_both_limits_are_reached(receiver: Receiver, client: Client) -> None:
    backoff = {"min_backoff": {"seconds": 60}, "max_backoff": {"seconds": 60}}
    retrying(client, max_attempts=3, **backoff)
    receiver.answer(*[500] * 3)
    create(client, "attempts")
    advance(receiver, hours=1)
    assert receiver.seconds() == [0, 60, 120]
    with pytest.raises(exceptions.NotFound):
        client.get_task(name=f"{QUEUE}/tasks/attempts")

    retrying(client, max_attempts=2, max_retry_duration={"seconds": 300}, **backoff)
    receiver.times.clear()
    receiver.answer(*[500] * 9)
    create(client, "duration")
    advance(receiver, hours=1)
    assert receiver.seconds() == [0, 60, 120, 180, 240, 300]


def test_a_retry_config_of_the_task_comes_before_the_queues(receiver: Receiver, client: Client) -> None:
    receiver.answer(*[500] * 5)
    create(client, retry_config={"max_attempts": 2, "min_backoff": {"seconds": 7}})
    advance(receiver, hours=1)
    assert receiver.seconds() == [0, 7]


def test_a_task_of_31_days_is_deleted(receiver: Receiver, client: Client) -> None:
    client.pause_queue(name=QUEUE)
    create(client, "old")
    advance(receiver, days=31)
    client.resume_queue(name=QUEUE)
    assert list(client.list_tasks(parent=QUEUE)) == []
    assert receiver.requests == []


def test_a_receiver_can_ask_to_be_spared(receiver: Receiver, client: Client) -> None:
    receiver.answers = iter([Answer(503, headers={"retry-after": "90"}), Answer(500, headers={"Retry-After": "90"})])
    create(client)
    advance(receiver, hours=1)
    assert receiver.seconds() == [0, 90, pytest.approx(90.2)]


def test_attempts_are_told_of(receiver: Receiver, client: Client) -> None:
    retrying(client, min_backoff={"seconds": 30})
    receiver.answer(500)
    name = create(client).name
    advance(receiver)
    found = client.get_task(name=name)
    assert (found.dispatch_count, found.response_count, found.last_attempt.response_status.code) == (1, 1, 13)
    assert found.first_attempt.dispatch_time == receiver.times[0]
    assert found.schedule_time == receiver.times[0] + timedelta(seconds=30)


def test_a_paused_queue_keeps_its_tasks_until_it_is_resumed(receiver: Receiver, client: Client) -> None:
    assert client.pause_queue(name=QUEUE).state == tasks_v2.Queue.State.PAUSED
    create(client, "kept")
    advance(receiver, hours=1)
    assert receiver.requests == []
    client.resume_queue(name=QUEUE)
    advance(receiver)
    assert receiver.names() == ["kept"]


def test_a_task_can_be_run_at_once_even_in_a_paused_queue(receiver: Receiver, client: Client) -> None:
    client.pause_queue(name=QUEUE)
    name = create(client, "now", schedule_time=receiver.core.now() + timedelta(days=1)).name
    client.run_task(name=name)
    advance(receiver)
    assert receiver.names() == ["now"]
    client.resume_queue(name=QUEUE)
    advance(receiver, days=2)
    assert receiver.names() == ["now"]
    with pytest.raises(exceptions.NotFound):
        client.run_task(name=name)


def test_the_rate_is_a_token_bucket(receiver: Receiver, client: Client) -> None:
    client.update_queue(queue={"name": QUEUE, "rate_limits": {"max_dispatches_per_second": 2}})
    client.pause_queue(name=QUEUE)
    for number in range(6):
        create(client, f"t{number}")
    client.resume_queue(name=QUEUE)
    advance(receiver, minutes=1)
    assert receiver.names() == [f"t{number}" for number in range(6)]
    assert receiver.seconds() == [0, 0, 0.5, 1, 1.5, 2]


def test_a_higher_rate_holds_at_once(receiver: Receiver, client: Client) -> None:
    client.update_queue(queue={"name": QUEUE, "rate_limits": {"max_dispatches_per_second": 0.001}})
    for _ in range(3):
        create(client)
    advance(receiver)
    client.update_queue(queue={"name": QUEUE, "rate_limits": {"max_dispatches_per_second": 1}})
    advance(receiver, seconds=2)
    assert receiver.seconds() == [0, 1, 2]


def test_only_so_many_are_dispatched_at_a_time(receiver: Receiver, client: Client) -> None:
    client.update_queue(queue={"name": QUEUE, "rate_limits": {"max_concurrent_dispatches": 2}})
    receiver.holding = True
    for number in range(3):
        create(client, f"t{number}")
    receiver.driver.settle(0.01)
    assert receiver.names() == ["t0", "t1"]
    receiver.held.pop(0)(Answer(200))
    assert receiver.names() == ["t0", "t1", "t2"]


def test_deleted_and_purged_tasks_are_not_dispatched(receiver: Receiver, client: Client) -> None:
    later = receiver.core.now() + timedelta(hours=1)
    client.delete_task(name=create(client, "deleted", schedule_time=later).name)
    create(client, "purged", schedule_time=later)
    assert client.purge_queue(name=QUEUE).purge_time == receiver.core.now()
    create(client, "kept", schedule_time=later)
    advance(receiver, hours=1)
    assert receiver.names() == ["kept"]
    client.delete_queue(name=QUEUE)
    for call in (lambda: client.get_queue(name=QUEUE), lambda: create(client), lambda: client.list_tasks(parent=QUEUE)):
        with pytest.raises(exceptions.NotFound):
            call()


def test_a_task_deleted_while_it_runs_stays_deleted(receiver: Receiver, client: Client) -> None:
    receiver.holding = True
    name = create(client).name
    receiver.driver.settle(0.01)
    client.delete_task(name=name)
    receiver.held.pop()(Answer(500))
    advance(receiver, days=1)
    assert len(receiver.requests) == 1


def test_a_queue_gets_googles_defaults_and_is_updated_by_mask(client: Client) -> None:
    queue = client.get_queue(name=QUEUE)
    assert (queue.rate_limits.max_dispatches_per_second, queue.rate_limits.max_concurrent_dispatches) == (500, 1000)
    assert (queue.retry_config.max_attempts, queue.retry_config.max_doublings) == (100, 16)
    assert queue.retry_config.min_backoff == timedelta(milliseconds=100)
    assert queue.retry_config.max_backoff == timedelta(hours=1)
    wanted = {"name": QUEUE, "rate_limits": {"max_dispatches_per_second": 5}, "retry_config": {"max_attempts": 7}}
    updated = client.update_queue(queue=wanted, update_mask=FieldMask(paths=["retry_config.max_attempts"]))
    assert (updated.retry_config.max_attempts, updated.rate_limits.max_dispatches_per_second) == (7, 500)
    with pytest.raises(exceptions.InvalidArgument):
        client.update_queue(queue=wanted, update_mask=FieldMask(paths=["state"]))
    other = client.update_queue(queue={"name": f"{LOCATION}/queues/other"})
    assert other.state == tasks_v2.Queue.State.RUNNING
    assert last_parts(client.list_queues(parent=LOCATION)) == ["other", "webhooks"]
    with pytest.raises(exceptions.AlreadyExists):
        client.create_queue(parent=LOCATION, queue={"name": QUEUE})


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "no/slash"},
        {"name": "x" * 501},
        {"http_request": {"url": "ftp://receiver.example.com"}},
        {"http_request": {"url": "https://receiver.example.com/" + "x" * 2083}},
        {"http_request": {"http_method": tasks_v2.HttpMethod.GET}},
        {"http_request": {"body": b"x" * (1 << 20)}},
        {"dispatch_deadline": {"seconds": 14}},
        {"dispatch_deadline": {"seconds": 1801}},
    ],
    ids=["name", "name length", "scheme", "url length", "body with GET", "size", "short deadline", "long deadline"],
)
def test_a_task_out_of_range_is_refused(client: Client, fields: dict[str, Any]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        create(client, **fields)


def test_a_task_more_than_30_days_ahead_is_refused(receiver: Receiver, client: Client) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        create(client, schedule_time=receiver.core.now() + timedelta(days=30, seconds=1))


@pytest.mark.parametrize("limits", [{"max_dispatches_per_second": 501}, {"max_concurrent_dispatches": 5001}])
def test_a_queue_out_of_range_is_refused(client: Client, limits: dict[str, Any]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        client.create_queue(parent=LOCATION, queue={"name": f"{LOCATION}/queues/fast", "rate_limits": limits})


def test_lists_are_paged_and_leave_the_body_out(client: Client) -> None:
    client.pause_queue(name=QUEUE)
    for number in range(5):
        create(client, f"t{number}")
    pages = list(client.list_tasks(request={"parent": QUEUE, "page_size": 2}).pages)
    assert [last_parts(page.tasks) for page in pages] == [["t0", "t1"], ["t2", "t3"], ["t4"]]
    assert pages[0].tasks[0].http_request.body == b""
    full = client.get_task(request={"name": f"{QUEUE}/tasks/t0", "response_view": tasks_v2.Task.View.FULL})
    assert full.http_request.body == b"{}"


def test_pending_says_what_is_due_and_no_body(receiver: Receiver, service: CloudTasks, client: Client) -> None:
    create(client, "t1", schedule_time=receiver.core.now() + timedelta(hours=1))
    assert service.pending() == [
        {
            "queue": QUEUE,
            "task": f"{QUEUE}/tasks/t1",
            "attempts": 0,
            "running": False,
            "next_due": "2026-01-01T01:00:00+00:00",
        }
    ]


def test_queues_tasks_and_taken_names_survive_a_restart(tmp_path: Path) -> None:
    first, file = Receiver(), tmp_path / "state.db"
    state = State(file)
    with serving(CloudTasks(first.core, state, identity), Client, CloudTasksGrpcTransport) as client:
        client.create_queue(parent=LOCATION, queue={"name": QUEUE})
        retrying(client, min_backoff={"seconds": 10}, max_attempts=9)
        create(client, "done")
        advance(first)
        first.answer(404)
        create(client, "failed", http_request={"body": b"payload"})
        create(client, "later", schedule_time=first.core.now() + timedelta(hours=1))
        advance(first)
        first.holding = True
        create(client, "running")
        first.driver.settle(0.01)
    state.close()

    second = Receiver()
    with serving(CloudTasks(second.core, State(file), identity), Client, CloudTasksGrpcTransport) as client:
        assert client.get_queue(name=QUEUE).retry_config.max_attempts == 9
        with pytest.raises(exceptions.AlreadyExists):
            create(client, "done")
        advance(second, hours=1)
    assert list(zip(second.names(), second.seconds(), strict=True)) == [("running", 0), ("failed", 10), ("later", 3600)]
    assert second.requests[1].body == b"payload"
    assert second.requests[1].headers["X-CloudTasks-TaskPreviousResponse"] == "404"
    assert second.requests[0].headers["X-CloudTasks-TaskRetryCount"] == "1"
