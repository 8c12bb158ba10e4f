"""Partners register, and operations activate them."""

import string
from dataclasses import dataclass
from uuid import UUID

from kapas.values import ids
from tests.journeys.partners import gstin, personal, registration
from tests.simulation.client import Client, Response
from tests.simulation.world import World

MAX_LOOKS, MAX_CHECKS = 40, 5
STATES = ("24", "27", "24", "33")
"""GST states of those who join, in their order: Gujarat, Maharashtra, Gujarat, Tamil Nadu."""


@dataclass(eq=False, slots=True)
class Partner:
    """A partner that joined. `personal` is what of its registration identifies somebody."""

    id: UUID
    name: str
    owner: Client
    personal: tuple[str, ...]
    state: str = "24"
    """Where it is registered for GST."""
    leaving: bool = False
    """Whether its erasure was asked for: it is refused what starts new processing from then on."""

    def again(self, world: World) -> "Partner":
        """The same partner in another run."""
        world.states[str(self.id)] = self.state
        return Partner(self.id, self.name, Client(world, self.name, self.id, "owner"), self.personal, self.state)

    def device(self, world: World, name: str, tier: str = "basic") -> Client:
        """Its owner, at another device: with calls, and idempotency keys, of its own."""
        return Client(world, f"{self.name}'s {name}", self.id, "owner", tier)

    def expect(self, response: Response, *statuses: int) -> bool:
        """Whether it was told what it should be; False if it was refused because it is leaving. Else a rule is broken."""
        if response.status in statuses:
            return True
        if not (self.leaving and response.status in (403, 404, 409, 410)):
            self.owner.world.kernel.violation(f"{response.step} was answered {response.status}: {response.body}")
        return False


def join(world: World, name: str, number: int) -> Partner:
    """Register a partner and have it activated: it may trade then."""
    partner_id = ids.uuid7()
    world.name(str(partner_id), name)
    world.states[str(partner_id)] = STATES[number]
    owner = Client(world, name, partner_id, "owner")
    letter, state = string.ascii_uppercase[number], STATES[number]
    pan = f"A{letter}ACE000{number}F"
    body = registration(
        legal_name=f"Example Ginning {name} Private Limited",
        contact={"name": f"{name} Example", "phone": f"+91980000000{number}"},
        identifiers={"pan": pan, "gstin": gstin(pan, state), "cin": f"U17111GJ2015PTC00000{number}"},
        address={"line": f"Plot {number}, Example Road", "city": "Rajkot", "pin": "360001", "state_code": state},
        bank_account={"ifsc": "EXAM0000001", "number": f"50000000000{number}"},
        beneficial_owners=[{"name": f"Meena Example {name}", "share_percent": 60}],
    )
    registered = owner.post("registers", "/v1/partners", body)
    path = f"/v1/partners/{partner_id}"
    submitted = owner.post("submits", f"{path}/submit", if_match=registered.etag)
    if not (registered.ok and submitted.ok):
        world.kernel.violation(f"{name} could not join: {registered} {submitted}")
    operations = Client(world, "operations", None, "ops")
    for attempt in range(MAX_CHECKS):
        version = _checked(world, owner, attempt)
        if operations.post(f"activates {name} {attempt}", f"{path}/activate", if_match=f'"{version}"').ok:
            return Partner(partner_id, name, owner, tuple(personal(body)), state)
        # A provider did not answer for so long that a person has to look: here, have it asked again.
        operations.post(f"has {name} checked again {attempt}", f"{path}/recheck", if_match=f'"{version}"')
    world.kernel.violation(f"{name} was never activated")
    return Partner(partner_id, name, owner, ())


def _checked(world: World, owner: Client, attempt: int) -> int:
    """The partner's version once its checks have ended."""
    for look in range(MAX_LOOKS):
        listed = owner.get(f"looks whether it is checked {attempt} {look}", "/v1/partners").body["data"]
        if listed and listed[0]["status"] == "under_review":
            return int(listed[0]["version"])
        world.kernel.sleep(min(0.2 * 2**look, 60))
    world.kernel.violation(f"{owner.name} was never checked")
    return 0


def read(world: World, partner: Partner, reader: Partner) -> None:
    """A partner is read: its own is shown and the reading recorded, another's is not there."""
    response = reader.owner.get(f"reads {partner.name}", f"/v1/partners/{partner.id}")
    if reader is partner:
        partner.expect(response, 200)
    elif response.status != 404:
        world.kernel.violation(f"{response.step} was answered {response.status}")
