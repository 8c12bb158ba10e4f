"""`make simulate`: many seeds, in parallel; `--seed N` replays one and tells its story.

python -m tests.simulation --seeds 10000
python -m tests.simulation --seed 36
python -m tests.simulation --replays 200
"""

import argparse
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation import bench
from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.shrink import shrink
from tests.simulation.story import story
from tests.simulation.summary import Summary
from tests.simulation.world import Result

REPEATED = 20
"""Every so many seeds one is run again, in whichever process, and must come to the same digest."""
MOST_STORIES = 3


@contextmanager
def _pool(port: int, jobs: int, first: int = 0) -> Iterator[Any]:
    """Processes with a bench each. `first` is what their databases are numbered from: two pools must not share one."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, bench.start, (port, context.Value("i", first))) as pool:
        yield pool


def run_many(first: int, count: int, jobs: int, console: Console) -> tuple[Summary, list[str]]:
    """Run the seeds; their summary, and what is wrong besides broken rules."""
    summary, wrong, digests = Summary(), list[str](), dict[int, str]()
    seeds = [*range(first, first + count), *range(first, first + count, REPEATED)]
    with bench.postgres() as port, _pool(port, jobs) as pool, _progress(console) as progress:
        bar = progress.add_task("seeds", total=len(seeds), failed=0)
        for result in pool.imap_unordered(bench.run_here, seeds):
            if result.seed not in digests:
                digests[result.seed] = result.digest
                summary.add(result)
            elif digests[result.seed] != result.digest:
                wrong.append(f"seed {result.seed} came to two digests")
            progress.update(bar, advance=1, failed=len(summary.failed))
    return summary, wrong + summary.holes()


def compare(first: int, count: int, console: Console) -> list[str]:
    """Run the seeds in two processes, in the one forwards and in the other backwards; which of them differ."""
    seeds = range(first, first + count)
    with bench.postgres() as port, _pool(port, 1) as one, _pool(port, 1, 1) as other, _progress(console) as progress:
        bar = progress.add_task("replays", total=2 * count, failed=0)
        forwards, backwards = one.imap(bench.run_here, seeds), other.imap(bench.run_here, reversed(seeds))
        digests: dict[int, set[str]] = {seed: set() for seed in seeds}
        for result in itertools.chain.from_iterable(zip(forwards, backwards, strict=True)):
            digests[result.seed].add(result.digest)
            progress.update(bar, advance=1)
    return [f"seed {seed} came to two digests" for seed, found in digests.items() if len(found) > 1]


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[failed]} failed"), console=console)


def report(failed: Result, console: Console, *, mutant: str = "") -> None:
    """Shrink a failing seed and tell its story."""
    with bench.postgres() as port:
        here = bench.Bench(port, "shrink")
        with _mutant(here, mutant):
            shrunk, runs = shrink(here, failed)
        here.close()
    again = f" --mutant {mutant}" if mutant else ""
    console.print(
        f"\nseed {failed.seed}: {len(failed.faults)} faults, {len(shrunk.faults)} of them needed ({runs} runs)"
    )
    if not shrunk.violations:
        console.print("it is clean when it is run again: what broke it then is not in its seed")
    console.print("\n".join(story(shrunk)), markup=False, highlight=False, soft_wrap=True)
    console.print(f"replay: .venv/bin/python -m tests.simulation --seed {failed.seed}{again}", markup=False)


@contextmanager
def _mutant(here: bench.Bench, name: str) -> Iterator[None]:
    chosen = [mutant for mutant in MUTANTS if mutant.name == name]
    if not name:
        yield
    elif not chosen:
        raise SystemExit(f"there is no mutant {name}; there are {', '.join(m.name for m in MUTANTS)}")
    else:
        with mutated(here, chosen[0]):
            yield


def replay(seed: int, console: Console, *, mutant: str = "", shortest: bool = True) -> int:
    """Run one seed and tell its story; 1 if it fails."""
    with bench.postgres() as port:
        here = bench.Bench(port, "replay")
        with _mutant(here, mutant):
            result = here.run(seed, keep=True)
        here.close()
    if result.violations and shortest:
        report(result, console, mutant=mutant)
    else:
        console.print("\n".join(story(result)), markup=False, highlight=False, soft_wrap=True)
    console.print(f"seed {seed}: {result.turns} steps, {len(result.faults)} faults, digest {result.digest[:16]}")
    return 1 if result.violations else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="processes at once")
    parser.add_argument("--seed", type=int, help="replay this one and tell its story")
    parser.add_argument("--replays", type=int, help="run so many seeds twice, in two processes, and compare digests")
    parser.add_argument("--whole", action="store_true", help="with --seed: with all its faults, not the fewest")
    parser.add_argument("--mutant", default="", help="with --seed: with this mistake in the system")
    chosen = parser.parse_args()
    console = Console()
    if chosen.seed is not None:
        return replay(chosen.seed, console, mutant=chosen.mutant, shortest=not chosen.whole)
    began = time.monotonic()
    if chosen.replays is not None:
        wrong = compare(chosen.first, chosen.replays, console)
        console.print(f"{chosen.replays} seeds twice, {len(wrong)} differ, {time.monotonic() - began:.0f} s")
        console.print("\n".join(wrong), markup=False)
        return 1 if wrong else 0
    summary, wrong = run_many(chosen.first, chosen.seeds, chosen.jobs, console)
    console.print("\n".join(summary.lines()), markup=False, highlight=False)
    console.print(f"{time.monotonic() - began:.0f} s, {chosen.jobs} processes, load {os.getloadavg()[0]:.1f}")
    failures = sorted(summary.failed, key=lambda result: result.seed)
    for failed in failures:
        console.print(f"seed {failed.seed} failed: {failed.violations[0]}", markup=False, soft_wrap=True)
    for failed in failures[:MOST_STORIES]:
        report(failed, console)
    for line in wrong:
        console.print(line, markup=False)
    return 1 if summary.failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
