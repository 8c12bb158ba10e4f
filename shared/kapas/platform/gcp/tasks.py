"""Cloud Tasks through Google's client."""

from typing import Any

import grpc
from google.api_core.exceptions import AlreadyExists
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from kapas.platform.ports import Task
from kapas.platform.settings import TaskSettings


class CloudTasks:
    """A `kapas.platform.ports.Tasks`: HTTP tasks that carry an OIDC token of the tasks' service account."""

    def __init__(self, settings: TaskSettings) -> None:
        self._parent = f"projects/{settings.project}/locations/{settings.region}/queues"
        self._caller = settings.tasks_caller
        self._urls = dict(pair.split("=", 1) for pair in settings.task_urls.split(","))
        options: dict[str, Any] = {}
        if settings.tasks_endpoint:
            options["transport"] = CloudTasksGrpcTransport(channel=grpc.insecure_channel(settings.tasks_endpoint))
        self._client: Any = tasks_v2.CloudTasksClient(**options)

    def enqueue(self, task: Task) -> bool:
        url = self._urls[task.function]
        request: dict[str, Any] = {
            "name": f"{self._parent}/{task.queue}/tasks/{task.name}",
            "http_request": {
                "url": url,
                "headers": {"Content-Type": "application/json", **task.headers},
                "body": task.body,
                "oidc_token": {"service_account_email": self._caller, "audience": url},
            },
        }
        if task.schedule_time is not None:
            request["schedule_time"] = task.schedule_time
        try:
            self._client.create_task(parent=f"{self._parent}/{task.queue}", task=request)
        except AlreadyExists:
            return False
        return True
