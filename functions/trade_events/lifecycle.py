"""The states of a trade, and who may take which step from where to where. No standard fixes them: it is trade practice."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kapas.errors import Conflict, FieldError, Forbidden, Invalid

from .schemas import Party, Trade, TradeStatus
from .step_schemas import CLOCK_SKEW, LATEST_RECORD

OPEN: tuple[TradeStatus, ...] = ("OFFERED", "BID", "NEGOTIATING")
"""The lot is on the market."""
BINDING: tuple[TradeStatus, ...] = (
    "CONTRACTED",
    "SAMPLED",
    "QUALITY_PASSED",
    "QUALITY_FAILED",
    "PAYMENT_PENDING",
    "PAYMENT_CONFIRMED",
    "DISPATCHED",
    "DELIVERED",
)
"""Both have signed, and it has not ended."""
BEFORE_INVOICE: tuple[TradeStatus, ...] = ("CONTRACTED", "SAMPLED", "QUALITY_PASSED", "QUALITY_FAILED")
ENDS: tuple[TradeStatus, ...] = ("SETTLED", "CANCELLED", "EXPIRED")

SIGNING = timedelta(days=3)
"""How long the other party has to sign after the match."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step may be taken by these parties, along these edges."""

    parties: tuple[Party, ...]
    edges: Mapping[TradeStatus, TradeStatus]


def _to(target: TradeStatus, *sources: TradeStatus) -> dict[TradeStatus, TradeStatus]:
    return dict.fromkeys(sources, target)


def _within(*states: TradeStatus) -> dict[TradeStatus, TradeStatus]:
    return {state: state for state in states}


TWO: tuple[Party, ...] = ("seller", "buyer")

STEPS: dict[str, Step] = {
    "bid_placed": Step(("bidder",), {"OFFERED": "BID", "BID": "BID", "NEGOTIATING": "NEGOTIATING"}),
    "bid_withdrawn": Step(("bidder",), _within("BID", "NEGOTIATING")),
    "price_countered": Step(("seller", "bidder"), _to("NEGOTIATING", "BID", "NEGOTIATING")),
    "bid_accepted": Step(("seller",), _to("MATCHED", "BID", "NEGOTIATING")),
    "counter_accepted": Step(("bidder",), _to("MATCHED", "NEGOTIATING")),
    "offer_withdrawn": Step(("seller",), _to("CANCELLED", *OPEN)),
    "offer_expired": Step(("system",), _to("EXPIRED", *OPEN)),
    "contract_signed": Step(TWO, _to("CONTRACTED", "MATCHED")),
    "contract_declined": Step(TWO, _to("CANCELLED", "MATCHED")),
    "signature_overdue": Step(("system",), _to("CANCELLED", "MATCHED")),
    "cancellation_requested": Step(TWO, _within("CONTRACTED", "QUALITY_FAILED", "PAYMENT_PENDING", "DISPUTED")),
    "cancellation_agreed": Step(TWO, _to("CANCELLED", "CONTRACTED", "QUALITY_FAILED", "PAYMENT_PENDING", "DISPUTED")),
    "bales_weighed": Step(("seller", "inspector"), _within(*BEFORE_INVOICE)),
    "sample_drawn": Step(("inspector",), _to("SAMPLED", "CONTRACTED", "QUALITY_FAILED")),
    "quality_passed": Step(("inspector", "system"), _to("QUALITY_PASSED", "SAMPLED")),
    "quality_failed": Step(("inspector", "system"), _to("QUALITY_FAILED", "SAMPLED")),
    "quality_claimed": Step(TWO, _within("SAMPLED")),
    "quality_accepted": Step(TWO, _to("QUALITY_PASSED", "SAMPLED", "QUALITY_FAILED")),
    "failure_accepted": Step(("seller",), _to("QUALITY_FAILED", "SAMPLED")),
    "lot_rejected": Step(("buyer",), _to("CANCELLED", "QUALITY_FAILED")),
    "payment_requested": Step(("seller",), _to("PAYMENT_PENDING", "QUALITY_PASSED")),
    "payment_overdue": Step(("system",), _within("PAYMENT_PENDING")),
    "payment_confirmed": Step(("seller",), _to("PAYMENT_CONFIRMED", "PAYMENT_PENDING")),
    "payment_defaulted": Step(("seller",), _to("CANCELLED", "PAYMENT_PENDING")),
    "dispatched": Step(("seller",), _to("DISPATCHED", "PAYMENT_CONFIRMED")),
    "delivered": Step(("buyer",), _to("DELIVERED", "DISPATCHED")),
    "settlement_accepted": Step(("buyer",), _to("SETTLED", "DELIVERED")),
    "dispute_raised": Step(TWO, _to("DISPUTED", *BINDING)),
    "arbitration_referred": Step(TWO, _to("ARBITRATION", "DISPUTED")),
    "dispute_settled": Step(("ops",), _to("SETTLED", "DISPUTED", "ARBITRATION")),
    "dispute_cancelled": Step(("ops",), _to("CANCELLED", "DISPUTED", "ARBITRATION")),
    "event_corrected": Step(("seller", "buyer", "inspector"), _within(*BINDING, "DISPUTED", "ARBITRATION")),
}

