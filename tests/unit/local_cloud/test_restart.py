"""What the local cloud does after a restart, with the state of the run before."""

from datetime import timedelta
from pathlib import Path

from google.cloud import tasks_v2

from local_cloud.core import Core, Done, Outgoing, VirtualClock
from local_cloud.state import State
from local_cloud.tasks import CloudTasks

QUEUE = "projects/p/locations/l/queues/attempts"
NOBODY = None


def test_time_that_was_moved_stays_moved(tmp_path: Path) -> None:
    before = Core(lambda *_: None, clock=VirtualClock(state=State(tmp_path / "state")))
    before.clock.advance(timedelta(days=3))
    before.clock.advance(timedelta(hours=1))
    last = before.now()
    after = Core(lambda *_: None, clock=VirtualClock(state=State(tmp_path / "state")))
    assert last <= after.now() < last + timedelta(minutes=1)
    after.clock.advance(timedelta(hours=1))
    assert VirtualClock(state=State(tmp_path / "state")).now() >= last + timedelta(hours=1)


def test_a_task_goes_to_the_port_that_the_cloud_has_now(tmp_path: Path) -> None:
    sent: list[Outgoing] = []

    def send(request: Outgoing, _: Done) -> None:
        sent.append(request)

    def identity(_: str, audience: str) -> str:
        return audience

    def start(port: int) -> tuple[Core, CloudTasks]:
        state = State(tmp_path / "state")
        core = Core(send, clock=VirtualClock(state=state))
        return core, CloudTasks(core, state, identity, f"http://127.0.0.1:{port}")

    core, tasks = start(8080)
    queue = tasks_v2.Queue(name=QUEUE)
    tasks.CreateQueue(tasks_v2.CreateQueueRequest(parent=QUEUE.partition("/queues/")[0], queue=queue), NOBODY)
    plain, urls = (
        "http://127.0.0.1:8080/_functions/x",
        ["http://127.0.0.1:8080/_functions/y", "http://127.0.0.1:9999/z"],
    )
    for url in urls:
        token = tasks_v2.OidcToken(service_account_email="tasks@example.com", audience=url)
        task = tasks_v2.Task(
            http_request=tasks_v2.HttpRequest(url=url, oidc_token=token), schedule_time=core.now() + timedelta(hours=1)
        )
        tasks.CreateTask(tasks_v2.CreateTaskRequest(parent=QUEUE, task=task), NOBODY)
    task = tasks_v2.Task(http_request=tasks_v2.HttpRequest(url=plain), schedule_time=core.now() + timedelta(hours=1))
    tasks.CreateTask(tasks_v2.CreateTaskRequest(parent=QUEUE, task=task), NOBODY)

    core, _ = start(8081)
    core.clock.advance(timedelta(hours=2))
    while core.step():
        pass
    assert {request.url: request.headers.get("Authorization") for request in sent} == {
        "http://127.0.0.1:8081/_functions/x": None,
        "http://127.0.0.1:8081/_functions/y": "Bearer http://127.0.0.1:8081/_functions/y",
        urls[1]: f"Bearer {urls[1]}",
    }
