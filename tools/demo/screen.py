"""What is seen of the demo: acts, and in each the steps with what the user sees and how long it took."""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


class StepFailed(Exception):
    """A step did not show what it should."""


@dataclass
class Screen:
    """Prints to `console`, and counts the steps."""

    console: Console
    steps: int = 0

    def act(self, title: str) -> None:
        """Begin an act."""
        self.console.print(f"\n[bold]{title}[/]")

    @contextmanager
    def step(self, title: str) -> Generator[list[str]]:
        """Time a step and show what the user sees of it: the lines put into the yielded list.

        Raises StepFailed with the title, whatever fails in it.
        """
        seen: list[str] = []
        begun = time.monotonic()
        try:
            yield seen
        except Exception as error:
            raise StepFailed(f"{title}: {error}") from error
        self.steps += 1
        milliseconds = (time.monotonic() - begun) * 1000
        self.console.print(f"[bold green]✓[/] [bold]{title}[/] [dim]{milliseconds:.0f} ms[/]")
        for line in seen:
            self.console.print(f"    {line}", highlight=False)

    def table(self, *columns: str, rows: Iterable[Iterable[str]], numbers: frozenset[str] = frozenset()) -> None:
        """Show rows under a step; the columns named in `numbers` end at the right."""
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("  ")
        for column in columns:
            table.add_column(column, justify="right" if column in numbers else "left")
        for row in rows:
            table.add_row("", *row)
        self.console.print(table, highlight=False)


def wait(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until `condition` holds. Raises `StepFailed` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StepFailed(f"no {what} within {seconds:.0f} s")
        time.sleep(0.02)


def expect(holds: bool, otherwise: str) -> None:
    """Raises `StepFailed` saying `otherwise` unless it holds."""
    if not holds:
        raise StepFailed(otherwise)
