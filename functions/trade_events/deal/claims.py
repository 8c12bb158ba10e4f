"""Claims and proposals between the parties: raise, propose, counter, accept, contest, withdraw, refer.

Operations decide only when a party asks. Every end states what moves back. Who is silent about its own claim lets it go;
who is silent about the other's contests it, but for a shortage at the mill, which the terms count as accepted.
"""

from collections.abc import Iterator

from pydantic import ValidationError

from . import steps as s
from . import weight
from .events import (
    ClaimAnswered,
    ClaimClosed,
    ClaimRaised,
    ClaimReferred,
    DeliveryExtended,
    GoodsSettled,
    Moves,
    Payload,
    ProposalEnded,
    Proposed,
    RestEnded,
    TermsAmended,
)
from .moment import Moment
from .refusal import Refused, require
from .terms import Terms, faults, patched
from .trade import Claim, Open, Proposal, Trade, deadline, other, reminding
from .values import Side, days

OPERATIONS = days(7)
ARBITRATION = days(180)
CLAIMANT = days(15)
"""How long who claims has to go on with it."""
COLLECTION = days(7)


def raise_claim(m: Moment, step: s.RaiseClaim) -> list[Payload]:
    trade = m.trade
    require(trade.contracted_at is not None, "There is no contract yet", against="the contract")
    require(trade.end is None, "The trade has ended; what moves money goes to the money side", against="the end")
    if step.kind in ("short_weight", "excess", "difference"):
        raise Refused(
            f"A claim of {step.kind.replace('_', ' ')} opens by itself, by the facts",
            against="the facts",
            code="invalid",
            pointer="/kind",
        )
    if step.kind == "quality":
        _quality_claim(m, step)
    if any(claim.kind == step.kind and claim.lift == step.lift and claim.by == m.side for claim in _open(trade)):
        raise Refused("Such a claim is open: propose in it", against="the claims", pointer="/kind")
    number = len(trade.claims) + 1
    return [ClaimRaised(claim=number, kind=step.kind, by=m.side, lift=step.lift, asked=step.asked)]


def answer_claim(m: Moment, step: s.AnswerClaim) -> list[Payload]:
    claim = _standing(m.trade, step.claim)
    if step.answer == "withdraw":
        if claim.by != m.side:
            raise Refused("Who raised a claim withdraws it", against="the claim", code="forbidden")
        return [ClaimClosed(claim=claim.number, how="withdrawn", moves=Moves())]
    if step.answer == "propose":
        if step.moves is None:
            raise Refused("Say what is proposed", against="the proposal", code="invalid", pointer="/moves")
        return [ClaimAnswered(claim=claim.number, by=m.side, answer="proposed", moves=step.moves)]
    _others_word(m, claim)
    if step.answer == "contest":
        return [ClaimAnswered(claim=claim.number, by=m.side, answer="contested")]
    return [ClaimClosed(claim=claim.number, how="agreed", moves=wanted(m.trade, claim))]


def refer_claim(m: Moment, step: s.ReferClaim) -> list[Payload]:
    claim = _standing(m.trade, step.claim)
    if step.to == "arbitration" and m.trade.terms.disputes.arbitration != "cai":
        raise Refused(
            "The contract has no arbitration clause: the courts decide, or operations if asked",
            against="terms.disputes.arbitration",
            pointer="/to",
        )
    require(claim.stage != step.to, f"The claim is with {step.to} already", against="the claim")
    require(claim.stage != "arbitration", "Arbitrators have the claim: withdraw it or settle it", against="the claim")
    return [ClaimReferred(claim=claim.number, to=step.to)]


def decide_claim(m: Moment, step: s.DecideClaim) -> list[Payload]:
    claim = _standing(m.trade, step.claim)
    require(claim.stage == "operations", "Operations decide only what a party referred to them", against="the claim")
    return [ClaimClosed(claim=claim.number, how="decided", moves=step.moves)]


def record_award(m: Moment, step: s.RecordAward) -> list[Payload]:
    claim = _standing(m.trade, step.claim)
    return [ClaimClosed(claim=claim.number, how="awarded", moves=step.moves, award=step.award)]


