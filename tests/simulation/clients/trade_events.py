"""Trades: offered, bid for by several at once, matched, contracted; and read by those who may."""

from typing import Any

from tests.journeys.partners import ASK, bid, lot
from tests.simulation.client import Client, Response
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.world import World

CLAIM = "quality_claimed"
PATIENCE = 6
"""How often a client that came too late reads the trade and tries its step again."""


def offer(world: World, seller: Partner, name: str) -> str:
    """A lot on the market; the trade's id."""
    response = seller.owner.post(f"offers {name}", "/v1/trades", {"lot": lot(), "ask": ASK})
    if not seller.expect(response, 201):
        return ""
    world.name(response.body["id"], name)
    return str(response.body["id"])


def place_bid(world: World, bidder: Partner, trade_id: str, name: str, paise: int) -> int | None:
    """Bid at whatever version the trade is; the bid's sequence, None if the lot was gone."""
    for attempt in range(PATIENCE):
        trade = bidder.owner.get(f"looks at {name} {attempt}", f"/v1/trades/{trade_id}")
        if trade.status != 200 or trade.body["status"] not in ("OFFERED", "BID"):
            return None
        response = _append(bidder, f"bids for {name} {attempt}", trade_id, bid(trade.body["version"], paise))
        if response.ok:
            return int(response.body["version"])
    return None


def accept(world: World, seller: Partner, trade_id: str, name: str, sequence: int) -> bool:
    """The seller takes a bid, at whatever version the trade is by then."""
    for attempt in range(PATIENCE):
        trade = seller.owner.get(f"reads {name} {attempt}", f"/v1/trades/{trade_id}")
        event = {"type": "bid_accepted", "expected_version": trade.body["version"], "bid_sequence": sequence}
        response = _append(seller, f"accepts a bid for {name} {attempt}", trade_id, {"event": event})
        if response.ok:
            return True
    return False


def sign(world: World, seller: Partner, buyer: Partner, trade_id: str, name: str) -> bool:
    """The buyer signs, unless another one has bought the lot, or the seller leaves."""
    trade = buyer.owner.get(f"reads {name} to sign", f"/v1/trades/{trade_id}")
    if trade.status != 200 or trade.body["buyer_id"] != str(buyer.id):
        return False
    event = {"type": "contract_signed", "expected_version": trade.body["version"]}
    response = _append(buyer, f"signs {name}", trade_id, {"event": event})
    if seller.leaving and response.status == 409:
        return False
    return buyer.expect(response, 201)


def sample(world: World, inspector: Client, trade_id: str, name: str) -> None:
    """An inspector draws the samples of a contracted lot."""
    event = {"type": "sample_drawn", "samples": 5}
    response = inspector.post(f"samples {name}", f"/v1/trades/{trade_id}/events", {"event": event})
    if response.status != 201:
        world.kernel.violation(f"{response.step} was answered {response.status}: {response.body}")


def accept_claim(buyer: Partner, trade_id: str, name: str) -> None:
    """The buyer waits for what the seller's grading claims, and takes it."""
    path = f"/v1/trades/{trade_id}"
    seen = buyer.owner.watch(
        f"looks for a claim of {name}",
        f"{path}/events",
        lambda body: body["data"][-1]["type"] == CLAIM,
        first=1,
        longest=600,
    )
    if not buyer.expect(seen, 200):
        return
    for attempt in range(PATIENCE):
        trade = buyer.owner.get(f"reads the claimed {name} {attempt}", path)
        event = {"type": "quality_accepted", "expected_version": trade.body["version"]}
        response = _append(buyer, f"accepts the claim of {name} {attempt}", trade_id, {"event": event})
        if response.status != 409:  # another claim came
            buyer.expect(response, 201)
            return


def look_around(world: World, reader: Partner) -> None:
    """What a partner is shown of the market is open, or its own."""
    response = reader.owner.get("looks at the market", "/v1/trades")
    for trade in response.body["data"]:
        sells = str(reader.id) == trade["seller_id"]
        mine = sells or str(reader.id) == trade["buyer_id"]
        if trade["status"] not in ("OFFERED", "BID") and not mine:
            world.kernel.violation(f"{reader.name} was shown a trade between others")
        name = world.called(trade["id"])
        steps = reader.owner.get(f"reads the steps of {name}", f"/v1/trades/{trade['id']}/events")
        if steps.status == 200 and not sells:  # who has bought the lot is shown no rival's bid either
            strange = [s for s in steps.body["data"] if s["party"] == "bidder" and s["partner_id"] != str(reader.id)]
            if strange:
                world.kernel.violation(f"{reader.name} was shown another's bid")


def _append(partner: Partner, step: str, trade_id: str, body: Any) -> Response:
    return partner.owner.post(step, f"/v1/trades/{trade_id}/events", body)
