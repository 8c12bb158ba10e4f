"""One Cloud Tasks queue: when each task is dispatched, how often, and what becomes of it."""

import math
import struct
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from google.cloud import tasks_v2

from local_cloud import targets
from local_cloud.core import Answer, Core, Entry, Outgoing
from local_cloud.state import State

QUEUES = "tasks.queue"
TASKS = "tasks.task"
TOMBSTONES = "tasks.tombstone"

TOMBSTONE = timedelta(hours=1)
"""How long the name of a finished task stays taken. Google promises no time and says "up to 24 hours"; its limits page
said about one hour. The shorter one is what callers can rely on."""
RETENTION = timedelta(days=31)
"""A task of this age is deleted whether it was dispatched or not."""

_EPSILON = 1e-6
_COUNTERS = struct.Struct(">ii")


@dataclass(slots=True, eq=False)
class QueuedTask:
    """A task and what the next request says of the earlier ones."""

    task: tasks_v2.Task
    executions: int = 0
    """Answers so far, without those of 5xx: `X-CloudTasks-TaskExecutionCount`."""
    previous: int = 0
    """The status of the last answer, 0 without one: `X-CloudTasks-TaskPreviousResponse`."""
    running: int = 0
    entry: Entry | None = None

    @classmethod
    def from_bytes(cls, data: bytes) -> "QueuedTask":
        executions, previous = _COUNTERS.unpack_from(data)
        return cls(tasks_v2.Task.deserialize(data[_COUNTERS.size :]), executions, previous)

    def to_bytes(self) -> bytes:
        return _COUNTERS.pack(self.executions, self.previous) + tasks_v2.Task.serialize(self.task)


class TaskQueue:
    """The tasks of a queue, its token bucket and its dispatches. Everything here runs under the core's lock."""

    def __init__(self, core: Core, state: State, identity: targets.Identity, queue: tasks_v2.Queue) -> None:
        self.queue = queue
        self.tasks: dict[str, QueuedTask] = {}
        self._core = core
        self._state = state
        self._identity = identity
        self._ready: OrderedDict[str, QueuedTask] = OrderedDict()
        self._running = 0
        self._tokens = float(queue.rate_limits.max_burst_size)
        self._filled = core.now()
        self._refill: Entry | None = None
        self._tombstones: OrderedDict[str, float] = OrderedDict()

    def store(self) -> None:
        """Write the queue's own settings through."""
        self._state.put(QUEUES, self.queue.name, tasks_v2.Queue.serialize(self.queue))

    def taken(self, name: str) -> bool:
        """Whether a task of this name exists, or did until lately."""
        return name in self.tasks or self._tombstones.get(name, 0.0) > self._core.now().timestamp()

    def add(self, queued: QueuedTask) -> None:
        """Take a task in and dispatch it at its `schedule_time`, at once if that has passed."""
        self.tasks[queued.task.name] = queued
        self._store(queued)
        self._arm(queued)

    def bury(self, name: str, until: float) -> None:
        """Keep `name` taken until a Unix time in seconds, not before that of the name buried last."""
        self._tombstones[name] = until

    def remove(self, queued: QueuedTask) -> None:
        """Forget a task, finished or deleted; its name stays taken for `TOMBSTONE`."""
        name, now = queued.task.name, self._core.now()
        until = (now + TOMBSTONE).timestamp()
        self._forget_tombstones(now.timestamp())
        self._state.put(TOMBSTONES, name, repr(until).encode())
        self._state.delete(TASKS, name)
        self.bury(name, until)
        del self.tasks[name]
        self._withdraw(queued)

    def purge(self) -> None:
        for queued in list(self.tasks.values()):
            self.remove(queued)

    def delete(self) -> None:
        """Forget the queue with all its tasks and the names that were taken."""
        self.purge()
        self._forget_tombstones(math.inf)
        self._state.delete(QUEUES, self.queue.name)

    def run(self, queued: QueuedTask) -> None:
        """Dispatch a task now, whatever the limits and the state of the queue, also if it is running."""
        self._withdraw(queued)
        queued.task.schedule_time = self._core.now()
        self._dispatch(queued)

    def pump(self) -> None:
        """Dispatch what is ready, as far as the state, the rate and the concurrency allow."""
        limits = self.queue.rate_limits
        while (
            self._ready
            and self.queue.state == tasks_v2.Queue.State.RUNNING
            and self._running < limits.max_concurrent_dispatches
        ):
            first = next(iter(self._ready.values()))
            if self._core.now() >= first.task.create_time + RETENTION:
                self.remove(first)
            elif wait := self._take_token():
                self._wait_for_token(wait)
                return
            else:
                self._withdraw(first)
                self._dispatch(first)

    def _store(self, queued: QueuedTask) -> None:
        self._state.put(TASKS, queued.task.name, queued.to_bytes())

    def _forget_tombstones(self, before: float) -> None:
        while self._tombstones and next(iter(self._tombstones.values())) <= before:
            self._state.delete(TOMBSTONES, self._tombstones.popitem(last=False)[0])

    def _arm(self, queued: QueuedTask) -> None:
        self._withdraw(queued)
        queued.entry = self._core.at(queued.task.schedule_time, lambda: self._due(queued))

    def _withdraw(self, queued: QueuedTask) -> None:
        if queued.entry:
            queued.entry.cancel()
            queued.entry = None
        self._ready.pop(queued.task.name, None)

    def _due(self, queued: QueuedTask) -> None:
        queued.entry = None
        self._ready[queued.task.name] = queued
        self.pump()

    def _wait_for_token(self, seconds: float) -> None:
        if self._refill:
            self._refill.cancel()
        self._refill = self._core.after(seconds, self.pump)

    def _take_token(self) -> float:
        """Take a token from the bucket: 0, or the seconds until there will be one."""
        limits, now = self.queue.rate_limits, self._core.now()
        earned = (now - self._filled).total_seconds() * limits.max_dispatches_per_second
        self._tokens, self._filled = min(float(limits.max_burst_size), self._tokens + earned), now
        if self._tokens < 1 - _EPSILON:
            return max(_EPSILON, (1 - self._tokens) / limits.max_dispatches_per_second)
        self._tokens -= 1
        return 0.0

    def _dispatch(self, queued: QueuedTask) -> None:
        task, now = queued.task, self._core.now()
        attempt = tasks_v2.Attempt(schedule_time=task.schedule_time, dispatch_time=now)
        request = Outgoing(
            edge="task",
            name=task.name,
            method=task.http_request.http_method.name,
            url=task.http_request.url,
            headers=targets.headers(
                task.http_request, task.http_request.url, self._identity, _task_headers(self.queue.name, queued)
            ),
            body=task.http_request.body,
            timeout=task.dispatch_deadline.total_seconds(),
        )
        if not task.dispatch_count:
            task.first_attempt = tasks_v2.Attempt(dispatch_time=now)
        task.dispatch_count += 1
        task.last_attempt = attempt
        queued.running += 1
        self._running += 1
        self._store(queued)
        self._core.send(request, lambda answer: self._answered(queued, answer))

    def _answered(self, queued: QueuedTask, answer: Answer) -> None:
        queued.running -= 1
        self._running -= 1
        if self.tasks.get(queued.task.name) is queued:
            if targets.succeeded(answer.status):
                self.remove(queued)
            else:
                self._failed(queued, answer)
        self.pump()

    def _failed(self, queued: QueuedTask, answer: Answer) -> None:
        task, now = queued.task, self._core.now()
        queued.previous = answer.status
        if answer.status:
            task.response_count += 1
            task.last_attempt.response_time = now
            task.last_attempt.response_status.code = targets.rpc_code(answer.status)
        if answer.status and answer.status < 500:
            queued.executions += 1
        config = task.retry_config if "retry_config" in task else self.queue.retry_config
        if gives_up(config, task.dispatch_count, now - task.first_attempt.dispatch_time):
            self.remove(queued)
            return
        wait = targets.backoff(task.dispatch_count, config.min_backoff, config.max_backoff, config.max_doublings)
        task.schedule_time = now + max(wait, _retry_after(answer))
        self._store(queued)
        self._arm(queued)


