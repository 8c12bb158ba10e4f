"""`python -m tools.local`: serve the local cloud until it is told to stop."""

import argparse
import os
import signal
import threading
from pathlib import Path

from tools.catalog import ROOT
from tools.local.cloud import LocalCloud, PortTaken
from tools.local.postgres import PostgresError


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.local", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes any free one")
    parser.add_argument("--folder", type=Path, default=ROOT / ".local", help="where data is kept between runs")
    parser.add_argument("--temporary", action="store_true", help="keep nothing")
    arguments = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with LocalCloud(None if arguments.temporary else arguments.folder, arguments.port) as cloud:
            print(f"ready {cloud.url}", flush=True)
            parent = os.getppid()
            while not stop.wait(1) and os.getppid() == parent:
                pass
    except (PortTaken, PostgresError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
