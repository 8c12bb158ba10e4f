"""A failing seed is told with the few faults that it needs."""

import multiprocessing

from tests.simulation import bench
from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.shrink import shrink
from tests.simulation.story import story


def _tell(name: str) -> tuple[int, int, list[str]]:
    """Find a mutant and shrink what found it: how many faults there were and are, and the story."""
    here = bench.here()
    with mutated(here, next(mutant for mutant in MUTANTS if mutant.name == name)):
        failed = next(result for result in map(here.run, range(100)) if result.violations)
        shrunk, _ = shrink(here, failed)
        return len(failed.faults), len(shrunk.faults), list(story(shrunk))


def test_shrunk_story(port: int) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, bench.start, (port, context.Value("i", 0))) as pool:
        before, after, lines = pool.apply(_tell, ("inbox_outside_the_transaction",))
    assert 1 <= after < before
    assert any("FAULT" in line for line in lines)
    assert any(line.startswith("broken: ") for line in lines)
