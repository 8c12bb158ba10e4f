"""`make demo`: one cotton trade through the whole system, over HTTP, as it happens.

Starts the local cloud in a process of its own on a free port, keeps nothing, and ends with exit code 0, or with 1 and a
line that says which step failed.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from google.cloud import firestore
from rich.console import Console
from rich.table import Table
from standardwebhooks import Webhook

from kapas import ids
from kapas.money import Money
from tools.local.client import Client, running

# A lot as a classing office describes it: figures in the units and within the ranges of the USDA/AMS classing record.
QUALITY = {
    "micronaire": 4.2,
    "strength_g_tex": 29.6,
    "upper_half_mean_length_in": 1.14,
    "uniformity_index_pct": 82.3,
    "rd": 76.5,
    "plus_b": 8.9,
    "trash_area_pct": 0.3,
}
LOT = {
    "variety": "Shankar-6",
    "crop_year": "2026-27",
    "station": "Rajkot",
    "bales": 100,
    "net_weight": {"value": "16350", "unit": "kg"},
    "quality": QUALITY,
}
ASK = {"paise": 61_500_00, "unit": "candy_trade"}
BID = {"paise": 61_200_00, "unit": "candy_trade"}

# Made-up people and firms; the PANs are well-formed and belong to nobody.
GINNER = {
    "type": "ginner",
    "legal_name": "Example Ginning Private Limited",
    "contact_name": "Asha Example",
    "phone": "+919800000001",
    "pan": "AAACX0001G",
    "state_code": "24",
}
MILL = {
    "type": "spinning_mill",
    "legal_name": "Example Spinning Mills Limited",
    "contact_name": "Ravi Example",
    "phone": "+919800000002",
    "pan": "AAACX0002M",
    "state_code": "33",
}


class StepFailed(Exception):
    """A step did not show what it should."""


@dataclass
class Demo:
    """What the steps hand on to each other."""

    console: Console
    client: Client
    log: Path
    steps: int = 0
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, title: str) -> Generator[list[str]]:
        """Time a step and show what the user sees of it: the lines put into the yielded list."""
        seen: list[str] = []
        begun = time.monotonic()
        try:
            yield seen
        except Exception as error:
            raise StepFailed(f"{title}: {error}") from error
        self.steps += 1
        milliseconds = (time.monotonic() - begun) * 1000
        self.console.print(f"[bold green]✓[/] [bold]{title}[/] [dim]{milliseconds:.0f} ms[/]")
        for line in seen:
            self.console.print(f"    {line}", highlight=False)


def main() -> int:
    console = Console(soft_wrap=True)
    console.print("\n[bold]Kapas[/]: one cotton trade, through the whole system, on this machine\n")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kapas-demo-") as folder:
        log = Path(folder, "kapas.log")
        try:
            with running(log, "--port", "0", "--temporary") as (client, _):
                console.print(f"[dim]local cloud ready at {client.url} in {time.monotonic() - begun:.1f} s[/]\n")
                demo = Demo(console, client, log)
                play(demo)
        except (StepFailed, RuntimeError) as error:
            console.print(f"[bold red]✗ {error}[/]", highlight=False)
            return 1
    console.print(
        f"\n[bold green]Done[/]: {demo.steps} steps in {time.monotonic() - begun:.1f} s, nothing left behind.\n"
    )
    return 0


def play(demo: Demo) -> None:
    """The trade, step by step."""
    client = demo.client
    ginner_id, mill_id = ids.uuid7(), ids.uuid7()
    ginner = client.as_user("asha", ginner_id, "owner")
    mill = client.as_user("ravi", mill_id, "owner")
    onboard(demo, ginner, mill, ginner_id, mill_id)
    secret = subscribe(demo, mill)
    with listening(client) as changes:
        trade_id = trade(demo, ginner, mill)
        show_live_document(demo, changes, trade_id)
    show_events(demo, trade_id)
    verify_webhooks(demo, secret, trade_id)
    check_privacy(demo)


def onboard(demo: Demo, ginner: Client, mill: Client, ginner_id: UUID, mill_id: UUID) -> None:
    operations = demo.client.as_user("operations", None, "ops")
    with demo.step("Two partners register, and operations activates them") as seen:
        for name, user, partner_id, body in (("ginner", ginner, ginner_id, GINNER), ("mill", mill, mill_id, MILL)):
            registered = user.post("/v1/partners", body, expect=201)
            active = operations.post(f"/v1/partners/{partner_id}/activate", if_match=registered.etag)
            seen.append(
                f"{name}: {active.body['legal_name']}, PAN ends in {active.body['pan_ending']}, {active.body['status']}"
            )


def subscribe(demo: Demo, mill: Client) -> str:
    """Register the mill's webhook; its secret."""
    with demo.step("The mill registers a webhook") as seen:
        url = f"{demo.client.url}/_local/receiver/mill"
        endpoint = mill.post("/v1/webhook-endpoints", {"url": url, "event_types": ["*"]}, expect=201)
        secret: str = endpoint.body["secret"]
        demo.client.call("PUT", "/_local/receiver/mill", {"secret": secret})
        seen.append(f"endpoint {endpoint.body['id']}, secret shown once: {secret[:10]}…")
    return secret


