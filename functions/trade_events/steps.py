"""What each step does. `lifecycle` says who may take it and where it leads, `projection` what the trade is after it."""

from collections.abc import Callable
from typing import Any

from . import contract, facts, negotiation
from .moment import Body, Effect, Moment

_EFFECTS: dict[str, Callable[[Moment, Any], Effect]] = {
    "bid_placed": negotiation.bid_placed,
    "bid_withdrawn": negotiation.bid_withdrawn,
    "price_countered": negotiation.price_countered,
    "bid_accepted": negotiation.bid_accepted,
    "counter_accepted": negotiation.counter_accepted,
    "offer_withdrawn": negotiation.offer_withdrawn,
    "offer_expired": negotiation.offer_expired,
    "contract_signed": contract.contract_signed,
    "contract_declined": contract.cancelled,
    "signature_overdue": contract.cancelled,
    "cancellation_requested": contract.cancellation_requested,
    "cancellation_agreed": contract.cancelled,
    "bales_weighed": facts.bales_weighed,
    "sample_drawn": facts.sample_drawn,
    "quality_passed": contract.quality_decided,
    "quality_failed": contract.quality_decided,
    "quality_claimed": contract.quality_claimed,
    "quality_accepted": contract.quality_accepted,
    "failure_accepted": contract.failure_accepted,
    "lot_rejected": contract.cancelled,
    "payment_requested": contract.payment_requested,
    "payment_overdue": contract.payment_overdue,
    "payment_confirmed": contract.payment_confirmed,
    "payment_defaulted": contract.cancelled,
    "dispatched": facts.dispatched,
    "delivered": facts.delivered,
    "settlement_accepted": contract.settlement_accepted,
    "dispute_raised": contract.dispute_raised,
    "arbitration_referred": contract.arbitration_referred,
    "dispute_settled": contract.dispute_settled,
    "dispute_cancelled": contract.cancelled,
    "event_corrected": facts.event_corrected,
}


def effect(moment: Moment, body: Body) -> Effect:
    """What the step leaves behind.

    Raises:
        Invalid: it names a price or a fact that there is not, or states something impossible.
        Conflict: something that it needs is missing, or it comes too late.
        Forbidden: it corrects somebody else's fact.
    """
    return _EFFECTS[body.type](moment, body)
