"""A failing seed is told with the few faults that it needs."""

import multiprocessing

from tests.simulation import bench, jobs


def test_shrunk_story(port: int) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, bench.start, (port, context.Value("i", 0))) as pool:
        before, after, lines = pool.apply(jobs.shrunk_story, ("inbox_outside_the_transaction",))
    assert 1 <= after < before
    assert any("FAULT" in line for line in lines)
    assert any(line.startswith("broken: ") for line in lines)