@contextmanager
def listening(client: Client) -> Generator[list[dict[str, Any]]]:
    """The documents that a mill's app sees change, through Google's own Firestore client."""
    os.environ["GRPC_VERBOSITY"] = "NONE"  # it would tell of the server's end among the steps
    os.environ["FIRESTORE_EMULATOR_HOST"] = client.get("/_local/endpoints").body["FIRESTORE_EMULATOR_HOST"]
    changes: list[dict[str, Any]] = []
    arrived = threading.Condition()

    def on_snapshot(_: Any, changed: Any, __: Any) -> None:
        with arrived:
            changes.extend({"id": c.document.id, **c.document.to_dict()} for c in changed if c.type.name != "REMOVED")
            arrived.notify_all()

    watch: Any = firestore.Client(project="kapas-local").collection("trades").on_snapshot(on_snapshot)
    try:
        yield changes
    finally:
        watch.unsubscribe()


def trade(demo: Demo, ginner: Client, mill: Client) -> str:
    """Offer, bid, match, contract; the trade's id."""
    with demo.step("The ginner offers a lot of 100 bales") as seen:
        offered = ginner.post("/v1/trades", {"lot": LOT, "ask": ASK}, expect=201).body
        seen.append(f"{LOT['variety']}, 16,350 kg net, micronaire {QUALITY['micronaire']}")
        seen.append(f"asking {Money(ASK['paise'])} a candy of 355.62 kg")
    events = f"/v1/trades/{offered['id']}/events"
    with demo.step("The mill bids") as seen:
        bid = mill.post(events, {"event": {"type": "bid_placed", "expected_version": 1, "price": BID}}, expect=201).body
        seen.append(f"{Money(BID['paise'])} a candy; the trade is {bid['status']}, version {bid['version']}")
    with demo.step("The ginner accepts; the app sends it twice, it counts once") as seen:
        accept = {"event": {"type": "bid_accepted", "expected_version": 2, "bid_sequence": 2}}
        key = str(ids.uuid7())
        first, again = (ginner.post(events, accept, key=key, expect=201) for _ in range(2))
        if first.body != again.body or "Idempotent-Replayed" not in again.headers:
            raise StepFailed("the repeated request was not answered like the first")
        seen.append(
            f"the trade is {first.body['status']}, version {first.body['version']}; the repeat got the same answer"
        )
    with demo.step("The mill signs the contract") as seen:
        signed = mill.post(events, {"event": {"type": "contract_signed", "expected_version": 3}}, expect=201).body
        amount = Money(signed["amount"]["paise"])
        seen.append(f"the trade is {signed['status']}: 16,350 kg at {Money(BID['paise'])} a candy make {amount}")
    return offered["id"]


def show_live_document(demo: Demo, changes: list[dict[str, Any]], trade_id: str) -> None:
    with demo.step("The live document changed under the listening client") as seen:
        wait(
            lambda: any(c["id"] == trade_id and c["status"] == "CONTRACTED" for c in changes),
            "CONTRACTED in the document",
        )
        of_trade = [change for change in changes if change["id"] == trade_id]
        sequences = [change["sequence"] for change in of_trade]
        if sequences != sorted(sequences):
            raise StepFailed(f"the document went back: {sequences}")
        seen.append(" → ".join(f"{change['status']} ({change['sequence']})" for change in of_trade))


def show_events(demo: Demo, trade_id: str) -> None:
    with demo.step("Every event was published, in order"):
        wait(lambda: demo.client.get("/_local/outbox").body["pending"] == 0, "an empty outbox")
        demo.client.settle()
        events = [e for e in demo.client.get("/_local/outbox").body["events"] if e["subject"] == trade_id]
        if [event["sequence"] for event in events] != [1, 2, 3, 4]:
            raise StepFailed(f"expected sequences 1 to 4, got {events}")
        undelivered = demo.client.get("/_local/topics").body
        if undelivered:
            raise StepFailed(f"{len(undelivered)} messages wait for delivery")
    table = Table("sequence", "type", "topic", box=None, pad_edge=False, header_style="dim")
    for event in events:
        table.add_row(str(event["sequence"]), event["type"], event["topic"])
    demo.console.print(table)


def verify_webhooks(demo: Demo, secret: str, trade_id: str) -> None:
    with demo.step("The mill's webhook got what concerns it; an independent library verifies each signature") as seen:
        expected = {"trade.bid_placed.v1", "trade.matched.v1", "trade.contracted.v1"}

        def arrived() -> dict[str, Any]:
            deliveries = demo.client.get("/_local/receiver/mill").body["data"]
            return {
                json.loads(d["body"])["type"]: d for d in deliveries if json.loads(d["body"])["subject"] == trade_id
            }

        wait(lambda: expected <= arrived().keys(), f"the webhooks {', '.join(sorted(expected))}")
        for event_type, delivery in arrived().items():
            Webhook(secret).verify(delivery["body"], delivery["headers"])  # raises unless the signature is right
            seen.append(f"{event_type} [green]verified[/], webhook-id {delivery['webhook_id']}")


def check_privacy(demo: Demo) -> None:
    with demo.step("No name, phone number or PAN in any log line") as seen:
        text = demo.log.read_text()
        values = [body[name] for body in (GINNER, MILL) for name in ("legal_name", "contact_name", "phone", "pan")]
        found = [value for value in values if value in text]
        if found:
            raise StepFailed(f"{len(found)} values stand in the log")
        seen.append(f"{len(text.splitlines())} lines looked through for {len(values)} values")


def wait(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Wait until `condition` holds. Raises `StepFailed` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StepFailed(f"no {what} within {seconds:.0f} s")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
