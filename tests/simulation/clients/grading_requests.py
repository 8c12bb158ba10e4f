"""Partners have lint graded: by figures, by what a telephone measured, by images, and more often than their plan allows."""

import hashlib
from typing import Any

from tests.journeys.gradings import HVI, image
from tests.simulation.client import Client, Response
from tests.simulation.clients import consent_updates
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.files import UNREADABLE
from tests.simulation.world import World

DEVICE: dict[str, Any] = {
    "kind": "device",
    "model_sha256": hashlib.sha256(b"a model").hexdigest(),
    "result": {"rd": 76.4, "plus_b": 8.7, "trash_area_pct": 0.2, "trash_particles": 14},
}
FREE = 5
"""Gradings a day of the least plan."""


def by_figures(partner: Partner, device: Client, number: int, trade_id: str | None = None) -> bool:
    """Of a laboratory: complete at once."""
    body = {"kind": "lab", "figures": HVI, "trade_id": trade_id}
    response = device.post(f"has figures graded {number}", "/v1/gradings", body)
    if not partner.expect(response, 201):
        return False
    _require(partner, response, response.body["status"] == "completed" and response.body["result"])
    return True


def before_the_contract(partner: Partner, device: Client, trade_id: str) -> None:
    """Refused, unless the request is on its way for so long that both signed meanwhile."""
    body = {"kind": "lab", "figures": HVI, "trade_id": trade_id}
    response = device.post("has figures graded too early", "/v1/gradings", body)
    if partner.expect(response, 409, 201) and response.ok:
        trade = device.get("looks whether it is contracted", f"/v1/trades/{trade_id}")
        _require(partner, trade, trade.body["contracted_at"] is not None)


def by_telephone(partner: Partner, device: Client, number: int) -> None:
    response = device.post(f"sends what was measured {number}", "/v1/gradings", DEVICE)
    if partner.expect(response, 201):
        _require(partner, response, response.body["status"] == "provisional")


def spend_the_day(partner: Partner, device: Client, count: int) -> None:
    """Ask for more than the least plan allows, on devices at once: nobody gets more."""
    for number in range(count):
        response = device.post(f"has figures graded for free {number}", "/v1/gradings", {"kind": "lab", "figures": HVI})
        if response.status != 429:
            partner.expect(response, 201)


def by_image(world: World, partner: Partner, device: Client, number: int, *, uploads: bool, readable: bool) -> None:
    """Consent, announce, upload, submit, and wait for what comes of it."""
    consent_updates.decide(world, partner, device, number, {"ai_processing": "granted"})
    data = (b"a photograph" if readable else UNREADABLE) + str(number).encode()
    response = device.post(f"announces an image {number}", "/v1/gradings", {"kind": "image", **image(data)})
    withdrawn = response.status == 403  # on another device, which the ledger shows
    if withdrawn or not partner.expect(response, 201):
        return
    path = f"/v1/gradings/{response.body['id']}"
    world.name(response.body["id"], f"{partner.name}'s image {number}")
    if uploads:
        world.uploads.bucket.put(response.body["upload"]["url"].split("/uploads/")[1], data)
    submitted = device.post(f"submits the image {number}", f"{path}/submit")
    if not uploads:
        _require(partner, submitted, submitted.status in (409, 403))
        return
    if submitted.status == 403 or not partner.expect(submitted, 200):
        return
    seen = device.watch(
        f"looks at the image {number}", path, lambda body: body["status"] != "queued", first=0.5, longest=600
    )
    partner.expect(seen, 200)


def pry(world: World, stranger: Partner, grading_id: str) -> None:
    """Somebody asks for another's grading."""
    if stranger.owner.get("pries into a grading", f"/v1/gradings/{grading_id}").status != 404:
        world.kernel.violation(f"{stranger.name} was shown another's grading")


def _require(partner: Partner, response: Response, condition: Any) -> None:
    if not condition and not partner.leaving:
        partner.owner.world.kernel.violation(f"{response.step} was told {response.status}: {response.body}")