def settle_goods(m: Moment, step: s.SettleGoods) -> list[Payload]:
    claim = m.trade.claim(step.claim)
    if claim is None or claim.moves.goods == "none" or claim.stage != "closed" or claim.goods is not None:
        raise Refused("No goods of this claim go back", against="the claim", pointer="/claim")
    return [GoodsSettled(claim=step.claim, how=step.how)]


def propose(m: Moment, step: s.Propose) -> list[Payload]:
    trade = m.trade
    require(trade.contracted_at is not None, "There is no contract yet", against="the contract")
    if any(p.about == step.about and p.lift == step.lift and p.state == "open" for p in trade.proposals):
        raise Refused("Such a proposal is open: answer or withdraw it", against="the proposals", pointer="/about")
    _check_proposal(m, step)
    return [
        Proposed(
            proposal=len(trade.proposals) + 1,
            by=m.side,
            about=step.about,
            until=step.until,
            carrying_pct_a_month=step.carrying_pct_a_month,
            terms=step.terms,
            lift=step.lift,
        )
    ]


def answer_proposal(m: Moment, step: s.AnswerProposal) -> list[Payload]:
    trade = m.trade
    proposal = next((p for p in trade.proposals if p.number == step.proposal and p.state == "open"), None)
    if proposal is None:
        raise Refused("No proposal of that number is open", against="the proposals", pointer="/proposal")
    if (step.answer == "withdrawn") != (proposal.by == m.side):
        raise Refused(
            "Who proposed withdraws; the other side accepts or declines",
            against="the proposal",
            code="forbidden",
            pointer="/answer",
        )
    ended = ProposalEnded(proposal=proposal.number, how=step.answer)
    return [ended, *(_accepted(trade, proposal) if step.answer == "accepted" else [])]


def wanted(trade: Trade, claim: Claim) -> Moves:
    """What is taken by accepting now: the last proposal, what was asked, or what the slips say is short."""
    if claim.stage in ("proposed", "contested", "operations", "arbitration") and claim.moves != Moves():
        return claim.moves
    if claim.kind == "short_weight" and claim.lift is not None:
        short = weight.shortage(trade, trade.lift(claim.lift))
        return Moves(kg=None if short is None else short.claim_kg, to="buyer")
    return claim.asked


def open_items(trade: Trade) -> Iterator[Open]:
    for claim in trade.claims:
        if claim.stage == "closed":
            if claim.moves.goods == "returned" and claim.goods is None:
                due = COLLECTION.after(claim.stage_at)
                then = "The buyer may sell the goods on the seller's account"
                sold = GoodsSettled(claim=claim.number, how="sold_on_account")
                yield Open("claims", "settle_goods", "seller", due, then, sold, str(claim.number))
            continue
        yield _next(trade, claim)
    for proposal in trade.proposals:
        if proposal.state == "open":
            due = trade.terms.disputes.answer.after(proposal.at)
            lapsed = ProposalEnded(proposal=proposal.number, how="lapsed")
            then = "The proposal lapses"
            who = other(proposal.by)
            yield Open("claims", "answer_proposal", who, due, then, lapsed, str(proposal.number))


def _next(trade: Trade, claim: Claim) -> Open:
    """Whose turn a claim is, and what its silence means."""
    ref, step = str(claim.number), "answer_claim"
    answering = other(claim.by_last)
    if claim.stage in ("raised", "proposed"):
        period = trade.terms.weight.answer if claim.kind == "short_weight" else trade.terms.disputes.answer
        due = deadline(trade, claim.stage_at, period, stops=False)
        if claim.kind == "short_weight" and claim.stage == "raised":
            accepted = ClaimClosed(claim=claim.number, how="agreed", moves=wanted(trade, claim))
            then = "The shortage counts as accepted"
            return Open("claims", step, answering, due, then, accepted, ref, ("weigh", "refer_claim"))
        contested = ClaimAnswered(claim=claim.number, by=answering, answer="contested")
        then = "The claim is disputed; its claimant goes on"
        return Open("claims", step, answering, due, then, contested, ref, ("refer_claim",))
    if claim.stage == "operations":
        back = ClaimReferred(claim=claim.number, to="parties")
        then = "The claim goes back to its claimant"
        return Open("claims", "decide_claim", "operations", OPERATIONS.after(claim.stage_at), then, back, ref, (step,))
    if claim.stage == "arbitration":
        due = ARBITRATION.after(claim.stage_at)
        then = "The claimant is asked for the award, or to withdraw"
        return reminding(trade, "claims", step, claim.by, due, then, ref, ("record_award",))
    lapsed = ClaimClosed(claim=claim.number, how="lapsed", moves=Moves())
    then = "The claim lapses"
    return Open("claims", "refer_claim", claim.by, CLAIMANT.after(claim.stage_at), then, lapsed, ref, (step,))


