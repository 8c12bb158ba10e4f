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
    data = event.data
    return {
        "status": "OFFERED",
        "seller_id": data["seller_id"],
        "buyer_id": None,
        "bales": data["bales"],
        "net_weight": data["net_weight"],
        "ask": data["ask"],
        "due_at": data.get("expires_at"),
        "price": None,
        "bids": 0,
        "open": True,
        "partner_ids": [data["seller_id"]],
    }


def _bid(document: Document, _: CloudEvent) -> Document:
    negotiating = document.get("status") == "NEGOTIATING"
    return {"status": "NEGOTIATING" if negotiating else "BID", "bids": document.get("bids", 0) + 1}


def _becomes(status: str) -> Fold:
    """The status is all that changes; what was due before no longer is."""
    return lambda _, __: {"status": status, "due_at": None}


def _countered(_: Document, __: CloudEvent) -> Document:
    return {"status": "NEGOTIATING"}


def _matched(_: Document, event: CloudEvent) -> Document:
    data = event.data
    return {
        "status": "MATCHED",
        "buyer_id": data["buyer_id"],
        "price": data["price"],
        "due_at": data.get("sign_by"),
        "open": False,
        "partner_ids": [data["seller_id"], data["buyer_id"]],
    }


def _contracted(_: Document, event: CloudEvent) -> Document:
    return {"status": "CONTRACTED", "due_at": None, "amount": event.data["amount"]}


def _expired(_: Document, __: CloudEvent) -> Document:
    return {"status": "EXPIRED", "due_at": None, "open": False}


def _cancelled(_: Document, event: CloudEvent) -> Document:
    return {"status": "CANCELLED", "due_at": None, "open": False, "reason": event.data["reason"]}


def _quality_decided(_: Document, event: CloudEvent) -> Document:
    status = "QUALITY_PASSED" if event.data["verdict"] == "passed" else "QUALITY_FAILED"
    return {"status": status, "grade": event.data["grade"]}


def _payment_requested(_: Document, event: CloudEvent) -> Document:
    return {"status": "PAYMENT_PENDING", "payable": event.data["amount"], "due_at": event.data["due_at"]}


def _payment_overdue(_: Document, __: CloudEvent) -> Document:
    return {"due_at": None}


def _settled(_: Document, event: CloudEvent) -> Document:
    return {"status": "SETTLED", "payable": event.data["amount"]}


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
    "trade.bid_placed.v1": _bid,
    "trade.matched.v1": _matched,
    "trade.contracted.v1": _contracted,
    "trade.bid_withdrawn.v1": _unchanged,
    "trade.countered.v1": _countered,
    "trade.expired.v1": _expired,
    "trade.cancelled.v1": _cancelled,
    "trade.cancellation_requested.v1": _unchanged,
    "trade.weighed.v1": _unchanged,
    "trade.sampled.v1": _becomes("SAMPLED"),
    "trade.quality_claimed.v1": _unchanged,
    "trade.quality_decided.v1": _quality_decided,
    "trade.payment_requested.v1": _payment_requested,
    "trade.payment_overdue.v1": _payment_overdue,
    "trade.payment_confirmed.v1": _becomes("PAYMENT_CONFIRMED"),
    "trade.dispatched.v1": _becomes("DISPATCHED"),
    "trade.delivered.v1": _becomes("DELIVERED"),
    "trade.settled.v1": _settled,
    "trade.disputed.v1": _becomes("DISPUTED"),
    "trade.arbitration_referred.v1": _becomes("ARBITRATION"),
    "trade.corrected.v1": _unchanged,
}
