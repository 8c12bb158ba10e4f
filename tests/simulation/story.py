"""The trace of a run as a person reads it: who did what, when, and which faults struck."""

from collections.abc import Iterator
from datetime import timedelta

from tests.simulation.faults import KINDS
from tests.simulation.kernel import START
from tests.simulation.world import Result

WIDTH = 150
_NOISE = ("SELECT ", "SELECT\t", "BEGIN")
_LAST = 60
"""Lines of the story: what led to the failure is near its end."""


def story(result: Result) -> Iterator[str]:
    """Every change, call and fault, without what was only read; the last ones if there are many."""
    lines = [line for line in result.lines or () if not line[2].startswith(_NOISE)]
    latest = lines[-_LAST:]
    early = [line for line in lines[:-_LAST] if "FAULT" in line[2]]
    for at, who, what in [*early, *latest]:
        yield f"{_clock(at - START)}  {who}: {what}"[:WIDTH]
    yield from (f"broken: {violation}" for violation in dict.fromkeys(result.violations))
    for kind in sorted({fault.kind for fault in result.faults}):
        yield f"  {kind}: {KINDS[kind]}"


def _clock(since: timedelta) -> str:
    """Time since the start, `1d 02:03:04.567`."""
    seconds = since.total_seconds()
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(days)}d {int(hours):02}:{int(minutes):02}:{rest:06.3f}"
