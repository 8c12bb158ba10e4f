"""One delivery over HTTP: to the addresses that were checked, under one deadline, over kept connections."""

import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from kapas.platform import log
from kapas.platform.once import once

from . import guard, wire
from .schemas import AttemptFailure
from .sending import Reply

CONNECT_SECONDS = 5.0
"""To connect to one address, including the TLS handshake; less if several addresses share the time."""
MOST_ADDRESSES = 8
"""Addresses of a name that are tried."""
TOTAL_SECONDS = 15.0
"""From the look at the name to the last byte of the answer."""
MAX_RESPONSE = 16 * 1024
"""Bytes that are read of an answer."""
HOSTS, CONNECTIONS = 100, 4
"""Endpoints whose connections and addresses are kept, and how many connections of each."""
RESOLVED_SECONDS = 5
"""For how long at most addresses that were checked are dialled without another look at the name."""

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
        self._addresses = lru_cache(HOSTS)(self._look)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST `body`. Never raises: failures of the other side and our own (`internal`) are in the reply."""
        started = time.monotonic()
        head: wire.Head | None = None
        start, failure = b"", None
        try:
            target, origin = self._target(url)
            name = target.host if target.scheme == "https" else ""
            addresses = self._addresses(origin, started // RESOLVED_SECONDS)
            deadline = started + self._total
            place, connection = self._open([(address, target.port, name) for address in addresses], deadline)
            reusable = False
            try:
                head = connection.send(_request(target, headers, body), deadline)
                start, reusable = connection.body(head, MAX_RESPONSE)
            finally:
                # Of an answer that was not read to its end the rest would be taken for the next one's beginning.
                self._kept.put(place, connection) if reusable else connection.close()
        except Exception as error:
            failure = _failure(error)
            if failure == "internal":
                log.error("webhook_post_failed", error)
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

    def _look(self, target: guard.Target, _: float) -> list[str]:
        """The addresses to dial, in this period. What is refused, or does not resolve, raises and is not kept."""
        return guard.addresses(target, self._resolve)[:MOST_ADDRESSES]

    def _open(self, places: Sequence[Place], deadline: float) -> tuple[Place, wire.Connection]:
        """A kept connection to one of `places`, or a new one to the first that accepts it. Raises the last failure.

        Nothing has been sent yet, so trying the next address repeats nothing. Each leaves time for the addresses after it
        and for the exchange.
        """
        for place in places:
            if kept := self._kept.take(place):
                return place, kept
        for untried, place in zip(range(len(places), 0, -1), places, strict=True):
            by = time.monotonic() + min(CONNECT_SECONDS, wire.left(deadline) / (untried + 1))
            try:
                return place, self._connect(place, by)
            except OSError:
                if untried == 1:
                    raise
        raise socket.gaierror(socket.EAI_NONAME, "a name without addresses")

    def _connect(self, place: Place, by: float) -> wire.Connection:
        address, port, name = place
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


def _failure(error: Exception) -> AttemptFailure:
    """What an exception says of the other side; `internal` if it is a fault of ours."""
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
            return "internal"


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
