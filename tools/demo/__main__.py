"""Play the day: a local cloud in a process of its own on a free port, and one act after the other.

Keeps nothing, and ends with exit code 0, with 1 and a line that says which step failed, or with 130 if interrupted.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

os.environ["GRPC_VERBOSITY"] = "NONE"  # read when grpc is imported; it would tell of the server's end among the steps

from local_cloud.client import running
from tools.demo import cast, consents, grading, kapas, logs, onboarding, privacy, sweep, trading, webhooks
from tools.demo.day import Day
from tools.demo.live import listening
from tools.demo.screen import Screen, StepFailed


def main() -> int:
    console = Console(soft_wrap=True)
    console.print("\n[bold]Kapas[/]: one day of cotton, through the whole system, on this machine")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kapas-demo-") as folder:
        log = Path(folder, "kapas.platform.log")
        try:
            with running(log, "--port", "0", "--temporary") as (client, _):
                console.print(f"[dim]local cloud ready at {client.url} in {time.monotonic() - begun:.1f} s[/]")
                screen = Screen(console)
                play(Day(screen, client, Path(folder), *cast.firms(client)), log)
        except (StepFailed, RuntimeError) as error:
            console.print(f"✗ {error}", style="bold red", markup=False, highlight=False)
            return 1
        except KeyboardInterrupt:
            console.print("[bold]Stopped[/], nothing left behind.")
            return 130
    seconds = time.monotonic() - begun
    console.print(f"\n[bold green]Done[/]: {screen.steps} steps in {seconds:.1f} s, nothing left behind.\n")
    return 0


def play(day: Day, log: Path) -> None:
    """The acts of the day, in order."""
    onboarding.play(day)
    consents.play(day)
    subscriptions = webhooks.subscribe(day)
    grading.play(day)
    kapas.play(day)
    with listening(day.client) as changes:
        trade_id = trading.play(day, changes)
    webhooks.play(day, subscriptions, trade_id)
    privacy.play(day)
    sweep.play(day)
    logs.play(day, log)


if __name__ == "__main__":
    sys.exit(main())
