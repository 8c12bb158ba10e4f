"""The local Cloud Tasks alone, with the queues of the catalog, on threads of this process."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from local_cloud import gapic
from local_cloud.core import Core
from local_cloud.driver import Driver
from local_cloud.environment import PROJECT
from local_cloud.oidc import Issuer
from local_cloud.state import State
from local_cloud.tasks import CloudTasks
from local_cloud.transport import HttpTransport
from tools.catalog import Catalog

_STOP_SECONDS = 1.0


@contextmanager
def running(described: Catalog, issuer: Issuer) -> Generator[str]:
    """Its `host:port`. As many requests as the queues allow may be under way at once."""
    queues = described.queues
    transport = HttpTransport(sum(queue.max_concurrent_dispatches for queue in queues.values()))
    core = Core(transport)
    service = CloudTasks(core, State(), issuer.token)
    parent = f"projects/{PROJECT}/locations/{described.region}"
    for name, queue in queues.items():
        limits = {
            "max_dispatches_per_second": queue.max_dispatches_per_second,
            "max_concurrent_dispatches": queue.max_concurrent_dispatches,
        }
        retries = {
            "max_attempts": queue.max_attempts,
            "min_backoff": timedelta(seconds=queue.min_backoff_seconds),
            "max_backoff": timedelta(seconds=queue.max_backoff_seconds),
        }
        wanted = {"name": f"{parent}/queues/{name}", "rate_limits": limits, "retry_config": retries}
        service.CreateQueue(tasks_v2.CreateQueueRequest(parent=parent, queue=wanted), None)
    server, port = gapic.serve({CloudTasksGrpcTransport: service})
    driver = Driver(core)
    driver.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        driver.stop()
        server.stop(_STOP_SECONDS).wait()
        transport.close()
