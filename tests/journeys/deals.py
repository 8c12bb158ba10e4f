"""The steps of a deal over HTTP, as its parties take them, for tests of trades and of what follows from them."""

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from local_cloud.client import Answer, Client
from tests.journeys.partners import Partner

CANDY: dict[str, Any] = {"paise": 61_200_00, "unit": "candy_trade"}
MAUND: dict[str, Any] = {"paise": 1_450_00, "unit": "maund_20kg"}

FACTS = {
    *("weigh", "sample", "test", "dispatch", "arrive", "record_payment", "reverse_payment"),
    *("record_document", "record_award", "correct"),
}
"""Steps that need no version: they are true whatever else happened."""

_serials = itertools.count(1)


def now(client: Client) -> datetime:
    """The local cloud's time."""
    return datetime.fromisoformat(client.get("/_local/clock").body["now"])


def in_days(client: Client, days: float) -> str:
    return (now(client) + timedelta(days=days)).isoformat()


def lot(bales: int = 100, **changes: Any) -> dict[str, Any]:
    """Full-pressed bales of 164 kg."""
    return {
        "kind": "bales",
        "variety": "Shankar-6",
        "crop_year": "2026-27",
        "station": "Rajkot",
        "quantity": {"bales": bales, "kg": str(164 * bales)},
    } | changes


def kapas(**changes: Any) -> dict[str, Any]:
    """Seed cotton: 136 maunds of 20 kg."""
    return {
        "kind": "kapas",
        "variety": "Shankar-6",
        "crop_year": "2026-27",
        "station": "Gondal",
        "amount": "136",
        "unit": "maund_20kg",
    } | changes


def offering(client: Client, **changes: Any) -> dict[str, Any]:
    """A request to offer a lot of bales ex gin for a week."""
    return {
        "lot": lot(),
        "ask": CANDY,
        "template": "ex_gin_passing",
        "valid_until": in_days(client, 7),
    } | changes


def offer(seller: Partner, **changes: Any) -> dict[str, Any]:
    """A trade in its first state."""
    return seller.owner.post("/v1/trades", offering(seller.owner, **changes), expect=201).body


def take(partner: Partner, trade: dict[str, Any], step: str, *, expect: int = 201, **fields: Any) -> Answer:
    """A partner's step on the trade as it was last read."""
    body = {"type": step, **({} if step in FACTS else {"expected_version": trade["version"]}), **fields}
    return partner.owner.post(f"/v1/trades/{trade['id']}/steps", {"step": body}, expect=expect)


def bid(buyer: Partner, trade: dict[str, Any], *, expect: int = 201, **fields: Any) -> Answer:
    """A bid for a day, at what is asked unless `price` says otherwise."""
    terms = {"price": trade["ask"], "valid_until": in_days(buyer.owner, 1), **fields}
    return take(buyer, trade, "bid", expect=expect, **terms)


def matched(seller: Partner, buyer: Partner, **changes: Any) -> dict[str, Any]:
    """A trade whose seller has accepted the bid, at version 3."""
    trade = bid(buyer, offer(seller, **changes)).body
    return take(seller, trade, "accept", to=trade["version"]).body


def contracted(seller: Partner, buyer: Partner, **changes: Any) -> dict[str, Any]:
    """A trade that both have signed, at version 5."""
    return take(buyer, matched(seller, buyer, **changes), "sign").body


