"""`python -m tools.bench`: measure, print a table, write `build/bench.json`.

Exit code 0: every figure that is held to something is reached. 1: one is missed, could not be measured, or was so
disturbed by other processes that it says nothing.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console

from tools.bench import append, cold_start, create, export, grading, latency, neighbour, relay, start, webhooks
from tools.bench.report import Figure, show, write
from tools.catalog import ROOT

FIGURES: dict[str, Callable[[], list[Figure]]] = {
    "append": append.measure,
    "cold_start": cold_start.measure,
    "relay": relay.measure,
    "start": start.measure,
    "latency": latency.measure,
    "webhooks": webhooks.measure,
    "neighbour": neighbour.measure,
    "create": create.measure,
    "grading": grading.measure,
    "export": export.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"of {', '.join(FIGURES)}; all without any")
    wanted: list[str] = parser.parse_args().figures or list(FIGURES)
    if unknown := [name for name in wanted if name not in FIGURES]:
        parser.error(f"no such figure: {', '.join(unknown)}")

    console = Console(width=None if sys.stdout.isatty() else 150)
    figures: list[Figure] = []
    failed: list[str] = []
    for name in wanted:
        console.print(f"measuring {name} ...", style="dim")
        try:
            figures += FIGURES[name]()
        except Exception:  # the others are still worth having
            failed.append(name)
            traceback.print_exc()
    path = ROOT / "build/bench.json"
    write(figures, path, datetime.now(UTC))
    show(figures, console)
    console.print(f"written to {path.relative_to(ROOT)}", style="dim")
    if failed:
        console.print(f"[bold red]NOT MEASURED[/] {', '.join(failed)}")
    return 0 if not failed and all(figure.passes for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
