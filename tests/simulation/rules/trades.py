"""Each trade is the fold of its events, goes on until it ends, and is what its contract, its facts and its clients say.

What a contract says is worked out anew here, from events alone. Only the fold and what is open are asked of the deal's own
modules: of a copy of their own, which no mutant changes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from functions.trade_events.deal.agenda import agenda, consequences
from functions.trade_events.deal.events import PUBLISHED_ONLY, Event
from functions.trade_events.deal.fold import apply
from functions.trade_events.deal.trade import Trade
from kapas.values import clock
from tests.simulation.kernel import YESTERDAY

if TYPE_CHECKING:
    from tests.simulation.world import World

SKEW = timedelta(seconds=10)
"""By how much the clocks of two instances may differ, and some."""
LATE = timedelta(minutes=15)
"""How much later than what is due another step may be: who takes it may stand still after it looked."""
KILOGRAMS = {"candy_trade": Decimal("355.62"), "quintal": Decimal(100)}
TOLERANCE = {"kapas_spot": Decimal(10), "ex_gin_passing": Decimal(5), "delivered_mill_weight": Decimal(5)}
"""Per cent that may be delivered less."""
WEIGHT_TOLERANCE = Decimal("0.5")
GST = Decimal(5)
MARKET, DEALT, CONTRACT, END = range(4)
PHASES = {
    **dict.fromkeys(("offered", "negotiating"), MARKET),
    "matched": DEALT,
    **dict.fromkeys(("contracted", "in_delivery", "disputed"), CONTRACT),
    **dict.fromkeys(("completed", "closed_out", "cancelled", "expired"), END),
}
UNIQUE = {
    "weigh": ("trade.weighed.v1", ("slip", "serial")),
    "dispatch": ("trade.dispatched.v1", ("vehicle",)),
    "record_payment": ("trade.payment_recorded.v1", ("payment_id",)),
    "record_document": ("trade.document_recorded.v1", ("number",)),
    "sample": ("trade.sampled.v1", ("samples",)),
    "arrive": ("trade.arrived.v1", ("lift",)),
}
"""Steps that record facts: the event each makes, and what in it differs from others in."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event of `trade_events`."""

    event: Event
    bidder_id: Any
    device: Any

    @property
    def data(self) -> dict[str, Any]:
        return self.event.payload.model_dump(mode="json", exclude=PUBLISHED_ONLY)

    @property
    def type(self) -> str:
        return self.event.payload.type


def broken(world: "World") -> Iterator[str]:
    run = world.server.admin.run
    rows: dict[Any, list[Row]] = defaultdict(list)
    for row in run(
        """SELECT trade_id, sequence, type, role, side, partner_id, principal_id, data, occurred_at, recorded_at, bidder_id,
             device_id, client_event_id
           FROM trade_events WHERE recorded_at >= :earliest ORDER BY 1, 2""",
        earliest=YESTERDAY,
    ):
        rows[row[0]].append(_row(row))
    published: dict[Any, list[tuple[int, str, Any]]] = defaultdict(list)
    for subject, sequence, name, partner_ids in run(
        """SELECT subject, sequence, type, partner_ids FROM outbox
           WHERE topic = 'trade-events' AND occurred_at >= :earliest ORDER BY 1, 2""",
        earliest=YESTERDAY,
    ):
        published[subject].append((sequence, name, partner_ids))
    for trade_id, version, status, due_at, state in run(
        "SELECT id, version, status, due_at, state::text FROM trades WHERE created_at >= :earliest ORDER BY id",
        earliest=YESTERDAY,
    ):
        events, sent = rows.pop(trade_id, []), published.pop(trade_id, [])
        numbers = list(range(1, version + 1))
        if [row.event.sequence for row in events] != numbers or [one[0] for one in sent] != numbers:
            yield f"a trade at version {version} has {len(events)} events, and {len(sent)} were published"
            continue
        if [row.type for row in events] != [one[1] for one in sent]:
            yield "what was published of a trade is not what happened"
        yield from _folded(world, events, Trade.load(state), status, due_at)
        yield from _contract(world, events)
        yield from _between(events, sent)
        yield from _live(world, trade_id, version, status, due_at, Trade.load(state))
    if rows or published:
        yield "there are events of a trade that is not there"
    yield from _facts(world)


