"""A trade as its parties act on it and read it, for the acts that play one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kapas.values import ids
from kapas.values.clock import rfc3339
from kapas.values.money import Money
from local_cloud.client import Client
from tools.demo.day import Day
from tools.demo.screen import expect


@dataclass(frozen=True, slots=True)
class Deal:
    """One trade; `seller` and `buyer` are the clients of its parties."""

    id: str
    seller: Client
    buyer: Client

    @property
    def path(self) -> str:
        return f"/v1/trades/{self.id}"

    def trade(self) -> dict[str, Any]:
        return self.buyer.get(self.path).body

    def take(self, client: Client, step: str, **fields: Any) -> dict[str, Any]:
        """Take a step at the version that the trade has; the trade after it."""
        body = {"type": step, "expected_version": self.trade()["version"], **fields}
        return client.post(f"{self.path}/steps", {"step": body}, expect=201).body

    def weigh(
        self, client: Client, at: str, bridge: str, net_kg: int, *, lift: int = 1, bales: int | None = None
    ) -> None:
        """Record a weighbridge's slip; its serial number tells lift and bridge."""
        slip = {"at": at, "bridge": bridge, "serial": f"{bridge}-{lift}", "vehicle": "GJ03AB1234", "bales": bales}
        weights = {"gross_kg": str(net_kg + 8_000), "tare_kg": "8000"}
        self.take(client, "weigh", lift=lift, slip=slip | weights)

    def invoice(self, client: Client, kind: str, number: str, lift: int = 1) -> int:
        """Record the paper that bills a lift; what the buyer has to pay for it so far, in paise."""
        self.take(client, "record_document", kind=kind, number=number, lift=lift)
        papers = self.buyer.get(f"{self.path}/settlement").body["papers"]
        return sum(paper["total_paise"] for paper in papers if (paper["paper"], paper["lift"]) == ("invoice", lift))

    def pay(self, due: str, paise: int) -> dict[str, Any]:
        """The buyer says that it paid, the seller confirms it; the trade then."""
        payment = {"due": due, "paise": paise, "payment_id": str(ids.uuid7())}
        self.take(self.buyer, "record_payment", **payment, settles=False)
        return self.take(self.seller, "record_payment", **payment, settles=True)

    def close(self) -> dict[str, Any]:
        """Both sides agree that nothing is open; the trade then."""
        self.take(self.seller, "accept_closing")
        return self.take(self.buyer, "accept_closing")

    def statement(self) -> list[str]:
        """The settlement line by line, under the paper that states each."""
        settlement = self.buyer.get(f"{self.path}/settlement").body
        shown: list[str] = []
        for paper in settlement["papers"]:
            expect(
                sum(line["paise"] for line in paper["lines"]) == paper["total_paise"],
                "the lines do not sum to the total",
            )
            of_lift = "" if paper["lift"] is None else f" of lift {paper['lift']}"
            shown += [f"{Money(line['paise'])!s:>16}  {line['code']}: {line['rule']}" for line in paper["lines"]]
            shown.append(f"{Money(paper['total_paise'])!s:>16}  {paper['paper'].replace('_', ' ')}{of_lift}")
        shown.append(f"[bold]{Money(settlement['payable_paise'])!s:>16}  payable by the buyer[/]")
        return shown


def offer(day: Day, seller: Client, buyer: Client, **body: Any) -> Deal:
    """Offer a lot for a week."""
    trade = seller.post("/v1/trades", {**body, "valid_until": in_days(day, 7)}, expect=201).body
    return Deal(trade["id"], seller, buyer)


def in_days(day: Day, days: int) -> str:
    now = datetime.fromisoformat(day.client.get("/_local/clock").body["now"])
    return rfc3339(now + timedelta(days=days))


def open_step(trade: dict[str, Any]) -> str:
    """The most urgent open step, as `next` has it."""
    step = trade["next"][0]
    return f"next: {step['step']} by the {step['who']}, else: {step['what_happens_then'].lower()}"


def kilograms(text: str) -> str:
    return f"{Decimal(text).normalize():,f} kg"
