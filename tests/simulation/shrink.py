"""A failing seed, with as few faults as still make it fail (delta debugging: Zeller and Hildebrandt, 2002)."""

from tests.simulation.bench import Bench
from tests.simulation.faults import Fault
from tests.simulation.world import Result

MAX_RUNS = 120


def shrink(bench: Bench, failed: Result, most: int = MAX_RUNS) -> tuple[Result, int]:
    """The run of `failed`'s seed with the fewest faults found that breaks the same rule, and how many runs it took.

    After `most` runs it takes what it has.
    """
    rule = _rule(failed)
    left_out: set[Fault] = set()
    best, runs, parts = failed, 0, 2
    while best.faults and runs < most:
        size = max(1, len(best.faults) // parts)
        for start in range(0, len(best.faults), size):
            tried = left_out | set(best.faults[start : start + size])
            result = bench.run(failed.seed, suppressed=tried)
            runs += 1
            if _rule(result) == rule:
                left_out, best = tried, result
                break
            if runs >= most:
                break
        else:
            if size == 1:
                break
            parts *= 2
    return bench.run(failed.seed, suppressed=left_out, keep=True), runs


def _rule(result: Result) -> str:
    """The rule that was broken: what its violation says before it comes to values."""
    return "".join(c for c in result.violations[0] if not c.isdigit())[:24] if result.violations else ""
