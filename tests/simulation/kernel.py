"""The scheduler: greenlets that take turns at every statement, port call and request, in seeded order and virtual time.

Time advances only when nothing can run. Nothing here reads a clock or a random source of its own, so that a seed gives
the same run, to the last byte of its digest, on every machine.
"""

import hashlib
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from queue import Empty
from typing import Any, Literal

from greenlet import greenlet

from kapas.values import clock, ids
from local_cloud.core import Answer, Core, Outgoing, VirtualClock
from tests.simulation.faults import HEAL, Faults

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
YESTERDAY = START - timedelta(days=1)
"""What is older was written years ago: rules/retention.py is about it."""
MAX_STEPS = 60_000
"""Turns of a run; one that needs more does not come to rest."""
IDLE_IN_TRANSACTION = 20.0
"""Seconds after which PostgreSQL ends a connection that stands still in a transaction: see kapas.platform.db.connect."""

Mode = Literal["random", "sticky", "priorities"]


class Crash(BaseException):
    """The process is gone in this moment. No `except Exception` may swallow it, and no seam works for it any more."""


@dataclass(eq=False)
class Task:
    """One invocation, or one client: what takes turns. `instance` is what dies with it in a crash."""

    key: str
    function: str
    instance: Any
    tries: int
    """Which try of the same piece of work this is, from 1."""
    priority: float
    done: Callable[[Any], None]
    greenlet: Any = None
    state: Literal["ready", "waiting", "blocked"] = "ready"
    killed: bool = False
    points: int = 0
    outcome: Any = None
    wire: Any = None
    """The connection whose lock it waits for."""


@dataclass
class Trace:
    """What happened: always its digest, and each line if `lines` is a list."""

    lines: list[tuple[datetime, str, str]] | None = None
    count: int = 0
    hash: Any = field(default_factory=hashlib.sha256)

    def write(self, at: datetime, who: str, *what: Any) -> None:
        self.count += 1
        self.hash.update(f"{at.timestamp()} {who} {what}\n".encode())
        if self.lines is not None:
            self.lines.append((at, who, " ".join(part if isinstance(part, str) else repr(part) for part in what)))


