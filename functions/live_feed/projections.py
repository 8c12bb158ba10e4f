"""What clients see of each aggregate, as a fold of its events.

`partner_ids` are the partners whose clients may read a document; `open` documents every signed-in partner may. A rival's
bid is in nobody else's document: of bids an open lot shows the number.
"""

from collections.abc import Callable

from kapas import clock
from kapas.events import CloudEvent
from kapas.ports import Document

Fold = Callable[[Document, CloudEvent], Document]


def path(event: CloudEvent) -> str | None:
    """The document that an event belongs to; None for an event of no interest to clients."""
    if event.type not in _FOLDS:
        return None
    collection = "partners" if event.type.startswith("partner.") else "trades"
    return f"{collection}/{event.subject}"


def apply(document: Document, event: CloudEvent) -> Document:
    """The document after the event."""
    common = {"sequence": event.sequence, "updated_at": clock.rfc3339(event.time)}
    return {**document, **_FOLDS[event.type](document, event), **common}


def _registered(_: Document, event: CloudEvent) -> Document:
    return {"status": "created", "type": event.data["partner_type"], "partner_ids": [str(event.subject)], "open": False}


def _activated(_: Document, __: CloudEvent) -> Document:
    return {"status": "active"}


def _offered(_: Document, event: CloudEvent) -> Document:
    data = event.data
    return {
        "status": "OFFERED",
        "seller_id": data["seller_id"],
        "buyer_id": None,
        "bales": data["bales"],
        "net_weight": data["net_weight"],
        "ask": data["ask"],
        "price": None,
        "bids": 0,
        "open": True,
        "partner_ids": [data["seller_id"]],
    }


def _bid(document: Document, _: CloudEvent) -> Document:
    return {"status": "BID", "bids": document["bids"] + 1}


def _matched(_: Document, event: CloudEvent) -> Document:
    data = event.data
    return {
        "status": "MATCHED",
        "buyer_id": data["buyer_id"],
        "price": data["price"],
        "open": False,
        "partner_ids": [data["seller_id"], data["buyer_id"]],
    }


def _contracted(_: Document, event: CloudEvent) -> Document:
    return {"status": "CONTRACTED", "amount": event.data["amount"]}


_FOLDS: dict[str, Fold] = {
    "partner.created.v1": _registered,
    "partner.activated.v1": _activated,
    "trade.offered.v1": _offered,
    "trade.bid_placed.v1": _bid,
    "trade.matched.v1": _matched,
    "trade.contracted.v1": _contracted,
}
