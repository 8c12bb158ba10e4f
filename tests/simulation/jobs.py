"""What tests have done in processes of their own: a module that such a process can import, which a test module is not."""

from tests.simulation import bench
from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.shrink import shrink
from tests.simulation.story import story


def find(name: str) -> tuple[int, str] | None:
    """The first seed that finds a mutant, and the rule that it breaks."""
    here, mutant = bench.here(), MUTANTS[[mutant.name for mutant in MUTANTS].index(name)]
    with mutated(here, mutant):
        for seed in range(mutant.seeds):
            violations = here.run(seed).violations
            if violations:
                return seed, violations[0]
    return None


def shrunk_story(name: str) -> tuple[int, int, list[str]]:
    """Find a mutant and shrink what found it: how many faults there were and are, and the story."""
    here = bench.here()
    with mutated(here, next(mutant for mutant in MUTANTS if mutant.name == name)):
        failed = next(result for result in map(here.run, range(100)) if result.violations)
        shrunk, _ = shrink(here, failed, most=40)
        return len(failed.faults), len(shrunk.faults), list(story(shrunk))
