"""Where webhooks arrive during a measurement: every POST is answered with 204 at once, and its time is kept.

`python -m tools.bench.sink PORT`, a process of its own. One thread on bare sockets, so that it is not what is measured;
`webhooks.py` measures its ceiling. What is sent below `/hang` is read and never answered. `GET /count` answers how many
POSTs were answered, `GET /arrivals` the time of each by its webhook-id (Unix time, seconds) and forgets them.
"""

import json
import re
import selectors
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tools.bench import load, processes

HANG = "/hang"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([^\r]+)", re.IGNORECASE)
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink, and what it has seen."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self) -> int:
        """POSTs answered since the last `arrivals`."""
        return self._get("/count")

    def arrivals(self) -> dict[str, float]:
        """When each webhook-id came first, since the last time this was asked."""
        return self._get("/arrivals")

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own loopback
            return json.load(answer)


@contextmanager
def running() -> Generator[Sink]:
    """A sink in a process of its own."""
    port = processes.free_port()
    with processes.running([sys.executable, "-m", "tools.bench.sink", str(port)], {}) as process:
        processes.first_answer(process, port, load.request("GET", "/count"))
        yield Sink(port)


class _Server:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytes] = {}
        self._arrived: list[tuple[bytes, float]] = []

    def serve(self, port: int) -> None:
        """Until killed."""
        with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
            self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
            while True:
                for key, _ in self._selector.select():
                    act: Callable[[], None] = key.data
                    act()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ, partial(self._read, connection))

    def _read(self, connection: socket.socket) -> None:
        try:
            chunk = connection.recv(1 << 18)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._selector.unregister(connection)
            del self._received[connection]
            connection.close()
            return
        received = self._received[connection] + chunk
        while (end := received.find(b"\r\n\r\n")) >= 0:
            head = received[:end]
            length = _LENGTH.search(head)
            complete = end + 4 + (int(length[1]) if length else 0)
            if len(received) < complete:
                break
            received = received[complete:]
            answer = self._answer(head)
            if answer:
                connection.sendall(answer)
        self._received[connection] = received

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"POST " + HANG.encode()):
            return b""
        if head.startswith(b"POST "):
            self._arrived.append((head, time.time()))
            return _NO_CONTENT
        if head.startswith(b"GET /arrivals "):
            arrived, self._arrived = self._arrived, []
            return _json({found[1].decode(): at for head, at in reversed(arrived) if (found := _ID.search(head))})
        return _json(len(self._arrived))


def _json(value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


if __name__ == "__main__":
    _Server().serve(int(sys.argv[1]))
