"""The events of one decision as one change: the trade's row, its events, and what is published of them to whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kapas.messaging.events import Event as Published
from kapas.messaging.outbox import Change

from . import store
from .deal import events as e
from .deal.agenda import agenda
from .deal.events import Event
from .deal.fold import apply
from .deal.trade import Trade
from .schemas import ClientReference


@dataclass(frozen=True, slots=True)
class Recorded:
    """A change to write, the trade after it, and when its most urgent open step is due."""

    change: Change
    trade: Trade
    due_at: datetime | None


def record(before: Trade | None, events: Sequence[Event], client: ClientReference | None = None) -> Recorded:
    """`events` follow on `before`, none if they begin the trade; `client` is the device's name for the first of them."""
    trade, rows, published = before, list[store.Row](), list[Published]()
    for event in events:
        trade = apply(trade, event)
        bidder_id = bidder(trade, event)
        brokers = () if bidder_id is None else (*brokers_of(trade, bidder_id), *brokers_of(trade, trade.seller_id))
        rows.append(store.Row(event, bidder_id, brokers, None if rows else client))
        due_at = None
        if event is events[-1] and trade.match is not None:
            due_at = next_due(trade)
        data = event.payload.model_copy(update={"trade_status": trade.status, "trade_due_at": due_at})
        published.append(Published(trade.id, event.sequence, data, readers(trade, event), time=event.at))
    if trade is None:
        raise ValueError("a decision has events")
    summary = store.Summary(trade, next_due(trade), brokers_of_parties(trade))
    write = store.insert if before is None else store.append
    return Recorded(write(summary, rows, published), trade, summary.due_at)


def next_due(trade: Trade) -> datetime | None:
    """When the most urgent open step is due; None of a trade that has ended."""
    return next((item.due_at for item in agenda(trade)), None)


def bidder(trade: Trade, event: Event) -> UUID | None:
    """With which bidder a step on the market is: no other one sees it. `trade` is as it is after the event."""
    if trade.match is not None:
        return None
    payload = event.payload
    if isinstance(payload, e.BidPlaced | e.BidEnded):
        return payload.bidder_id
    return event.by.party_id if event.by.side == "buyer" else None


def readers(trade: Trade, event: Event) -> tuple[UUID, ...]:
    """The partners that an event is shown to. Who bid in vain hears that a lot was withdrawn or expired, not who got it."""
    seller = (trade.seller_id, *brokers_of(trade, trade.seller_id))
    bidder_id = bidder(trade, event)
    if bidder_id is not None:
        return _once(*seller, bidder_id, *brokers_of(trade, bidder_id))
    if trade.buyer_id is not None:
        return _once(*seller, trade.buyer_id, *brokers_of(trade, trade.buyer_id))
    if isinstance(event.payload, e.OfferChanged | e.Ended):
        return _once(*seller, *(talk.bidder_id for talk in trade.talks))
    return _once(*seller)


def brokers_of(trade: Trade, principal_id: UUID) -> tuple[UUID, ...]:
    """The brokers whom a party has given a mandate that it has not revoked."""
    return tuple(mandate.broker_id for mandate in trade.mandates if mandate.principal_id == principal_id)


def brokers_of_parties(trade: Trade) -> tuple[UUID, ...]:
    """The brokers of the seller and, from the match on, of the buyer."""
    buyers = () if trade.buyer_id is None else brokers_of(trade, trade.buyer_id)
    return _once(*brokers_of(trade, trade.seller_id), *buyers)


def _once(*partner_ids: UUID) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys(partner_ids))
