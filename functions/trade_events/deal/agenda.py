"""What is open, for whom, until when, and what happens then. Derived from the state; a deadline's outcome is an event."""

from datetime import datetime

from . import claims, delivery, documents, negotiation, payment, quality, weight
from .events import ClaimRaised, Event, Moves, PartyDecided, Payload
from .fold import apply
from .parties import SYSTEM
from .settlement import close_out
from .trade import Open, Trade, other
from .values import Side, days

MOST = 1_000
"""More deadlines than any trade lets pass at once: beyond it an outcome would have failed to end its own step."""


def agenda(trade: Trade) -> tuple[Open, ...]:
    """Every open step, the most urgent first. Empty only of a trade that has ended."""
    if trade.end is not None:
        return ()
    items = list(negotiation.open_items(trade))
    if trade.contracted_at is not None:
        for track in (weight, quality, delivery, payment, documents, claims):
            items += track.open_items(trade)
        items += parties_items(trade)
        if not items:
            items.append(documents.closing(trade))
    return tuple(sorted(items, key=lambda item: (item.due_at, item.key)))


def parties_items(trade: Trade) -> list[Open]:
    """A party that cannot act: operations say what becomes of the rest, else the other side may close out."""
    if trade.status_decided or trade.status_at is None:
        return []
    side: Side = "seller" if trade.seller_status != "active" else "buyer"
    decided = PartyDecided(side=side, how="no_decision")
    due = days(7).after(trade.status_at)
    then = "The other side may close out the rest without notice"
    return [Open("parties", "decide_party", "operations", due, then, decided, side, ("close_out", "propose"))]


def overdue(trade: Trade, at: datetime) -> list[Event]:
    """The outcome of each deadline that has passed at `at`, in order; each may bring others about.

    Raises:
        RuntimeError: outcomes do not end, which would be a fault of the agenda.
    """
    events: list[Event] = []
    for _ in range(MOST):
        item = next(iter(agenda(trade)), None)
        if item is None or item.due_at > at:
            return events
        for payload in (item.outcome, *_consequences(trade, item.outcome, at)):
            event = Event(trade.id, trade.version + 1, payload, SYSTEM, at, item.due_at)
            events.append(event)
            trade = apply(trade, event)
    raise RuntimeError(f"the deadlines of trade {trade.id} do not come to an end")


def _consequences(trade: Trade, payload: Payload, at: datetime) -> list[Payload]:
    event = Event(trade.id, trade.version + 1, payload, SYSTEM, at, at)
    return consequences(apply(trade, event), at)


def consequences(trade: Trade, at: datetime) -> list[Payload]:
    """What follows at once from the facts, without anybody's word."""
    found: list[Payload] = []
    for _ in range(MOST):
        payload = _consequence(trade)
        if payload is None:
            return found
        found.append(payload)
        trade = apply(trade, Event(trade.id, trade.version + 1, payload, SYSTEM, at, at))
    raise RuntimeError(f"the consequences in trade {trade.id} do not come to an end")


def _consequence(trade: Trade) -> Payload | None:
    if trade.end is not None or trade.contracted_at is None:
        return None
    following = weight.consequence(trade) or delivery.consequence(trade)
    if following is not None:
        return following
    rest = trade.rest
    if rest is not None and rest.defaulter is not None and not any(c.kind == "difference" for c in trade.claims):
        loss = sum(line.paise for line in close_out(trade))
        if loss > 0:
            by = other(rest.defaulter)
            number = len(trade.claims) + 1
            return ClaimRaised(claim=number, kind="difference", by=by, lift=None, asked=Moves(paise=loss, to=by))
    if len(trade.closing) == 2 and all(item.step == "accept_closing" for item in agenda(trade)):
        return documents.end(trade)
    return None
