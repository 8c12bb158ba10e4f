"""The day before: partners that joined and consented without a fault. A run begins with copies of what they left, for
most of what can happen to a partner happens after it has joined.
"""

import copy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pg8000.native import identifier

from tests.simulation import invariants
from tests.simulation.clients import consent_updates, partner_onboarding
from tests.simulation.faults import Faults
from tests.simulation.fleet import Functions
from tests.simulation.kernel import START, Kernel, Trace
from tests.simulation.receiver import Receiver
from tests.simulation.sql import Server
from tests.simulation.world import World

NAMES = ("Asha", "Bhavin", "Chetan")
BEGIN = START - timedelta(hours=6)
SCHEMA = "yesterday"


@dataclass(frozen=True)
class Yesterday:
    """What was left of it besides rows: documents, what things are called, who joined."""

    documents: dict[str, Any] = field(default_factory=dict[str, Any])
    names: dict[str, str] = field(default_factory=dict[str, str])
    partners: list[partner_onboarding.Partner] = field(default_factory=list[partner_onboarding.Partner])

    def begin(self, world: World) -> dict[str, partner_onboarding.Partner]:
        """Have a run begin with it; its partners by name."""
        world.documents.stored = copy.deepcopy(self.documents)
        world.names |= self.names
        return {partner.name: partner.again(world) for partner in self.partners}


def live(server: Server, functions: Functions) -> Yesterday:
    """Have the partners join, and keep their rows in a schema of their own."""
    invariants.reset(server.admin)
    faults = Faults.none()
    kernel = Kernel(0, faults, Trace(), BEGIN)
    world = World(kernel, functions, server, Receiver(kernel))
    joined: list[partner_onboarding.Partner] = []
    for number, name in enumerate(NAMES):

        def script(number: int = number, name: str = name) -> None:
            partner = partner_onboarding.join(world, name, number)
            consent_updates.decide(
                world, partner, partner.owner, number, {"marketing": "granted", "analytics": "denied"}
            )
            joined.append(partner)

        world.client(f"{name} joins", script, 60 * number - 6 * 3600)
    kernel.run(world.rests)
    broken = kernel.violations or invariants.during(server.admin)
    if broken:
        raise RuntimeError(f"yesterday ended badly: {broken[0]}")
    world.database.close()
    run = server.admin.run
    run(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    run(f"CREATE SCHEMA {SCHEMA}")
    for table in invariants.tables(server.admin):
        if run(f"SELECT FROM {identifier(table)} LIMIT 1"):
            run(f"CREATE TABLE {SCHEMA}.{identifier(table)} AS TABLE public.{identifier(table)}")
    return Yesterday(world.documents.stored, world.names, joined)
