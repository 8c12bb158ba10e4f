"""How much of the machine somebody else used while a figure was measured.

Interleaving cancels a slow drift, but not contention. Seen on 2 cores with the same code: with others using 0.3 cores the
append ratio was 0.71, with 0.8 it was 1.24, while the CPU of a request stayed in the same proportion. Our many threads
seem to lose less to other processes than the peer's one; whatever the cause, a ratio measured beside others proves
nothing, whichever way it fell. So each figure tells how many cores others used.
"""

import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TOLERATED = 0.15
"""Cores that others may use before a figure counts as disturbed."""

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Usage:
    """CPU during a stretch of time, all in seconds."""

    wall: float = 0.0
    own: float = 0.0
    """Of this process and everything it started."""
    others: float = 0.0

    @property
    def cores(self) -> float:
        """How many cores others used, on average."""
        return self.others / self.wall if self.wall else 0.0

    def add(self, more: "Usage") -> None:
        self.wall += more.wall
        self.own += more.own
        self.others += more.others


@contextmanager
def watch(into: Usage) -> Generator[None]:
    """Add what happens within this context `into` a usage."""
    started, busy, own = time.perf_counter(), _busy(), tree_cpu(os.getpid())
    yield
    mine = tree_cpu(os.getpid()) - own
    into.add(Usage(time.perf_counter() - started, mine, max(0.0, _busy() - busy - mine)))


def tree_cpu(root: int) -> float:
    """CPU seconds of a process, its descendants, and those of their children that ended and were waited for."""
    stats = _stats()
    used = (stats[pid][11:15] for pid in tree(root, stats) if pid in stats)
    return sum(sum(map(int, fields)) for fields in used) / _TICK  # utime, stime, cutime, cstime: proc_pid_stat(5)


def tree(root: int, stats: Mapping[int, Sequence[str]] | None = None) -> set[int]:
    """The ids of a process and all its descendants."""
    found = stats if stats is not None else _stats()
    return descendants(root, {pid: int(fields[1]) for pid, fields in found.items()})


def descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """`root` and every process below it, by each process's parent."""
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _stats() -> dict[int, list[str]]:
    """Of every process, the fields after its command's name, which may hold spaces and brackets."""
    found: dict[int, list[str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                found[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
    return found


def _busy() -> float:
    """CPU seconds of the whole machine, without idle, waiting and stolen time."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + irq + softirq) / _TICK