def _row(row: list[Any]) -> Row:
    event = Event.from_json(
        {
            "trade_id": str(row[0]),
            "sequence": row[1],
            "type": row[2],
            "by": {"role": row[3], "side": row[4], "partner_id": row[5], "principal_id": row[6]},
            "data": row[7],
            "occurred_at": row[8].isoformat(),
            "at": row[9].isoformat(),
        }
    )
    return Row(event, row[10], None if row[11] is None else (row[11], str(row[12])))


def _folded(world: "World", rows: list[Row], stored: Trade, status: str, due_at: datetime | None) -> Iterator[str]:
    """The row is the fold; the platform did what was due and what followed, when it was, and once; something is open."""
    trade: Trade | None = None
    done: Counter[tuple[str, str]] = Counter()
    following: list[str] = []
    for row in rows:
        event, before = row.event, trade
        if before is not None and event.by.role == "system":
            if row.type != "trade.party_status_changed.v1":
                yield from _due(row, before, following)
            done[row.type, f"{event.occurred_at} {row.data}"] += 1
        elif before is not None and event.by.role == "partner" and (row.device or ("",))[0] != "kapas-grading":
            open_steps = agenda(before)
            if open_steps and open_steps[0].due_at + LATE < event.at:
                yield f"{row.type} came at {event.at}, and {open_steps[0].key} was due at {open_steps[0].due_at}"
        trade = apply(before, event)
        following = [_said(payload) for payload in consequences(trade, event.at)]
        if before is not None and before.end is not None and not getattr(event.payload, "late", False):
            yield f"{row.type} came after the end and is not late"
        if before is not None and PHASES[trade.status] < PHASES[before.status]:
            yield f"a trade went from {before.status} to {trade.status}"
    for (name, _), times in done.items():
        if times > 1:
            yield f"{name} happened {times} times for one deadline"
    if trade is None:
        return
    if trade != stored or trade.status != status:
        wrong = [name for name in Trade.__dataclass_fields__ if getattr(trade, name) != getattr(stored, name)]
        yield f"a trade that is {status} is not the fold of its events: {wrong}"
    open_steps = agenda(trade)
    if (trade.end is None) != bool(open_steps) or any(not step.who or not step.then for step in open_steps):
        yield f"a trade that is {status} has {len(open_steps)} steps open"
    if due_at != min((step.due_at for step in open_steps), default=None):
        yield f"a trade is due at {due_at}, and its first step is {open_steps[:1]}"
    if due_at is not None and due_at < min(world.closes, world.kernel.core.now()) - SKEW:
        yield f"what was due at {due_at} did not happen"


def _due(row: Row, before: Trade, following: list[str]) -> Iterator[str]:
    """An event of the platform is the outcome of a deadline that has passed, or follows from the event before it."""
    event, said = row.event, _said(row.event.payload)
    if said in following:
        return
    outcomes = [step for step in agenda(before) if _said(step.outcome) == said]
    if not outcomes:
        yield f"{row.type} happened, and no deadline has it for an outcome"
    elif event.occurred_at not in {step.due_at for step in outcomes} or event.at < event.occurred_at - SKEW:
        yield f"{row.type} happened at {event.at}, and was due at {outcomes[0].due_at}"


def _said(payload: Any) -> str:
    return f"{payload.type} {payload.model_dump(mode='json', exclude=PUBLISHED_ONLY)}"


# The contract


