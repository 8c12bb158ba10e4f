"""Contracts that are performed: kapas in a yard, bales ex-gin in two lifts, bales delivered by the mill's weight.

Each is played by both sides and an inspector. What a side records while it is offline comes in batches, which it sends
again when it is not sure of them. A play may end anywhere: the deadlines do the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

from kapas.values import ids
from tests.simulation.client import Client, Response
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.clients.trade_events import PATIENCE, outdated
from tests.simulation.kernel import Promise
from tests.simulation.world import World

Who = Literal["seller", "buyer", "inspector", "operations"]
TARE = 8_000
SILENCE = timedelta(days=4)
"""Longer than any lots wait to be passed."""


@dataclass(eq=False)
class Deal:
    """A contract between two, and who takes its steps. `stops` is how many of them are taken at most."""

    world: World
    trade_id: str
    name: str
    seller: Partner
    buyer: Partner
    number: int
    stops: int
    facts: int = field(default=0)

    def __post_init__(self) -> None:
        world = self.world
        self.inspector = Client(world, f"the inspector of {self.name}", None, "inspector")
        self.operations = Client(world, f"operations for {self.name}", None, "ops")

    @property
    def path(self) -> str:
        return f"/v1/trades/{self.trade_id}"

    @property
    def leaving(self) -> bool:
        return self.seller.leaving or self.buyer.leaving

    def client(self, who: Who) -> Client:
        parties = {"seller": self.seller.owner, "buyer": self.buyer.owner}
        return parties.get(who) or {"inspector": self.inspector, "operations": self.operations}[who]

    def read(self, who: Who, why: str) -> dict[str, Any] | None:
        response = self.client(who).get(f"reads {self.name} {why}", self.path)
        return response.body if self._expect(response, 200) else None

    def fact(self, who: Who, what: str, step: str, **fields: Any) -> dict[str, Any] | None:
        """What happened is recorded, whatever else happened meanwhile; the trade after it."""
        if self._stopped():
            return None
        body = {"step": {"type": step, **fields}}
        response = self.client(who).post(f"{what} of {self.name}", f"{self.path}/steps", body)
        return response.body if self._expect(response, 201) else None

    def decide(self, who: Who, what: str, step: str, **fields: Any) -> dict[str, Any] | None:
        """Decide on the trade as it stands, again if another step came first; the trade after it."""
        if self._stopped():
            return None
        for attempt in range(PATIENCE):
            trade = self.read(who, f"and {what} {attempt}")
            if trade is None:
                return None
            response = self._decision(who, f"{what} of {self.name} {attempt}", trade, step, fields)
            if not outdated(response):
                return response.body if self._expect(response, 201) else None
        return None

    def refused(self, who: Who, what: str, step: str, **fields: Any) -> None:
        """What the contract does not allow: it says what stands against it, what is possible, and the version."""
        if self._stopped():
            return
        body = {"step": {"type": step, **fields}}
        response = self.client(who).post(f"{what} of {self.name}", f"{self.path}/steps", body)
        if self._expect(response, 409) and not (
            response.body["against"] and response.body["version"] and "possible" in response.body
        ):
            self.world.kernel.violation(f"{response.step} was refused without a reason: {response.body}")

    def sync(self, side: Literal["seller", "buyer"], what: str, *steps: dict[str, Any]) -> None:
        """A device sends what it kept, and then all of it again: it does not remember whether that arrived."""
        if self._stopped():
            return
        client = self.client(side)
        items = [{"event_id": str(ids.uuid7()), "step": step} for step in steps]
        for times in range(2):
            body = {"device_id": f"device-of-{self.client(side).name}", "steps": items}
            response = client.post(f"sends {what} of {self.name} {times}", f"{self.path}/steps:batch", body)
            if not self._expect(response, 200):
                return
            for outcome in response.body["outcomes"]:
                if outcome["outcome"] == "refused" or (times and outcome["outcome"] != "duplicate"):
                    self._violation(response, f"was answered {outcome}")

    def at_once(self, *scripts: Callable[[], Any]) -> None:
        """Have several go on beside each other, and wait for all."""
        ends = [Promise() for _ in scripts]
        for script, end in zip(scripts, ends, strict=True):

            def going(script: Callable[[], Any] = script, end: Promise = end) -> None:
                script()
                end.set_result(None)

            self.facts += 1
            self.world.client(f"{self.name} beside {self.facts}", going, self.world.elapsed())
        for end in ends:
            end.result()

    def require(self, condition: Any, what: str) -> None:
        if not condition and not self.leaving:
            self.world.kernel.violation(f"{self.name}: {what}")

    def _decision(self, who: Who, what: str, trade: dict[str, Any], step: str, fields: dict[str, Any]) -> Response:
        body = {"step": {"type": step, "expected_version": trade["version"], **fields}}
        return self.client(who).post(what, f"{self.path}/steps", body)

    def _stopped(self) -> bool:
        """Whether the parties have lost interest."""
        self.stops -= 1
        return self.stops < 0

    def _expect(self, response: Response, status: int) -> bool:
        if response.status == status:
            return True
        if not (self.leaving and response.status in (403, 404, 409, 410)):
            self._violation(response, f"was answered {response.status}: {response.body}")
        return False

    def _violation(self, response: Response, what: str) -> None:
        self.world.kernel.violation(f"{response.step} {what}")


# Kapas in a yard


def kapas_spot(deal: Deal, twist: str) -> None:
    """Weighed on the yard's one bridge, read for moisture, paid within a day."""
    deal.at_once(
        lambda: deal.fact("seller", "weighs the cart", "weigh", slip=slip(deal, "yard", "Y1", 2720)),
        lambda: deal.fact("buyer", "reads the moisture", "test", figures={"moisture_pct": "9.5", "trash_pct": "3"}),
        lambda: deal.fact("inspector", "samples the cart", "sample", samples=1),
    )
    deal.at_once(
        lambda: deal.decide("buyer", "accepts the weight", "answer_weight", answer="accepted", kg="2720"),
        lambda: deal.decide("seller", "accepts the reading", "answer_reading", answer="accepted"),
    )
    invoice(deal, 1)
    if twist == "claim":
        dispute(deal)
    pay(deal, "1.1")
    close(deal)


