"""Steps between the two parties, from the match on, that are not facts about the bales."""

from datetime import UTC
from typing import Any

from kapas.errors import Conflict, FieldError, Invalid
from kapas.values.clock import rfc3339
from kapas.values.states import states

from . import settlement
from .event_models import (
    TradeArbitrationReferred,
    TradeCancellationRequested,
    TradeCancelled,
    TradeContracted,
    TradeDisputed,
    TradePaymentConfirmed,
    TradePaymentOverdue,
    TradePaymentRequested,
    TradeQualityClaimed,
    TradeQualityDecided,
    TradeSettled,
)
from .moment import (
    NUMBER_TAKEN,
    Body,
    Effect,
    GradingDecided,
    Moment,
    PaymentOverdue,
    QualityClaimed,
    Verdict,
    there,
    told,
)
from .rules import rules
from .schemas import TradeEvent
from .step_schemas import (
    LONGEST_CREDIT,
    ArbitrationReferred,
    CancellationRequested,
    ContractSigned,
    DisputeRaised,
    DisputeSettled,
    FailureAccepted,
    PaymentConfirmed,
    PaymentRequested,
    QualityAccepted,
    QualityFailed,
    QualityPassed,
    SettlementAccepted,
)


def contract_signed(moment: Moment, _: ContractSigned) -> Effect:
    price, amount = there(moment.trade.price), there(moment.trade.amount)
    return told(moment, TradeContracted(**moment.between, price=price, amount=amount))


def cancelled(moment: Moment, body: Body) -> Effect:
    """Any step that ends the trade; the reason is its type."""
    return told(moment, TradeCancelled.model_validate({**moment.between, "reason": body.type}))


def cancellation_requested(moment: Moment, _: CancellationRequested) -> Effect:
    return told(moment, TradeCancellationRequested(**moment.between, by=moment.side))


def quality_decided(moment: Moment, body: QualityPassed | QualityFailed | GradingDecided) -> Effect:
    grading_id = body.grading_id if isinstance(body, GradingDecided) else None
    published = TradeQualityDecided(
        **moment.between,
        verdict="passed" if body.type == "quality_passed" else "failed",
        by="inspector" if grading_id is None else "grading",
        grade=body.grade,
        grading_id=grading_id,
    )
    return told(moment, published)


def quality_claimed(moment: Moment, body: QualityClaimed) -> Effect:
    published = TradeQualityClaimed(
        **moment.between, verdict=body.verdict, by=moment.side, grade=body.grade, grading_id=body.grading_id
    )
    return told(moment, published)


def quality_accepted(moment: Moment, _: QualityAccepted) -> Effect:
    """Raises `Conflict` where the lot has not failed, and the other party does not claim that it passed."""
    if moment.trade.status == "SAMPLED":
        return _claim_accepted(moment, "passed")
    published = TradeQualityDecided(**moment.between, verdict="passed", by="buyer", grade=None, grading_id=None)
    return told(moment, published)


def failure_accepted(moment: Moment, _: FailureAccepted) -> Effect:
    """Raises `Conflict` if the buyer does not claim that the lot failed."""
    return _claim_accepted(moment, "failed")


def _claim_accepted(moment: Moment, verdict: Verdict) -> Effect:
    """The other party's last word about the last sample is taken, with its figures."""
    claim: TradeEvent | None = None
    for event in moment.history.all():
        if event.type == "sample_drawn":
            claim = None
        elif event.type == "quality_claimed" and event.party != moment.party:
            claim = event
    data: dict[str, Any] = {} if claim is None else claim.data
    if data.get("verdict") != verdict:
        raise Conflict(f"The other party has no open claim that the lot {verdict}")
    published = TradeQualityDecided(
        **moment.between, verdict=verdict, by=moment.side, grade=data["grade"], grading_id=data["grading_id"]
    )
    return told(moment, published, **{name: data[name] for name in ("grading_id", "grade", "figures")})


def payment_requested(moment: Moment, body: PaymentRequested) -> Effect:
    """The statement is kept with the invoice: rules change, and what was invoiced does not.

    Raises `Conflict` until every bale is weighed, for an invoice is for what there is, and for a number that was given.
    """
    if not moment.now < body.due_at <= moment.now + LONGEST_CREDIT:
        message = (
            f"The payment must be due in the future, within {LONGEST_CREDIT.days} days (MSMED Act 2006, section 15)"
        )
        raise Invalid(message, errors=[FieldError("/event/due_at", "due", message)])
    _check_states(body)
    issued_at = body.occurred_at or moment.now
    if moment.history.number_given(moment.trade.seller_id, body.invoice_number, issued_at):
        raise Conflict(NUMBER_TAKEN)
    invoice = TradeEvent(
        sequence=moment.trade.version + 1,
        type=body.type,
        party=moment.party,
        partner_id=moment.partner_id,
        data=body.model_dump(mode="json"),
        occurred_at=moment.now,
        recorded_at=moment.now,
    )
    stated = settlement.statement(moment.trade, [*moment.history.all(), invoice], rules())
    if stated.weight.source != "weighed":
        weighed = len(settlement.counted_bales(moment.trade, moment.history.all()))
        raise Conflict(
            f"The lot has {moment.trade.lot.bales} bales, but {weighed} are weighed; weigh or correct the difference first"
        )
    due_at = body.due_at.astimezone(UTC)
    published = TradePaymentRequested(**moment.between, amount=stated.total, due_at=due_at)
    final = stated.model_copy(update={"version": invoice.sequence, "status": "final"})
    return told(
        moment,
        published,
        amount=stated.total.model_dump(mode="json"),
        due_at=rfc3339(due_at),
        statement=final.model_dump(mode="json"),
    )


def _check_states(body: PaymentRequested) -> None:
    fields = {"supplier_state": body.supplier_state, "place_of_supply": body.place_of_supply}
    message = "Unknown GST state code"
    unknown = [name for name, code in fields.items() if code not in states().successors]
    if unknown:
        raise Invalid(message, errors=[FieldError(f"/event/{name}", "unknown", message) for name in unknown])


def payment_overdue(moment: Moment, _: PaymentOverdue) -> Effect:
    return told(moment, TradePaymentOverdue(**moment.between, amount=there(moment.trade.payable)))


def payment_confirmed(moment: Moment, _: PaymentConfirmed) -> Effect:
    return told(moment, TradePaymentConfirmed(**moment.between, amount=there(moment.trade.payable)))


def settlement_accepted(moment: Moment, _: SettlementAccepted) -> Effect:
    return told(moment, TradeSettled(**moment.between, amount=there(moment.trade.payable)))


def dispute_raised(moment: Moment, body: DisputeRaised) -> Effect:
    return told(moment, TradeDisputed(**moment.between, by=moment.side, reason=body.reason))


def arbitration_referred(moment: Moment, body: ArbitrationReferred) -> Effect:
    return told(moment, TradeArbitrationReferred(**moment.between, by=moment.side, institution=body.institution))


def dispute_settled(moment: Moment, body: DisputeSettled) -> Effect:
    if body.amount.paise < 0:
        message = "The total that the buyer pays must not be negative"
        raise Invalid(message, errors=[FieldError("/event/amount/paise", "amount", message)])
    if moment.trade.status == "ARBITRATION" and body.award_number is None:
        message = "An arbitration ends with an award; send its award_number"
        raise Invalid(message, errors=[FieldError("/event/award_number", "missing", message)])
    return told(moment, TradeSettled(**moment.between, amount=body.amount))
