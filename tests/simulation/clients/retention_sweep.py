"""Operations sweeps what was kept long enough; the data protection officer holds some of it."""

from typing import Any

from tests.simulation.client import Client
from tests.simulation.world import World


def sweep(world: World, operations: Client, name: str, **body: Any) -> dict[str, Any]:
    """Begin a sweep and see it through; its report."""
    told = operations.post(f"begins {name}", "/v1/retention-sweeps", body)
    if told.status != 201:
        world.kernel.violation(f"{told.step} was told {told.status}: {told.body}")
        return {"lines": []}
    world.name(told.body["id"], name)
    # A sweep whose first task was lost goes on in the night.
    path = f"/v1/retention-sweeps/{told.body['id']}"
    seen = operations.watch(
        f"looks at {name}", path, lambda body: body["status"] == "completed", first=1, longest=6 * 3600
    )
    if not seen.body["complete"] and not body.get("limit"):
        world.kernel.violation(f"{told.step}: it is over, and not complete")
    return dict(seen.body)


def hold(world: World, officer: Client, name: str, **body: Any) -> str:
    """Place a hold: once it is answered, nothing that it names is deleted. Its id; empty if what it names is gone."""
    told = officer.post(f"holds {name}", "/v1/legal-holds", {"reason": "Case 7 of 2026", **body})
    if told.status == 422 and told.body["errors"][0]["code"] == "unknown":
        return ""
    if told.status != 201:
        world.kernel.violation(f"{told.step} was told {told.status}: {told.body}")
        return ""
    world.name(told.body["id"], f"the hold of {name}")
    return str(told.body["id"])


def release(world: World, officer: Client, name: str, hold_id: str) -> None:
    """End a hold. The answer may have been lost: ended is ended."""
    told = officer.call(f"releases {name}", "DELETE", f"/v1/legal-holds/{hold_id}")
    if told.status not in (204, 404):
        world.kernel.violation(f"{told.step} was told {told.status}")
