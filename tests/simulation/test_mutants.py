"""The simulation can fail: it finds each of these mistakes, and within how many seeds is part of the test."""

import multiprocessing
from collections.abc import Mapping

import pytest

from tests.simulation import bench
from tests.simulation.mutants import MUTANTS, mutated

NAMES = [mutant.name for mutant in MUTANTS]


def _find(name: str) -> tuple[int, str] | None:
    """The first seed that finds a mutant, and the rule that it breaks."""
    here, mutant = bench.here(), MUTANTS[NAMES.index(name)]
    with mutated(here, mutant):
        for seed in range(mutant.seeds):
            violations = here.run(seed).violations
            if violations:
                return seed, violations[0]
    return None


@pytest.fixture(scope="module")
def found(port: int) -> Mapping[str, tuple[int, str] | None]:
    """Every mutant in processes of their own: what is patched there is patched nowhere else."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, bench.start, (port, context.Value("i", 0))) as pool:
        return dict(zip(NAMES, pool.map(_find, NAMES, chunksize=1), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_mutant_is_found(found: Mapping[str, tuple[int, str] | None], name: str) -> None:
    assert found[name] is not None


def test_there_are_enough() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 15