# Bales, ex-gin


def ex_gin(deal: Deal, twist: str) -> None:
    """An advance, two lots passed, and two lifts, each paid before it leaves."""
    deal.at_once(lambda: pay(deal, "1"), lambda: _lots(deal, twist))
    for lift in (1, 2):
        _weighed_twice(deal, lift, twist)
        invoice(deal, lift)
        if twist == "late":
            deal.sync("seller", f"an old slip {lift}", weighing(deal, lift, "gin", "B3", 8240, 50))
        pay(deal, f"2.{lift}")
        lifted(deal, lift, 50)
        deal.decide("buyer", f"accepts the quality of lift {lift}", "accept_quality", lift=lift)
    if twist == "claim":
        dispute(deal)
    close(deal)
    if twist == "late":
        deal.fact("seller", "weighs after the end", "weigh", lift=2, slip=slip(deal, "gin", "B4", 8200, 50))


def _lots(deal: Deal, twist: str) -> None:
    named = [{"no": "A", "bales": 50}, {"no": "B", "bales": 50}]
    deal.decide("seller", "offers lots", "offer_lots", lots=named)
    if twist == "silence":
        deal.world.kernel.sleep(SILENCE.total_seconds())
        return
    results = [{"no": lot["no"], "verdict": "passed"} for lot in named]
    deal.decide("buyer", "passes the lots", "pass_lots", results=results)


