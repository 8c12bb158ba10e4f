"""What was measured, as a table on the screen and as `build/bench.json`."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.bench.quiet import TOLERATED
from tools.bench.statistics import Sample

_VERDICTS = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "[yellow]undecided[/]"}
_REPORTED = "reported"
"""The verdict on a figure that is held to nothing."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure is held to: at least `value`, or at most."""

    value: float
    kind: str = "at_least"
    """`at_least` or `at_most`."""
    aim: float | None = None
    """What one would like beyond the bound; missing it fails nothing."""

    def reached(self, median: float) -> bool:
        return median >= self.value if self.kind == "at_least" else median <= self.value

    def to_json(self) -> dict[str, Any]:
        return {"floor" if self.kind == "at_least" else "ceiling": self.value, "aim": self.aim}

    def __str__(self) -> str:
        sign = "≥" if self.kind == "at_least" else "≤"
        return f"{sign} {self.value:g}" + (f", aim {self.aim:g}" if self.aim is not None else "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure: what is compared with its bound, and the absolute values behind it."""

    name: str
    """For example `a append`: the letter groups what belongs together."""
    what: str
    unit: str
    """Of `measured`: `x` for a ratio to the peer, else s, MB or ms."""
    measured: Sample
    bound: Bound | None
    """None: it is reported, and held to nothing."""
    peer: str | None = None
    absolute: dict[str, Sample] = field(default_factory=dict[str, Sample])
    """Ours and the peer's own values, by a name with their unit; indicative of this machine only."""
    notes: tuple[str, ...] = ()
    others: float = 0.0
    """Cores that other processes used meanwhile: see `quiet.py`."""

    @property
    def disturbed(self) -> bool:
        """Whether others used so much that the figure proves nothing, reached or not."""
        return self.others > TOLERATED

    @property
    def reached(self) -> bool | None:
        """Whether the median keeps the bound; None if the figure was disturbed, or has no bound."""
        return None if self.disturbed or self.bound is None else self.bound.reached(self.measured.median)

    @property
    def verdict(self) -> str:
        """For the table."""
        return _REPORTED if self.bound is None and not self.disturbed else _VERDICTS[self.reached]

    @property
    def passes(self) -> bool:
        """Whether the figure says something, and nothing bad."""
        return not self.disturbed and self.reached is not False

    def to_json(self) -> dict[str, Any]:
        return {
            "figure": self.name,
            "what": self.what,
            "peer": self.peer,
            "unit": self.unit,
            "ratio": self.measured.median if self.peer else None,
            "rounds": list(self.measured.values),
            "median": self.measured.median,
            "min": self.measured.least,
            "max": self.measured.most,
            **(self.bound.to_json() if self.bound else {}),
            "reached": self.reached,
            "disturbed": self.disturbed,
            "others_cores": round(self.others, 2),
            "absolute": {
                name: {"median": sample.median, "min": sample.least, "max": sample.most}
                for name, sample in self.absolute.items()
            },
            "notes": list(self.notes),
        }


def machine() -> dict[str, Any]:
    """The machine and the interpreter, as far as they matter to a figure."""
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def write(figures: Sequence[Figure], path: Path, at: datetime) -> None:
    """Write the figures as JSON, with the machine and the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"at": at.isoformat(), "machine": machine(), "figures": [figure.to_json() for figure in figures]}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def table(figures: Sequence[Figure]) -> Table:
    """One row a figure, and below each what its absolute values were."""
    result = Table(title=f"Kapas, measured on {os.cpu_count()} cores")
    for heading in ("Figure", "Peer", "Median", "Min to max", "Held to", "Reached"):
        result.add_column(heading, justify="right" if heading in ("Median", "Min to max") else "left")
    for figure in figures:
        sample, unit = figure.measured, figure.unit
        result.add_row(
            f"{figure.name}: {figure.what}",
            figure.peer or "",
            f"{_number(sample.median)} {unit}",
            f"{_number(sample.least)} to {_number(sample.most)}",
            f"{figure.bound} {unit}" if figure.bound else "",
            figure.verdict,
        )
    return result


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table, the absolute values and the notes, and what was missed."""
    console.print(table(figures))
    console.print("Behind them (this machine, indicative; the ratios are what counts):", style="dim")
    for figure in figures:
        for name, sample in figure.absolute.items():
            console.print(f"  {figure.name}: {name} {_number(sample.median)}", style="dim", highlight=False)
        for note in figure.notes:
            console.print(f"  {figure.name}: {note}", style="dim", highlight=False)
    for figure in figures:
        if figure.disturbed:
            console.print(
                f"[yellow]DISTURBED[/] {figure.name}: others used {figure.others:.1f} cores; repeat it on a quiet machine"
            )
        if figure.reached is False:
            median = f"{_number(figure.measured.median)} {figure.unit}"
            console.print(f"[bold red]MISSED[/] {figure.name}: {median}, held to {figure.bound}")


def _number(value: float) -> str:
    """`value` with three significant digits, or none of its integer digits lost."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
