"""Faults at the at-least-once edges: pushes, tasks and schedules that get lost, doubled, late or out of order."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from local_cloud.core import Answer, Core, Done, Entry, Outgoing, Send

EDGES = ("push", "task", "schedule")
KINDS = ("drop", "delay", "duplicate", "reorder", "fail", "lose_answer")


@dataclass(slots=True)
class Rule:
    """What to do with the next `times` requests that match. Raises ValueError for an unknown `kind` or `edge`.

    `drop`: never sent, no answer. `delay`: sent after `seconds`. `duplicate`: sent twice at once, answered when both
    are. `reorder`: held until the next match has been sent and answered, at most `seconds`. `fail`: answered with
    `status` without being sent. `lose_answer`: sent, but the answer is lost, like a consumer killed after its effect
    and before its acknowledgement.
    """

    kind: str
    edge: str = ""
    """`push`, `task` or `schedule`; empty for each of them."""
    match: str = ""
    """A part of the resource name or of the URL; empty for any."""
    times: int = 1
    seconds: float = 1.0
    """In seconds of the core's clock."""
    status: int = 500
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if self.edge and self.edge not in EDGES:
            raise ValueError(f"edge must be one of {', '.join(EDGES)}")

    def matches(self, request: Outgoing) -> bool:
        return self.edge in ("", request.edge) and (self.match in request.name or self.match in request.url)


@dataclass(slots=True, eq=False)
class _Held:
    """A request kept back, and the entry that releases it at the latest."""

    rule: Rule
    release: Callable[[], None]
    latest: Entry


class Faults:
    """A `core.Interrupt` with a list of rules; the first that matches and is not used up is applied."""

    def __init__(self, core: Core, send: Send) -> None:
        self._core = core
        self._send = send
        self._rules: list[Rule] = []
        self._held: list[_Held] = []

    def add(self, rule: Rule) -> None:
        with self._core.lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """Forget all rules. What is held back or delayed still goes out when its time comes."""
        with self._core.lock:
            self._rules.clear()

    def listed(self) -> list[dict[str, Any]]:
        """The rules as they were added, with how often each `fired`."""
        with self._core.lock:
            return [asdict(rule) for rule in self._rules]

    def __call__(self, request: Outgoing, proceed: Callable[[], None], done: Done) -> None:
        with self._core.lock:
            if held := next((held for held in self._held if held.rule.matches(request)), None):
                self._send(request, lambda answer: self._overtaken(held, done, answer))
                return
            rule = next((rule for rule in self._rules if rule.fired < rule.times and rule.matches(request)), None)
            if rule is None:
                proceed()
                return
            rule.fired += 1
            self._apply(rule, request, proceed, done)

    def _apply(self, rule: Rule, request: Outgoing, proceed: Callable[[], None], done: Done) -> None:
        match rule.kind:
            case "drop":
                self._core.after(0, lambda: done(Answer(0)))
            case "fail":
                self._core.after(0, lambda: done(Answer(rule.status)))
            case "lose_answer":
                self._send(request, lambda _: done(Answer(0)))
            case "duplicate":
                self._duplicate(request, done)
            case "delay":
                self._hold(rule, proceed)
            case _:
                self._held.append(self._hold(rule, proceed))

    def _duplicate(self, request: Outgoing, done: Done) -> None:
        answers: list[Answer] = []

        def collect(answer: Answer) -> None:
            with self._core.lock:
                answers.append(answer)
                if len(answers) == 2:
                    done(answers[0])

        self._send(request, collect)
        self._send(request, collect)

    def _hold(self, rule: Rule, proceed: Callable[[], None]) -> _Held:
        """Keep a request back: until it is released it waits in the heap and is not in flight."""

        def release() -> None:
            if held in self._held:
                self._held.remove(held)
            self._core.in_flight += 1
            proceed()

        self._core.in_flight -= 1
        held = _Held(rule, release, self._core.after(rule.seconds, release))
        return held

    def _overtaken(self, held: _Held, done: Done, answer: Answer) -> None:
        with self._core.lock:
            done(answer)
            if held in self._held:
                held.latest.cancel()
                held.release()
