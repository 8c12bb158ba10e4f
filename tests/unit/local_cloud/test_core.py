"""The local cloud's heap, what drives it, its way out to the network, and the faults in between."""

import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from local_cloud.core import Answer, Core, Done, Outgoing, VirtualClock
from local_cloud.driver import Driver
from local_cloud.faults import Faults, Rule
from local_cloud.transport import HttpTransport
from tests.receiver import Receiver
from tests.times import PATIENCE

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver(START)


def request(name: str = "a", edge: str = "task", url: str = "http://receiver.example.com/hook") -> Outgoing:
    return Outgoing(edge, name, "POST", url, {"X-Name": name}, b"body", 5.0)


def test_entries_run_in_the_order_of_their_time_and_then_of_their_making(receiver: Receiver) -> None:
    ran: list[str] = []
    for due, name in [(2, "c"), (1, "a"), (2, "d"), (1, "b")]:
        receiver.core.after(due, lambda name=name: ran.append(name))
    receiver.core.after(1, lambda: ran.append("never")).cancel()
    assert not receiver.core.step()
    receiver.core.clock.advance(timedelta(seconds=2))
    while receiver.core.step():
        pass
    assert ran == ["a", "b", "c", "d"]


def test_the_next_entry_is_told_with_and_without_schedules(receiver: Receiver) -> None:
    assert receiver.core.next_due() is None
    receiver.core.after(2, lambda: None)
    receiver.core.after(1, lambda: None, recurring=True)
    assert receiver.core.next_due() == START + timedelta(seconds=1)
    assert receiver.core.next_due(recurring=False) == START + timedelta(seconds=2)


def test_an_advance_runs_each_entry_at_its_own_instant(receiver: Receiver) -> None:
    seen: list[datetime] = []

    def again() -> None:
        seen.append(receiver.core.now())
        receiver.core.after(3600 * len(seen), again)

    receiver.core.after(60, again)
    assert receiver.driver.advance(timedelta(hours=7))
    assert [(time - START).total_seconds() for time in seen] == [60, 3660, 10860, 21660]
    assert receiver.core.now() == START + timedelta(hours=7)


def test_an_advance_lets_requests_be_answered_before_it_goes_on() -> None:
    """Retries over three days: each is planned by the answer to the one before, which comes from another thread."""
    times: list[datetime] = []

    def send(_: Outgoing, done: Done) -> None:
        threading.Thread(target=done, args=(Answer(500),)).start()

    core = Core(send, clock=VirtualClock(START, frozen=True))

    def attempt() -> None:
        times.append(core.now())
        core.send(request(), retry)

    def retry(_: Answer) -> None:
        core.after(3600 * 2 ** len(times), attempt)

    core.after(0, attempt)
    assert Driver(core).advance(timedelta(days=3))
    assert [(after - before).total_seconds() / 3600 for before, after in pairwise(times)] == [2, 4, 8, 16, 32]


def test_an_advance_goes_on_without_an_answer_after_a_while(receiver: Receiver) -> None:
    receiver.holding = True
    receiver.core.send(request(), lambda _: None)
    assert not receiver.driver.advance(timedelta(hours=1), settle_timeout=0.01)
    assert receiver.core.now() == START + timedelta(hours=1)
    receiver.held.pop()(Answer(200))
    assert receiver.driver.settle()


def test_time_only_moves_forward(receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="forward"):
        receiver.driver.advance(timedelta(seconds=-1))


def test_a_schedule_is_thinned_out_only_during_a_long_advance(receiver: Receiver) -> None:
    seen: list[datetime] = []

    def look() -> None:
        seen.append(receiver.core.earliest_tick(receiver.core.now()))

    receiver.core.after(0, look)
    receiver.core.step()
    receiver.core.after(600, look)
    receiver.driver.advance(timedelta(hours=2))
    receiver.core.after(6000, look)
    receiver.core.after(35990, look)
    receiver.driver.advance(timedelta(hours=10))
    assert [(time - START).total_seconds() for time in seen] == [0, 600, 13200 + 1800, 7200 + 36000]


@pytest.fixture
def running() -> Iterator[tuple[Core, Driver]]:
    core = Core(lambda _, done: done(Answer(200)))
    driver = Driver(core)
    driver.start()
    yield core, driver
    driver.stop()


def test_the_background_runs_what_falls_due_in_real_time(running: tuple[Core, Driver]) -> None:
    core, _ = running
    ran = threading.Event()
    core.after(3600, lambda: None)
    core.after(0.02, ran.set)
    assert ran.wait(PATIENCE)


def test_the_background_outlives_an_action_that_fails(
    running: tuple[Core, Driver], caplog: pytest.LogCaptureFixture
) -> None:
    core, _ = running
    ran = threading.Event()
    core.after(0, lambda: [][0])
    core.after(0, ran.set)
    assert ran.wait(PATIENCE)
    assert "a local service failed" in caplog.text


