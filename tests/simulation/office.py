"""What the platform's staff does on a seeded day: dispatches are seen to, what is due is swept, some of it is held."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.simulation import history
from tests.simulation.client import Client
from tests.simulation.clients import consent_updates, retention_sweep
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.faults import HEAL
from tests.simulation.history import Aged
from tests.simulation.kernel import START, Promise
from tests.simulation.world import World

QUIET = timedelta(hours=14)
"""Until then after the start no nightly sweep comes between two that are compared."""


class Office:
    """Operations and the data protection officer."""

    def __init__(self, world: World, draw: random.Random) -> None:
        self._world = world
        self._draw = draw
        self._operations = Client(world, "operations", None, "ops")
        self._officer = Client(world, "the officer", None, "dpo")

    def open(self, *, sweeps: bool, dispatches: bool) -> None:
        world, draw = self._world, self._draw
        if dispatches:
            for number, at in enumerate((10, draw.choice((60, 600)))):
                script = lambda number=number: consent_updates.see_to_it(world, self._officer, number)  # noqa: E731
                world.client(f"the officer looks at dispatches {number}", script, at)
        if sweeps:
            self._sweep()

    def _sweep(self) -> None:
        """Sweeps and holds at once, and a last sweep when both are over and no fault is left to come."""
        world, draw = self._world, self._draw
        world.history = list(history.write(world))
        holds = draw.choice((0, 1, 2))
        ends = [Promise() for _ in range(holds + 1)]
        compares = holds == 0
        world.client("operations sweeps", self._ending(ends[0], lambda: self._compare(compares=compares)), 5)
        for number in range(holds):
            script = self._hold(number, draw.choice(world.history), draw.choice((None, 0, 2, 400)))
            world.client(
                f"the officer holds {number}", self._ending(ends[number + 1], script), draw.choice((0, 5, 6, 9))
            )

        def last() -> None:
            for end in ends:
                end.result()
            remaining = (START + HEAL - world.kernel.core.now()).total_seconds()
            world.kernel.sleep(max(0.0, remaining) + 60)
            report = retention_sweep.sweep(world, self._operations, "the last sweep")
            if any(line["failed"] for line in report["lines"]):
                world.kernel.violation("a sweep failed though nothing was down")

        world.client("operations sweeps at last", last, 6)

    @staticmethod
    def _ending(end: Promise, script: Callable[[], None]) -> Callable[[], None]:
        def ending() -> None:
            script()
            end.set_result(None)

        return ending

    def _compare(self, *, compares: bool) -> None:
        """A dry sweep, and one for real: what was said to go goes."""
        world = self._world
        at = {"as_of": START.isoformat()}
        before = retention_sweep.sweep(world, self._operations, "the dry sweep", dry_run=True, **at)
        if not compares:  # what is held changes meanwhile
            retention_sweep.sweep(world, self._operations, "a short sweep", limit=3)
        after = retention_sweep.sweep(world, self._operations, "the sweep", **at)
        if not compares or world.kernel.core.now() > START + QUIET:
            return
        found = {_line(line): line for line in after["lines"]}
        for line in before["lines"]:
            other = found[_line(line)]
            kept = line["place"].startswith("bucket")
            # The report of files that were deleted is lost with a page that was killed: they are not there any more.
            same = other["due"] <= line["due"] if kept else other["due"] == line["due"]
            if not same or (not kept and other["deleted"] + other["failed"] != line["deleted"]):
                world.kernel.violation(f"a dry sweep said {line}, and it was {other}")

    def _hold(self, number: int, aged: Aged, seconds: int | None) -> Callable[[], None]:
        """Hold one row, or all of its partner, for so long, or for good."""
        whole = self._draw.random() < 0.5
        name: dict[str, Any] = {"subject_id": str(aged.partner_id)}
        if not whole:
            name = {"row": {"table": aged.kind.table, "id": aged.key}}

        def script() -> None:
            world = self._world
            hold_id = retention_sweep.hold(world, self._officer, str(number), **name)
            candidates = [one for one in world.history if one.kind.name != "key" and one.partner_id == aged.partner_id]
            kept = [one for one in (candidates if whole else [aged]) if one.left(world)]
            if not hold_id:
                # No index leads from a partner to its events.
                existing = [one.kind.name for one in kept if not (whole and one.kind.name == "event")]
                if existing:
                    world.kernel.violation(f"a hold on {', '.join(existing)} was refused, which is there")
                return
            world.held |= {(number, one.id): one.left(world) for one in kept}
            if seconds is None:
                return
            world.kernel.sleep(seconds)
            for one in kept:
                if one.left(world) != world.held.pop((number, one.id)):
                    world.kernel.violation(f"a {one.kind.name} that was held went")
            retention_sweep.release(world, self._officer, str(number), hold_id)

        return script

    @staticmethod
    def hold_for_a_while(world: World, partner: Partner) -> None:
        """Hold all of a partner that is about to be erased: the erasure waits for it."""
        officer = Client(world, "the officer", None, "dpo")
        hold_id = retention_sweep.hold(world, officer, f"all of {partner.name}", subject_id=str(partner.id))
        script = lambda: retention_sweep.release(world, officer, f"all of {partner.name}", hold_id)  # noqa: E731
        world.client(f"the officer releases {partner.name}", script, world.elapsed() + 1800)


def _line(line: dict[str, Any]) -> tuple[str, str]:
    return line["place"], line["policy"]
