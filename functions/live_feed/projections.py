"""What clients see of each aggregate, as a fold of its events.

`partner_ids` are the partners whose clients may read a document; `open` documents every signed-in partner may. A rival's
bid is in nobody else's document: of bids an open lot shows the number.

A release publishes new types while instances of the one before it still project: an event of an unknown type leaves the
document as it is but for its number, or every later event of the aggregate would wait for it.
"""

from collections.abc import Callable

from kapas.messaging.events import CloudEvent
from kapas.platform import log
from kapas.platform.ports import Document
from kapas.values import clock

Fold = Callable[[Document, CloudEvent], Document]


def path(event: CloudEvent) -> str | None:
    """The document that an event belongs to; None for an event of no interest to clients."""
    collection = _COLLECTIONS.get(event.type.partition(".")[0])
    return f"{collection}/{event.subject}" if collection else None


def apply(document: Document, event: CloudEvent) -> Document:
    """The document after the event."""
    fold = FOLDS.get(event.type, _unchanged)
    if event.type not in FOLDS:
        log.warning("event_type_unknown", type=event.type, subject=event.subject, sequence=event.sequence)
    if document.get("partner_ids") == []:
        # What nobody may read was overwritten by an erasure (`data_map`): of a later event it keeps the number only.
        fold = _unchanged
    return {
        **document,
        **fold(document, event),
        "sequence": event.sequence,
        "updated_at": clock.rfc3339(event.time),
    }


def _registered(_: Document, event: CloudEvent) -> Document:
    return {"status": "created", "type": event.data["partner_type"], "partner_ids": [str(event.subject)], "open": False}


def _reached(status: str) -> Fold:
    return lambda _, __: {"status": status}


def _of_type(_: Document, event: CloudEvent) -> Document:
    """Operations may have corrected what kind of partner it is."""
    return {"type": event.data["partner_type"]}


def _unchanged(_: Document, __: CloudEvent) -> Document:
    return {}


def _offered(_: Document, event: CloudEvent) -> Document:
    data, lot = event.data, event.data["lot"]
    return {
        "status": data["trade_status"],
        "seller_id": data["seller_id"],
        "buyer_id": None,
        "lot": {name: lot[name] for name in _LOT if name in lot},
        "ask": data["ask"],
        "due_at": data["valid_until"],
        "price": None,
        "quantity": None,
        "bids": 0,
        "open": True,
        "partner_ids": [data["seller_id"]],
    }


def _moved(document: Document, event: CloudEvent) -> Document:
    """Of an open lot the deadline stays the offer's own: the next one may be a bid's, which is nobody else's business."""
    status: str = event.data["trade_status"]
    if status in ("offered", "negotiating"):
        return {"status": status}
    changed: Document = {"status": status, "due_at": event.data["trade_due_at"], "open": False}
    if document.get("buyer_id"):
        changed["partner_ids"] = [str(partner_id) for partner_id in event.partner_ids]
    return changed


def _offer_changed(document: Document, event: CloudEvent) -> Document:
    ask, until = event.data["ask"], event.data["valid_until"]
    return _moved(document, event) | ({"ask": ask} if ask else {}) | ({"due_at": until} if until else {})


def _bid(document: Document, event: CloudEvent) -> Document:
    return _moved(document, event) | {"bids": document.get("bids", 0) + 1}


def _matched(document: Document, event: CloudEvent) -> Document:
    data = event.data
    match = {"buyer_id": data["buyer_id"], "price": data["price"], "quantity": data["quantity"]}
    return match | _moved({**document, **match}, event)


def _ended(document: Document, event: CloudEvent) -> Document:
    return _moved(document, event) | {"reason": event.data["reason"]}


_LOT = ("kind", "variety", "crop_year", "station", "quantity", "amount", "unit")
"""What of a lot is shown."""
_TRADE_MOVES = (
    *("bid_ended", "signed", "contracted", "mandate_given", "mandate_revoked", "party_named"),
    *("party_status_changed", "party_decided", "weighed", "weight_answered", "weight_decided", "mill_weight_missed"),
    *(
        "lots_offered",
        "sampled",
        "tested",
        "reading_answered",
        "lots_passed",
        "quality_closed",
        "dispatched",
        "arrived",
    ),
    *("delivery_extended", "rest_ended", "notice_given", "payment_recorded", "payment_reversed", "document_recorded"),
    *(
        "claim_raised",
        "claim_answered",
        "claim_referred",
        "claim_closed",
        "goods_settled",
        "proposed",
        "proposal_ended",
    ),
    *("terms_amended", "overdue", "closing_accepted", "corrected"),
)
"""Events of which clients see what they made of the trade's status and deadline."""
_COLLECTIONS = {"partner": "partners", "trade": "trades"}
FOLDS: dict[str, Fold] = {
    "partner.created.v1": _registered,
    "partner.changed.v1": _of_type,
    "partner.requirements_due.v1": _reached("requirements_due"),
    "partner.requirements_overdue.v1": _unchanged,
    "partner.submitted.v1": _reached("submitted"),
    "partner.verifying.v1": _reached("verifying"),
    "partner.needs_clarification.v1": _reached("needs_clarification"),
    "partner.under_review.v1": _reached("under_review"),
    "partner.activated.v1": _reached("active"),
    "partner.suspended.v1": _reached("suspended"),
    "partner.rejected.v1": _reached("rejected"),
    "trade.offered.v1": _offered,
    "trade.offer_changed.v1": _offer_changed,
    "trade.bid_placed.v1": _bid,
    "trade.matched.v1": _matched,
    "trade.ended.v1": _ended,
    **{f"trade.{name}.v1": _moved for name in _TRADE_MOVES},
}
