"""Three hundred seeded days, and nothing is lost; and a seed is the same day every time."""

import multiprocessing
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation import bench, sql
from tests.simulation.faults import KINDS
from tests.simulation.summary import Summary
from tests.simulation.world import Result

SEEDS = 300
REPLAYS = 20
"""Seeds that are run twice here, in two processes and another order; `make simulate` replays every twentieth."""


@pytest.fixture(scope="module")
def pool(port: int) -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, bench.start, (port, context.Value("i", 0))) as pool:
        yield pool


@pytest.fixture(scope="module")
def results(pool: Any) -> list[Result]:
    """Every seed, run once."""
    return list(pool.imap_unordered(bench.run_here, range(SEEDS)))


def test_seeds_run_clean(results: list[Result]) -> None:
    summary = Summary()
    for result in results:
        summary.add(result)
    failed = {result.seed: result.violations[:1] for result in summary.failed}
    assert not failed, f"replay one: python -m tests.simulation --seed N; {failed}"
    assert summary.runs == SEEDS
    assert sum(summary.kinds.values()) >= 20 * SEEDS
    assert not [kind for kind in KINDS if not summary.kinds[kind]]


def test_replays_agree(results: list[Result], pool: Any) -> None:
    """Two processes that ran other seeds before come to the same digest."""
    first = {result.seed: result.digest for result in results}
    seeds = random.Random("replays").sample(range(SEEDS), REPLAYS)
    second = {result.seed: result.digest for result in pool.imap_unordered(bench.run_here, seeds)}
    assert second == {seed: first[seed] for seed in seeds}


@pytest.mark.parametrize(
    ("statement", "unordered"),
    [
        ("DELETE FROM gradings WHERE id IN (SELECT id FROM due ORDER BY id) RETURNING id", True),
        ("SELECT id FROM trades", True),
        ("WITH gone AS (DELETE FROM gradings RETURNING id) SELECT id FROM gone ORDER BY id", False),
        ("SELECT id FROM trades ORDER BY id", False),
        ("FETCH 500 FROM cursor", False),
    ],
)
def test_an_order_that_sql_leaves_open_is_drawn(statement: str, unordered: bool) -> None:
    assert sql._unordered(statement) is unordered
