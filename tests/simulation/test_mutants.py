"""The simulation can fail: it finds each of these mistakes, and within how many seeds is part of the test."""

import multiprocessing
from collections.abc import Mapping

import pytest

from tests.simulation import bench, jobs
from tests.simulation.mutants import MUTANTS

NAMES = [mutant.name for mutant in MUTANTS]


@pytest.fixture(scope="module")
def found(port: int) -> Mapping[str, tuple[int, str] | None]:
    """Every mutant in processes of their own: what is patched there is patched nowhere else."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, bench.start, (port, context.Value("i", 0))) as pool:
        longest_first = [mutant.name for mutant in sorted(MUTANTS, key=lambda mutant: -mutant.seeds)]
        return dict(zip(longest_first, pool.map(jobs.find, longest_first, chunksize=1), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_mutant_is_found(found: Mapping[str, tuple[int, str] | None], name: str) -> None:
    assert found[name] is not None


def test_there_are_enough() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 15
