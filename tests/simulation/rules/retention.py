"""What was due and not held is gone with all that belongs to it, and everything else is there; holds kept what they name."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World


def broken(world: "World") -> Iterator[str]:
    for aged in world.history:
        left = aged.left(world)
        held = [before for (_, of), before in world.held.items() if of == aged.id]
        due = aged.due(world.kernel.core.now())
        if held:
            if left != held[0]:
                yield f"of a {aged.kind.name} that is held {left} is left of {held[0]}"
        elif due is None:
            continue
        elif not (due and aged.kind.deletes):
            if len(left) != aged.whole():
                yield f"of a {aged.kind.name} that is not to go {left} is left"
        elif aged.kind.rows_stay:
            if left != [aged.kind.table]:
                yield f"of an {aged.kind.name} that is due {left} is left"
        elif left:
            yield f"of a {aged.kind.name} that is due {left} is left"
    holds = {str(row[0]) for row in world.server.admin.run("SELECT id FROM legal_holds ORDER BY id")}
    for response in world.responses:
        if (
            response.path == "/v1/legal-holds"
            and response.ok
            and response.method == "POST"
            and response.body["id"] not in holds
        ):
            yield f"{response.step} was told of a hold that is not there"
