"""The delivery core of the local cloud: one heap of what is due, and no thread of its own.

Pub/Sub, Cloud Tasks and Cloud Scheduler put their deliveries here; redelivery, back-off and schedules are entries that
fall due. `make run` drives the core from real time (`driver.py`); a test or a simulation calls `step()` itself.
"""

import heapq
import itertools
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from local_cloud.state import State

Action = Callable[[], None]

_CLOCK = "clock"
"""The table of the clock in the state."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One HTTP request that a service makes: a push, a task's dispatch, a scheduled job."""

    edge: str
    """Which at-least-once edge this is: `push`, `task` or `schedule`. Faults are injected by it."""
    name: str
    """The subscription, task or job, as its full resource name. Faults match on it."""
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float
    """Seconds until the service gives up on an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `status` 0 when there was no answer at all (refused, timed out, dropped)."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Done = Callable[[Answer], None]
Send = Callable[[Outgoing, Done], None]
"""Makes the request without blocking the caller, then calls back once, from whichever thread."""


class Interrupt(Protocol):
    """What may stand between the core and the network: see `faults.py`."""

    def __call__(self, request: Outgoing, proceed: Callable[[], None], done: Done) -> None: ...


class VirtualClock:
    """Real time plus what it was advanced by; or, `frozen`, only what it was set to.

    With a `state` it goes on from there after a restart: what is stored has times that would be in the future else.
    """

    def __init__(self, start: datetime | None = None, *, frozen: bool = False, state: State | None = None) -> None:
        self.frozen = frozen
        self.offset = timedelta(0)
        self._state = state
        for _, offset in state.items(_CLOCK) if state else ():
            self.offset = timedelta(microseconds=int(offset))
        self._start = start or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        base = self._start if self.frozen else datetime.now(UTC)
        return base + self.offset

    def advance(self, by: timedelta) -> None:
        if by < timedelta(0):
            raise ValueError("time only moves forward: advance by a positive duration")
        self.offset += by
        if self._state:
            self._state.put(_CLOCK, "offset", b"%d" % (self.offset // timedelta(microseconds=1)))


@dataclass(order=True, slots=True)
class Entry:
    """Something that falls due. Entries of one instant run in the order they were made."""

    due: datetime
    sequence: int
    action: Action = field(compare=False)
    recurring: bool = field(default=False, compare=False)
    """A tick of a schedule: when time is moved far, only some of these are played."""
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


@dataclass(frozen=True, slots=True)
class Advance:
    """Time being moved far: `spacing` is the least time between two ticks of a schedule, `target` where it stops."""

    spacing: timedelta
    target: datetime


class Core:
    """The heap, the clock, the lock that guards every service's state, and the way out to the network.

    Every service keeps to one rule: its state is read and written under `lock`, and whoever changes something another
    thread may be waiting for calls `wake()`.
    """

    def __init__(self, send: Send, *, clock: VirtualClock | None = None, seed: int | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.random = random.Random(seed)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.interrupt: Interrupt | None = None
        self.in_flight = 0
        self.advance: Advance | None = None
        self._send = send
        self._heap: list[Entry] = []
        self._sequence = itertools.count()

    def now(self) -> datetime:
        return self.clock.now()

    def at(self, due: datetime, action: Action, *, recurring: bool = False) -> Entry:
        """Run `action`, under the lock, when the clock reaches `due`."""
        with self.lock:
            entry = Entry(due, next(self._sequence), action, recurring)
            heapq.heappush(self._heap, entry)
            self.changed.notify_all()
            return entry

    def after(self, seconds: float, action: Action, *, recurring: bool = False) -> Entry:
        """Run `action`, under the lock, in `seconds` of this clock."""
        return self.at(self.now() + timedelta(seconds=seconds), action, recurring=recurring)

    def next_due(self, *, recurring: bool = True) -> datetime | None:
        """When the next entry falls due; without the ticks of schedules if not `recurring`."""
        with self.lock:
            while self._heap and self._heap[0].cancelled:
                heapq.heappop(self._heap)
            if recurring:
                return self._heap[0].due if self._heap else None
            return min((e.due for e in self._heap if not e.cancelled and not e.recurring), default=None)

    def step(self) -> bool:
        """Run the first entry that is due, if any; whether one was."""
        with self.lock:
            due = self.next_due()
            if due is None or due > self.now():
                return False
            heapq.heappop(self._heap).action()
            return True

    def earliest_tick(self, previous: datetime) -> datetime:
        """When a schedule that ticked at `previous` may tick again: later than that only while time is moved far.

        Never later than the end of the advance, so that every schedule goes on from there at its own pace.
        """
        if self.advance is None:
            return previous
        return max(previous, min(previous + self.advance.spacing, self.advance.target))

    def send(self, request: Outgoing, done: Done) -> None:
        """Make `request`; `done` runs later, under the lock, exactly once."""

        def finish(answer: Answer) -> None:
            with self.lock:
                self.in_flight -= 1
                done(answer)
                self.changed.notify_all()

        with self.lock:
            self.in_flight += 1
        if self.interrupt is None:
            self._send(request, finish)
        else:
            self.interrupt(request, lambda: self._send(request, finish), finish)

    def count(self, change: int) -> None:
        """Count work that is under way outside the core, such as a function's wake of the relay, as in flight."""
        with self.lock:
            self.in_flight += change
            self.changed.notify_all()

    def wake(self) -> None:
        """Tell whoever waits on `changed` to look again."""
        with self.lock:
            self.changed.notify_all()

    @property
    def idle(self) -> bool:
        """Nothing is in flight and nothing is due now."""
        with self.lock:
            return self.in_flight == 0 and not self.due

    @property
    def due(self) -> bool:
        """Whether something is due now."""
        with self.lock:
            due = self.next_due()
            return due is not None and due <= self.now()