def _weighed_twice(deal: Deal, lift: int, twist: str) -> None:
    """On two bridges of the gin; `apart` if the buyer reads another weight than the tolerance allows."""
    slips = weighing(deal, lift, "gin", "B1", 8220, 50), weighing(deal, lift, "gin", "B2", 8230, 50)
    deal.at_once(
        lambda: deal.sync("seller", f"slips {lift}", *slips),
        lambda: deal.fact("buyer", f"draws samples of lift {lift}", "sample", lift=lift, samples=lift),
        lambda: deal.fact("inspector", f"draws samples of lift {lift}", "sample", lift=lift, samples=lift + 2),
    )
    if twist != "apart":
        return
    buyers = slip(deal, "gin", "B1", 8060, 50), slip(deal, "gin", "B2", 8070, 50)
    for number, own in enumerate(buyers):
        deal.fact("buyer", f"weighs lift {lift} too {number}", "weigh", lift=lift, slip=own)
    number = f"KP/{deal.number}/{lift}/early"
    deal.refused(
        "seller", f"invoices lift {lift} early", "record_document", kind="tax_invoice", lift=lift, number=number
    )
    if lift == 1:
        deal.decide("buyer", "accepts the weight", "answer_weight", lift=lift, answer="accepted", kg="8225")
    else:
        own = slip(deal, "gin", "B5", 8150, 50)
        deal.fact("inspector", f"weighs lift {lift}", "weigh", lift=lift, slip=own)


# Bales, delivered


def delivered(deal: Deal, twist: str) -> None:
    """One lift, 80 kg short at the mill: what is beyond the allowance is claimed, and taken or talked about."""
    deal.sync("seller", "a slip", weighing(deal, 1, "gin", "B1", 16_400, 100))
    invoice(deal, 1)
    deal.fact("seller", "dispatches", "dispatch", bales=100, vehicle=vehicle(deal, 1))
    deal.at_once(
        lambda: deal.fact("buyer", "receives", "arrive", bales=100),
        lambda: deal.fact("buyer", "weighs at the mill", "weigh", slip=slip(deal, "mill", "M1", 16_400 - 80, 100)),
    )
    _shortage(deal, twist)
    deal.decide("buyer", "accepts the quality", "accept_quality")
    if twist == "claim":
        dispute(deal)
    pay(deal, "1.1")
    close(deal)


def _shortage(deal: Deal, twist: str) -> None:
    trade = deal.read("seller", "to see what is short")
    if trade is None or deal.stops <= 0:
        return
    claims = [claim for claim in trade["claims"] if claim["kind"] == "short_weight"]
    short = trade["lifts"][0]["weight"]
    deal.require(len(claims) == 1, f"{short['short_kg']} kg are short, and there are {len(claims)} claims")
    deal.require(Decimal(short["claimed_kg"] or 0) == 30, f"{short['claimed_kg']} kg are claimed, not what exceeds 50")
    if twist == "silence" or not claims:
        return
    number = claims[0]["number"]
    if twist == "bargain":
        moves = {"kg": "20", "to": "buyer"}
        deal.decide("seller", "offers for the shortage", "answer_claim", claim=number, answer="propose", moves=moves)
        deal.decide("buyer", "takes it", "answer_claim", claim=number, answer="accept")
    else:
        deal.decide("seller", "accepts the shortage", "answer_claim", claim=number, answer="accept")
    note = f"KP/{deal.number}/C"
    deal.fact("seller", "credits the shortage", "record_document", kind="credit_note", claim=number, number=note)


# Steps of all


def weighing(deal: Deal, lift: int, at: str, bridge: str, net: int, bales: int) -> dict[str, Any]:
    return {"type": "weigh", "lift": lift, "slip": slip(deal, at, bridge, net, bales)}


def slip(deal: Deal, at: str, bridge: str, net: int, bales: int | None = None) -> dict[str, Any]:
    """A weighbridge's slip: of bales with half a kilogram of packing each, which the terms take off."""
    deal.facts += 1
    packed = net + (bales or 0) // 2
    return {
        "at": at,
        "bridge": bridge,
        "serial": f"S{deal.number}/{deal.facts}",
        "gross_kg": str(packed + TARE),
        "tare_kg": str(TARE),
        "bales": bales,
    }


