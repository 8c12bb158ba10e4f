"""Partners ask for all of their data, and for its end."""

from typing import Any

from tests.simulation.client import Client
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.world import World


def export(world: World, partner: Partner, device: Client, number: int) -> str | None:
    """Ask for an archive, wait for it and take a link to it; the export's id, None if there is one under way."""
    response = device.post(f"asks for its data {number}", "/v1/exports", {})
    if response.status == 409 or not partner.expect(response, 202):  # another device was faster
        return None
    export_id = str(response.body["id"])
    path = f"/v1/exports/{export_id}"
    world.name(export_id, f"{partner.name}'s export {number}")
    seen = device.watch(f"looks at its export {number}", path, _prepared, first=0.5, longest=900)
    if partner.expect(seen, 200) and seen.body["status"] == "ready":
        link = device.post(f"takes a link {number}", f"{path}/download-link")
        if partner.expect(link, 201) and link.body["sha256"] != seen.body["sha256"]:
            world.kernel.violation(f"{link.step} was told of another archive")
    return export_id


def ask(partner: Partner) -> None:
    """Ask for an archive and not wait for it."""
    response = partner.owner.post("asks for its data", "/v1/exports", {})
    if response.status != 409:
        partner.expect(response, 202)


def pry(world: World, stranger: Partner, export_id: str) -> None:
    """Somebody asks for another's data."""
    seen = stranger.owner.get("pries into an export", f"/v1/exports/{export_id}")
    link = stranger.owner.post("pries for a link", f"/v1/exports/{export_id}/download-link")
    if (seen.status, link.status) != (404, 404):
        world.kernel.violation(f"{stranger.name} was shown another's export: {seen.status}, {link.status}")


def erase(world: World, partner: Partner) -> None:
    """Ask for the erasure of everything, wait for it, and look whether anything can still be begun."""
    partner.leaving = True
    owner = partner.owner
    response = owner.post("asks to be erased", "/v1/erasures", {"confirm": "erase"})
    if response.status != 202:
        world.kernel.violation(f"{response.step} was answered {response.status}: {response.body}")
        return
    world.erased[partner.id] = partner
    world.name(response.body["id"], f"{partner.name}'s erasure")
    _refused(world, partner, "at once")
    path = f"/v1/erasures/{response.body['id']}"
    seen = owner.watch("looks at its erasure", path, _completed, first=1, longest=6 * 3600)
    if not seen.ok or not _completed(seen.body):
        return
    _stated(world, seen.step, seen.body)
    _refused(world, partner, "afterwards")


def _prepared(export: dict[str, Any]) -> bool:
    return export["status"] != "preparing"


def _completed(erasure: dict[str, Any]) -> bool:
    return erasure["status"] == "completed"


def _refused(world: World, partner: Partner, when: str) -> None:
    """What would begin new processing is refused."""
    owner = partner.owner
    for step, path, body in (
        ("asks for its data", "/v1/exports", {}),
        ("asks to be erased again", "/v1/erasures", {"confirm": "erase"}),
        ("has a telephone's figures graded", "/v1/gradings", {"kind": "lab", "figures": {"micronaire": 4.1}}),
    ):
        again = owner.post(f"{step} {when}", path, body)
        if again.status != 409:
            world.kernel.violation(f"{again.step} was answered {again.status}")


def _stated(world: World, step: str, erasure: dict[str, Any]) -> None:
    """What stays is stated with its law, its article and its days."""
    if not erasure["certificate"]:
        world.kernel.violation(f"{step}: there is no certificate")
    for entry in erasure["statement"]["retained"]:
        if not (entry["law"] and entry["article"] and entry["earliest_deletion"] <= entry["latest_deletion"]):
            world.kernel.violation(f"{step}: {entry['store']} stays without a law or a date")