TOWARDS_CONTRACT = ("bid_placed", "price_countered", "bid_accepted", "counter_accepted", "contract_signed")
"""Not taken with a seller or a bidder that was suspended or is being erased. Taking back and declining stay possible."""

DEADLINES: dict[TradeStatus, str] = {
    **dict.fromkeys(OPEN, "offer_expired"),
    "MATCHED": "signature_overdue",
    "PAYMENT_PENDING": "payment_overdue",
}
"""What the platform does when a trade in this state is due."""


def check(event_type: str, trade: Trade, party: Party, now: datetime) -> None:
    """Whether `party` may take the step at this moment.

    Raises:
        Conflict: the state has no such step, or the time for it is over (for a deadline: has not come).
        Forbidden: it is another party's step.
    """
    step = STEPS[event_type]
    if trade.status not in step.edges:
        raise Conflict(
            f"{event_type} is not possible while the trade is {trade.status}, only in {' or '.join(step.edges)}"
        )
    if party not in step.parties:
        raise Forbidden(f"Only the {' or the '.join(step.parties)} may take this step")
    due = trade.due_at is not None and trade.due_at <= now
    if event_type in DEADLINES.values():
        if not due:
            raise Conflict("The deadline of the trade has not passed")
    elif due and trade.status != "PAYMENT_PENDING":
        # Whatever has not expired yet does so in the next minutes; a payment may still come late.
        raise Conflict("The deadline for this step has passed")
    if trade.signed_by == party and event_type in ("contract_signed", "contract_declined"):
        raise Forbidden("You signed by accepting; only the other party can sign now")
    if event_type == "quality_accepted" and trade.status == "QUALITY_FAILED" and party != "buyer":
        raise Forbidden("Only the buyer may take a failed lot as it is")
    if event_type == "cancellation_requested" and trade.cancellation_by is not None:
        raise Conflict(f"The {trade.cancellation_by} has already requested cancellation")
    if event_type == "cancellation_agreed" and trade.cancellation_by in (None, party):
        raise Conflict("The other party has not requested cancellation")
    if event_type == "payment_defaulted" and trade.due_at is not None:
        raise Conflict("The payment is not overdue yet")


def happened(trade: Trade, occurred_at: datetime, recorded_at: datetime, now: datetime, *, at: str) -> datetime:
    """When a step that was recorded at `recorded_at` happened, as its sender says, within what can be. Raises `Invalid`."""
    if not max(trade.created_at, recorded_at - LATEST_RECORD) - CLOCK_SKEW <= occurred_at <= now + CLOCK_SKEW:
        message = f"occurred_at must be after the offer, at most {LATEST_RECORD.days} days ago and not in the future"
        raise Invalid(message, errors=[FieldError(f"{at}/occurred_at", "time", message)])
    return occurred_at
