"""Trades on the market: offered, bid for by several at once, matched, signed; and read by those who may."""

from datetime import timedelta
from typing import Any

from tests.simulation.client import Response
from tests.simulation.clients.partner_onboarding import Partner
from tests.simulation.world import World

PATIENCE = 6
"""How often a client whose decision came too late reads the trade and decides again."""
OPEN = ("offered", "negotiating")
KAPAS: dict[str, Any] = {
    "lot": {
        "kind": "kapas",
        "variety": "Shankar-6",
        "crop_year": "2026-27",
        "station": "Rajkot",
        "amount": "27.2",
        "unit": "quintal",
    },
    "ask": {"paise": 7_450_00, "unit": "quintal"},
    "template": "kapas_spot",
}
BALES: dict[str, Any] = {
    "lot": {
        "kind": "bales",
        "variety": "Shankar-6",
        "crop_year": "2026-27",
        "station": "Rajkot",
        "quantity": {"bales": 100, "kg": "16400"},
    },
    "ask": {"paise": 61_500_00, "unit": "candy_trade"},
}
EX_GIN: dict[str, Any] = BALES | {"template": "ex_gin_passing"}
DELIVERED: dict[str, Any] = BALES | {"template": "delivered_mill_weight"}


def offer(world: World, seller: Partner, name: str, terms: dict[str, Any], valid: timedelta) -> str:
    """A lot on the market; the trade's id."""
    body = terms | {"valid_until": _until(world, valid)}
    response = seller.owner.post(f"offers {name}", "/v1/trades", body)
    if not seller.expect(response, 201):
        return ""
    world.name(response.body["id"], name)
    return str(response.body["id"])


def place_bid(world: World, bidder: Partner, trade_id: str, name: str, paise: int, valid: timedelta) -> int | None:
    """Bid at whatever version the trade is; the bid's sequence, None if the lot was gone."""
    for attempt in range(PATIENCE):
        trade = bidder.owner.get(f"looks at {name} {attempt}", f"/v1/trades/{trade_id}")
        if trade.status != 200 or trade.body["status"] not in OPEN:
            return None
        price = trade.body["ask"] | {"paise": paise}
        bid = {"type": "bid", "price": price, "valid_until": _until(world, valid)}
        response = decide(bidder, f"bids for {name} {attempt}", trade, bid)
        if response.ok:
            return int(response.body["version"])
    return None


def accept(seller: Partner, trade_id: str, name: str, sequence: int) -> bool:
    """The seller takes a bid, at whatever version the trade is by then."""
    for attempt in range(PATIENCE):
        trade = seller.owner.get(f"reads {name} {attempt}", f"/v1/trades/{trade_id}")
        if not seller.expect(trade, 200):
            return False
        if decide(seller, f"accepts a bid for {name} {attempt}", trade, {"type": "accept", "to": sequence}).ok:
            return True
    return False


def sign(seller: Partner, buyer: Partner, trade_id: str, name: str) -> bool:
    """The buyer signs, unless another one has bought the lot, or the seller leaves."""
    for attempt in range(PATIENCE):
        trade = buyer.owner.get(f"reads {name} to sign {attempt}", f"/v1/trades/{trade_id}")
        if trade.status != 200 or trade.body["buyer_id"] != str(buyer.id):
            return False
        response = decide(buyer, f"signs {name} {attempt}", trade, {"type": "sign"})
        if seller.leaving and response.status == 409:
            return False
        if not outdated(response):
            return buyer.expect(response, 201)
    return False


def decide(partner: Partner, step: str, trade: Response, decision: dict[str, Any]) -> Response:
    """A decision on the trade as it was read."""
    body = {"step": decision | {"expected_version": trade.body["version"]}}
    return partner.owner.post(step, f"{trade.path}/steps", body)


def outdated(response: Response) -> bool:
    """Whether another step came first."""
    return response.status == 409 and response.body["type"].endswith("version-conflict")


def look_around(world: World, reader: Partner) -> None:
    """What a partner is shown of the market is open, or its own; and of what bidders say, what it says itself."""
    response = reader.owner.get("looks at the market", "/v1/trades")
    for trade in response.body["data"]:
        sells = str(reader.id) == trade["seller_id"]
        mine = sells or str(reader.id) == trade["buyer_id"]
        if trade["status"] not in OPEN and not mine:
            world.kernel.violation(f"{reader.name} was shown a trade between others")
        if sells:
            continue
        name = world.called(trade["id"])
        seen = reader.owner.get(f"reads {name}", f"/v1/trades/{trade['id']}")
        if seen.status == 200:  # who has bought the lot is shown no rival's bid either
            strange = [bid for bid in seen.body["bids"] if bid["bidder_id"] != str(reader.id)]
            bids = {str(bid["sequence"]) for bid in seen.body["bids"]}
            strange += [step for step in seen.body["next"] if step["step"] == "accept" and step["ref"] not in bids]
            if strange:
                world.kernel.violation(f"{reader.name} was shown another's bid")
        events = reader.owner.get(f"reads the events of {name}", f"/v1/trades/{trade['id']}/events")
        if events.status == 200:
            strange = [e for e in events.body["data"] if e["bidder_id"] not in (None, str(reader.id))]
            if strange:
                world.kernel.violation(f"{reader.name} was shown another's negotiation")


def _until(world: World, valid: timedelta) -> str:
    return (world.kernel.core.now() + valid).isoformat()
