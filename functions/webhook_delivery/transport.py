"""One delivery over HTTP: to the address that was checked, under one deadline, over kept connections.

Time is read from the system's monotonic clock here, not from `kapas.clock`: what is bounded is a wait on a socket.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as WaitedTooLong

from kapas.once import once
from kapas.schemas.webhooks import AttemptFailure

from . import guard
from .service import Reply

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
"""From the look at the name to the last byte of the answer."""
MAX_RESPONSE = 16 * 1024
"""Bytes that are read of an answer."""
HOSTS, CONNECTIONS = 100, 4
"""Endpoints whose connections are kept, and how many of each."""

_PIECE = 16 * 1024
_deadline: ContextVar[float] = ContextVar("webhook.deadline")


class HttpSender:
    """A `service.Sender`, shared by the instance's threads. Follows no redirect, repeats nothing, uses no proxy."""

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
        self._tls = tls
        self._pools = once(self._make_pools)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST `body`. Never raises for what the other side does: the reply tells it."""
        started = time.monotonic()
        token = _deadline.set(started + self._total)
        try:
            status, retry_after, response, failure = self._post(url, headers, body)
        finally:
            _deadline.reset(token)
        milliseconds = round((time.monotonic() - started) * 1000)
        return Reply(status, failure, retry_after, response.decode(errors="replace"), milliseconds)

    def _post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int | None, str | None, bytes, AttemptFailure | None]:
        status: int | None = None
        try:
            target = guard.check(url, self._allowed)
            address = guard.address(target, self._resolve)
            response = self._pool(target, address).urlopen(
                "POST",
                target.path,
                body,
                {**headers, "Host": target.authority},
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, _left()), total=_left()),
                preload_content=False,
                decode_content=False,
            )
            status = response.status
            try:
                start = response.read(MAX_RESPONSE)
                if len(start) < MAX_RESPONSE:
                    response.read(1)  # raises if the answer was cut short
                return status, response.headers.get("Retry-After"), start, None
            finally:
                if not response.closed:
                    response.close()  # what is left of the answer is not read, so the connection cannot be kept
                response.release_conn()
        except Exception as error:
            failure = _failure(error)
            if failure is None:
                raise
            return status, None, b"", failure

    def _pool(self, target: guard.Target, address: str) -> HTTPConnectionPool:
        """The kept connections to `address` as `target`: the certificate must be the name's."""
        secure = target.scheme == "https"
        names = {"server_hostname": target.host} if secure else {}
        pool = self._pools().connection_from_host(address, target.port, target.scheme, names)
        pool.ConnectionCls = cast(Any, _TlsConnection if secure else _PlainConnection)
        return pool

    def _make_pools(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(HOSTS, maxsize=CONNECTIONS, ssl_context=self._tls or ssl.create_default_context())


def _failure(error: Exception) -> AttemptFailure | None:
    """What an exception says of the other side; None if it is a fault of ours."""
    match error:
        case guard.AddressRefused():
            return "address_refused"
        case guard.Refused():
            return "url_refused"
        case socket.gaierror():
            return "dns"
        case NewConnectionError():  # which urllib3 calls a timeout too
            return "connection"
        case TimeoutError() | WaitedTooLong():
            return "timeout"
        case HTTPError() if time.monotonic() >= _deadline.get():
            return "timeout"  # the write that ran out of time arrives as an aborted connection
        case SSLError():
            return "tls"
        case HTTPError() | OSError():
            return "connection"
        case _:
            return None


# A timeout of a socket bounds one read or write; a peer that takes or sends a byte now and then would hold an instance's
# slot for hours. So every read and write gets what is left until the deadline.


def _left() -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _BoundedReader(io.RawIOBase):
    """What an answer is read from."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(_left())
        return cast(Any, self._raw).readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_BoundedReader(sock, self.fp.detach()))


class _Bounded(http.client.HTTPConnection):
    """What both kinds of connection share."""

    response_class = _BoundedResponse

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        sock = cast(socket.socket, self.sock)
        for start in range(0, len(data), _PIECE):
            sock.settimeout(_left())
            sock.sendall(data[start : start + _PIECE])


class _PlainConnection(_Bounded, HTTPConnection):
    """Only to the hosts that settings allow."""


class _TlsConnection(_Bounded, HTTPSConnection):
    """Verifies the certificate for the name, whatever the address."""
