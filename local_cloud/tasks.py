"""Cloud Tasks: queues of HTTP requests, each made at its time and again until it succeeds.

Rules without another source: https://cloud.google.com/tasks/docs/reference/rpc/google.cloud.tasks.v2 and
https://cloud.google.com/tasks/docs/quotas#limits.
"""

import math
import re
from datetime import datetime, timedelta
from typing import Any

from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf import empty_pb2

from local_cloud import targets
from local_cloud.core import Core
from local_cloud.state import State
from local_cloud.task_queue import QUEUES, TASKS, TOMBSTONES, QueuedTask, TaskQueue

MAX_TASK_SIZE = 1 << 20
"""1 MB, as the limits page says; the reference of `tasks.create` long said 100 KB, the App Engine limit."""
MAX_SCHEDULE = timedelta(days=30)
DISPATCH_DEADLINE = timedelta(minutes=10)

_QUEUE_NAME = re.compile(r"projects/[A-Za-z0-9.:-]+/locations/[a-z0-9-]+/queues/[A-Za-z0-9-]{1,100}")
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_LOCAL = re.compile(r"http://127\.0\.0\.1:\d+(?=/_functions/)")
_SETTINGS = ("rate_limits", "retry_config", "stackdriver_logging_config", "http_target", "app_engine_routing_override")


