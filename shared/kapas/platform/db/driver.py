"""pg8000 as Kapas uses it: a statement is one packet each way, and what is imported is used.

Every module that needs pg8000 takes it from here.
"""

import socket
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import Any, cast


@contextmanager
def _deferred(module: str, **names: Any) -> Generator[None]:
    """Whoever imports `module` within this context gets `names`, which import it when they are called."""
    if module in sys.modules:
        yield
        return
    stand_in = ModuleType(module)
    stand_in.__dict__.update(names)
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        del sys.modules[module]


def _scram_client(*arguments: Any, **keywords: Any) -> Any:
    return import_module("scramp").ScramClient(*arguments, **keywords)


def _parse(text: str) -> Any:
    return import_module("dateutil.parser").parse(text)


# A login by password (Kapas has IAM or loopback) and a date outside of Python's years would need these two; importing
# them costs a sixth of a cold start.
with (
    _deferred("scramp", ScramClient=_scram_client),
    _deferred("dateutil.parser", parse=_parse, ParserError=ValueError),  # its ParserError is a ValueError
):
    import pg8000.converters
    import pg8000.core
    from pg8000.core import CoreConnection
    from pg8000.exceptions import DatabaseError, InterfaceError
    from pg8000.native import PreparedStatement

# pg8000 asks for a Flush after Bind and after Execute, so that the answer to one statement comes in three packets. The
# Sync that ends each of its messages flushes too (PostgreSQL documentation, section 54.2.3, "Extended Query").
pg8000.core.FLUSH_MSG = b""

_READ = 1 << 16
"""Bytes that are read at once."""

_TIMESTAMPTZ = 1184
"""The OID of the type `timestamp with time zone` (pg_type.dat)."""


def _timestamptz(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return cast(Any, pg8000.converters).timestamptz_in(text)  # infinity, or outside of Python's years


class _Stream:
    """What pg8000 writes to and reads from, in place of a buffered file: a message is sent in one call, and an answer is
    read in as few as it comes in. Each call lets another thread have the interpreter, and then waits to get it back."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._out = bytearray()
        self._in = b""
        self._at = 0

    def write(self, data: bytes) -> None:
        self._out += data

    def flush(self) -> None:
        out, self._out = self._out, bytearray()
        self._socket.sendall(out)

    def read(self, count: int) -> bytes:
        """`count` bytes, or fewer where the connection ends."""
        end = self._at + count
        while end > len(self._in):
            more = self._socket.recv(_READ)
            if not more:
                break
            self._in = self._in[self._at :] + more
            self._at, end = 0, count
        data = self._in[self._at : end]
        self._at = end
        return data


def _leave_waiting_to_the_kernel(connected: socket.socket) -> None:
    """Have the kernel end a wait of a plain socket: Python's own timeout costs a `poll` before each send and receive.

    Who waits too long gets a BlockingIOError, which is an OSError as a timeout is. TLS needs Python's.
    """
    timeout = connected.gettimeout()
    if type(connected) is socket.socket and timeout:
        limit = struct.pack("ll", int(timeout), round(timeout % 1 * 1e6))  # struct timeval
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connected.settimeout(None)


def read_times_fast(connection: CoreConnection) -> None:
    """In a tenth of the time of pg8000's own reading."""
    connection.register_in_adapter(_TIMESTAMPTZ, _timestamptz)


def adapted(connection: CoreConnection) -> CoreConnection:
    """`connection`, with fewer system calls for a statement, and reading times fast."""
    private = cast(Any, connection)  # pg8000 has no public way to its socket
    private._sock = _Stream(private._usock)
    _leave_waiting_to_the_kernel(private._usock)
    read_times_fast(connection)
    return connection


__all__ = ["CoreConnection", "DatabaseError", "InterfaceError", "PreparedStatement", "adapted", "read_times_fast"]
