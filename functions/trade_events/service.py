"""Use cases of trading: offer a lot, take a step, sync what a device kept, read, settle. They decide; SQL writes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, Problem, VersionConflict
from kapas.http.app import Outcome, require
from kapas.http.identity import Identity, Role
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Session
from kapas.schemas.vocabulary import PartnerType
from kapas.values import clock, ids

from . import lifecycle, projection, settlement, steps, store
from .event_models import TradeOffered
from .moment import Body, History, Moment
from .rules import rules
from .schemas import (
    BatchError,
    BatchOutcome,
    BatchProblem,
    LotOffer,
    Party,
    Settlement,
    TimelineQuery,
    Trade,
    TradeEvent,
    TradeEventBatchResult,
    TradeEventPage,
    TradePage,
    TradeQuery,
)
from .step_schemas import (
    BidAccepted,
    ClientReference,
    PriceCountered,
    TradeEventAppend,
    TradeEventBatch,
)

OFFERED_FOR = timedelta(days=7)
LONGEST_OFFER = timedelta(days=90)

_HIDDEN = "Trade not found, or it is between other parties"

_SENT = {"type", "expected_version", "occurred_at"}
"""What of a step's body is not its data."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who takes a step: a partner of a kind, or the platform's `staff`: an inspector, operations, the system itself."""

    partner_id: UUID | None = None
    partner_type: PartnerType | None = None
    staff: Party | None = None

    def party(self, trade: Trade) -> Party:
        """What the actor is in this trade."""
        if self.staff is not None:
            return self.staff
        if self.partner_id == trade.seller_id:
            return "seller"
        return "buyer" if self.partner_id == trade.buyer_id else "bidder"


SYSTEM = Actor(staff="system")


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that may be taken: the change to write, and the trade after it."""

    change: Change
    trade: Trade


def offer(db: Session, caller: Identity, offer: LotOffer) -> Outcome:
    """Put a lot on the market as the caller's partner.

    Raises:
        Forbidden: the caller may not act for a partner, or the partner is not active.
        Invalid: the offer would expire in the past, or later than 90 days from now.
    """
    seller_id = _own_partner(caller)
    seller_type = store.partner_type(db, seller_id)
    require(seller_type is not None, "The partner cannot trade: it is not active, or its erasure was requested")
    now = clock.now()
    expires_at = offer.expires_at or now + OFFERED_FOR
    if not now < expires_at <= now + LONGEST_OFFER:
        message = f"An offer must expire in the future, within {LONGEST_OFFER.days} days"
        raise Invalid(message, errors=[FieldError("/expires_at", "expiry", message)])
    data: dict[str, Any] = offer.model_dump(mode="json")
    first = TradeEvent(
        sequence=1,
        type="lot_offered",
        party="seller",
        partner_id=seller_id,
        data={**data, "expires_at": clock.rfc3339(expires_at), "seller_type": seller_type},
        occurred_at=now,
        recorded_at=now,
    )
    trade = projection.begin(ids.uuid7(), first)
    published = TradeOffered(
        trade_id=trade.id,
        seller_id=seller_id,
        bales=offer.lot.bales,
        net_weight=offer.lot.net_weight,
        ask=offer.ask,
        expires_at=expires_at,
    )
    return Outcome(store.insert(trade, first, Event(trade.id, 1, published, (seller_id,), time=now)), trade, 1)


def append(db: Session, caller: Identity, trade_id: UUID, body: TradeEventAppend) -> Outcome:
    """Take the next step of a trade.

    Raises:
        NotFound: there is no such trade, or the caller may not see it (`Conflict` if it has bid for the lot).
        VersionConflict: the trade is not at `expected_version`.
        Conflict: the step is not possible in the trade's state, what it needs is missing, or the other side trades no more.
        Forbidden: it is another party's step.
        Invalid: it states something impossible.
    """
    partner_id = _acting_partner(caller)
    found = _require_found(db, trade_id, store.find(db, trade_id, partner_id))
    actor = _actor(caller, partner_id, found.partner_type)
    history = store.SqlHistory(db, trade_id)
    _require_counterparty(history, found.trade, actor, body.event, found.seller_trades)
    taken = take(history, found.trade, actor, body.event, body.client)
    return Outcome(taken.change, taken.trade, taken.trade.version)


def sync(db: Session, caller: Identity, trade_id: UUID, batch: TradeEventBatch) -> Outcome:
    """Take the steps that a device kept, in its order, each on its own: what cannot be taken holds up no other.

    To be called in the transaction that also keeps the answer: it locks the trade, so that the steps meet one state.

    Raises:
        NotFound: as for `append`; Forbidden: the caller acts for nobody.
    """
    partner_id = _acting_partner(caller)
    found = _require_found(db, trade_id, store.lock(db, trade_id, partner_id))
    actor = _actor(caller, partner_id, found.partner_type)
    known = dict(store.recorded(db, trade_id, partner_id, batch.device_id))
    trade, history, outcomes = found.trade, store.SqlHistory(db, trade_id), list[BatchOutcome]()
    for index, item in enumerate(batch.events):
        if item.event_id in known:
            outcomes.append(BatchOutcome(event_id=item.event_id, outcome="duplicate", sequence=known[item.event_id]))
            continue
        client = ClientReference(device_id=batch.device_id, event_id=item.event_id)
        try:
            _require_counterparty(history, trade, actor, item.event, found.seller_trades)
            taken = take(history, trade, actor, item.event, client)
        except (Conflict, VersionConflict, Forbidden, Invalid) as problem:
            told = _told(problem, f"/events/{index}")
            outcomes.append(BatchOutcome(event_id=item.event_id, outcome="refused", sequence=None, problem=told))
            continue
        outbox.commit(db, taken.change)
        trade = taken.trade
        known[item.event_id] = trade.version
        outcomes.append(BatchOutcome(event_id=item.event_id, outcome="recorded", sequence=trade.version))
    result = TradeEventBatchResult(outcomes=outcomes, trade=trade)
    return Outcome(outbox.unchanged(), result, trade.version)


