"""One delivery over HTTP: to the address that was checked, under one deadline, over kept connections."""

import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from kapas.platform.once import once

from . import guard, wire
from .schemas import AttemptFailure
from .sending import Reply

CONNECT_SECONDS = 5.0
"""To connect, the TLS handshake included."""
TOTAL_SECONDS = 15.0
"""From the look at the name to the last byte of the answer."""
MAX_RESPONSE = 16 * 1024
"""Bytes that are read of an answer."""
HOSTS, CONNECTIONS = 100, 4
"""Endpoints whose connections and addresses are kept, and how many connections of each."""
RESOLVED_SECONDS = 5
"""For how long at most an address that was checked is dialled without another look at the name."""

Place = tuple[str, int, str]
"""Address, port, and the name that the certificate was verified for, empty for plain http."""


class HttpSender:
    """A `sending.Sender`, shared by the instance's threads. Follows no redirect, repeats nothing, uses no proxy."""

    def __init__(
        self,
        allowed: frozenset[str] = frozenset(),
        *,
        resolve: guard.Resolve = guard.resolve,
        tls: ssl.SSLContext | None = None,
        total: float = TOTAL_SECONDS,
    ) -> None:
        """`allowed` are the hosts that may be plain http and on loopback; `tls` replaces the system's certificates."""
        self._allowed = allowed
        self._resolve = resolve
        self._total = total
        self._tls = once(lambda: tls or ssl.create_default_context())
        self._kept = _Kept()
        self._target = lru_cache(HOSTS)(self._take_apart)
        self._address = lru_cache(HOSTS)(self._look)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST `body`. Never raises for what the other side does: the reply tells it."""
        started = time.monotonic()
        head: wire.Head | None = None
        start, failure = b"", None
        try:
            target, origin = self._target(url)
            address = self._address(origin, started // RESOLVED_SECONDS)
            place = address, target.port, target.host if target.scheme == "https" else ""
            deadline = started + self._total
            connection = self._kept.take(place) or self._connect(place, deadline)
            reusable = False
            try:
                head = connection.send(_request(target, headers, body), deadline)
                start, reusable = connection.body(head, MAX_RESPONSE)
            finally:
                # Of an answer that was not read to its end the rest would be taken for the next one's beginning.
                self._kept.put(place, connection) if reusable else connection.close()
        except Exception as error:
            failure = _failure(error)
            if failure is None:
                raise
        status = head.status if head else None
        retry_after = head.fields.get(b"retry-after") if head and not failure else None
        return Reply(
            status,
            failure,
            None if retry_after is None else retry_after.decode("latin-1"),
            start.decode(errors="replace"),
            round((time.monotonic() - started) * 1000),
        )

    def _take_apart(self, url: str) -> tuple[guard.Target, guard.Target]:
        """A URL that webhooks may go to, and the same without its path, which says where it goes to."""
        target = guard.check(url, self._allowed)
        return target, replace(target, path="")

    def _look(self, target: guard.Target, _: float) -> str:
        """The address to dial, in this period. What is refused, or does not resolve, raises and is not kept."""
        return guard.address(target, self._resolve)

    def _connect(self, place: Place, deadline: float) -> wire.Connection:
        address, port, name = place
        by = min(deadline, time.monotonic() + CONNECT_SECONDS)
        sock = socket.create_connection((address, port), wire.left(by))
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if name:
                sock.settimeout(wire.left(by))
                sock = self._tls().wrap_socket(sock, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return wire.Connection(sock)


def _request(target: guard.Target, headers: Mapping[str, str], body: bytes) -> bytes:
    # `guard` lets visible ASCII through only, and the headers are our own: nothing can begin a line here.
    lines = [f"POST {target.path} HTTP/1.1", f"Host: {target.authority}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("ascii") + body


def _failure(error: Exception) -> AttemptFailure | None:
    """What an exception says of the other side; None if it is a fault of ours."""
    match error:
        case guard.AddressRefused():
            return "address_refused"
        case guard.Refused():
            return "url_refused"
        case socket.gaierror():
            return "dns"
        case TimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case OSError():
            return "connection"
        case _:
            return None


class _Kept:
    """Idle connections, those of the places used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[Place, list[wire.Connection]] = OrderedDict()

    def take(self, place: Place) -> wire.Connection | None:
        """A connection to `place` that the other side has not ended."""
        while True:
            with self._lock:
                idle = self._idle.get(place)
                if not idle:
                    return None
                connection = idle.pop()
            if connection.is_idle():
                return connection
            connection.close()

    def put(self, place: Place, connection: wire.Connection) -> None:
        dropped: list[wire.Connection] = []
        with self._lock:
            idle = self._idle.setdefault(place, [])
            self._idle.move_to_end(place)
            (idle if len(idle) < CONNECTIONS else dropped).append(connection)
            if len(self._idle) > HOSTS:
                dropped += self._idle.popitem(last=False)[1]
        for one in dropped:
            one.close()
