"""The threads of functions-framework's server (gunicorn), kept for requests: none waits for a client that sends slowly.

gunicorn's worker gives a connection one of its few threads at the first byte, and its only loop to one that it closes. Here
the loop gathers the headers of all connections and sees them off, so that only a request whose headers are complete takes
a thread. Its body is read on that thread, once the caller's token is verified (`kapas.http.app`), within `_Unreader`'s time.
"""

import json
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from kapas.errors import BadRequest, HeadersTooLarge, Problem, RequestTimeout
from kapas.http.calls import SECURITY_HEADERS
from kapas.platform import log

HEADER_SECONDS = 5.0
"""From the first byte of a request to the end of its headers; and for a client to close a connection that we ended."""
BODY_SECONDS, BODY_RATE, LONGEST_BODY_SECONDS = 5.0, 1 << 16, 20.0
"""A body has so many seconds, and one more for each so many bytes that came: the largest takes 21 at a steady 400 kbit/s."""
MAX_HEADERS = 1 << 16
"""Bytes of all headers. Of one, gunicorn takes 8190."""
MAX_DISCARDED = 1 << 21
"""Bytes of an unread body that are taken from a client which is still sending, so that it reads the answer."""
MAX_READ = 1 << 20
"""Bytes that are read of a body at once."""
UNREAD_SECONDS = 0.1
"""For the rest of a body that no one read, before its connection is closed rather than used again."""


class _Unreader(SocketUnreader):
    """Reads a body for a bounded time. Raises `RequestTimeout` after that."""

    def begin(self) -> None:
        """A new request begins."""
        self._started: float | None = None
        self._received = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        now = time.monotonic()
        if self._started is None:
            self._started = now
        allowed = min(BODY_SECONDS + self._received / BODY_RATE, LONGEST_BODY_SECONDS)
        left = self._started + allowed - now
        bound: float | None = self.sock.gettimeout()  # gunicorn sets one while it discards what was not read
        if left <= 0:
            raise TimeoutError if bound else RequestTimeout()
        self.sock.settimeout(min(left, bound) if bound else left)
        try:
            data: bytes = self.sock.recv(max(self.mxchunk, min(size_hint or 0, MAX_READ)))
        except TimeoutError:
            if bound:
                raise
            raise RequestTimeout from None
        finally:
            self.sock.settimeout(bound)
        self._received += len(data)
        return data


class _Connection(TConn):
    """A connection, and what came of the headers of its next request."""

    parser: Any
    sock: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.head = b""
        self.discarded = 0

    def init(self) -> None:
        if not self.initialized:
            super().init()
            self.parser.unreader = _Unreader(self.sock)
        self.parser.unreader.begin()
        self.parser.unreader.unread(self.head)
        self.head = b""


_Next = Callable[[_Connection], None]


class Worker(ThreadWorker):
    """gunicorn's worker with threads, which a slow client does not hold."""

    def accept(self, listener: Any) -> None:
        """Take a connection, and begin to gather its headers."""
        try:
            accepted, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # its client is gone
            return
        self.nr_conns += 1
        conn = _Connection(self.cfg, accepted, address, listener.getsockname())
        conn.data_ready = True  # by the time that it gets a thread
        self._await_headers(conn)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """A connection that was kept alive begins another request."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._await_headers(conn)

    def _await_headers(self, conn: _Connection) -> None:
        then = self._gather(conn)  # most often they are there
        if then is None:
            self._watch(conn, self._headers_came)
        else:
            then(conn)

    def _headers_came(self, conn: _Connection, _: Any) -> None:
        then = self._gather(conn)
        if then is not None:
            self._forget(conn)
            then(conn)

    def _gather(self, conn: _Connection) -> _Next | None:
        """Read what came of the headers. What to do with the connection then, or None to wait for more."""
        if b"\r\n\r\n" not in conn.head.lstrip(b"\r\n"):  # it may have come with the request before
            try:
                received = conn.sock.recv(8192)
            except BlockingIOError:
                return None
            except OSError:
                received = b""
            if not received:
                return self._drop
            conn.head += received
            if b"\r\n\r\n" not in conn.head.lstrip(b"\r\n"):
                return self._refuse if len(conn.head) >= MAX_HEADERS else None
        return self.enqueue_req

    def _watch(self, conn: _Connection, readable: Callable[[_Connection, Any], None]) -> None:
        """Call `readable` in the loop whenever the client sent something, for `HEADER_SECONDS` in all."""
        conn.timeout = time.monotonic() + HEADER_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(readable, conn))

    def _forget(self, conn: _Connection) -> None:
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)

    def _drop(self, conn: _Connection) -> None:
        self.nr_conns -= 1
        conn.close()

    def _refuse(self, conn: _Connection) -> None:
        self.handle_error(None, conn.sock, conn.client, LimitRequestHeaders("all of them"))
        self._see_off(conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        # gunicorn waits five seconds for the rest of a body.
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + UNREAD_SECONDS))

    def finish_request(self, conn: Any, fs: Any) -> None:
        """What becomes of a connection after an answer: it waits for the next request, or ends."""
        keep = not fs.cancelled() and fs.exception() is None and bool(fs.result())
        if not keep:
            self._see_off(conn)
            return
        conn.sock.setblocking(False)
        conn.head = conn.parser.unreader.take_buffered()
        if conn.head:  # of the next request
            self._await_headers(conn)
            return
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))

    def _see_off(self, conn: _Connection) -> None:
        """End our side, and for a while take what the client still sends: cut off at once, it might not read the answer
        (RFC 9112 section 9.6). gunicorn's own way keeps its loop for up to two seconds a connection."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.sock.setblocking(False)
        self._watch(conn, self._discard)

    def _discard(self, conn: _Connection, _: Any) -> None:
        try:
            received = conn.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        conn.discarded += len(received)
        if not received or conn.discarded > MAX_DISCARDED:
            self._forget(conn)
            self._drop(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's
        """Answer what gunicorn itself refuses or fails at, as everything else is answered; its own answer is HTML."""
        if isinstance(exc, LimitRequestHeaders | LimitRequestLine):
            problem: Problem = HeadersTooLarge()
        elif isinstance(exc, ParseException) and "Response" not in type(exc).__name__:
            problem = BadRequest()
        else:
            log.error("server_failed", exc)
            problem = Problem()
        body = json.dumps(problem.to_json(getattr(req, "path", None) or "/"))
        headers = {
            **SECURITY_HEADERS,
            "Connection": "close",
            "Content-Type": "application/problem+json",
            "Content-Length": str(len(body)),
        }
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}", *map(": ".join, headers.items())]
        try:
            client.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        except OSError:
            log.warning("refusal_not_sent", status=problem.status)