class CloudTasks:
    """The service of `CloudTasksGrpcTransport`. `identity` makes the OIDC token that a dispatch carries.

    Tasks from before a restart that are for functions of this cloud go to `base_url`: its port may be another one now.
    """

    def __init__(self, core: Core, state: State, identity: targets.Identity, base_url: str | None = None) -> None:
        self._core = core
        self._state = state
        self._identity = identity
        self._base_url = base_url
        self._queues: dict[str, TaskQueue] = {}
        with core.lock:
            self._load()

    def pending(self) -> list[dict[str, Any]]:
        """Every task by queue and due time, without its body: queue, task, attempts, running, next_due (RFC 3339)."""
        with self._core.lock:
            tasks = [(name, queued) for name, queue in self._queues.items() for queued in queue.tasks.values()]
            tasks.sort(key=lambda item: (item[0], item[1].task.schedule_time, item[1].task.name))
            return [
                {
                    "queue": name,
                    "task": queued.task.name,
                    "attempts": queued.task.dispatch_count,
                    "running": queued.running > 0,
                    "next_due": queued.task.schedule_time.isoformat(),
                }
                for name, queued in tasks
            ]

    def CreateQueue(self, request: tasks_v2.CreateQueueRequest, _: Any) -> tasks_v2.Queue:
        with self._core.lock:
            if not request.queue.name.startswith(f"{request.parent}/queues/"):
                raise exceptions.InvalidArgument("The queue name must begin with its parent.")
            if request.queue.name in self._queues:
                raise exceptions.AlreadyExists("Queue already exists")
            return self._create(request.queue)

    def GetQueue(self, request: tasks_v2.GetQueueRequest, _: Any) -> tasks_v2.Queue:
        with self._core.lock:
            return tasks_v2.Queue(self._queue(request.name).queue)

    def ListQueues(self, request: tasks_v2.ListQueuesRequest, _: Any) -> tasks_v2.ListQueuesResponse:
        with self._core.lock:
            queues = [q.queue for name, q in self._queues.items() if name.startswith(f"{request.parent}/queues/")]
            queues, token = targets.page(queues, request.page_size, request.page_token, 9800)
            return tasks_v2.ListQueuesResponse(queues=queues, next_page_token=token)

    def UpdateQueue(self, request: tasks_v2.UpdateQueueRequest, _: Any) -> tasks_v2.Queue:
        """Set the fields of the mask, or all of them; creates the queue if there is none."""
        with self._core.lock:
            queue = self._queues.get(request.queue.name)
            if queue is None:
                return self._create(request.queue)
            changed = tasks_v2.Queue(queue.queue)
            for path in request.update_mask.paths:
                if path.split(".")[0] not in _SETTINGS:
                    raise exceptions.InvalidArgument(f"{path} cannot be updated.")
            paths = request.update_mask.paths or _SETTINGS
            targets.merge(paths, tasks_v2.Queue.pb(request.queue), tasks_v2.Queue.pb(changed))
            queue.queue = _settled(changed)
            queue.store()
            queue.pump()
            return tasks_v2.Queue(changed)

    def DeleteQueue(self, request: tasks_v2.DeleteQueueRequest, _: Any) -> empty_pb2.Empty:
        with self._core.lock:
            self._queue(request.name).delete()
            del self._queues[request.name]
            return empty_pb2.Empty()

    def PurgeQueue(self, request: tasks_v2.PurgeQueueRequest, _: Any) -> tasks_v2.Queue:
        with self._core.lock:
            queue = self._queue(request.name)
            queue.purge()
            queue.queue.purge_time = self._core.now()
            queue.store()
            return tasks_v2.Queue(queue.queue)

    def PauseQueue(self, request: tasks_v2.PauseQueueRequest, _: Any) -> tasks_v2.Queue:
        return self._set_state(request.name, tasks_v2.Queue.State.PAUSED)

    def ResumeQueue(self, request: tasks_v2.ResumeQueueRequest, _: Any) -> tasks_v2.Queue:
        return self._set_state(request.name, tasks_v2.Queue.State.RUNNING)

    def CreateTask(self, request: tasks_v2.CreateTaskRequest, _: Any) -> tasks_v2.Task:
        with self._core.lock:
            queue, task = self._queue(request.parent), tasks_v2.Task(request.task)
            task.name = task.name or self._new_name(queue)
            _check_task(task, queue.queue.name)
            self._schedule(task)
            if queue.taken(task.name):
                raise exceptions.AlreadyExists("Requested entity already exists")
            queue.add(QueuedTask(task))
            return _view(task, request.response_view)

    def GetTask(self, request: tasks_v2.GetTaskRequest, _: Any) -> tasks_v2.Task:
        with self._core.lock:
            return _view(self._task(request.name)[1].task, request.response_view)

    def ListTasks(self, request: tasks_v2.ListTasksRequest, _: Any) -> tasks_v2.ListTasksResponse:
        with self._core.lock:
            tasks = [queued.task for queued in self._queue(request.parent).tasks.values()]
            tasks, token = targets.page(tasks, request.page_size, request.page_token, 1000)
            views = [_view(task, request.response_view) for task in tasks]
            return tasks_v2.ListTasksResponse(tasks=views, next_page_token=token)

    def DeleteTask(self, request: tasks_v2.DeleteTaskRequest, _: Any) -> empty_pb2.Empty:
        with self._core.lock:
            queue, queued = self._task(request.name)
            queue.remove(queued)
            return empty_pb2.Empty()

    def RunTask(self, request: tasks_v2.RunTaskRequest, _: Any) -> tasks_v2.Task:
        with self._core.lock:
            queue, queued = self._task(request.name)
            queue.run(queued)
            return _view(queued.task, request.response_view)

    def _load(self) -> None:
        for name, data in self._state.items(QUEUES):
            self._queues[name] = self._new(tasks_v2.Queue.deserialize(data))
        tombstones = [(float(until), name) for name, until in self._state.items(TOMBSTONES)]
        for until, name in sorted(tombstones):
            self._queues[_queue_of(name)].bury(name, until)
        tasks = [QueuedTask.from_bytes(data) for _, data in self._state.items(TASKS)]
        for queued in sorted(tasks, key=lambda queued: queued.task.schedule_time):
            self._bring_home(queued.task.http_request)
            self._queues[_queue_of(queued.task.name)].add(queued)

    def _bring_home(self, target: tasks_v2.HttpRequest) -> None:
        if self._base_url is None:
            return
        target.url = _LOCAL.sub(self._base_url, target.url)
        if "oidc_token" in target:
            target.oidc_token.audience = _LOCAL.sub(self._base_url, target.oidc_token.audience)

    def _new(self, queue: tasks_v2.Queue) -> TaskQueue:
        return TaskQueue(self._core, self._state, self._identity, queue)

    def _create(self, given: tasks_v2.Queue) -> tasks_v2.Queue:
        if not _QUEUE_NAME.fullmatch(given.name):
            raise exceptions.InvalidArgument("projects/PROJECT_ID/locations/LOCATION_ID/queues/QUEUE_ID is expected.")
        settled = _settled(tasks_v2.Queue(given))
        settled.state = tasks_v2.Queue.State.RUNNING
        queue = self._queues[given.name] = self._new(settled)
        queue.store()
        return tasks_v2.Queue(settled)

    def _queue(self, name: str) -> TaskQueue:
        if name not in self._queues:
            raise exceptions.NotFound("Queue does not exist.")
        return self._queues[name]

    def _task(self, name: str) -> tuple[TaskQueue, QueuedTask]:
        queue = self._queue(_queue_of(name))
        if queued := queue.tasks.get(name):
            return queue, queued
        if queue.taken(name):
            raise exceptions.NotFound("The task no longer exists, though a task with this name existed recently.")
        raise exceptions.NotFound("Requested entity was not found.")

    def _set_state(self, name: str, state: tasks_v2.Queue.State) -> tasks_v2.Queue:
        with self._core.lock:
            queue = self._queue(name)
            queue.queue.state = state
            queue.store()
            queue.pump()
            return tasks_v2.Queue(queue.queue)

    def _new_name(self, queue: TaskQueue) -> str:
        name = f"{queue.queue.name}/tasks/{self._core.random.getrandbits(63)}"
        return self._new_name(queue) if queue.taken(name) else name

    def _schedule(self, task: tasks_v2.Task) -> None:
        now = self._core.now()
        wanted: datetime | None = task.schedule_time
        if wanted and wanted > now + MAX_SCHEDULE:
            raise exceptions.InvalidArgument("The task's schedule_time must be at most 30 days in the future.")
        task.schedule_time = max(wanted or now, now)
        task.create_time = now.replace(microsecond=0)


