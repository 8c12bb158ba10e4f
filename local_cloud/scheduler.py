"""Cloud Scheduler: HTTP requests by cron expression and time zone.

Rules without another source: https://cloud.google.com/scheduler/docs/reference/rpc/google.cloud.scheduler.v1.
"""

import copy
import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter
from google.api_core import exceptions
from google.cloud import scheduler_v1
from google.protobuf import empty_pb2
from google.rpc import status_pb2

from local_cloud import targets
from local_cloud.core import Answer, Core, Entry, Outgoing
from local_cloud.state import State

ATTEMPT_DEADLINE = timedelta(minutes=3)
MAX_RETRIES = 5

_JOBS = "scheduler.job"
_JOB_NAME = re.compile(r"projects/[A-Za-z0-9.:-]+/locations/[a-z0-9-]+/jobs/[A-Za-z0-9_-]{1,500}")
_SETTINGS = ("description", "http_target", "schedule", "time_zone", "retry_config", "attempt_deadline")
_INSTANT = timedelta(microseconds=1)


@dataclass(slots=True, eq=False)
class _Scheduled:
    """A job, its next tick and its next retry, and the tick that waits for the execution before it."""

    job: scheduler_v1.Job
    tick: Entry | None = None
    retry: Entry | None = None
    running: int = 0
    waiting: datetime | None = None

    def unplan(self) -> None:
        for entry in (self.tick, self.retry):
            if entry:
                entry.cancel()
        self.tick = self.retry = self.waiting = None


@dataclass(slots=True)
class _Execution:
    """One execution of a job, with its retries."""

    scheduled: datetime
    started: datetime
    failures: int = 0


