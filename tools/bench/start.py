"""Figure d: the local cloud from nothing, as `make run` starts it for the first time: time to ready, and memory then."""

import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from tools.bench import processes, quiet
from tools.bench.report import Bound, Figure
from tools.bench.statistics import Sample

SECONDS = Bound(6.0, "at_most")
MEGABYTES = Bound(300.0, "at_most")


def measure(rounds: int = 3) -> list[Figure]:
    """Each round on a new folder: cluster, migrations, keys and topics are made, every function is loaded."""
    usage = quiet.Usage()
    seconds: list[float] = []
    cpu: list[float] = []
    python: list[float] = []
    postgres: list[float] = []
    for _ in range(rounds):
        with TemporaryDirectory(prefix="kapas-bench-") as folder, quiet.watch(usage):
            started = time.perf_counter()
            with local_cloud(Path(folder)) as (process, _):
                seconds.append(time.perf_counter() - started)
                cpu.append(quiet.tree_cpu(process.pid))
                python.append(resident(process.pid))
                postgres.append(sum(resident(pid) for pid in quiet.tree(process.pid) - {process.pid}))
    return [
        Figure(
            name="d local cloud, start",
            what="process start to ready, on an empty folder",
            unit="s",
            measured=Sample(tuple(seconds)),
            bound=SECONDS,
            absolute={"CPU, s": Sample(tuple(cpu))},
            others=usage.cores,
        ),
        Figure(
            name="d local cloud, memory",
            what="resident when ready, Python and PostgreSQL",
            unit="MB",
            measured=Sample(tuple(map(sum, zip(python, postgres, strict=True)))),
            bound=MEGABYTES,
            absolute={"Python, MB": Sample(tuple(python)), "PostgreSQL, MB": Sample(tuple(postgres))},
            notes=("pages that processes share are counted in each of them: an upper bound",),
        ),
    ]


@contextmanager
def local_cloud(folder: Path) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """The local cloud in a process of its own, once it is ready, and its address. Raises `NotStarted`."""
    command = [sys.executable, "-m", "local_cloud", "--port", "0", "--folder", str(folder / "cloud")]
    with processes.running(command, {}, output=subprocess.PIPE) as process:
        url = _ready(process)
        threading.Thread(target=_discard, args=(process.stdout,), daemon=True).start()
        yield process, url


def _ready(process: subprocess.Popen[bytes]) -> str:
    for line in process.stdout or ():
        word, _, url = line.decode().strip().partition(" ")
        if word == "ready":
            return url
    raise processes.NotStarted("the local cloud ended before it was ready")


def _discard(log: IO[bytes]) -> None:
    """Read what a process writes: one that nobody reads stops in the middle of a log line."""
    with suppress(ValueError):  # closed at the end
        for _ in log:
            pass


def resident(pid: int) -> float:
    """A process's resident set in MB. Not its proportional one: that shrinks with whatever else runs on the machine."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6
