"""Structured logs: one JSON object a line on stdout, in the format Cloud Logging reads.

    log.info("trade_offered", trade_id=trade.id, bales=100)

The event's name is static; what varies is fields. Field values are identifiers, numbers and short codes, never personal
data: the type below is narrow so that nobody logs a body or a model.
"""

import json
import sys
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from kapas.platform import trace
from kapas.values import clock

Field = str | int | float | bool | UUID | None


@runtime_checkable
class Telling(Protocol):
    """An exception that says of itself what is safe to log, and needed to mend it."""

    logged: Mapping[str, Field]


_AS_IT_IS = (int, float, type(None))
_encode = json.JSONEncoder(separators=(",", ":")).encode
_held: ContextVar[list[str] | None] = ContextVar("held", default=None)


@contextmanager
def together() -> Generator[None]:
    """Write what is logged meanwhile at the end, in one call: at each call another thread takes over."""
    lines: list[str] = []
    token = _held.set(lines)
    try:
        yield
    finally:
        _held.reset(token)
        _put("".join(lines))


def _write(severity: str, event: str, fields: dict[str, Any]) -> None:
    entry: dict[str, Any] = {"severity": severity, "message": event, "time": clock.rfc3339(clock.now())}
    entry |= {name: value if isinstance(value, _AS_IT_IS) else str(value) for name, value in fields.items()}
    current = trace.current()
    if current is not None:
        entry["logging.googleapis.com/trace"] = current.resource()
        entry["logging.googleapis.com/spanId"] = current.span_id
    line, held = _encode(entry) + "\n", _held.get()
    if held is None:
        _put(line)
    else:
        held.append(line)


def _put(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def info(event: str, **fields: Field) -> None:
    _write("INFO", event, fields)


def warning(event: str, **fields: Field) -> None:
    _write("WARNING", event, fields)


def error(event: str, exception: BaseException | None = None, **fields: Field) -> None:
    """An error with the exception's class, what it tells of itself (`Telling`) and where it was raised; not its message,
    which may carry a value."""
    if exception is not None:
        frames = traceback.extract_tb(exception.__traceback__)
        fields["exception"] = type(exception).__name__
        fields["raised_at"] = " < ".join(
            f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in frames[-1:-6:-1]
        )
        if isinstance(exception, Telling):
            fields |= exception.logged
    _write("ERROR", event, fields)
