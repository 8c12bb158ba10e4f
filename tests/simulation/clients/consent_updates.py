"""Partners decide on purposes, from two devices at once; the data protection officer sees to it that processors stop."""

from typing import Any

from tests.journeys.consents import decisions
from tests.simulation.client import Client, Response
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.world import World


def decide(world: World, partner: Partner, device: Client, number: int, decided: dict[str, str]) -> None:
    """Decide, and look whether the receipt and where the purposes stand are as the answer says."""
    notice = device.get(f"reads the notice {number}", "/v1/consent-notices/current?language=en").body
    shown = {name: notice[name] for name in ("version", "language", "sha256")}
    response = device.post(f"decides {number}", "/v1/consents", decisions(shown, **decided))
    # Nothing can be withdrawn that is not granted; everything else is recorded, whoever decides at the same moment.
    if response.status == 422 and set(decided.values()) == {"withdrawn"}:
        return
    if not partner.expect(response, 201):
        return
    for one in response.body["outcomes"]:
        if one["outcome"] == "refused" and one["decision"] != "withdrawn":
            world.kernel.violation(f"{response.step}: {one['decision']} was refused: {one['code']}")
    receipt = device.get(f"reads the receipt {number}", f"/v1/consents/receipts/{response.body['decision_id']}")
    if partner.expect(receipt, 200) and receipt.body["receipt"] != response.body["receipt"]:
        world.kernel.violation(f"{receipt.step} was told another receipt than before")
    _look(world, device, number, response)


def _look(world: World, device: Client, number: int, response: Response) -> None:
    """Where each purpose stands is what was decided, or what somebody decided later."""
    states = device.get(f"reads where it stands {number}", "/v1/consents/current").body["data"]
    stands = {state["purpose"]: state for state in states}
    for one in response.body["outcomes"]:
        state = stands[one["purpose"]]
        later = (state["sequence"] or 0) > (one["sequence"] or 0)
        if one["outcome"] == "recorded" and not later and state["state"] != one["decision"]:
            world.kernel.violation(f"{response.step}: {one['purpose']} stands at {state['state']}")


def see_to_it(world: World, officer: Client, number: int) -> None:
    """Record of every open dispatch that the processor has stopped. A colleague may be faster."""
    listed: list[Any] = officer.get(f"lists dispatches {number}", "/v1/consent-dispatches?status=open").body["data"]
    for dispatch in listed:
        response = officer.post(
            f"acknowledges {world.called(dispatch['id'])}", f"/v1/consent-dispatches/{dispatch['id']}/acknowledge"
        )
        if response.status not in (200, 409):
            world.kernel.violation(f"{response.step} was answered {response.status}")


def pry(world: World, stranger: Partner, response: Response) -> None:
    """Somebody asks for another's receipt."""
    receipt = stranger.owner.get("pries into a receipt", f"/v1/consents/receipts/{response.body['decision_id']}")
    if receipt.status != 404:
        world.kernel.violation(f"{stranger.name} was shown another's receipt")