def test_advances_and_the_background_and_other_threads_do_not_disturb_each_other(
    running: tuple[Core, Driver],
) -> None:
    core, driver = running
    ran: list[int] = []
    dues: list[datetime] = []

    def note(number: int, due: datetime) -> None:
        assert core.now() >= due
        ran.append(number)
        dues.append(due)

    def plan(first: int) -> None:
        for number in range(first, first + 50):
            with core.lock:
                due = core.now() + timedelta(minutes=number)
                core.at(due, lambda number=number, due=due: note(number, due))

    threads = [threading.Thread(target=plan, args=(first,)) for first in range(0, 200, 50)]
    threads += [threading.Thread(target=driver.advance, args=(timedelta(hours=1),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert driver.advance(timedelta(hours=4))
    assert sorted(ran) == list(range(200))
    assert dues == sorted(dues)


def outcome(receiver: Receiver, *requests: Outgoing) -> list[tuple[str, int]]:
    """Make the requests and settle: the name and status of each answer, in the order in which they came."""
    answers: list[tuple[str, int]] = []
    for one in requests:
        receiver.core.send(one, lambda answer, one=one: answers.append((one.name, answer.status)))
    assert receiver.driver.settle()
    return answers


@pytest.fixture
def faults(receiver: Receiver) -> Faults:
    faults = Faults(receiver.core, receiver)
    receiver.core.interrupt = faults
    return faults


@pytest.mark.parametrize(
    ("rule", "sent", "status"),
    [
        (Rule("drop"), 0, 0),
        (Rule("fail", status=503), 0, 503),
        (Rule("lose_answer"), 1, 0),
        (Rule("duplicate"), 2, 200),
    ],
    ids=lambda value: value.kind if isinstance(value, Rule) else None,
)
def test_a_fault_hits_as_often_as_it_says(
    receiver: Receiver, faults: Faults, rule: Rule, sent: int, status: int
) -> None:
    faults.add(rule)
    assert outcome(receiver, request()) == [("a", status)]
    assert len(receiver.requests) == sent
    assert outcome(receiver, request()) == [("a", 200)]
    assert len(receiver.requests) == sent + 1
    assert faults.listed()[0]["fired"] == 1
    assert receiver.core.in_flight == 0


def test_a_duplicated_request_is_answered_once_both_are(receiver: Receiver, faults: Faults) -> None:
    faults.add(Rule("duplicate"))
    receiver.holding = True
    answers: list[Answer] = []
    receiver.core.send(request(), answers.append)
    receiver.held[1](Answer(503))
    assert answers == []
    receiver.held[0](Answer(200))
    assert answers == [Answer(503)]


def test_a_delayed_request_is_sent_later_and_holds_nothing_up(receiver: Receiver, faults: Faults) -> None:
    faults.add(Rule("delay", seconds=60))
    assert outcome(receiver, request("a"), request("b")) == [("b", 200)]
    assert receiver.core.idle
    receiver.driver.advance(timedelta(hours=1))
    assert list(zip(receiver.names(), receiver.seconds(), strict=True)) == [("b", 0), ("a", 60)]


def test_a_reordered_request_comes_after_the_next_match(receiver: Receiver, faults: Faults) -> None:
    faults.add(Rule("reorder", match="sub"))
    requests = [request("sub-1"), request("other"), request("sub-2"), request("sub-3")]
    assert [name for name, _ in outcome(receiver, *requests)] == ["other", "sub-2", "sub-3", "sub-1"]
    receiver.driver.advance(timedelta(minutes=1))
    assert len(receiver.requests) == 4
    assert receiver.core.in_flight == 0


def test_a_reordered_request_without_a_successor_is_sent_in_the_end(receiver: Receiver, faults: Faults) -> None:
    faults.add(Rule("reorder", seconds=30))
    assert outcome(receiver, request()) == []
    receiver.driver.advance(timedelta(seconds=30))
    assert receiver.names() == ["a"]
    assert outcome(receiver, request("b")) == [("b", 200)]


def test_faults_match_by_edge_and_by_name_or_url(receiver: Receiver, faults: Faults) -> None:
    faults.add(Rule("drop", edge="push", times=9))
    faults.add(Rule("fail", match="/hook", times=9))
    requests = [request("a", "push"), request("b"), request("c", url="http://other.example.com/")]
    assert outcome(receiver, *requests) == [("a", 0), ("b", 500), ("c", 200)]
    assert receiver.names() == ["c"]
    faults.clear()
    assert outcome(receiver, request("d", "push")) == [("d", 200)]
    assert faults.listed() == []


@pytest.mark.parametrize("fields", [{"kind": "explode"}, {"kind": "drop", "edge": "grpc"}])
def test_a_fault_that_does_not_exist_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        Rule(**fields)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: set[tuple[str, int]]
    release: threading.Event

    def do_POST(self) -> None:
        self.connections.add(self.client_address)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":  # its client is gone when it is released
            self.release.wait(PATIENCE)
            self.close_connection = True
            return
        self.send_response(302 if self.path == "/moved" else 201)
        self.send_header("Location", "/elsewhere")
        self.send_header("X-Echo", self.headers["X-Name"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    Handler.connections, Handler.release = set(), threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch() -> Iterator[Callable[[str, float], Answer]]:
    transport = HttpTransport(threads=2)

    def fetch(url: str, timeout: float = 5.0) -> Answer:
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        transport(Outgoing("task", "a", "POST", url, {"X-Name": "a"}, b"body", timeout), answers.put)
        return answers.get(timeout=PATIENCE)

    yield fetch
    transport.close()


def test_requests_are_made_over_kept_connections(server: str, fetch: Callable[..., Answer]) -> None:
    answer = fetch(f"{server}/hook")
    assert (answer.status, answer.body, answer.headers["X-Echo"]) == (201, b"body", "a")
    fetch(f"{server}/hook")
    assert len(Handler.connections) == 1


def test_redirects_are_not_followed(server: str, fetch: Callable[..., Answer]) -> None:
    assert fetch(f"{server}/moved").status == 302


def test_no_answer_is_status_0(server: str, fetch: Callable[..., Answer]) -> None:
    assert fetch("http://127.0.0.1:1/refused").status == 0
    assert fetch("not a url").status == 0
    assert fetch(f"{server}/slow", 0.05).status == 0