def gives_up(config: tasks_v2.RetryConfig, attempts: int, elapsed: timedelta) -> bool:
    """Whether a task is not tried again: each limit that is set has been reached (`RetryConfig.max_attempts`).

    `elapsed` counts from the first attempt. Without a limit a task is tried until `RETENTION`.
    """
    reached: list[bool] = []
    if config.max_attempts > 0:
        reached.append(attempts >= config.max_attempts)
    if config.max_retry_duration:
        reached.append(elapsed >= config.max_retry_duration)
    return bool(reached) and all(reached)


def _retry_after(answer: Answer) -> timedelta:
    """How long a receiver that answers 429 or 503 asks to be spared, in whole seconds.

    "The retry specified in the Retry-After HTTP response header is considered" (`HttpRequest`, system throttling).
    """
    if answer.status not in (429, 503):
        return timedelta(0)
    retry_after = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "")
    return (
        timedelta(seconds=min(int(retry_after), RETENTION.total_seconds())) if retry_after.isdecimal() else timedelta(0)
    )


def _task_headers(queue: str, queued: QueuedTask) -> dict[str, str]:
    """https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler."""
    headers = {
        "User-Agent": "Google-Cloud-Tasks",
        "X-CloudTasks-QueueName": queue.rsplit("/", 1)[1],
        "X-CloudTasks-TaskName": queued.task.name.rsplit("/", 1)[1],
        "X-CloudTasks-TaskRetryCount": str(queued.task.dispatch_count),
        "X-CloudTasks-TaskExecutionCount": str(queued.executions),
        "X-CloudTasks-TaskETA": f"{queued.task.schedule_time.timestamp():.6f}",
    }
    if queued.previous:
        headers["X-CloudTasks-TaskPreviousResponse"] = str(queued.previous)
    return headers