class Kernel:
    """One run. `settle` and `blocked` are how the database tells what waits for locks: see sql.py."""

    def __init__(self, seed: int, faults: Faults, trace: Trace, begin: datetime = START) -> None:
        self.seed = seed
        self.faults = faults
        self.trace = trace
        self.core = Core(
            lambda request, done: self.send(request, done), clock=VirtualClock(begin, frozen=True), seed=seed
        )
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.counts: dict[str, int] = {}
        self.violations: list[str] = []
        self.settle: Callable[[], None] = lambda: None
        self.stall: Callable[[Task, float], None] = lambda _task, _seconds: None
        self.crashed: Callable[[Any], None] = lambda _instance: None
        self.send: Callable[[Outgoing, Callable[[Answer], None]], None] = self._no_send
        self._random = random.Random(f"{seed}/schedule")
        self.mode: Mode = self._random.choice(("random", "sticky", "priorities"))
        self._main = greenlet.getcurrent()
        self.core.at(begin + HEAL, self._heal, recurring=True)  # a day that has come to rest before is over

    @staticmethod
    def _no_send(request: Outgoing, done: Callable[[Answer], None]) -> None:
        raise RuntimeError("no network")

    # Tasks

    def spawn(
        self, label: str, work: Callable[[], Any], done: Callable[[Any], None], *, function: str, instance: Any = None
    ) -> Task:
        """Have `work` take its turns. `done` gets its result, or None if it crashed."""
        tries = self.counts[label] = self.counts.get(label, 0) + 1
        task = Task(f"{label}~{tries}", function, instance, tries, self._random.random(), done)
        skew = timedelta(seconds=instance.skew) if instance is not None else timedelta(0)
        source = random.Random(f"{self.seed}/ids/{task.key}")

        def body() -> None:
            try:
                with ExitStack() as stack:
                    stack.enter_context(clock.use(lambda: self.core.now() + skew))
                    stack.enter_context(ids.use(source.randbytes))
                    task.outcome = work()
            except Crash:
                task.killed = True

        task.greenlet = greenlet(body)
        self.tasks.append(task)
        self.log(task.key, "starts")
        return task

    def log(self, who: str, *what: Any) -> None:
        self.trace.write(self.core.now(), who, *what)

    def violation(self, text: str) -> None:
        """A rule was broken."""
        self.violations.append(text)
        self.log("invariant", text)

    # What a running task calls

    def point(self, name: str, *, yields: bool = True) -> Task:
        """A point at which others may run, and at which faults happen; the task that passes it."""
        task = self.alive()
        if yields:
            self._switch(task)
        task.points += 1
        if task.instance is None:
            return task
        if not self.faults.healed:
            self.faults.passed[f"{task.function}: {name}"] += 1
        if self.strikes("freeze", name, weight=0.25):
            self.sleep(20 + 100 * self.faults.draw(task.key, task.points, "length"))
        if self.strikes("crash", name, weight=0.5):
            raise Crash
        return task

    def strikes(self, kind: str, name: str, *, weight: float = 1.0) -> bool:
        """Whether a fault of this kind happens to the running task at its present point."""
        task = self.alive()
        if task.instance is None or self.faults.spares(task.tries):
            return False
        struck = self.faults.strikes(kind, task.key, task.points, f"{task.function}: {name}", weight=weight)
        if struck:
            self.log(task.key, f"FAULT {kind} at {name}")
        return struck

    def alive(self) -> Task:
        """The running task; the dead may call nothing."""
        task = self.current
        if task is None:
            raise RuntimeError("nothing is running")
        if task.killed:
            raise Crash
        return task

    def sleep(self, seconds: float) -> None:
        """Let the running task stand still for so many virtual seconds."""
        task = self.alive()
        if seconds >= IDLE_IN_TRANSACTION:
            self.stall(task, seconds)
        timer = self.core.after(seconds, lambda: self.wake(task))
        self.wait()
        timer.cancel()

    def wait(self) -> None:
        """Let the running task stand still until somebody calls `wake`."""
        task = self.alive()
        task.state = "waiting"
        self._switch(task)

    def wake(self, task: Task) -> None:
        if task.state == "waiting":
            task.state = "ready"

    def block(self, wire: Any) -> None:
        """The running task waits for a lock."""
        task = self.alive()
        task.state, task.wire = "blocked", wire
        self._switch(task)
        task.wire = None

    def _switch(self, task: Task) -> None:
        self._main.switch()
        if task.killed:
            raise Crash

    # The loop

    def run(self, rests: Callable[[], bool]) -> None:
        """Take turns until nothing is under way and `rests` says so, a rule is broken, or it goes on for too long."""
        last: Task | None = None
        for _ in range(MAX_STEPS):
            if self.violations:
                return
            self.settle()
            ready = [task for task in self.tasks if task.state == "ready"]
            due = self.core.next_due()
            steps = due is not None and due <= self.core.now()
            if not ready and not steps:
                if not self.tasks and rests():
                    return
                if due is None:
                    self.violation(f"nothing can go on: {', '.join(task.key for task in self.tasks)}")
                    return
                self.core.clock.advance(due - self.core.now())
                continue
            chosen = self._choose(ready, steps, last)
            if chosen is None:
                self.core.step()
            else:
                last = chosen
                self._turn(chosen)
        self.violation("the system does not come to rest")

    def _choose(self, ready: list[Task], steps: bool, last: Task | None) -> Task | None:
        """Whose turn it is; None for what is due in the heap."""
        if not ready:
            return None
        draw = self._random.random()
        if self.mode == "sticky" and last in ready and draw < 0.85:
            return last
        if self.mode == "priorities" and (not steps or draw < 0.9):
            chosen = max(ready, key=lambda task: task.priority)
            if self._random.random() < 0.05:
                chosen.priority = -self._random.random()
            return chosen
        index = self._random.randrange(len(ready) + steps)
        return ready[index] if index < len(ready) else None

    def _turn(self, task: Task) -> None:
        self.current = task
        try:
            task.greenlet.switch()
        finally:
            self.current = None
        if task.greenlet.dead:
            self._end(task)

    def _end(self, task: Task) -> None:
        self.tasks.remove(task)
        if task.killed:
            self.log(task.key, "is killed")
            if task.instance is not None:
                self._crash(task.instance)
        else:
            self.log(task.key, "ends", getattr(task.outcome, "status", ""))
        task.done(None if task.killed else task.outcome)

    def _crash(self, instance: Any) -> None:
        """Everything else in the instance dies too, and its connections break."""
        others = [task for task in self.tasks if task.instance is instance]
        for task in others:
            task.killed = True
        self.crashed(instance)
        for task in others:
            self.tasks.remove(task)
            self._unwind(task)
            self.log(task.key, "is killed with its instance")
            task.done(None)

    def abandon(self) -> None:
        """End what still runs, after a run that failed."""
        for task in self.tasks:
            task.killed = True
        for task in self.tasks:
            self._unwind(task)
        self.tasks.clear()

    def _unwind(self, task: Task) -> None:
        """End a killed task where it stands."""
        if task.greenlet:  # one that has not begun is false, and has nothing to unwind
            self.current = task
            task.greenlet.throw(Crash)
            self.current = None

    def _heal(self) -> None:
        self.faults.healed = True
        self.log("faults", "stop")


class Slots:
    """The turns of an instance's pool in virtual time: of `queue.SimpleQueue`, what `kapas.platform.db` uses."""

    def __init__(self, kernel: Kernel, size: int) -> None:
        self._kernel = kernel
        self._free = size
        self._waiting: list[Task] = []

    def get(self, timeout: float) -> None:
        if self._free:
            self._free -= 1
            return
        task = self._kernel.alive()
        self._waiting.append(task)
        self._kernel.sleep(timeout)
        if task in self._waiting:
            self._waiting.remove(task)
            raise Empty

    def put(self, _: None) -> None:
        if self._waiting:
            self._kernel.wake(self._waiting.pop(0))
        else:
            self._free += 1


class Promise:
    """What `concurrent.futures.Future` is to threads: the first computes, the others wait their turn."""

    kernel: Kernel

    def __init__(self) -> None:
        self._waiting: list[Task] = []
        self._result: tuple[Any, BaseException | None] | None = None

    def __class_getitem__(cls, _: Any) -> type["Promise"]:
        return cls

    def result(self) -> Any:
        while self._result is None:
            self._waiting.append(self.kernel.alive())
            self.kernel.wait()
        value, failure = self._result
        if failure is not None:
            raise failure
        return value

    def set_result(self, value: Any) -> None:
        self._set(value, None)

    def set_exception(self, failure: BaseException) -> None:
        self._set(None, failure)

    def _set(self, value: Any, failure: BaseException | None) -> None:
        self._result = value, failure
        for task in self._waiting:
            self.kernel.wake(task)
