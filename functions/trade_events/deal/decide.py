"""`decide`: a step becomes events, or is refused with what stands against it and what is possible instead."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from . import claims, delivery, documents, negotiation, payment, quality, weight
from . import steps as s
from .agenda import agenda, consequences
from .events import Corrected, Event, Fact, PartyDecided, PartyStatusChanged, Payload
from .fold import apply
from .moment import Moment
from .parties import SYSTEM, Actor, Parties
from .refusal import Possible, Refused, require
from .trade import Trade
from .values import Who

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of ours a device's clock may be."""


def open_trade(trade_id: UUID, actor: Actor, step: s.Offer, at: datetime, parties: Parties) -> list[Event]:
    """The first event of a trade. Raises `Refused`."""
    seller = parties.seller
    if actor.role not in ("partner", "broker") or actor.side != "seller" or actor.party_id != seller.id:
        raise Refused(
            "A lot is offered by its seller or a broker with its mandate", against="the actor", code="forbidden"
        )
    if actor.role == "broker" and not any(x.covers(actor, "negotiate", at) for x in parties.mandates):
        raise Refused("The broker has no mandate of this seller", against="the mandate", code="forbidden")
    require(seller.status == "active", "The seller does not trade at present", against="the seller's status")
    return [Event(trade_id, 1, negotiation.offered(at, seller.id, step), actor, at, at)]


def decide(trade: Trade, actor: Actor, step: s.Step, at: datetime, parties: Parties) -> list[Event]:
    """The events of a step: its own, and what follows at once.

    Facts are kept whatever the state, also after the end; `late` says that they came after what they alter was
    invoiced or ended.

    Raises:
        Refused: with what stands against it, what is possible now and for whom, and the trade's version.
    """
    try:
        return _decide(trade, actor, step, at, parties)
    except Refused as refused:
        refused.possible = tuple(Possible(item.step, item.who) for item in agenda(trade))
        refused.version = trade.version
        raise


def _decide(trade: Trade, actor: Actor, step: s.Step, at: datetime, parties: Parties) -> list[Event]:
    expected = getattr(step, "expected_version", None)
    if expected is not None and expected != trade.version:
        raise Refused(
            f"The trade is at version {trade.version}, not {expected}: read it again",
            against=f"version {trade.version}",
            code="version",
            pointer="/expected_version",
        )
    occurred_at = _occurred(trade, step, at)
    _authorise(trade, actor, step, at, parties)
    if not step.fact and trade.end is not None:
        raise Refused(f"The trade has ended: {trade.end}", against="the end")
    if isinstance(step, _TOWARDS_CONTRACT):
        _require_active(step, parties)
    moment = Moment(trade, actor, at, occurred_at, parties)
    events: list[Event] = []
    now = trade
    for payload in _HANDLERS[type(step)](moment, step):
        now = _append(events, now, payload, actor, at, occurred_at)
    for payload in consequences(now, at):
        now = _append(events, now, payload, SYSTEM, at, at)
    return events


def _append(
    events: list[Event], trade: Trade, payload: Payload, actor: Actor, at: datetime, occurred_at: datetime
) -> Trade:
    event = Event(trade.id, trade.version + 1, payload, actor, at, occurred_at)
    after = apply(trade, event)
    if isinstance(payload, Fact):
        marked = _marked(trade, after, payload)
        if marked is not payload:
            event = Event(trade.id, trade.version + 1, marked, actor, at, occurred_at)
            after = apply(trade, event)
    events.append(event)
    return after


def _marked(before: Trade, after: Trade, fact: Fact) -> Fact:
    """The fact, flagged if it came after what it alters was invoiced, or after the end."""
    lift = getattr(fact, "lift", None)
    touched = [lift] if lift is not None else [kept.number for kept in before.lifts]
    changed = [weight.changes(before, after, n) or quality.changes(before, after, n) for n in touched]
    changes = next((change for change in changed if change is not None), None)
    if changes is None and before.end is None:
        return fact
    return fact.model_copy(update={"late": True, "changes": changes})


def _authorise(trade: Trade, actor: Actor, step: s.Step, at: datetime, parties: Parties) -> None:
    """Raises `Refused` unless the actor is who it says it is in this trade, and the step is open to that."""
    who: Who = actor.side if actor.side is not None else "system" if actor.role == "system" else _staff(actor)
    broker_paper = isinstance(step, s.RecordDocument) and actor.role == "broker" and actor.side is None
    if who not in step.by and not broker_paper:
        raise Refused(
            f"This step is taken by {' or '.join(step.by)}, not by the {who}", against="the actor", code="forbidden"
        )
    if actor.side is None:
        return
    own = trade.seller_id if actor.side == "seller" else trade.buyer_id
    if own is None and actor.side == "buyer" and actor.party_id != trade.seller_id:
        if not isinstance(step, _OF_BIDDERS):
            raise Refused("The lot is on the market: bid for it first", against="negotiation", code="forbidden")
        own = actor.party_id
    if actor.party_id is None or actor.party_id != own:
        raise Refused(f"The {actor.side} of this trade is another partner", against="the parties", code="forbidden")
    if actor.role != "broker":
        return
    mandates = (*trade.mandates, *parties.mandates)
    if not any(mandate.covers(actor, step.right, at) for mandate in mandates):
        raise Refused(
            f"The broker has no mandate of the {actor.side} to {step.right}", against="the mandate", code="forbidden"
        )


