"""W3C trace context, carried from a request through its events and tasks."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from kapas.values import ids

_FORMAT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Trace:
    """A position in a trace. `project` names the Google Cloud project that logs refer to."""

    trace_id: str
    span_id: str
    flags: str = "01"
    project: str = ""

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def resource(self) -> str:
        """The trace's name as Cloud Logging links it."""
        return f"projects/{self.project}/traces/{self.trace_id}"


_current: ContextVar[Trace | None] = ContextVar("kapas.platform.trace", default=None)


def current() -> Trace | None:
    return _current.get()


def follow(traceparent: str | None, project: str) -> Trace:
    """A new span of the trace that `traceparent` names; of a new trace when it names none (W3C Trace Context 3.2)."""
    match = _FORMAT.fullmatch(traceparent or "")
    trace_id, flags = (match[1], match[3]) if match else (ids.random_bytes(16).hex(), "01")
    return Trace(trace_id, ids.random_bytes(8).hex(), flags, project)


@contextmanager
def use(trace: Trace) -> Generator[None]:
    """Make `trace` the current one within this context."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)