def _contract(world: "World", rows: list[Row]) -> Iterator[str]:
    matched = next((row.data for row in rows if row.type == "trade.matched.v1"), None)
    if matched is None:
        return
    seller = rows[0].data["seller_id"]
    template = matched["terms"]["template"]
    for position, row in enumerate(rows):
        if row.type == "trade.contracted.v1":
            yield from _tax(row.data["tax"], world.states.get(seller), world.states.get(matched["buyer_id"]))
        elif row.type == "trade.document_recorded.v1" and row.data["kind"] == "tax_invoice":
            yield from _invoice(rows[:position], row.data, matched)
        elif row.type == "trade.lots_passed.v1" and row.data["by"] == "system":
            offered = max(one.event.at for one in rows[:position] if one.type == "trade.lots_offered.v1")
            if row.event.at < _after_working_days(offered, 2) - SKEW:
                yield f"lots offered at {offered} were deemed passed at {row.event.at}"
        elif row.type == "trade.ended.v1" and row.data["how"] == "completed":
            yield from _delivered(rows[:position], matched, TOLERANCE[template])


def _tax(tax: dict[str, Any], seller: str | None, buyer: str | None) -> Iterator[str]:
    """The seller supplies from where it is registered, to where the buyer is."""
    kind = "within_state" if seller == buyer else "between_states"
    if (tax["supplier_state"], tax["place_of_supply"], tax["kind"]) != (seller, buyer, kind):
        yield f"a contract from state {seller} to {buyer} is taxed as {tax}"


def _invoice(rows: list[Row], invoice: dict[str, Any], matched: dict[str, Any]) -> Iterator[str]:
    """The weight of an invoice is agreed, and its sum is that weight at the price, with tax."""
    slips: dict[str, dict[str, Decimal]] = {"seller": {}, "buyer": {}, "inspector": {}}
    answered = False
    for row in rows:
        data = row.data
        if data.get("lift") != invoice["lift"]:
            continue
        if row.type == "trade.weighed.v1" and data["slip"]["at"] != "mill":
            packing = Decimal(matched["terms"]["weight"]["packing_kg_per_bale"]) * (data["slip"]["bales"] or 0)
            net = Decimal(data["slip"]["gross_kg"]) - Decimal(data["slip"]["tare_kg"]) - packing
            slips[data["by"]][data["slip"]["bridge"]] = net
        answered |= row.type in ("trade.weight_answered.v1", "trade.weight_decided.v1")
    if not answered and not slips["inspector"] and slips["seller"] and slips["buyer"]:
        one, other = (sum(of.values()) / len(of) for of in (slips["seller"], slips["buyer"]))
        if abs(one - other) > WEIGHT_TOLERANCE / 100 * (one + other) / 2:
            yield f"invoiced while the seller weighed {one} kg and the buyer {other} kg, and nobody answered"
    if invoice["figures"] is None:
        kg, price = Decimal(invoice["kg"]), Decimal(matched["price"]["paise"]) / KILOGRAMS[matched["price"]["unit"]]
        value = _rounded(kg * price)
        tax = next(row.data["tax"] for row in rows if row.type == "trade.contracted.v1")["kind"]
        shares = (GST,) if tax == "between_states" else (GST / 2, GST / 2)
        whole = value + sum(_rounded(value * share / 100) for share in shares)
        if invoice["paise"] != whole:
            yield f"{kg} kg are invoiced as {invoice['paise']} paise and should be as {whole}"


def _delivered(rows: list[Row], matched: dict[str, Any], tolerance: Decimal) -> Iterator[str]:
    """A trade is completed when all of it was lifted, each lift counted once, or when the rest has ended."""
    if any(row.type == "trade.rest_ended.v1" for row in rows):
        return
    lifts: dict[int, int] = {}
    for row in rows:
        if row.type == "trade.dispatched.v1":
            lifts[row.data["lift"]] = row.data["bales"]
    if matched["quantity"]["bales"] is not None and sum(lifts.values()) < matched["quantity"]["bales"]:
        yield f"completed with {lifts} lifted of {matched['quantity']['bales']} bales"
    if matched["quantity"]["bales"] is None:
        kg = sum(Decimal(row.data["kg"]) for row in rows if row.type == "trade.document_recorded.v1" and row.data["kg"])
        if kg * 100 < Decimal(matched["quantity"]["kg"]) * (100 - tolerance):
            yield f"completed with {kg} kg of {matched['quantity']['kg']}"


