"""Partners say where they listen, change their mind, and look at what they were sent."""

from uuid import UUID

from kapas.values import clock
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.kernel import YESTERDAY
from tests.simulation.world import World


def listen(world: World, partner: Partner, number: int) -> str:
    """An endpoint for every event; its id."""
    url = f"https://hooks.example.com/{partner.name}/{number}"
    response = partner.owner.post(f"listens at {number}", "/v1/webhook-endpoints", {"url": url, "event_types": ["*"]})
    if not partner.expect(response, 201):
        return ""
    world.receiver.add(url, response.body["secret"])
    world.name(response.body["id"], f"{partner.name}'s endpoint {number}")
    return str(response.body["id"])


def change(world: World, partner: Partner, endpoint_id: str, status: str) -> None:
    """Enable or disable an endpoint at the version that it has."""
    path = f"/v1/webhook-endpoints/{endpoint_id}"
    endpoint = partner.owner.get(f"reads its endpoint to have it {status}", path)
    step = f"has its endpoint {status}"
    partner.owner.call(step, "PATCH", path, {"status": status}, if_match=endpoint.etag)


def recover(partner: Partner, endpoint_id: str, number: int) -> None:
    """Have all sent that an endpoint missed."""
    body = {"since": clock.rfc3339(YESTERDAY)}
    response = partner.owner.post(
        f"recovers what {number} missed", f"/v1/webhook-endpoints/{endpoint_id}/recover", body
    )
    if response.status != 409:  # it is disabled, if it said that it is gone
        partner.expect(response, 202)


def test(partner: Partner, endpoint_id: str, number: int, count: int) -> None:
    """Have so many messages sent at once: if they fail, the endpoint is spared for a while."""
    for test_number in range(count):
        response = partner.owner.post(
            f"tries the endpoint {number} {test_number}", f"/v1/webhook-endpoints/{endpoint_id}/test"
        )
        if response.status not in (409, 404):  # it is disabled, if it said that it is gone
            partner.expect(response, 202)


def remove(world: World, partner: Partner, endpoint_id: str) -> None:
    """Delete an endpoint. The answer may have been lost: gone is gone."""
    response = partner.owner.call("removes an endpoint", "DELETE", f"/v1/webhook-endpoints/{endpoint_id}")
    if response.status not in (204, 404):
        world.kernel.violation(f"{response.step} was answered {response.status}")


def pry(world: World, stranger: Partner, endpoint_id: str) -> None:
    """Somebody asks for another's endpoint and messages."""
    endpoint = stranger.owner.get("pries into an endpoint", f"/v1/webhook-endpoints/{UUID(endpoint_id)}")
    messages = stranger.owner.get("pries into messages", f"/v1/webhook-messages?endpoint_id={endpoint_id}")
    if (endpoint.status, messages.status) != (404, 404):
        world.kernel.violation(f"{stranger.name} was shown what is another's")