def _queue_of(task: str) -> str:
    return task.rsplit("/tasks/", 1)[0]


def _check_task(task: tasks_v2.Task, queue: str) -> None:
    """Raise what the service answers to a task that it does not take; set the defaults of one that it does."""
    prefix, _, identifier = task.name.rpartition("/tasks/")
    if prefix != queue or not _TASK_ID.fullmatch(identifier):
        raise exceptions.InvalidArgument(
            "QUEUE_NAME/tasks/TASK_ID is expected: letters, numbers, hyphens, underscores."
        )
    if "app_engine_http_request" in task:
        raise exceptions.MethodNotImplemented("App Engine targets are not served locally.")
    target = task.http_request
    target.http_method = target.http_method or tasks_v2.HttpMethod.POST
    targets.check(target, target.url, target.http_method.name)
    task.dispatch_deadline = targets.check_deadline(task.dispatch_deadline, DISPATCH_DEADLINE)
    if "retry_config" in task:
        _settle_retries(task.retry_config)
    for output in ("dispatch_count", "response_count", "first_attempt", "last_attempt", "view"):
        tasks_v2.Task.pb(task).ClearField(output)
    if tasks_v2.Task.pb(task).ByteSize() > MAX_TASK_SIZE:
        raise exceptions.InvalidArgument("Task size too large")


def _settled(queue: tasks_v2.Queue) -> tasks_v2.Queue:
    """`queue` with Google's defaults for what it leaves open. Raises InvalidArgument for what is out of range."""
    limits = queue.rate_limits
    limits.max_dispatches_per_second = limits.max_dispatches_per_second or 500.0
    limits.max_concurrent_dispatches = limits.max_concurrent_dispatches or 1000
    if not 0 < limits.max_dispatches_per_second <= 500 or not 0 < limits.max_concurrent_dispatches <= 5000:
        raise exceptions.InvalidArgument("At most 500 dispatches a second and 5000 at a time are allowed.")
    limits.max_burst_size = math.ceil(limits.max_dispatches_per_second)
    _settle_retries(queue.retry_config)
    return queue


def _settle_retries(config: tasks_v2.RetryConfig) -> None:
    config.max_attempts = config.max_attempts or 100
    config.max_doublings = config.max_doublings or 16
    config.min_backoff = config.min_backoff or timedelta(milliseconds=100)
    config.max_backoff = config.max_backoff or timedelta(hours=1)
    if config.max_attempts < -1 or config.max_doublings < 0 or config.min_backoff > config.max_backoff:
        raise exceptions.InvalidArgument("The retry configuration is invalid.")


def _view(task: tasks_v2.Task, view: tasks_v2.Task.View) -> tasks_v2.Task:
    """A copy of `task`; the basic view leaves the body out, for it can be large and sensitive."""
    copy = tasks_v2.Task(task)
    copy.view = view or tasks_v2.Task.View.BASIC
    if copy.view == tasks_v2.Task.View.BASIC:
        copy.http_request.body = b""
    return copy
