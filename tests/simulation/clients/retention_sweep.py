"""Operations sweeps what was kept long enough; the data protection officer holds some of it."""

from typing import Any

from tests.simulation.client import Client
from tests.simulation.world import World


def sweep(world: World, operations: Client, name: str, **body: Any) -> dict[str, Any]:
    """Begin a sweep and see it through; its report."""
    response = operations.post(f"begins {name}", "/v1/retention-sweeps", body)
    if response.status != 201:
        world.kernel.violation(f"{response.step} was answered {response.status}: {response.body}")
        return {"lines": []}
    world.name(response.body["id"], name)
    # A sweep whose first task was lost goes on in the night.
    path = f"/v1/retention-sweeps/{response.body['id']}"
    seen = operations.watch(
        f"looks at {name}", path, lambda body: body["status"] == "completed", first=1, longest=6 * 3600
    )
    if not seen.body["complete"] and not body.get("limit"):
        world.kernel.violation(f"{response.step}: it is over, and not complete")
    return dict(seen.body)


def hold(world: World, officer: Client, name: str, **body: Any) -> str:
    """Place a hold: once it is answered, nothing that it names is deleted. Its id; empty if what it names is gone."""
    response = officer.post(f"holds {name}", "/v1/legal-holds", {"reason": "Case 7 of 2026", **body})
    if response.status == 422 and response.body["errors"][0]["code"] == "unknown":
        return ""
    if response.status != 201:
        world.kernel.violation(f"{response.step} was answered {response.status}: {response.body}")
        return ""
    world.name(response.body["id"], f"the hold of {name}")
    return str(response.body["id"])


def release(world: World, officer: Client, name: str, hold_id: str) -> None:
    """End a hold. The answer may have been lost: ended is ended."""
    response = officer.call(f"releases {name}", "DELETE", f"/v1/legal-holds/{hold_id}")
    if response.status not in (204, 404):
        world.kernel.violation(f"{response.step} was answered {response.status}")
