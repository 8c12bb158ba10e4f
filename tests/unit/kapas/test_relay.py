"""Waking the relay: what is reported of a wake from the request until its answer."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

import pytest

from kapas.messaging import relay
from local_cloud.core import Answer, Core
from local_cloud.driver import Driver

PATIENCE = 60.0
"""Seconds until a test fails that waits for what does not happen; none passes by waiting."""


class Relay(BaseHTTPRequestHandler):
    """Answers each wake when the test releases it."""

    arrived: SimpleQueue[None]
    released: threading.Semaphore

    def do_POST(self) -> None:
        self.arrived.put(None)
        self.released.acquire(timeout=PATIENCE)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    Relay.arrived, Relay.released = SimpleQueue(), threading.Semaphore(0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        Relay.released.release(10)
        server.shutdown()
        thread.join()


@pytest.fixture
def core() -> Iterator[Core]:
    """A core that wakes are counted in."""
    core = Core(lambda _, done: done(Answer(200)))
    before = relay.watch(core.count)
    yield core
    relay.watch(before)


def settling(core: Core) -> "tuple[threading.Thread, SimpleQueue[bool]]":
    outcome: SimpleQueue[bool] = SimpleQueue()
    thread = threading.Thread(target=lambda: outcome.put(Driver(core).settle()))
    thread.start()
    return thread, outcome


def test_settling_waits_for_a_wake_that_was_requested_while_another_was_under_way(core: Core, url: str) -> None:
    wake = relay.Waker(url, lambda: "token")
    wake()
    Relay.arrived.get(timeout=PATIENCE)
    wake()  # after the relay began to look: it may have missed what this one is about
    wake()
    thread, outcome = settling(core)
    Relay.released.release()
    Relay.arrived.get(timeout=PATIENCE)  # the second request, for both
    assert not core.idle
    assert outcome.empty()
    Relay.released.release()
    assert outcome.get(timeout=PATIENCE)
    thread.join()
    assert Relay.arrived.empty()
    assert core.in_flight == 0


def test_a_wake_that_fails_is_over(core: Core) -> None:
    def no_token() -> str:
        raise OSError

    relay.Waker("http://127.0.0.1:1/", no_token)()
    relay.Waker("http://127.0.0.1:1/", lambda: "token")()
    assert Driver(core).settle()
    assert core.in_flight == 0