def vehicle(deal: Deal, lift: int) -> str:
    return f"GJ03 {deal.number}{lift:03}"


def invoice(deal: Deal, lift: int) -> None:
    number = f"KP/{deal.number}/{lift}"
    deal.fact("seller", f"invoices lift {lift}", "record_document", kind="tax_invoice", lift=lift, number=number)


def pay(deal: Deal, due: str) -> None:
    """The buyer says that it paid, which settles nothing, and the seller confirms."""
    paise, payment_id = 1_00_000_00, str(ids.uuid7())
    said = {"due": due, "paise": paise, "payment_id": payment_id}
    trade = deal.fact("buyer", f"pays {due}", "record_payment", **said, settles=False)
    if trade is not None:
        deal.require(not _settled(trade, due), f"the buyer's word settled {due}")
    confirmed = {**said, "payment_id": str(ids.uuid7())}
    trade = deal.fact("seller", f"confirms {due}", "record_payment", **confirmed, settles=True)
    if trade is not None:
        deal.require(_settled(trade, due), f"{due} was confirmed and is not settled")


def _settled(trade: dict[str, Any], due: str) -> bool:
    return any(one["key"] == due and one["settled"] for one in trade["dues"])


def lifted(deal: Deal, lift: int, bales: int) -> None:
    """The buyer's lorry takes a lift, and brings it home."""
    trade = deal.fact("buyer", f"lifts {lift}", "dispatch", lift=lift, bales=bales, vehicle=vehicle(deal, lift))
    if trade is not None:
        gone, whole = trade["delivery"]["lifted_bales"], trade["delivery"]["complete"]
        deal.require(gone == bales * lift, f"{gone} bales count as lifted after {lift} lifts of {bales}")
        deal.require(whole == (lift == 2), f"the delivery is {'' if whole else 'not '}complete after lift {lift}")
    deal.fact("buyer", f"receives {lift}", "arrive", lift=lift, bales=bales)


def dispute(deal: Deal) -> None:
    """The buyer claims, the seller contests, the buyer proposes less, and the seller takes it."""
    trade = deal.decide("buyer", "claims", "raise_claim", kind="other", asked={"paise": 50_000_00, "to": "buyer"})
    if trade is None:
        return
    number = next(claim["number"] for claim in trade["claims"] if claim["kind"] == "other")
    trade = deal.decide("seller", "contests", "answer_claim", claim=number, answer="contest")
    if trade is not None:
        deal.require(trade["status"] == "disputed", f"a contested trade is {trade['status']}")
    moves = {"paise": 20_000_00, "to": "buyer"}
    deal.decide("buyer", "proposes", "answer_claim", claim=number, answer="propose", moves=moves)
    trade = deal.decide("seller", "takes the proposal", "answer_claim", claim=number, answer="accept")
    if trade is not None:
        claim = next(claim for claim in trade["claims"] if claim["number"] == number)
        deal.require((claim["how"], claim["moves"]["paise"]) == ("agreed", 20_000_00), f"the claim ended as {claim}")
    note = f"KP/{deal.number}/D"
    deal.fact("seller", "credits the claim", "record_document", kind="credit_note", claim=number, number=note)


def accept_grading(deal: Deal) -> None:
    """The buyer waits for what a grading that the seller ordered reads, and accepts it."""
    seen = deal.buyer.owner.watch(f"looks for a reading of {deal.name}", deal.path, _read, first=1, longest=600)
    if seen.ok or not deal.leaving:
        deal.decide("buyer", "accepts the reading", "answer_reading", answer="accepted")


def _read(trade: dict[str, Any]) -> bool:
    return any(lift["readings"] for lift in trade["lifts"])


def close(deal: Deal) -> None:
    """Both agree that nothing is open."""
    deal.at_once(
        lambda: deal.decide("seller", "closes", "accept_closing"),
        lambda: deal.decide("buyer", "closes", "accept_closing"),
    )
