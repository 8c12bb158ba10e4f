"""pg8000 as Kapas uses it: a statement is one packet each way, and what is imported is used.

Every module that needs pg8000 takes it from here.
"""

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


def _scram_client(*arguments: Any, **named: Any) -> Any:
    return import_module("scramp").ScramClient(*arguments, **named)


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

_TIMESTAMPTZ = 1184
"""The OID of the type `timestamp with time zone` (pg_type.dat)."""


def _timestamptz(text: str) -> Any:
    try:
        return datetime.fromisoformat(text)  # a tenth of the time of strptime
    except ValueError:
        return cast(Any, pg8000.converters).timestamptz_in(text)  # infinity, or outside of Python's years


def adapted(connection: CoreConnection) -> CoreConnection:
    """`connection`, reading times fast."""
    connection.register_in_adapter(_TIMESTAMPTZ, _timestamptz)
    return connection


__all__ = ["CoreConnection", "DatabaseError", "InterfaceError", "PreparedStatement", "adapted"]
