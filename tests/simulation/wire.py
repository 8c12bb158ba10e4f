"""pg8000's connection to PostgreSQL, through its own `sock=` argument: a statement that waits for a lock gives up its turn.

An answer is read whole, up to ReadyForQuery, before anybody else runs. A server process that waits for a lock is stopped
(SIGSTOP) and let go, one at a time in seeded order, when something was released: left to itself PostgreSQL wakes several
waiters at once, and which of them comes first is a race.
"""

import os
import signal
import socket
import struct
from typing import Any

_QUIET = 0.003
"""Real seconds without an answer after which a statement may be waiting for a lock."""
_READY_FOR_QUERY = ord("Z")
_CANCELLED, _LOCK_TIMEOUT = b"C57014\0", b"C55P03\0"


class Wire:
    """A socket, as far as pg8000 uses one, and the file it makes of it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The system's own timeout: one call to wait and to read, where select would be two.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(_QUIET * 1_000_000)))
        self._received = bytearray()
        self._parsed = 0
        self._answered = False
        self._out: list[bytes] = []
        self._stopped = False
        self._timed_out = False
        self.pid = 0
        self.patience = 0.0
        """Virtual seconds that a statement waits for a lock."""
        self.database: Any = None
        """What tells who waits for whom, and lets others run meanwhile; None while connecting."""

    def makefile(self, mode: str) -> "Wire":
        return self

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self.resume()
        self._socket.close()

    def write(self, data: bytes) -> None:
        self._out.append(bytes(data))

    def flush(self) -> None:
        self._socket.sendall(b"".join(self._out))
        self._out.clear()
        self._answered = False

    def read(self, count: int) -> bytes:
        while not self._answered:
            if not self.receive():
                self.stop()
                self.database.block(self)
        data = bytes(self._received[:count])
        del self._received[:count]
        self._parsed -= count
        return data

    def receive(self) -> bool:
        """Wait for the whole answer; False if the statement waits for a lock."""
        while not self._answered:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                if self.database is not None and self.database.waits(self.pid):
                    return False
                continue
            if not data:
                self._answered = True
            self._received += data
            self._parse()
        if self._timed_out:
            self._received = self._received.replace(_CANCELLED, _LOCK_TIMEOUT)
            self._timed_out = False
        return True

    def _parse(self) -> None:
        """Walk over the messages: a byte of type, four of length, which count themselves."""
        while len(self._received) >= self._parsed + 5:
            kind = self._received[self._parsed]
            end = self._parsed + 1 + int.from_bytes(self._received[self._parsed + 1 : self._parsed + 5], "big")
            if end > len(self._received):
                return
            self._parsed = end
            if kind == _READY_FOR_QUERY:
                self._answered = True

    def stop(self) -> None:
        """Hold the server process."""
        if not self._stopped:
            os.kill(self.pid, signal.SIGSTOP)
            self._stopped = True

    def resume(self) -> None:
        if self._stopped:
            os.kill(self.pid, signal.SIGCONT)
            self._stopped = False

    def drain(self) -> None:
        """Forget what was not sent, and an answer that nobody will read."""
        self._out.clear()
        self._received.clear()
        self._parsed = 0
        self._timed_out = False

    def cancel(self, *, as_lock_timeout: bool) -> None:
        """End the statement that waits. The server's own timeouts are in real time, so they are played here: what comes
        back is the cancellation, with the code of a lock timeout where it stands for one."""
        self._timed_out = as_lock_timeout
        self.database.cancel(self.pid)
        self.resume()
        answered = False
        while not answered:  # the signal is on its way
            answered = self.receive()