def _staff(actor: Actor) -> Who:
    return "inspector" if actor.role == "inspector" else "broker" if actor.role == "broker" else "operations"


def _require_active(step: s.Step, parties: Parties) -> None:
    """No step towards a contract with a party that is suspended, insolvent or being erased."""
    sides = (("seller", parties.seller), ("buyer", parties.buyer))
    for side, party in sides:
        if party is not None and party.status != "active":
            raise Refused(f"The {side} does not trade at present", against=f"the {side}'s status")
    if isinstance(step, s.Accept) and parties.buyer is None:
        raise Refused("Nothing is known of the bidder", against="the parties")


def _occurred(trade: Trade, step: s.Step, at: datetime) -> datetime:
    if step.occurred_at is None:
        return max(at, trade.offered_at)  # the offer may be from an instance whose clock is ahead of this one's
    occurred_at = step.occurred_at
    if not trade.offered_at <= occurred_at <= at + CLOCK_SKEW:
        raise Refused(
            "It happened after the offer, and not in the future",
            against="the clock",
            code="invalid",
            pointer="/occurred_at",
        )
    return occurred_at


def _report_status(_: Moment, step: s.ReportStatus) -> list[Payload]:
    return [PartyStatusChanged(side=step.side, status=step.status)]


def _decide_party(m: Moment, step: s.DecideParty) -> list[Payload]:
    require(not m.trade.status_decided, "No party's status waits for a decision", against="the parties' status")
    return [PartyDecided(side="seller" if m.trade.seller_status != "active" else "buyer", how=step.how)]


def _correct(m: Moment, step: s.Correct) -> list[Payload]:
    """A fact is corrected by who recorded it; its replacement is a fact of its own."""
    trade = m.trade
    facts: dict[int, str] = {}
    for lift in trade.lifts:
        facts |= {kept.sequence: str(kept.by) for kept in (*lift.slips, *lift.readings)}
        facts |= {part.sequence: str(part.by) for part in (lift.dispatch, lift.arrival) if part is not None}
    if step.corrects not in facts:
        raise Refused(
            "No weighing, reading, dispatch or arrival that stands has that sequence",
            against="the facts",
            code="invalid",
            pointer="/corrects",
        )
    if facts[step.corrects] != m.who:
        raise Refused("Who recorded a fact corrects it", against="the fact", code="forbidden", pointer="/corrects")
    after: list[Payload] = []
    if step.replacement is not None:
        _check_by(step.replacement, m)
        after = _HANDLERS[type(step.replacement)](m, step.replacement)
    return [Corrected(corrects=step.corrects, reason=step.reason), *after]


def _check_by(step: s.Step, m: Moment) -> None:
    if m.who not in step.by:
        raise Refused(
            f"Such a fact is recorded by {' or '.join(step.by)}",
            against="the actor",
            code="forbidden",
            pointer="/replacement",
        )


_TOWARDS_CONTRACT = (s.Bid, s.Counter, s.Accept, s.Sign)
_OF_BIDDERS = (s.Bid, s.Counter, s.Accept, s.EndBid, s.GiveMandate, s.RevokeMandate, s.NameDetails)
"""What a bidder, of whom there may be many, does with a lot that is not its own yet."""

_HANDLERS: dict[type[s.Step], Callable[[Moment, Any], list[Payload]]] = {
    s.ChangeOffer: negotiation.change_offer,
    s.WithdrawOffer: negotiation.withdraw_offer,
    s.Bid: negotiation.bid,
    s.Counter: negotiation.counter,
    s.Accept: negotiation.accept,
    s.EndBid: negotiation.end_bid,
    s.Sign: negotiation.sign,
    s.DeclineContract: negotiation.decline_contract,
    s.GiveMandate: negotiation.give_mandate,
    s.RevokeMandate: negotiation.revoke_mandate,
    s.NameDetails: negotiation.name_details,
    s.ReportStatus: _report_status,
    s.DecideParty: _decide_party,
    s.Weigh: weight.weigh,
    s.AnswerWeight: weight.answer_weight,
    s.DecideWeight: weight.decide_weight,
    s.OfferLots: quality.offer_lots,
    s.Sample: quality.sample,
    s.Test: quality.test,
    s.AnswerReading: quality.answer_reading,
    s.PassLots: quality.pass_lots,
    s.AcceptQuality: quality.accept_quality,
    s.Dispatch: delivery.dispatch,
    s.Arrive: delivery.arrive,
    s.GiveNotice: delivery.give_notice,
    s.CloseOut: delivery.close_out,
    s.CancelUnpaid: delivery.cancel_unpaid,
    s.CancelRejected: delivery.cancel_rejected,
    s.RecordPayment: payment.record_payment,
    s.ReversePayment: payment.reverse_payment,
    s.RecordDocument: documents.record_document,
    s.RaiseClaim: claims.raise_claim,
    s.AnswerClaim: claims.answer_claim,
    s.ReferClaim: claims.refer_claim,
    s.DecideClaim: claims.decide_claim,
    s.RecordAward: claims.record_award,
    s.SettleGoods: claims.settle_goods,
    s.Propose: claims.propose,
    s.AnswerProposal: claims.answer_proposal,
    s.AcceptClosing: documents.accept_closing,
    s.Correct: _correct,
}