def _quality_claim(m: Moment, step: s.RaiseClaim) -> None:
    terms = m.trade.terms.quality
    if terms.passing == "none":
        raise Refused("The goods were sold as tested and seen", against="terms.quality.passing", pointer="/kind")
    lift = None if step.lift is None else m.trade.lift(step.lift)
    if lift is None:
        raise Refused("Say which lift", against="the claim", code="invalid", pointer="/lift")
    if lift.quality_closed:
        raise Refused("The window of this lift has closed", against="terms.quality.claims_within", pointer="/lift")
    if terms.passing == "before_dispatch" and terms.claims_within is None:
        raise Refused("After passing there is no claim", against="terms.quality.claims_within", pointer="/kind")


def _check_proposal(m: Moment, step: s.Propose) -> None:
    trade = m.trade
    if step.about == "extend_delivery":
        until = trade.delivery_until
        if step.until is None or until is None or step.until <= max(until, m.at):
            raise Refused(
                "Say until when: later than now and than what is agreed",
                against="terms.delivery.period",
                code="invalid",
                pointer="/until",
            )
    if step.about in ("extend_delivery", "cancel_rest"):
        require(trade.rest is None, "What was not delivered has ended", against="the rest")
    if step.about == "amend_terms":
        try:
            _check_amendment(trade, patched(trade.terms, step.terms or {}))
        except ValidationError as error:
            pointer, message = faults(error, "/terms")
            raise Refused(f"These are no terms: {message}", against="terms", code="invalid", pointer=pointer) from None
    if step.about == "one_bridge" and step.lift is None:
        raise Refused("Say which lift", against="the proposal", code="invalid", pointer="/lift")


def _check_amendment(trade: Trade, terms: Terms) -> None:
    """Raises `Refused` for what an invoice or a due was made by: that is changed by a note, not by other terms."""
    before = trade.terms
    billed = any(lift.invoice is not None for lift in trade.lifts)
    if billed and (before.weight, before.quality, before.charges) != (terms.weight, terms.quality, terms.charges):
        raise Refused(
            "A lift is invoiced by these terms: weight, quality and charges stay",
            against="the invoice",
            pointer="/terms",
        )
    if trade.payments and before.payment.instalments != terms.payment.instalments:
        raise Refused("Payments were made by this schedule: it stays", against="the payments", pointer="/terms/payment")


def _accepted(trade: Trade, proposal: Proposal) -> list[Payload]:
    if proposal.about == "cancel_rest":
        return [RestEnded(how="cancelled", why="consent")] if trade.rest is None else []
    if proposal.about == "extend_delivery" and proposal.until is not None:
        return [DeliveryExtended(until=proposal.until, carrying_pct_a_month=proposal.carrying_pct_a_month)]
    if proposal.about == "amend_terms":
        terms = patched(trade.terms, proposal.terms or {})
        _check_amendment(trade, terms)
        return [TermsAmended(terms=terms)]
    return []


def _standing(trade: Trade, number: int) -> Claim:
    claim = trade.claim(number)
    if claim is None or claim.stage == "closed":
        raise Refused("No claim of that number is open", against="the claims", code="invalid", pointer="/claim")
    return claim


def _others_word(m: Moment, claim: Claim) -> None:
    side: Side = claim.by_last
    if side == m.side:
        raise Refused("The other side answers this", against="the claim", code="forbidden", pointer="/answer")


def _open(trade: Trade) -> Iterator[Claim]:
    return (claim for claim in trade.claims if claim.stage != "closed")
