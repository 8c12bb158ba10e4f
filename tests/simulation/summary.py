"""What many runs came to."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.simulation.faults import KINDS
from tests.simulation.world import Result

ENOUGH = 10_000
"""Runs after which a kind of fault, or a failpoint, that was never struck is a hole in the simulation."""


@dataclass
class Summary:
    """Of the runs that were added to it."""

    runs: int = 0
    days: float = 0.0
    turns: int = 0
    failed: list[Result] = field(default_factory=list[Result])
    kinds: Counter[str] = field(default_factory=Counter[str])
    passed: Counter[str] = field(default_factory=Counter[str])
    struck: Counter[str] = field(default_factory=Counter[str])

    def add(self, result: Result) -> None:
        self.runs += 1
        self.days += result.days
        self.turns += result.turns
        self.kinds.update(fault.kind for fault in result.faults)
        self.passed.update(result.passed)
        self.struck.update(result.struck)
        if result.violations:
            self.failed.append(result)

    def holes(self) -> list[str]:
        """What was never struck, though there were runs enough for it."""
        if self.runs < ENOUGH:
            return []
        kinds = [f"no fault of the kind {kind}" for kind in KINDS if not self.kinds[kind]]
        return kinds + [f"no fault at {name}" for name in sorted(self.passed) if not self.struck[name]]

    def lines(self) -> Iterator[str]:
        """As text, a table of faults and one of failpoints."""
        faults = sum(self.kinds.values())
        runs = max(1, self.runs)
        yield f"{self.runs} runs, {self.days:.0f} days, {faults} faults ({faults / runs:.1f} a run), {self.turns} steps"
        yield ""
        yield from (f"  {kind:<20}{self.kinds[kind]:>9}" for kind in KINDS)
        yield ""
        yield f"  {'failpoint':<58}{'passed':>9}{'struck':>8}"
        yield from (f"  {name:<58}{self.passed[name]:>9}{self.struck[name]:>8}" for name in sorted(self.passed))
