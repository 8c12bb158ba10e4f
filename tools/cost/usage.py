"""How long functions run in a month under a load, from their entries in the catalog."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from croniter import croniter_range

from tools.catalog import Catalog, Function

HOURS = 730
SECONDS = HOURS * 3600
"""A month, as Google's price pages count it."""

CALL_SECONDS = {"http": 0.15, "pubsub": 0.1, "task": 0.3, "schedule": 0.5}
"""How long an instance is billed for one call, by what triggers it. 0.1 s is the least that Cloud Run bills; the others are
planned, not measured on Google Cloud."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a month brings, and the database that it needs."""

    name: str
    messages: int
    """Deliveries of Pub/Sub to a function, each of an event that was published."""
    tasks: int
    requests: int
    vcpus: int
    memory_gib: float
    disk_gib: int


@dataclass(frozen=True, slots=True)
class Running:
    """What one function's instances do in a month: seconds busy, seconds kept warm and idle, calls."""

    calls: float
    busy: float
    idle: float
    memory_gib: float


def running(catalog: Catalog, load: Load, warm: dict[str, int]) -> dict[str, Running]:
    """Function -> its month. `warm` has the instances that the environment keeps warm where it differs from the catalog."""
    calls = dict(_calls(catalog, load))
    return {
        name: _running(function, calls[name], warm.get(name, function.min_instances))
        for name, function in catalog.functions.items()
    }


@cache
def runs(schedule: str) -> int:
    """How often a schedule comes in a month of 30 days."""
    return sum(
        1 for _ in croniter_range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 30, 23, 59, tzinfo=UTC), schedule)
    )


def _calls(catalog: Catalog, load: Load) -> Iterator[tuple[str, float]]:
    """Each kind's calls are spread evenly: over routes' functions, subscriptions, queues' functions."""
    kinds = [function.trigger.kind for function in catalog.functions.values()]
    for name, function in catalog.functions.items():
        match function.trigger.kind:
            case "http":
                calls = load.requests / kinds.count("http")
            case "pubsub":
                calls = load.messages * len(function.trigger.topics) / len(catalog.subscriptions())
            case "task":
                calls = load.tasks / kinds.count("task")
            case "schedule":
                calls = runs(function.trigger.schedule or "")
        # Whatever writes wakes the relay once.
        yield name, calls + (load.requests + load.tasks if function.woken else 0)


def _running(function: Function, calls: float, warm: int) -> Running:
    """Calls come at random. Those at the same time share an instance, up to its concurrency; others take another one."""
    at_once = calls * CALL_SECONDS[function.trigger.kind] / SECONDS
    busy = SECONDS * max(1 - math.exp(-at_once), at_once / function.concurrency)
    return Running(calls, busy, max(0.0, warm * SECONDS - busy), function.memory_mb / 1024)
