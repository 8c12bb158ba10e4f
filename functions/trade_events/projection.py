"""A trade as the fold of its events. Every change of a trade goes through here, so the stored row is that fold.

What an event's `data` must hold for it: `lot_offered` the lot, ask, terms and expiry; `bid_accepted` and
`counter_accepted` the buyer, price and `sign_by`; `payment_requested` the `amount` and `due_at`; `dispute_settled` the
`amount`. The other events move the status only. (The `statement` of a `payment_requested` is for `settlement`.)
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from kapas.schemas.common import Amount, UnitPrice

from .lifecycle import OPEN, STEPS
from .schemas import Lot, Trade, TradeEvent

_TIME: TypeAdapter[datetime] = TypeAdapter(datetime)


def begin(trade_id: UUID, event: TradeEvent) -> Trade:
    """The trade after its first event."""
    data: dict[str, Any] = event.data
    if event.type != "lot_offered" or event.partner_id is None:
        raise ValueError("a trade begins with lot_offered, by a seller")
    return Trade(
        id=trade_id,
        version=event.sequence,
        status="OFFERED",
        seller_id=event.partner_id,
        buyer_id=None,
        lot=Lot.model_validate(data["lot"]),
        ask=UnitPrice.model_validate(data["ask"]),
        quality_terms=data["quality_terms"],
        minimum_grade=data["minimum_grade"],
        price=None,
        signed_by=None,
        cancellation_by=None,
        due_at=_TIME.validate_python(data["expires_at"]),
        payable=None,
        created_at=event.recorded_at,
        updated_at=event.recorded_at,
    )


def apply(trade: Trade, event: TradeEvent) -> Trade:
    """The trade after one more event. Raises ValueError unless it is the next one, of a type that the status has."""
    step = STEPS.get(event.type)
    if event.sequence != trade.version + 1 or step is None or trade.status not in step.edges:
        raise ValueError(f"{event.type} with sequence {event.sequence} does not follow {trade.status} {trade.version}")
    target = step.edges[trade.status]
    changes: dict[str, Any] = {"version": event.sequence, "status": target, "updated_at": event.recorded_at}
    if target not in (*OPEN, trade.status):
        changes |= {"due_at": None, "cancellation_by": None}
    data: dict[str, Any] = event.data
    match event.type:
        case "bid_accepted" | "counter_accepted":
            changes |= {
                "buyer_id": UUID(data["buyer_id"]),
                "price": UnitPrice.model_validate(data["price"]),
                "signed_by": "seller" if event.type == "bid_accepted" else "buyer",
                "due_at": _TIME.validate_python(data["sign_by"]),
            }
        case "cancellation_requested":
            changes["cancellation_by"] = event.party
        case "payment_requested":
            changes["due_at"] = _TIME.validate_python(data["due_at"])
            changes["payable"] = Amount.model_validate(data["amount"])
        case "payment_overdue":
            changes["due_at"] = None
        case "dispute_settled":
            changes["payable"] = Amount.model_validate(data["amount"])
        case _:
            pass
    return trade.model_copy(update=changes)


def fold(trade_id: UUID, events: Sequence[TradeEvent]) -> Trade:
    """The trade that these events, all of it from the first on, make. Raises ValueError if they make none."""
    if not events:
        raise ValueError("a trade begins with lot_offered, by a seller")
    trade = begin(trade_id, events[0])
    for event in events[1:]:
        trade = apply(trade, event)
    return trade


def effective(events: Sequence[TradeEvent]) -> list[TradeEvent]:
    """The events as their corrections, which are left out, make them: data replaced, and without what did not occur.

    A correction names the fact itself, also when it was corrected before; the last one counts.
    """
    recorded = {event.sequence: event for event in events}
    kept = {event.sequence: event for event in events if event.type != "event_corrected"}
    for event in events:
        data: dict[str, Any] = event.data
        if event.type != "event_corrected":
            continue
        corrects, replacement = data["corrects"], data["replacement"]
        if replacement is None:
            kept.pop(corrects, None)
        else:
            changes = {"data": replacement["data"], "occurred_at": _TIME.validate_python(replacement["occurred_at"])}
            kept[corrects] = recorded[corrects].model_copy(update=changes)
    return [kept[sequence] for sequence in sorted(kept)]
