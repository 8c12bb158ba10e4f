"""`apply`: the trade after one more event. Pure, and total on every stream that `decide` and `overdue` made."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from . import events as e
from .events import Event, Fact, Payload
from .terms import Terms, patched
from .trade import (
    NO_MOVES,
    Arrival,
    Claim,
    Dispatch,
    Document,
    Invoice,
    KeptSlip,
    LateFact,
    Lift,
    Match,
    Notice,
    OfferedLot,
    Paid,
    Proposal,
    Reading,
    Reminder,
    Rest,
    Talk,
    Trade,
    WeightAnswer,
)

T = TypeVar("T")
INVOICES = ("tax_invoice", "bill_of_supply", "self_invoice")


def apply(trade: Trade | None, event: Event) -> Trade:
    """The trade after `event`.

    Raises:
        ValueError: the event is not the next one, or the first one is no offer.
    """
    payload = event.payload
    if trade is None:
        if not isinstance(payload, e.Offered) or event.sequence != 1:
            raise ValueError("a trade begins with an offer, with sequence 1")
        return _begin(event, payload)
    if event.sequence != trade.version + 1:
        raise ValueError(f"sequence {event.sequence} does not follow version {trade.version}")
    handler = _HANDLERS[type(payload)]
    changed: dict[str, Any] = handler(trade, event, payload)
    changed["version"] = event.sequence
    changed["updated_at"] = event.at
    if isinstance(payload, Fact) and payload.late:
        changed["late"] = (*trade.late, LateFact(event.sequence, payload.type, payload.changes))
    return replace(trade, **changed)


def fold(events: Iterable[Event]) -> Trade:
    """The trade that a whole stream makes."""
    trade: Trade | None = None
    for event in events:
        trade = apply(trade, event)
    if trade is None:
        raise ValueError("a trade has events")
    return trade


def _begin(event: Event, offer: e.Offered) -> Trade:
    return Trade(
        id=event.trade_id,
        version=1,
        seller_id=offer.seller_id,
        lot=offer.lot,
        ask=offer.ask,
        terms=offer.terms,
        valid_until=offer.valid_until,
        offered_at=event.at,
        updated_at=event.at,
        split_from=offer.split_from,
    )


# Negotiation


def _offer_changed(trade: Trade, _: Event, p: e.OfferChanged) -> dict[str, Any]:
    return {
        "ask": p.ask or trade.ask,
        "terms": p.terms or trade.terms,
        "valid_until": p.valid_until or trade.valid_until,
    }


def _bid_placed(trade: Trade, event: Event, p: e.BidPlaced) -> dict[str, Any]:
    terms = patched(trade.terms, p.differs)
    talk = Talk(p.bidder_id, event.sequence, p.by, p.price, p.quantity, terms, p.valid_until, event.at)
    return {"talks": (*(t for t in trade.talks if t.bidder_id != p.bidder_id), talk)}


def _bid_ended(trade: Trade, _: Event, p: e.BidEnded) -> dict[str, Any]:
    talks = (replace(t, open=False) if t.bidder_id == p.bidder_id else t for t in trade.talks)
    return {"talks": tuple(talks)}


def _matched(_: Trade, event: Event, p: e.Matched) -> dict[str, Any]:
    match = Match(p.buyer_id, p.price, p.quantity, p.remainder, event.at)
    return {"match": match, "terms": p.terms, "signed": (p.accepted_by,)}


def _signed(trade: Trade, _: Event, p: e.Signed) -> dict[str, Any]:
    return {"signed": tuple(sorted({*trade.signed, p.side}))}


def _contracted(trade: Trade, event: Event, p: e.Contracted) -> dict[str, Any]:
    until = trade.terms.delivery.period.after(event.at)
    return {"contracted_at": event.at, "tax": p.tax, "delivery_until": until}


def _ended(_: Trade, event: Event, p: e.Ended) -> dict[str, Any]:
    return {"end": p.how, "end_reason": p.reason, "ended_at": event.at}


# Parties


def _mandate_given(trade: Trade, _: Event, p: e.MandateGiven) -> dict[str, Any]:
    return {"mandates": (*_others(trade, p.mandate.principal_id, p.mandate.broker_id), p.mandate)}


def _mandate_revoked(trade: Trade, _: Event, p: e.MandateRevoked) -> dict[str, Any]:
    return {"mandates": _others(trade, p.principal_id, p.broker_id)}


def _others(trade: Trade, principal: object, broker: object) -> tuple[Any, ...]:
    return tuple(m for m in trade.mandates if (m.principal_id, m.broker_id) != (principal, broker))


def _party_named(trade: Trade, _: Event, p: e.PartyNamed) -> dict[str, Any]:
    changed: dict[str, Any] = {} if p.tax is None else {"tax": p.tax}
    if p.party_id == trade.seller_id:
        return changed | {"seller_details": p.details}
    named = tuple((party, kept) for party, kept in trade.buyer_details if party != p.party_id)
    return changed | {"buyer_details": (*named, (p.party_id, p.details))}


def _status_changed(_: Trade, event: Event, p: e.PartyStatusChanged) -> dict[str, Any]:
    return {
        f"{p.side}_status": p.status,
        "status_at": event.at,
        "status_decided": p.status == "active",
        "watched": False,
    }


def _party_decided(_: Trade, __: Event, p: e.PartyDecided) -> dict[str, Any]:
    return {"status_decided": True, "watched": p.how == "watch"}


# Weight


def _weighed(trade: Trade, event: Event, p: e.Weighed) -> dict[str, Any]:
    lift = trade.lift(p.lift)
    slip = KeptSlip(event.sequence, p.slip, p.by, event.at)
    return _lift(trade, replace(lift, slips=(*lift.slips, slip)))


def _weight_answered(trade: Trade, event: Event, p: e.WeightAnswered) -> dict[str, Any]:
    answer = WeightAnswer(p.side, p.answer, p.kg, event.at)
    return _lift(trade, replace(trade.lift(p.lift), weight_answer=answer))


def _weight_decided(trade: Trade, event: Event, p: e.WeightDecided) -> dict[str, Any]:
    return _lift(trade, replace(trade.lift(p.lift), decided_kg=p.kg, decided_at=event.at))


def _mill_missed(trade: Trade, _: Event, p: e.MillWeightMissed) -> dict[str, Any]:
    return _lift(trade, replace(trade.lift(p.lift), mill_missed=True))


# Quality


def _lots_offered(trade: Trade, event: Event, p: e.LotsOffered) -> dict[str, Any]:
    fresh = tuple(OfferedLot(lot.no, lot.bales, lot.marks, p.replaces, event.at) for lot in p.lots)
    return {"lots": (*trade.lots, *fresh)}


def _sampled(trade: Trade, _: Event, p: e.Sampled) -> dict[str, Any]:
    return {"samples": trade.samples + p.samples}


def _tested(trade: Trade, event: Event, p: e.Tested) -> dict[str, Any]:
    lift = trade.lift(p.lift)
    reading = Reading(event.sequence, p.figures, p.by, p.laboratory, event.at)
    return _lift(trade, replace(lift, readings=(*lift.readings, reading), reading_answer=None))


def _reading_answered(trade: Trade, event: Event, p: e.ReadingAnswered) -> dict[str, Any]:
    return _lift(trade, replace(trade.lift(p.lift), reading_answer=p.answer, reading_answered_at=event.at))


def _lots_passed(trade: Trade, event: Event, p: e.LotsPassed) -> dict[str, Any]:
    verdicts = {result.no: result.verdict for result in p.results}
    return {
        "lots": tuple(
            replace(lot, verdict=verdicts[lot.no], verdict_at=event.at) if lot.no in verdicts else lot
            for lot in trade.lots
        )
    }


def _quality_closed(trade: Trade, _: Event, p: e.QualityClosed) -> dict[str, Any]:
    return _lift(trade, replace(trade.lift(p.lift), quality_closed=True))


# Delivery


def _dispatched(trade: Trade, event: Event, p: e.Dispatched) -> dict[str, Any]:
    dispatch = Dispatch(event.sequence, p.bales, p.kg, event.occurred_at, p.by, p.eway_bill_until)
    return _lift(trade, replace(trade.lift(p.lift), dispatch=dispatch))


def _arrived(trade: Trade, event: Event, p: e.Arrived) -> dict[str, Any]:
    lift = trade.lift(p.lift)
    if p.deemed and lift.arrival is not None:
        return {}
    arrival = Arrival(event.sequence, p.bales, p.kg, p.damaged_bales, p.deemed, event.at, p.by)
    return _lift(trade, replace(lift, arrival=arrival))


def _extended(trade: Trade, _: Event, p: e.DeliveryExtended) -> dict[str, Any]:
    kept = tuple(r for r in trade.reminders if not r.key.startswith("delivery:"))
    pct = p.carrying_pct_a_month if p.carrying_pct_a_month is not None else trade.carrying_pct_a_month
    return {"delivery_until": p.until, "carrying_pct_a_month": pct, "reminders": kept, "notice": None}


def _rest_ended(_: Trade, event: Event, p: e.RestEnded) -> dict[str, Any]:
    rest = Rest(p.how, p.why, p.defaulter, p.basis, p.price, p.expenses_paise, event.at)
    return {"rest": rest, "notice": None}


def _notice_given(_: Trade, event: Event, p: e.NoticeGiven) -> dict[str, Any]:
    return {"notice": Notice(p.by, p.ground, p.until, event.at)}


# Payment and documents


def _payment_recorded(trade: Trade, event: Event, p: e.PaymentRecorded) -> dict[str, Any]:
    paid = Paid(p.payment_id, p.due, p.paise, p.said_by, p.settles, event.at)
    return {"payments": (*trade.payments, paid)}


def _payment_reversed(trade: Trade, _: Event, p: e.PaymentReversed) -> dict[str, Any]:
    return {
        "payments": tuple(
            replace(paid, reversed=True) if paid.payment_id == p.payment_id else paid for paid in trade.payments
        )
    }


def _document_recorded(trade: Trade, event: Event, p: e.DocumentRecorded) -> dict[str, Any]:
    paper = Document(p.kind, p.number, p.by, p.lift, p.claim, event.at)
    changed: dict[str, Any] = {"documents": (*trade.documents, paper)}
    if p.kind in INVOICES and p.lift is not None and trade.lift(p.lift).invoice is None:
        invoice = Invoice(p.number, p.kg, p.figures, p.by, event.at)
        changed |= _lift(trade, replace(trade.lift(p.lift), invoice=invoice))
    return changed


# Claims and proposals


def _claim_raised(trade: Trade, event: Event, p: e.ClaimRaised) -> dict[str, Any]:
    claim = Claim(p.claim, p.kind, p.by, p.lift, p.asked, event.at, "raised", event.at, NO_MOVES, p.by)
    return {"claims": (*trade.claims, claim)}


def _claim_answered(trade: Trade, event: Event, p: e.ClaimAnswered) -> dict[str, Any]:
    claim = _claim(trade, p.claim)
    if p.answer == "contested":
        return _claims(trade, event, replace(claim, stage="contested", stage_at=event.at))
    # A proposal leaves a claim with operations or arbitrators, and their time as it is.
    referred = claim.stage in ("operations", "arbitration")
    stage, since = (claim.stage, claim.stage_at) if referred else ("proposed", event.at)
    return _claims(trade, event, replace(claim, stage=stage, stage_at=since, moves=p.moves or NO_MOVES, by_last=p.by))


def _claim_referred(trade: Trade, event: Event, p: e.ClaimReferred) -> dict[str, Any]:
    stage = "contested" if p.to == "parties" else p.to
    return _claims(trade, event, replace(_claim(trade, p.claim), stage=stage, stage_at=event.at))


def _claim_closed(trade: Trade, event: Event, p: e.ClaimClosed) -> dict[str, Any]:
    claim = replace(_claim(trade, p.claim), stage="closed", stage_at=event.at, how=p.how, moves=p.moves, award=p.award)
    return _claims(trade, event, claim)


def _goods_settled(trade: Trade, event: Event, p: e.GoodsSettled) -> dict[str, Any]:
    return _claims(trade, event, replace(_claim(trade, p.claim), goods=p.how))


def _claims(trade: Trade, event: Event, claim: Claim) -> dict[str, Any]:
    """The claims with one changed, and the clock of the windows stopped or going on with it."""
    claims = tuple(claim if kept.number == claim.number else kept for kept in trade.claims)
    changed: dict[str, Any] = {"claims": claims}
    disputed = any(kept.disputed for kept in claims)
    if disputed and not trade.disputed:
        changed["pauses"] = (*trade.pauses, (event.at, None))
    elif trade.disputed and not disputed:
        changed["pauses"] = (*trade.pauses[:-1], (trade.pauses[-1][0], event.at))
    return changed


def _claim(trade: Trade, number: int) -> Claim:
    return next(claim for claim in trade.claims if claim.number == number)


def _proposed(trade: Trade, event: Event, p: e.Proposed) -> dict[str, Any]:
    proposal = Proposal(p.proposal, p.by, p.about, p.until, p.carrying_pct_a_month, p.terms, p.lift, event.at)
    return {"proposals": (*trade.proposals, proposal)}


def _proposal_ended(trade: Trade, _: Event, p: e.ProposalEnded) -> dict[str, Any]:
    return {
        "proposals": tuple(
            replace(kept, state=p.how) if kept.number == p.proposal else kept for kept in trade.proposals
        )
    }


def _terms_amended(trade: Trade, _: Event, p: e.TermsAmended) -> dict[str, Any]:
    terms: Terms = p.terms
    if trade.contracted_at is None or terms.delivery.period == trade.terms.delivery.period:
        return {"terms": terms}
    return {"terms": terms, "delivery_until": terms.delivery.period.after(trade.contracted_at)}


# All tracks


def _overdue(trade: Trade, event: Event, p: e.Overdue) -> dict[str, Any]:
    key = f"{p.track}:{p.step}:{p.ref}"
    before = trade.reminder(key)
    reminder = Reminder(key, 1 if before is None else before.times + 1, event.at)
    return {"reminders": (*(r for r in trade.reminders if r.key != key), reminder)}


def _closing_accepted(trade: Trade, _: Event, p: e.ClosingAccepted) -> dict[str, Any]:
    return {"closing": tuple(sorted({*trade.closing, p.side}))}


def _corrected(trade: Trade, _: Event, p: e.Corrected) -> dict[str, Any]:
    return {"lifts": tuple(_without(lift, p.corrects) for lift in trade.lifts)}


def _without(lift: Lift, sequence: int) -> Lift:
    return replace(
        lift,
        slips=tuple(slip for slip in lift.slips if slip.sequence != sequence),
        readings=tuple(reading for reading in lift.readings if reading.sequence != sequence),
        dispatch=None if lift.dispatch is not None and lift.dispatch.sequence == sequence else lift.dispatch,
        arrival=None if lift.arrival is not None and lift.arrival.sequence == sequence else lift.arrival,
    )


def _lift(trade: Trade, lift: Lift) -> dict[str, Any]:
    """The lifts with one put in its place, in the order of their numbers."""
    others = [kept for kept in trade.lifts if kept.number != lift.number]
    return {"lifts": tuple(sorted([*others, lift], key=lambda kept: kept.number))}


_HANDLERS: dict[type[Payload], Callable[[Trade, Event, Any], dict[str, Any]]] = {
    e.OfferChanged: _offer_changed,
    e.BidPlaced: _bid_placed,
    e.BidEnded: _bid_ended,
    e.Matched: _matched,
    e.Signed: _signed,
    e.Contracted: _contracted,
    e.Ended: _ended,
    e.MandateGiven: _mandate_given,
    e.MandateRevoked: _mandate_revoked,
    e.PartyNamed: _party_named,
    e.PartyStatusChanged: _status_changed,
    e.PartyDecided: _party_decided,
    e.Weighed: _weighed,
    e.WeightAnswered: _weight_answered,
    e.WeightDecided: _weight_decided,
    e.MillWeightMissed: _mill_missed,
    e.LotsOffered: _lots_offered,
    e.Sampled: _sampled,
    e.Tested: _tested,
    e.ReadingAnswered: _reading_answered,
    e.LotsPassed: _lots_passed,
    e.QualityClosed: _quality_closed,
    e.Dispatched: _dispatched,
    e.Arrived: _arrived,
    e.DeliveryExtended: _extended,
    e.RestEnded: _rest_ended,
    e.NoticeGiven: _notice_given,
    e.PaymentRecorded: _payment_recorded,
    e.PaymentReversed: _payment_reversed,
    e.DocumentRecorded: _document_recorded,
    e.ClaimRaised: _claim_raised,
    e.ClaimAnswered: _claim_answered,
    e.ClaimReferred: _claim_referred,
    e.ClaimClosed: _claim_closed,
    e.GoodsSettled: _goods_settled,
    e.Proposed: _proposed,
    e.ProposalEnded: _proposal_ended,
    e.TermsAmended: _terms_amended,
    e.Overdue: _overdue,
    e.ClosingAccepted: _closing_accepted,
    e.Corrected: _corrected,
}
