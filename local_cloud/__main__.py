"""`python -m local_cloud`: serve the local cloud until it is told to stop."""

import argparse
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from local_cloud.cloud import LocalCloud, PortTaken
from local_cloud.postgres import PostgresError
from tools.catalog import ROOT
from tools.migrations import MigrationError

KEPT = ROOT / ".local"
"""What `make clean` removes."""


def _stay_on_one_cpu() -> None:
    """Keep this process's threads on one CPU; PostgreSQL, which runs by now, has them all.

    Threads that share an interpreter run one at a time, and passing them from one CPU to another costs a quarter of all that
    this process does (docs/decisions/0020).
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    cpus = sorted(os.sched_getaffinity(0))
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # one that has ended meanwhile
            os.sched_setaffinity(int(thread.name), {cpus[os.getpid() % len(cpus)]})


def main() -> None:
    parser = argparse.ArgumentParser(prog="local_cloud", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes any free one")
    parser.add_argument("--folder", type=Path, default=KEPT, help="where data is kept between runs")
    parser.add_argument("--temporary", action="store_true", help="keep nothing")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="the process to end with; this one's parent")
    arguments = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with LocalCloud(None if arguments.temporary else arguments.folder, arguments.port) as cloud:
            _stay_on_one_cpu()
            print(f"ready {cloud.url}", flush=True)
            # Whoever started this may be gone by now: then it has another parent already.
            while os.getppid() == arguments.parent and not stop.wait(1):
                pass
    except (PortTaken, PostgresError) as error:
        raise SystemExit(str(error)) from None
    except MigrationError as error:
        if arguments.temporary:
            raise SystemExit(str(error)) from None
        forget = "`make clean` forgets it" if arguments.folder == KEPT else "delete it to begin anew"
        raise SystemExit(f"{error} (is what {arguments.folder} keeps of another branch? {forget})") from None


if __name__ == "__main__":
    main()
