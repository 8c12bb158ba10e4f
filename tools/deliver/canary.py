"""Whether a new revision takes over: the decision, and the walk from a small share of the calls to all of them.

The measure is the promise of `terraform/slos.tf`: a revision goes back when it burns the error budget as fast as the fast
alert allows nobody to, and clearly faster than the revision before it, or when it answers clearly more slowly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

STAGES = (5, 25, 50, 100)
"""Percent of the calls that the new revision takes, one after the other."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one revision answered in a stretch of time."""

    requests: int
    failures: int
    p95_ms: float

    @property
    def failure_rate(self) -> float:
        return self.failures / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Objective:
    """What a new revision must keep."""

    goal: float = 0.995
    burn_rate: float = 14.4
    """Times the rate at which failures would use up the error budget in its 28 days, no more and no less."""
    enough_requests: int = 50
    """Fewer say nothing of latency, nor that all is well."""
    few_failures: int = 3
    """As many can be chance."""
    slower: float = 1.5
    slower_ms: float = 300.0
    """Both must be passed: half as slow again, and noticeably."""

    @property
    def failure_rate(self) -> float:
        """The highest that is borne."""
        return (1 - self.goal) * self.burn_rate


class Verdict(Enum):
    ADVANCE = "advance"
    WAIT = "wait"
    ROLL_BACK = "roll back"


def decide(before: Figures, new: Figures, objective: Objective) -> Verdict:
    """What to do about a new revision, by its figures and those of the revision before it in the same stretch of time.

    Where both fail alike the release is not the cause, and going back would not help: wait.
    """
    if new.failure_rate > objective.failure_rate and new.failures > objective.few_failures:
        worse = new.failure_rate > 2 * before.failure_rate
        return Verdict.ROLL_BACK if worse else Verdict.WAIT
    if new.requests < objective.enough_requests:
        return Verdict.WAIT
    if before.requests >= objective.enough_requests:
        bound = max(before.p95_ms * objective.slower, before.p95_ms + objective.slower_ms)
        if new.p95_ms > bound:
            return Verdict.ROLL_BACK
    return Verdict.ADVANCE


@dataclass(frozen=True, slots=True)
class Change:
    """A service whose new revision is to take over."""

    service: str
    before: str
    new: str


@dataclass(frozen=True, slots=True)
class Doing:
    """How the walk acts on the world."""

    split: Callable[[str, Mapping[str, int]], None]
    """Give the revisions of a service these percents of its calls."""
    look: Callable[[Change], tuple[Figures, Figures]]
    """The figures of the revision before and of the new one, since the last split."""
    ask: Callable[[], list[str]]
    """Ask the system from outside; what did not answer as it should."""
    wait: Callable[[], None]
    report: Callable[[str], None] = print


def walk(changes: list[Change], objective: Objective, doing: Doing, looks: int = 10) -> bool:
    """Take all changes through the stages together; whether they stayed. If one must go back, all do.

    A stage that has too few calls to judge after `looks` looks passes if none of them failed. Each ends with questions from
    outside, so that nothing takes all calls that was never called. Whatever goes wrong on the way, also an error of
    Google's API, puts the revisions back that served before.
    """
    try:
        passed = all(_stage(changes, percent, objective, doing, looks) for percent in STAGES)
    except BaseException:
        _back(changes, doing)
        raise
    if not passed:
        _back(changes, doing)
    return passed


def _stage(changes: list[Change], percent: int, objective: Objective, doing: Doing, looks: int) -> bool:
    for change in changes:
        shares = {change.new: percent, change.before: 100 - percent}
        doing.split(change.service, {revision: share for revision, share in shares.items() if share})
    waiting, seen = list(changes), dict[Change, tuple[Figures, Figures]]()
    for _ in range(looks):
        doing.wait()
        seen = {change: doing.look(change) for change in waiting}
        verdicts = {change: decide(*figures, objective) for change, figures in seen.items()}
        for change, verdict in verdicts.items():
            if verdict is Verdict.ROLL_BACK:
                doing.report(
                    f"{change.new} at {percent}%: {seen[change][1]}, before it {seen[change][0]}: rolling back"
                )
                return False
        waiting = [change for change, verdict in verdicts.items() if verdict is Verdict.WAIT]
        if not waiting:
            break
    else:
        failing = [change for change in waiting if seen[change][1].failures]
        for change in failing:
            doing.report(f"{change.new} at {percent}%: {seen[change][1]}, no clear answer: rolling back")
        if failing:
            return False
    if wrong := doing.ask():
        doing.report("\n".join([f"at {percent}%, from outside: rolling back", *wrong]))
        return False
    doing.report(f"{percent}% of the calls: kept")
    return True


def _back(changes: list[Change], doing: Doing) -> None:
    for change in changes:
        doing.split(change.service, {change.before: 100})