class CloudScheduler:
    """The service of `CloudSchedulerGrpcTransport`. `identity` makes the OIDC token that a request carries.

    What should have ticked while the process was down is not made up for.
    """

    def __init__(self, core: Core, state: State, identity: targets.Identity) -> None:
        self._core = core
        self._state = state
        self._identity = identity
        self._jobs: dict[str, _Scheduled] = {}
        with core.lock:
            for name, data in state.items(_JOBS):
                self._jobs[name] = _Scheduled(scheduler_v1.Job.deserialize(data))
                self._plan(self._jobs[name])

    def CreateJob(self, request: scheduler_v1.CreateJobRequest, _: Any) -> scheduler_v1.Job:
        with self._core.lock:
            job = scheduler_v1.Job(request.job)
            job.name = job.name or f"{request.parent}/jobs/{self._core.random.getrandbits(63)}"
            if not job.name.startswith(f"{request.parent}/jobs/") or not _JOB_NAME.fullmatch(job.name):
                raise exceptions.InvalidArgument("projects/PROJECT_ID/locations/LOCATION_ID/jobs/JOB_ID is expected.")
            if job.name in self._jobs:
                raise exceptions.AlreadyExists(f"Job {job.name} already exists.")
            job.state = scheduler_v1.Job.State.ENABLED
            return self._settle(_Scheduled(job), job)

    def GetJob(self, request: scheduler_v1.GetJobRequest, _: Any) -> scheduler_v1.Job:
        with self._core.lock:
            return scheduler_v1.Job(self._job(request.name).job)

    def ListJobs(self, request: scheduler_v1.ListJobsRequest, _: Any) -> scheduler_v1.ListJobsResponse:
        with self._core.lock:
            jobs = [s.job for name, s in self._jobs.items() if name.startswith(f"{request.parent}/jobs/")]
            jobs, token = targets.page(jobs, request.page_size, request.page_token, 500)
            return scheduler_v1.ListJobsResponse(jobs=jobs, next_page_token=token)

    def UpdateJob(self, request: scheduler_v1.UpdateJobRequest, _: Any) -> scheduler_v1.Job:
        """Set the fields of the mask, or all that can be set."""
        with self._core.lock:
            scheduled = self._job(request.job.name)
            changed = scheduler_v1.Job(scheduled.job)
            for path in request.update_mask.paths:
                if path.split(".")[0] not in _SETTINGS:
                    raise exceptions.InvalidArgument(f"{path} cannot be updated.")
            paths = request.update_mask.paths or _SETTINGS
            targets.merge(paths, scheduler_v1.Job.pb(request.job), scheduler_v1.Job.pb(changed))
            return self._settle(scheduled, changed)

    def DeleteJob(self, request: scheduler_v1.DeleteJobRequest, _: Any) -> empty_pb2.Empty:
        with self._core.lock:
            self._job(request.name).unplan()
            del self._jobs[request.name]
            self._state.delete(_JOBS, request.name)
            return empty_pb2.Empty()

    def PauseJob(self, request: scheduler_v1.PauseJobRequest, _: Any) -> scheduler_v1.Job:
        return self._set_state(request.name, scheduler_v1.Job.State.ENABLED, scheduler_v1.Job.State.PAUSED)

    def ResumeJob(self, request: scheduler_v1.ResumeJobRequest, _: Any) -> scheduler_v1.Job:
        return self._set_state(request.name, scheduler_v1.Job.State.PAUSED, scheduler_v1.Job.State.ENABLED)

    def RunJob(self, request: scheduler_v1.RunJobRequest, _: Any) -> scheduler_v1.Job:
        """Execute now, also if the job is running or paused."""
        with self._core.lock:
            scheduled, now = self._job(request.name), self._core.now()
            self._attempt(scheduled, _Execution(now, now))
            return scheduler_v1.Job(scheduled.job)

    def _job(self, name: str) -> _Scheduled:
        if name not in self._jobs:
            raise exceptions.NotFound("Job not found.")
        return self._jobs[name]

    def _settle(self, scheduled: _Scheduled, job: scheduler_v1.Job) -> scheduler_v1.Job:
        """Check a new or changed job, keep it and plan its next tick."""
        _check_job(job, self._core.now())
        job.user_update_time = self._core.now()
        scheduled.job = job
        self._jobs[job.name] = scheduled
        self._plan(scheduled)
        return scheduler_v1.Job(job)

    def _set_state(
        self, name: str, expected: scheduler_v1.Job.State, state: scheduler_v1.Job.State
    ) -> scheduler_v1.Job:
        with self._core.lock:
            scheduled = self._job(name)
            if scheduled.job.state != expected:
                raise exceptions.FailedPrecondition(f"Job {name} is not {expected.name}.")
            scheduled.job.state = state
            self._plan(scheduled)
            return scheduler_v1.Job(scheduled.job)

    def _store(self, scheduled: _Scheduled) -> None:
        self._state.put(_JOBS, scheduled.job.name, scheduler_v1.Job.serialize(scheduled.job))

    def _plan(self, scheduled: _Scheduled) -> None:
        """Plan the job from now on, if it is enabled."""
        scheduled.unplan()
        if scheduled.job.state == scheduler_v1.Job.State.ENABLED:
            self._plan_tick(scheduled, self._core.now())
        self._store(scheduled)

    def _plan_tick(self, scheduled: _Scheduled, after: datetime, earliest: datetime | None = None) -> None:
        start = max(after, (earliest or after) - _INSTANT)
        due = next_tick(scheduled.job.schedule, scheduled.job.time_zone, start)
        scheduled.job.schedule_time = due
        scheduled.tick = self._core.at(due, lambda: self._tick(scheduled, due), recurring=True)

    def _tick(self, scheduled: _Scheduled, due: datetime) -> None:
        """A tick while an execution is under way waits for its end; a pending retry gives way to it."""
        if scheduled.retry:
            scheduled.retry.cancel()
            scheduled.retry = None
        self._plan_tick(scheduled, max(due, self._core.now()), self._core.earliest_tick(due))
        if scheduled.running:
            scheduled.waiting = due
            self._store(scheduled)
        else:
            self._attempt(scheduled, _Execution(due, self._core.now()))

    def _attempt(self, scheduled: _Scheduled, execution: _Execution) -> None:
        job = scheduled.job
        target = job.http_target
        request = Outgoing(
            edge="schedule",
            name=job.name,
            method=target.http_method.name,
            url=target.uri,
            headers=targets.headers(target, target.uri, self._identity, _job_headers(job, execution)),
            body=target.body,
            timeout=job.attempt_deadline.total_seconds(),
        )
        job.last_attempt_time = self._core.now()
        scheduled.running += 1
        self._store(scheduled)
        self._core.send(request, lambda answer: self._answered(scheduled, execution, answer))

    def _answered(self, scheduled: _Scheduled, execution: _Execution, answer: Answer) -> None:
        scheduled.running -= 1
        if self._jobs.get(scheduled.job.name) is not scheduled:
            return
        scheduled.job.status = status_pb2.Status(code=targets.rpc_code(answer.status))
        if scheduled.waiting and not scheduled.running:
            due, scheduled.waiting = scheduled.waiting, None
            self._attempt(scheduled, _Execution(due, self._core.now()))
            return
        if not targets.succeeded(answer.status):
            self._failed(scheduled, execution)
        self._store(scheduled)

    def _failed(self, scheduled: _Scheduled, execution: _Execution) -> None:
        execution.failures += 1
        config, now = scheduled.job.retry_config, self._core.now()
        exhausted = execution.failures > config.retry_count and now - execution.started >= config.max_retry_duration
        if exhausted or not config.retry_count or not scheduled.tick:
            return
        wait = targets.backoff(
            execution.failures, config.min_backoff_duration, config.max_backoff_duration, config.max_doublings
        )
        if now + wait >= scheduled.tick.due:
            return
        if scheduled.retry:
            scheduled.retry.cancel()
        scheduled.job.schedule_time = now + wait
        scheduled.retry = self._core.at(now + wait, lambda: self._retry(scheduled, execution))

    def _retry(self, scheduled: _Scheduled, execution: _Execution) -> None:
        scheduled.retry = None
        if scheduled.tick:
            scheduled.job.schedule_time = scheduled.tick.due
        self._attempt(scheduled, execution)


