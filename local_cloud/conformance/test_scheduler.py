"""Cloud Scheduler of the local cloud, through the official client."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import scheduler_v1
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask

from local_cloud.core import Answer
from local_cloud.scheduler import CloudScheduler, next_tick
from local_cloud.state import State
from tests.receiver import Receiver, last_parts, serving

LOCATION = "projects/kapas-local/locations/asia-south1"
JOB = f"{LOCATION}/jobs/sweep"
URI = "https://kapas.example.com/sweep"
START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
Client = scheduler_v1.CloudSchedulerClient
JobState = scheduler_v1.Job.State


def identity(email: str, audience: str) -> str:
    return f"{email}|{audience}"


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(START)


@pytest.fixture
def client(receiver: Receiver) -> Iterator[Client]:
    with serving(CloudScheduler(receiver.core, State(), identity), Client, CloudSchedulerGrpcTransport) as client:
        yield client


def create(client: Client, schedule: str = "* * * * *", **fields: Any) -> scheduler_v1.Job:
    target = {"uri": URI, **fields.pop("http_target", {})}
    return client.create_job(parent=LOCATION, job={"name": JOB, "schedule": schedule, "http_target": target, **fields})


def advance(receiver: Receiver, **delta: float) -> None:
    assert receiver.driver.advance(timedelta(**delta))


def test_a_job_ticks_in_its_time_zone_with_its_headers_and_identity(receiver: Receiver, client: Client) -> None:
    target = {
        "body": b"all",
        "headers": {"X-Trace": "t-1", "User-Agent": "mine"},
        "oidc_token": {"service_account_email": "scheduler@example.com", "audience": "https://kapas.example.com"},
    }
    job = create(client, "30 2 * * *", time_zone="Asia/Kolkata", http_target=target, attempt_deadline={"seconds": 60})
    assert job.schedule_time == datetime(2026, 3, 1, 21, 0, tzinfo=UTC)
    advance(receiver, days=2)
    assert receiver.times == [datetime(2026, 3, day, 21, 0, tzinfo=UTC) for day in (1, 2)]
    request = receiver.requests[0]
    assert (request.edge, request.name, request.method) == ("schedule", JOB, "POST")
    assert (request.url, request.body, request.timeout) == (URI, b"all", 60.0)
    assert request.headers == {
        "X-Trace": "t-1",
        "User-Agent": "Google-Cloud-Scheduler",
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": "sweep",
        "X-CloudScheduler-ScheduleTime": "2026-03-02T02:30:00+05:30",
        "Content-Type": "application/octet-stream",
        "Authorization": "Bearer scheduler@example.com|https://kapas.example.com",
    }


@pytest.mark.parametrize(("minutes", "hours"), [(5, 3), (1, 1)])
def test_every_tick_of_a_short_advance_is_played(receiver: Receiver, client: Client, minutes: int, hours: int) -> None:
    create(client, f"*/{minutes} * * * *")
    advance(receiver, hours=hours)
    assert receiver.seconds() == [60.0 * minutes * number for number in range(60 * hours // minutes)]


def test_eight_years_of_minutes_are_played_in_about_twenty_true_ticks(receiver: Receiver, client: Client) -> None:
    create(client, "* * * * *")
    client.create_job(
        parent=LOCATION,
        job={"name": f"{LOCATION}/jobs/monthly", "schedule": "0 6 1 * *", "http_target": {"uri": URI}},
    )
    advance(receiver, days=8 * 365)
    ticks = list(zip(receiver.names(), receiver.times, strict=True))
    sweeps = [time for name, time in ticks if name == "sweep"]
    assert 18 <= len(sweeps) <= 22
    assert all(time.second == 0 for time in sweeps)
    months = [time for name, time in ticks if name == "monthly"]
    assert 15 <= len(months) <= 22
    assert {(time.day, time.hour, time.minute) for time in months} == {(1, 6, 0)}
    receiver.times.clear()
    advance(receiver, minutes=2)
    assert len(receiver.times) == 2


def test_a_failed_execution_is_retried_with_back_off(receiver: Receiver, client: Client) -> None:
    create(client, "0 0 * * *", retry_config={"retry_count": 3, "min_backoff_duration": {"seconds": 10}})
    receiver.answer(500, 503, 404, 500)
    advance(receiver, hours=13)
    assert receiver.seconds() == [0, 10, 30, 70]
    assert {request.headers["X-CloudScheduler-ScheduleTime"] for request in receiver.requests} == {
        "2026-03-02T00:00:00+00:00"
    }
    job = client.get_job(name=JOB)
    assert job.status.code == 13
    assert job.last_attempt_time == receiver.times[-1]
    assert job.schedule_time == datetime(2026, 3, 3, tzinfo=UTC)


def test_a_retry_gives_way_to_the_next_tick(receiver: Receiver, client: Client) -> None:
    create(client, "* * * * *", retry_config={"retry_count": 5, "min_backoff_duration": {"seconds": 45}})
    receiver.answer(500, 500)
    advance(receiver, seconds=30 + 45)
    assert client.get_job(name=JOB).schedule_time == datetime(2026, 3, 1, 12, 2, tzinfo=UTC)
    advance(receiver, seconds=45)
    assert receiver.seconds() == [0, 45, 60]


def test_without_a_retry_count_a_failure_waits_for_the_next_tick(receiver: Receiver, client: Client) -> None:
    create(client, "0 * * * *")
    receiver.answer(500)
    advance(receiver, hours=2)
    assert receiver.seconds() == [0, 3600]
    assert client.get_job(name=JOB).status.code == 0


def test_an_execution_waits_for_the_end_of_the_one_before(receiver: Receiver, client: Client) -> None:
    create(client, "* * * * *")
    receiver.holding = True
    receiver.driver.advance(timedelta(minutes=2), settle_timeout=0.01)
    assert len(receiver.requests) == 1
    receiver.holding = False
    receiver.held.pop()(Answer(200))
    assert receiver.driver.settle()
    assert len(receiver.requests) == 2
    assert receiver.requests[1].headers["X-CloudScheduler-ScheduleTime"] == "2026-03-01T12:02:00+00:00"


def test_a_job_can_be_run_now(receiver: Receiver, client: Client) -> None:
    create(client, "0 0 1 1 *")
    client.pause_job(name=JOB)
    client.run_job(name=JOB)
    advance(receiver)
    assert receiver.times == [START]


def test_a_paused_job_does_not_tick(receiver: Receiver, client: Client) -> None:
    create(client)
    assert client.pause_job(name=JOB).state == JobState.PAUSED
    with pytest.raises(exceptions.FailedPrecondition):
        client.pause_job(name=JOB)
    advance(receiver, hours=1)
    assert receiver.requests == []
    assert client.resume_job(name=JOB).state == JobState.ENABLED
    with pytest.raises(exceptions.FailedPrecondition):
        client.resume_job(name=JOB)
    advance(receiver, minutes=1)
    assert len(receiver.requests) == 1


def test_a_job_is_updated_by_mask_and_planned_anew(receiver: Receiver, client: Client) -> None:
    create(client, "* * * * *", description="every minute")
    wanted = {"name": JOB, "schedule": "0 0 * * *", "description": "at midnight"}
    job = client.update_job(job=wanted, update_mask=FieldMask(paths=["schedule"]))
    assert (job.schedule, job.description, job.http_target.uri) == ("0 0 * * *", "every minute", URI)
    advance(receiver, hours=12)
    assert receiver.times == [datetime(2026, 3, 2, tzinfo=UTC)]
    with pytest.raises(exceptions.InvalidArgument):
        client.update_job(job=wanted, update_mask=FieldMask(paths=["state"]))
    with pytest.raises(exceptions.NotFound):
        client.update_job(job={"name": f"{LOCATION}/jobs/none"}, update_mask=FieldMask(paths=["schedule"]))


def test_jobs_are_listed_and_deleted(receiver: Receiver, client: Client) -> None:
    create(client)
    with pytest.raises(exceptions.AlreadyExists):
        create(client)
    create(client, name=f"{LOCATION}/jobs/other")
    assert last_parts(client.list_jobs(parent=LOCATION)) == ["other", "sweep"]
    client.delete_job(name=JOB)
    with pytest.raises(exceptions.NotFound):
        client.get_job(name=JOB)
    advance(receiver, minutes=1)
    assert receiver.names() == ["other"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "projects/p/locations/l/jobs/no.dots"},
        {"schedule": "61 * * * *"},
        {"schedule": "* * * * * *"},
        {"schedule": "0 0 31 2 *"},
        {"time_zone": "Asia/Nowhere"},
        {"http_target": {"uri": "kapas.example.com"}},
        {"retry_config": {"retry_count": 6}},
        {"attempt_deadline": {"seconds": 5}},
    ],
    ids=["name", "minute", "seconds", "never", "time zone", "scheme", "retries", "deadline"],
)
def test_a_job_out_of_range_is_refused(client: Client, fields: dict[str, Any]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        create(client, **fields)


def test_a_tick_follows_daylight_saving_time() -> None:
    before, after = datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
    assert next_tick("0 9 * * *", "America/New_York", before) == datetime(2026, 3, 7, 14, tzinfo=UTC)
    assert next_tick("0 9 * * *", "America/New_York", after) == datetime(2026, 3, 9, 13, tzinfo=UTC)


def test_jobs_survive_a_restart_and_missed_ticks_are_not_replayed(tmp_path: Path) -> None:
    first, file = Receiver(START), tmp_path / "state.db"
    state = State(file)
    with serving(CloudScheduler(first.core, state, identity), Client, CloudSchedulerGrpcTransport) as client:
        create(client, "0 * * * *", http_target={"body": b"all"})
        create(client, "* * * * *", name=f"{LOCATION}/jobs/paused")
        client.pause_job(name=f"{LOCATION}/jobs/paused")
        advance(first, hours=1)
    state.close()

    second = Receiver(START + timedelta(hours=5))
    with serving(CloudScheduler(second.core, State(file), identity), Client, CloudSchedulerGrpcTransport) as client:
        assert client.get_job(name=JOB).last_attempt_time == first.times[0]
        assert client.get_job(name=f"{LOCATION}/jobs/paused").state == JobState.PAUSED
        advance(second, hours=1)
    assert second.times == [datetime(2026, 3, 1, 18, tzinfo=UTC)]
    assert second.requests[0].body == b"all"