@dataclass(frozen=True, slots=True)
class Deal:
    """A trade between two, and who takes its steps; each step at the version that the trade has."""

    client: Client
    trade_id: str
    seller: Partner
    buyer: Partner
    broker: Partner | None = None

    def user(self, who: str) -> Client:
        """A client with a token of now: the clock may have been moved."""
        if who == "operations":
            return self.client.as_user(who, None, "ops")
        if who == "inspector":
            return self.client.as_user(who, None, who)
        partner = {"seller": self.seller, "buyer": self.buyer, "broker": self.broker}[who]
        assert partner is not None
        return self.client.as_user(f"owner-{partner.id}", partner.id, "owner")

    def take(self, who: str, step: str, *, expect: int = 201, principal: Any = None, **fields: Any) -> Answer:
        """A step of `seller`, `buyer`, `broker`, `inspector` or `operations`."""
        body: dict[str, Any] = {"type": step, **fields}
        if step not in FACTS:
            body = {"expected_version": self.trade()["version"], **body}
        sent: dict[str, Any] = {"step": body} | ({} if principal is None else {"principal_id": str(principal)})
        return self.user(who).post(f"/v1/trades/{self.trade_id}/steps", sent, expect=expect)

    def trade(self, who: str = "operations") -> dict[str, Any]:
        return self.user(who).get(f"/v1/trades/{self.trade_id}").body

    def lift(self, number: int = 1) -> dict[str, Any]:
        return next(lift for lift in self.trade()["lifts"] if lift["number"] == number)

    def timeline(self, who: str = "operations") -> list[dict[str, Any]]:
        return self.user(who).get(f"/v1/trades/{self.trade_id}/events").body["data"]

    def types(self) -> list[str]:
        """The types of the events, without prefix and version."""
        return [event["type"].split(".")[1] for event in self.timeline()]

    def settlement(self, who: str = "buyer") -> dict[str, Any]:
        return self.user(who).get(f"/v1/trades/{self.trade_id}/settlement").body

    def counterparty(self, who: str) -> dict[str, Any]:
        """The other side, as one side reads it."""
        [found] = self.user(who).get(f"/v1/trades/{self.trade_id}/parties").body["data"]
        return found

    def open(self, step: str, ref: str | None = None) -> dict[str, Any]:
        """The open step of that name. Fails if there is none."""
        steps = self.trade()["next"]
        found = [item for item in steps if item["step"] == step and ref in (None, item["ref"])]
        assert found, f"{step} is not open: {[(item['step'], item['ref']) for item in steps]}"
        return found[0]

    def is_open(self, step: str) -> bool:
        return any(item["step"] == step for item in self.trade()["next"])

    def wait(self, *, days: int = 0, hours: int = 0) -> None:
        """Let time pass; what is due by then has its outcome."""
        self.client.post("/_local/clock", {"advance": f"P{days}DT{hours}H"})

    # The usual way

    def weigh(
        self,
        who: str,
        net_kg: str,
        *,
        at: str = "gin",
        bridge: str = "B1",
        lift: int = 1,
        bales: int | None = None,
        expect: int = 201,
        **slip: Any,
    ) -> Answer:
        """A bridge's slip of that net weight."""
        read = {"serial": f"S{next(_serials)}", "gross_kg": str(Decimal(net_kg) + 8000), "tare_kg": "8000"}
        full = {"at": at, "bridge": bridge, **read, **({} if bales is None else {"bales": bales}), **slip}
        return self.take(who, "weigh", lift=lift, slip=full, expect=expect)

    def weigh_twice(self, net_kg: str, bales: int, lift: int = 1) -> dict[str, Any]:
        """The seller's slips of two bridges at the gin; the trade."""
        self.weigh("seller", net_kg, bridge="B1", bales=bales, lift=lift)
        return self.weigh("seller", net_kg, bridge="B2", bales=bales, lift=lift).body

    def offer_lots(self, *lots: tuple[str, int]) -> dict[str, Any]:
        named = [{"no": no, "bales": bales} for no, bales in lots]
        return self.take("seller", "offer_lots", lots=named).body

    def pass_lots(self, *numbers: str, verdict: str = "passed") -> dict[str, Any]:
        results = [{"no": no, "verdict": verdict} for no in numbers]
        return self.take("buyer", "pass_lots", results=results).body

    def invoice(self, lift: int = 1, *, who: str = "seller", kind: str = "tax_invoice") -> dict[str, Any]:
        number = f"{who[0].upper()}/{lift}"
        return self.take(who, "record_document", kind=kind, number=number, lift=lift).body

    def pay(self, due: str, paise: int = 1_000_00) -> dict[str, Any]:
        """The buyer says that it paid, the seller that it has all of it; the trade."""
        payment = {"due": due, "paise": paise, "payment_id": str(uuid4())}
        self.take("buyer", "record_payment", **payment, settles=False)
        return self.take("seller", "record_payment", **payment, settles=True).body

    def dispatch(self, who: str, bales: int | None, lift: int = 1, **fields: Any) -> dict[str, Any]:
        moved: dict[str, Any] = {"vehicle": "GJ03AB1234", "lorry_receipt": f"LR{lift}"}
        counted = {} if bales is None else {"bales": bales}
        return self.take(who, "dispatch", lift=lift, **moved | counted | fields).body

    def arrive(self, bales: int | None, lift: int = 1, *, who: str = "buyer", **fields: Any) -> dict[str, Any]:
        counted = {} if bales is None else {"bales": bales}
        return self.take(who, "arrive", lift=lift, **counted, **fields).body

    def claim(self, who: str, kind: str, lift: int | None = None, **asked: Any) -> int:
        """Raise a claim; its number."""
        trade = self.take(who, "raise_claim", kind=kind, lift=lift, asked=asked).body
        return trade["claims"][-1]["number"]


def deal(client: Client, seller: Partner, buyer: Partner, **changes: Any) -> Deal:
    """A contracted trade."""
    return Deal(client, contracted(seller, buyer, **changes)["id"], seller, buyer)
