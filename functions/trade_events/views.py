"""A trade as its readers see it: of the negotiations a bidder sees its own only."""

from dataclasses import dataclass
from uuid import UUID

from .deal import delivery, negotiation, payment, weight
from .deal.agenda import agenda
from .deal.steps import BY_NAME
from .deal.trade import Lift, Open, Talk, Trade
from .deal.values import Side, Who
from .schemas import (
    Bid,
    DeliveryState,
    DueState,
    LiftState,
    LiftWeight,
    NextStep,
    PossibleStep,
    TermDifference,
    TradeView,
)

AT_ANY_TIME = {"give_mandate", "revoke_mandate", "name_details"}
FACTS = {name for name, step in BY_NAME.items() if step.fact}
CONTRACTED = {"raise_claim", "propose"} | AT_ANY_TIME | FACTS
"""Steps that a party takes by itself. What answers something is possible when it is open."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads: the platform's `staff`, or a partner, for itself and for those whose broker it is."""

    partner_id: UUID | None
    staff: Who | None = None

    def principals(self, trade: Trade) -> set[UUID]:
        """The partners whose side the viewer is on."""
        brokered = {mandate.principal_id for mandate in trade.mandates if mandate.broker_id == self.partner_id}
        return brokered if self.partner_id is None else brokered | {self.partner_id}

    def sees_all(self, trade: Trade) -> bool:
        return self.staff is not None or trade.seller_id in self.principals(trade)

    def roles(self, trade: Trade) -> set[Who]:
        """In which roles it may take steps."""
        if self.staff is not None:
            return {self.staff}
        roles: set[Who] = set()
        for principal_id in self.principals(trade):
            side: Side | None = trade.side_of(principal_id)
            if side is not None:
                roles.add(side)
            elif trade.match is None:
                roles.add("buyer")
        if any(mandate.broker_id == self.partner_id for mandate in trade.mandates):
            roles.add("broker")
        return roles


def view(trade: Trade, viewer: Viewer) -> TradeView:
    """The trade as the API answers it."""
    match, open_steps = trade.match, visible(trade, viewer)
    return TradeView(
        id=trade.id,
        version=trade.version,
        status=trade.status,
        seller_id=trade.seller_id,
        buyer_id=trade.buyer_id,
        lot=trade.lot,
        ask=trade.ask,
        terms=trade.terms,
        valid_until=trade.valid_until,
        split_from=trade.split_from,
        bids=[_bid(trade, talk) for talk in talks(trade, viewer)],
        price=match and match.price,
        quantity=match and match.quantity,
        remainder=match and match.remainder,
        signed=list(trade.signed),
        contracted_at=trade.contracted_at,
        tax=trade.tax,
        seller_details=trade.seller_details,
        buyer_details=trade.details("buyer"),
        seller_status=trade.seller_status,
        buyer_status=trade.buyer_status,
        mandates=[
            mandate
            for mandate in trade.mandates
            if viewer.staff is not None or {mandate.principal_id, mandate.broker_id} & viewer.principals(trade)
        ],
        delivery=DeliveryState(
            until=trade.delivery_until,
            lifted_bales=delivery.lifted_bales(trade),
            lifted_kg=delivery.lifted_kg(trade),
            rest_kg=delivery.rest_kg(trade),
            complete=delivery.complete(trade),
            rest=trade.rest,
            notice=trade.notice,
        ),
        lots=list(trade.lots),
        samples=trade.samples,
        lifts=[_lift(trade, lift) for lift in trade.lifts],
        dues=[
            DueState(
                key=due.key,
                lift=due.lift,
                share_pct=due.share_pct,
                after=due.after,
                due_at=due.due_at,
                before_dispatch=due.before_dispatch,
                settled=due.settled,
            )
            for due in payment.dues(trade)
        ],
        payments=list(trade.payments),
        documents=list(trade.documents),
        claims=list(trade.claims),
        proposals=list(trade.proposals),
        late=list(trade.late),
        next=[_next(item) for item in open_steps],
        possible=sorted(_possible(trade, viewer, open_steps)),
        end=trade.end,
        end_reason=trade.end_reason,
        ended_at=trade.ended_at,
        created_at=trade.offered_at,
        updated_at=trade.updated_at,
    )


def talks(trade: Trade, viewer: Viewer) -> list[Talk]:
    """The negotiations that the viewer may see."""
    if viewer.sees_all(trade):
        return list(trade.talks)
    principals = viewer.principals(trade)
    return [talk for talk in trade.talks if talk.bidder_id in principals]


def visible(trade: Trade, viewer: Viewer) -> list[Open]:
    """What is open, without what is between the seller and another bidder."""
    seen = {str(talk.sequence) for talk in talks(trade, viewer)}
    return [item for item in agenda(trade) if item.step != "accept" or item.ref in seen]


def open_to(trade: Trade, viewer: Viewer) -> list[PossibleStep]:
    """What is open, and for whom: what a refusal says is possible."""
    return [PossibleStep(step=item.step, who=item.who) for item in visible(trade, viewer)]


def _possible(trade: Trade, viewer: Viewer, open_steps: list[Open]) -> set[str]:
    roles = viewer.roles(trade)
    names = _initiatives(trade)
    for item in open_steps:
        if item.who in roles or item.who == "system":
            names |= {item.step, *item.or_steps}
        elif item.who not in ("seller", "buyer"):
            names |= {*item.or_steps}
        elif "end_bid" in item.or_steps:  # a bidder takes its own bid back
            names |= {"end_bid"}
    return {name for name in names if name in BY_NAME and roles & set(BY_NAME[name].by)}


def _initiatives(trade: Trade) -> set[str]:
    if trade.end is not None:
        return set(FACTS)
    if trade.match is None:
        return {"bid"} | AT_ANY_TIME
    return set(AT_ANY_TIME if trade.contracted_at is None else CONTRACTED)


def _bid(trade: Trade, talk: Talk) -> Bid:
    return Bid(
        bidder_id=talk.bidder_id,
        sequence=talk.sequence,
        by=talk.by,
        price=talk.price,
        quantity=talk.quantity,
        differences=[
            TermDifference(pointer=one.pointer, offer=one.seller, bid=one.buyer)
            for one in negotiation.side_by_side(trade, talk)
        ],
        valid_until=talk.valid_until,
        at=talk.at,
        open=talk.open,
    )


def _lift(trade: Trade, lift: Lift) -> LiftState:
    reading, shortage = weight.read(trade, lift), weight.shortage(trade, lift)
    return LiftState(
        number=lift.number,
        weight=LiftWeight(
            state=reading.state,
            kg=weight.kilograms(trade, lift) if reading.kg is None else reading.kg,
            waits_for=reading.waits_for,
            source=reading.source,
            short_kg=shortage and shortage.short_kg,
            claimed_kg=shortage and shortage.claim_kg,
        ),
        slips=list(lift.slips),
        readings=list(lift.readings),
        reading_answer=lift.reading_answer,
        quality_closed=lift.quality_closed,
        dispatch=lift.dispatch,
        arrival=lift.arrival,
        invoice=lift.invoice,
    )


def _next(item: Open) -> NextStep:
    return NextStep(
        track=item.track,
        step=item.step,
        alternatives=list(item.or_steps),
        ref=item.ref,
        who=item.who,
        due_at=item.due_at,
        what_happens_then=item.then,
    )