def next_tick(schedule: str, time_zone: str, after: datetime) -> datetime:
    """The first instant after `after` that a unix-cron expression names in a time zone.

    Raises InvalidArgument for an expression or a zone that does not exist, or that names no instant at all.
    """
    try:
        local = after.astimezone(_zone(time_zone))
        if len(schedule.split()) != 5:
            raise exceptions.InvalidArgument("The schedule must have five fields (unix-cron).")
        return copy.copy(_cron(schedule)).get_next(datetime, local).astimezone(UTC)
    except (CroniterError, ZoneInfoNotFoundError, ValueError) as error:
        raise exceptions.InvalidArgument(f"Schedule or time zone is invalid: {error}") from error


@functools.cache
def _cron(schedule: str) -> croniter:
    """An expression, parsed: reading it takes longer than all the rest. It is to be copied, for it keeps where it was."""
    return croniter(schedule)


def _zone(name: str) -> ZoneInfo:
    return ZoneInfo("UTC" if name.lower() in ("", "utc") else name)


def _check_job(job: scheduler_v1.Job, now: datetime) -> None:
    """Raise what the service answers to a job that it does not take; set the defaults of one that it does."""
    if "pubsub_target" in job or "app_engine_http_target" in job:
        raise exceptions.MethodNotImplemented("Only HTTP targets are served locally.")
    target, retries = job.http_target, job.retry_config
    target.http_method = target.http_method or scheduler_v1.HttpMethod.POST
    targets.check(target, target.uri, target.http_method.name)
    next_tick(job.schedule, job.time_zone, now)
    job.time_zone = job.time_zone or "UTC"
    job.attempt_deadline = targets.check_deadline(job.attempt_deadline, ATTEMPT_DEADLINE)
    if not 0 <= retries.retry_count <= MAX_RETRIES:
        raise exceptions.InvalidArgument(f"retry_count must be between 0 and {MAX_RETRIES}.")
    retries.min_backoff_duration = retries.min_backoff_duration or timedelta(seconds=5)
    retries.max_backoff_duration = retries.max_backoff_duration or timedelta(hours=1)
    retries.max_doublings = retries.max_doublings or 5


def _job_headers(job: scheduler_v1.Job, execution: _Execution) -> dict[str, str]:
    """The headers that `HttpTarget.headers` documents; the time as an offset of UTC, RFC 3339."""
    headers = {
        "User-Agent": "Google-Cloud-Scheduler",
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": job.name.rsplit("/", 1)[1],
        "X-CloudScheduler-ScheduleTime": execution.scheduled.astimezone(_zone(job.time_zone)).isoformat(),
    }
    given = {name.lower() for name in job.http_target.headers}
    if job.http_target.body and "content-type" not in given:
        headers["Content-Type"] = "application/octet-stream"
    return headers