def take(history: History, trade: Trade, actor: Actor, body: Body, client: ClientReference | None = None) -> Taken:
    """The step as a change to write, guarded by the version that `trade` has. Raises as `append`."""
    expected = getattr(body, "expected_version", None)
    if expected is not None and expected != trade.version:
        raise VersionConflict(f"The trade is now at version {trade.version}, not {expected}; read it again")
    now, party = clock.now(), actor.party(trade)
    lifecycle.check(body.type, trade, party, now)
    moment = Moment(trade, party, actor.partner_id, actor.partner_type, now, history)
    effect = steps.effect(moment, body)
    appended = TradeEvent(
        sequence=trade.version + 1,
        type=body.type,
        party=party,
        partner_id=actor.partner_id,
        data={**body.model_dump(mode="json", exclude=_SENT), **effect.data},
        occurred_at=lifecycle.happened(trade, body.occurred_at or now, now, now, at="/event"),
        recorded_at=now,
        client=client,
    )
    after = projection.apply(trade, appended)
    event = Event(trade.id, after.version, effect.published, effect.readers, time=now)
    return Taken(store.append(after, appended, effect.bidder_id, event), after)


def read(db: Session, trade_id: UUID) -> Trade:
    """One trade that the session may see. Raises `NotFound` otherwise, `Conflict` for a bidder that did not get the lot."""
    return _require_found(db, trade_id, store.find(db, trade_id, None)).trade


def list_page(db: Session, caller: Identity, query: TradeQuery) -> TradePage:
    """Trades that the session may see and that fit the query, newest first."""
    return TradePage.of(store.page(db, query, query.limit + 1, caller.partner_id), query.limit)


def timeline(db: Session, trade_id: UUID, query: TimelineQuery) -> TradeEventPage:
    """The steps of a trade that the session may see, oldest first: of a lot that went to another, a bidder's own.

    Raises `NotFound` if the trade is hidden, and the caller has not bid.
    """
    if store.find(db, trade_id, None) is None and not store.events(db, trade_id, limit=1):
        raise NotFound(_HIDDEN)
    events = store.events(db, trade_id, query.after, query.limit + 1)
    more = len(events) > query.limit
    data = events[: query.limit]
    return TradeEventPage(data=data, has_more=more, next=data[-1].sequence if more else None)


def settle(db: Session, caller: Identity, trade_id: UUID) -> Settlement:
    """The settlement statement, for the two parties and the platform's staff.

    Raises:
        NotFound: there is no such trade, or it is not the caller's.
        Conflict: nothing is agreed yet, or the quality is outside the table that was agreed.
    """
    trade = read(db, trade_id)
    if caller.role.of_partner and caller.partner_id not in (trade.seller_id, trade.buyer_id):
        raise NotFound(_HIDDEN)
    return settlement.statement(trade, store.events(db, trade_id), rules())


def _told(problem: Problem, at: str) -> BatchProblem:
    errors = [BatchError(pointer=f"{at}{e.pointer}", code=e.code, message=e.message) for e in problem.errors]
    return BatchProblem(code=problem.code, detail=problem.detail, errors=errors)


def _actor(caller: Identity, partner_id: UUID | None, partner_type: PartnerType | None) -> Actor:
    if partner_id is None:
        return Actor(staff="inspector" if caller.role is Role.INSPECTOR else "ops")
    require(partner_type is not None, "The partner cannot trade: it is not active, or its erasure was requested")
    return Actor(partner_id, partner_type)


def _acting_partner(caller: Identity) -> UUID | None:
    """The partner that the caller acts for; None for staff that takes steps of its own."""
    if caller.role in (Role.INSPECTOR, Role.OPS):
        return None
    return _own_partner(caller)


def _own_partner(caller: Identity) -> UUID:
    if caller.partner_id is None or caller.role not in (Role.OWNER, Role.MEMBER):
        raise Forbidden("Only an owner or a member of a partner may trade")
    return caller.partner_id


def _require_counterparty(
    history: store.SqlHistory, trade: Trade, actor: Actor, body: Body, seller_trades: bool
) -> None:
    """Raises `Conflict` for a step towards a contract with somebody who was suspended or is being erased."""
    if body.type not in lifecycle.TOWARDS_CONTRACT:
        return
    if actor.party(trade) != "seller":
        if not seller_trades:
            raise Conflict("The seller of this lot cannot trade at present")
        return
    bidder_id = _bidder(history, trade, body)
    if bidder_id is not None and store.partner_type(history.db, bidder_id) is None:
        raise Conflict("The bidder cannot trade at present")


def _bidder(history: History, trade: Trade, body: Body) -> UUID | None:
    """With whom the seller takes a step towards a contract; None if it names a price that there is not."""
    match body:
        case PriceCountered():
            return history.bidder_of(body.counters_sequence)
        case BidAccepted():
            return history.bidder_of(body.bid_sequence)
        case _:
            return trade.buyer_id


def _require_found(db: Session, trade_id: UUID, found: store.Found | None) -> store.Found:
    if found is None:
        if store.events(db, trade_id, limit=1):  # it has bid: of a hidden trade that is all that a session may see
            raise Conflict("The lot is no longer on the market; another bidder got it")
        raise NotFound(_HIDDEN)
    return found
