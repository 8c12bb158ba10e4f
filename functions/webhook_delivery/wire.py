"""HTTP/1.1 on one socket, as much of it as a webhook needs (RFC 9112), under a deadline that no peer can stretch.

A timeout of a socket bounds one read or write; a peer that takes or sends a byte now and then would hold an instance's slot
for hours. So every wait gets what is left until the deadline. Time is the system's monotonic clock, not the injected one:
what is bounded is a wait on a socket. Sockets never block, and only what has to wait polls: a timeout of Python's own is
two more system calls for each read and write, and at each of them another thread takes over.
"""

import re
import select
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass

MAX_HEAD = 64 * 1024
"""Bytes of an answer's head, or of a line between chunks."""

MAX_INTERIM = 10
"""Interim answers (100 to 199) before the final one."""

_PIECE = 16 * 1024
"""Bytes that are sent or read at once: not fewer than a TLS record holds (RFC 8446, 5.1), of which a rest would be where no
poll sees it."""
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?![0-9])")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\Z")
_BODILESS = (204, 304)
_SWITCHING_PROTOCOLS = 101


class Broken(OSError):
    """The other side hung up in the middle, or does not speak HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's first line and fields; of a field that is repeated the first."""

    status: int
    fields: dict[bytes, bytes]
    """By lower-case name."""
    kept: bool
    """Whether the other side means to keep the connection."""


def left(deadline: float) -> float:
    """Seconds until `deadline`, of `time.monotonic()`. Raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class Connection:
    """One connection, for one exchange after another. Every method raises `OSError`, TimeoutError among them."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._received = b""
        self._deadline = 0.0
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable.register(sock, select.POLLOUT)

    def is_idle(self) -> bool:
        """Whether nothing came since the last answer: an end, or bytes that nobody asked for."""
        return not self._received and not self._readable.poll(0)

    def close(self) -> None:
        with suppress(OSError):
            self._sock.close()

    def send(self, request: bytes, deadline: float) -> Head:
        """Send a whole request; the head of its answer, without interim answers (100 to 199).

        101 counts as the answer: after it the other side would speak a protocol that was not requested.
        """
        self._deadline = deadline
        with suppress(BrokenPipeError):  # it may have answered before it hung up
            self._send(request)
        for _ in range(MAX_INTERIM + 1):
            head = self._head()
            if head.status >= 200 or head.status == _SWITCHING_PROTOCOLS:
                return head
        raise Broken("too many interim answers")

    def body(self, head: Head, most: int) -> tuple[bytes, bool]:
        """The first `most` bytes of the answer's body, and whether the connection can be used again."""
        length = head.fields.get(b"content-length", b"")
        if head.status == _SWITCHING_PROTOCOLS:
            return b"", False
        if head.status in _BODILESS:
            return b"", head.kept
        if b"transfer-encoding" in head.fields:
            if head.fields[b"transfer-encoding"].lower() == b"chunked":
                body, ended = self._chunks(most)
                return body, ended and head.kept
        elif length.isdigit() and len(length) < 19:
            body = self._take(min(int(length), most))
            return body, int(length) <= most and head.kept
        while len(self._received) < most and self._receive():
            pass
        return self._received[:most], False

    def _head(self) -> Head:
        while (end := _END_OF_HEAD.search(self._received)) is None:
            if len(self._received) > MAX_HEAD or (b"\n" in self._received and not _STATUS.match(self._received)):
                raise Broken("no head of HTTP/1.1")
            self._receive_more()
        text, self._received = self._received[: end.start()], self._received[end.end() :]
        status = _STATUS.match(text)
        if status is None:
            raise Broken("no status line")
        fields: dict[bytes, bytes] = {}
        for line in text.split(b"\n")[1:]:
            name, _, value = line.partition(b":")
            fields.setdefault(name.strip().lower(), value.strip())
        kept = status[1] == b"1" and b"close" not in fields.get(b"connection", b"").lower()
        return Head(int(status[2]), fields, kept)

    def _chunks(self, most: int) -> tuple[bytes, bool]:
        """The first `most` bytes of a chunked body, and whether it ended there."""
        body = b""
        while size := self._chunk_size():
            body += self._take(min(size, most - len(body)))
            if len(body) == most:
                return body, False
            if self._line():
                raise Broken("a chunk is longer than it says")
        while self._line():  # trailers
            pass
        return body, True

    def _chunk_size(self) -> int:
        size = _SIZE.match(self._line())
        if size is None:
            raise Broken("no size of a chunk")
        return int(size[1], 16)

    def _line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > MAX_HEAD:
                raise Broken("an endless line")
            self._receive_more()
        line, self._received = self._received[:end], self._received[end + 1 :]
        return line.removesuffix(b"\r")

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive_more()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _receive_more(self) -> None:
        if not self._receive():
            raise Broken("the connection ended in the middle of an answer")

    def _receive(self) -> bool:
        """Whether anything more came before the other side's end."""
        self._wait(self._readable)
        while True:
            try:
                piece = self._sock.recv(_PIECE)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(self._readable)
            except ssl.SSLWantWriteError:
                self._wait(self._writable)
            else:
                self._received += piece
                return bool(piece)

    def _send(self, data: bytes) -> None:
        unsent = memoryview(data)
        while unsent:
            try:
                unsent = unsent[self._sock.send(unsent[:_PIECE]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(self._writable)
            except ssl.SSLWantReadError:
                self._wait(self._readable)

    def _wait(self, until: select.poll) -> None:
        """Until the socket can be read or written, or has failed, or time is up: reading or writing it then tells."""
        until.poll(left(self._deadline) * 1000)
