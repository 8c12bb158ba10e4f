"""A load generator: prepared requests over kept-alive connections, from a process of its own.

Closed loop: a connection sends its next request when its last is answered, so at most `connections` are under way and an
overload shows as lower throughput. With a `rate` it sends at that pace, as long as a connection is free. Plain sockets
and bytes made beforehand: what it costs is a small part of what any Python server does (`append.py` measures its ceiling).
"""

import json
import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Self

TIMEOUT = 20.0
"""Seconds without any answer after which a run fails."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class LoadError(RuntimeError):
    """The server did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run saw. `latencies` are seconds, in the order of the answers."""

    seconds: float
    statuses: Mapping[int, int]
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def require(self, status: int) -> "Outcome":
        """This outcome. Raises `LoadError` unless every answer had that status."""
        if set(self.statuses) != {status}:
            raise LoadError(f"expected {status} only, but the answers were {dict(self.statuses)}")
        return self


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None) -> bytes:
    """One HTTP/1.1 request as bytes; `body` is sent as JSON."""
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    if content:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class LoadGenerator:
    """The generator's process, for as many runs as are wanted, one at a time."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def run(self, port: int, requests: Sequence[bytes], connections: int, rate: float | None = None) -> Outcome:
        """Send every request once to 127.0.0.1:`port`. Raises `LoadError`."""
        return self._pool.submit(drive, port, requests, connections, rate).result()


class _Connection:
    """One kept-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._sent = 0.0

    def send(self, request: bytes) -> None:
        self._sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, float] | None:
        """Status and seconds of the answer, once it is complete."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise LoadError("the server closed a kept-alive connection")
        self._received += chunk
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return None
        length = _LENGTH.search(head)
        if len(body) < (int(length[1]) if length else 0):
            return None
        self._received = b""
        return int(head[9:12]), time.perf_counter() - self._sent


def drive(port: int, requests: Sequence[bytes], connections: int, rate: float | None = None) -> Outcome:
    """What `LoadGenerator.run` does, in this process."""
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    idle = [_Connection(port) for _ in range(min(connections, len(requests)))]
    with selectors.DefaultSelector() as selector:
        for connection in idle:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        opened = list(idle)
        started = last_answer = time.perf_counter()
        sent = 0
        while len(latencies) < len(requests):
            now = time.perf_counter()
            while idle and sent < len(requests) and (rate is None or started + sent / rate <= now):
                idle.pop().send(requests[sent])
                sent += 1
            wait = TIMEOUT
            if rate is not None and idle and sent < len(requests):
                wait = max(0.0, started + sent / rate - now)
            for key, _ in selector.select(wait):
                answer = key.data.receive()
                if answer is not None:
                    statuses[answer[0]] += 1
                    latencies.append(answer[1])
                    last_answer = time.perf_counter()
                    idle.append(key.data)
            if time.perf_counter() - last_answer > TIMEOUT:
                raise LoadError(f"no answer for {TIMEOUT:.0f} seconds, after {len(latencies)} answers")
        for connection in opened:
            connection.socket.close()
    return Outcome(last_answer - started, statuses, latencies)