def _after_working_days(start: datetime, count: int) -> datetime:
    """The first instant after so many days without Sundays, in India."""
    day = start.astimezone(clock.IST)
    while count:
        day += timedelta(days=1)
        count -= day.weekday() != 6
    return datetime.combine(day.date() + timedelta(days=1), time(0), clock.IST)


def _rounded(paise: Decimal) -> int:
    return int(paise.quantize(Decimal(1), ROUND_HALF_UP))


# Who sees it


def _between(rows: list[Row], published: list[tuple[int, str, Any]]) -> Iterator[str]:
    """What the seller and a bidder say to each other nobody else receives."""
    seller = rows[0].event.by.partner_id
    for row, (_, name, partner_ids) in zip(rows, published, strict=True):
        bidder = row.data.get("bidder_id")
        if bidder is not None and str(row.bidder_id) != bidder:
            yield f"{name} is not recorded as with its bidder"
        if bidder is not None and {str(partner_id) for partner_id in partner_ids} != {str(seller), bidder}:
            yield f"{name} was sent to others than the seller and its bidder"


def _live(
    world: "World", trade_id: Any, version: int, status: str, due_at: datetime | None, trade: Trade
) -> Iterator[str]:
    """The live document says of the trade what its row says; of an open lot, until when it is offered."""
    _, document = world.documents.stored.get(f"trades/{trade_id}", (0, {}))
    if trade.seller_id in world.erased and trade.buyer_id is None:
        return  # overwritten: rules/erasures.py is about it
    due = trade.valid_until if PHASES[status] == MARKET else due_at
    expected = {
        "sequence": version,
        "status": status,
        "buyer_id": None if trade.buyer_id is None else str(trade.buyer_id),
        "due_at": due,
        "open": PHASES[status] == MARKET,
    }
    said = {name: document.get(name) for name in expected}
    said["due_at"] = said["due_at"] and datetime.fromisoformat(said["due_at"])
    if said != expected:
        yield f"the live document of a trade says {said}, and the trade {expected}"


# What clients were answered


def _facts(world: "World") -> Iterator[str]:
    """Every fact that a client got 201 for is in the timeline, once; so is every step of a device."""
    run = world.server.admin.run
    kept: Counter[tuple[str, ...]] = Counter()
    devices: Counter[tuple[str, str, str]] = Counter()
    for trade_id, name, data, device, event_id in run(
        """SELECT trade_id, type, data, device_id, client_event_id FROM trade_events WHERE recorded_at >= :earliest
           ORDER BY trade_id, sequence""",
        earliest=YESTERDAY,
    ):
        for kind, path in UNIQUE.values():
            if kind == name:
                kept[str(trade_id), name, str(_at(data, path))] += 1
        if device is not None:
            devices[str(trade_id), device, str(event_id)] += 1
    for response in world.responses:
        if not response.ok or response.method != "POST" or not response.path.startswith("/v1/trades/"):
            continue
        trade_id = response.path.split("/")[3]
        if response.path.endswith("/steps"):
            yield from _recorded(response.step, trade_id, response.sent["step"], kept)
        elif response.path.endswith("/steps:batch"):
            for outcome in response.body["outcomes"]:
                name = trade_id, response.sent["device_id"], outcome["event_id"]
                if outcome["outcome"] != "refused" and devices[name] != 1:
                    yield f"{response.step}: a step of a device that is {outcome['outcome']} is there {devices[name]} times"
            for item, outcome in zip(response.sent["steps"], response.body["outcomes"], strict=True):
                if outcome["outcome"] != "refused":
                    yield from _recorded(response.step, trade_id, item["step"], kept)


def _recorded(step: str, trade_id: str, sent: dict[str, Any], kept: Counter[tuple[str, ...]]) -> Iterator[str]:
    if sent["type"] not in UNIQUE:
        return
    kind, path = UNIQUE[sent["type"]]
    times = kept[trade_id, kind, str(_at({"lift": 1, **sent}, path))]
    if times != 1:
        yield f"{step}: the fact that was answered as recorded is there {times} times"


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        data = data[name]
    return data
