"""Use cases of trading: offer, bid, accept, sign; plain functions that decide, the database writes what they decided."""

from uuid import UUID

from kapas import clock, ids
from kapas.api import Outcome, require
from kapas.db import Session
from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, VersionConflict
from kapas.events import Event, EventData
from kapas.identity import Identity, Role
from kapas.schemas.common import PageQuery, UnitPrice, cursor
from kapas.schemas.events import TradeBidPlaced, TradeContracted, TradeMatched, TradeOffered
from kapas.schemas.trades import (
    BidAccepted,
    BidPlaced,
    ContractSigned,
    LotOffer,
    Trade,
    TradeEventBody,
    TradeEventPage,
    TradePage,
)

from . import lifecycle, store


def offer(db: Session, caller: Identity, offer: LotOffer) -> Outcome:
    """Put a lot on the market as the caller's partner.

    Raises:
        Forbidden: the caller may not act for a partner, or the partner is not active.
    """
    seller_id = _acting_partner(db, caller)
    now = clock.now()
    trade = Trade(
        id=ids.uuid7(),
        version=1,
        status="OFFERED",
        seller_id=seller_id,
        buyer_id=None,
        lot=offer.lot,
        ask=offer.ask,
        price=None,
        created_at=now,
        updated_at=now,
    )
    data = TradeOffered(
        trade_id=trade.id,
        seller_id=seller_id,
        bales=offer.lot.bales,
        net_weight=offer.lot.net_weight,
        ask=offer.ask,
    )
    return Outcome(store.insert(trade, Event(trade.id, 1, data, (seller_id,), time=now)), trade, 1)


def append(db: Session, caller: Identity, trade_id: UUID, event: TradeEventBody) -> Outcome:
    """Take the next step of a trade.

    Raises:
        NotFound: there is no such trade, or the caller may not see it.
        VersionConflict: the trade is not at `expected_version`.
        Conflict: the step is not possible in the trade's state.
        Forbidden: it is another party's step.
        Invalid: the step names a bid that is none, or a price in another unit than the ask.
    """
    partner_id = _acting_partner(db, caller)
    trade = read(db, trade_id)
    if trade.version != event.expected_version:
        raise VersionConflict(f"The trade is at version {trade.version}, not {event.expected_version}")
    step = lifecycle.step(event.type, trade.status)
    _require_party(step.party, trade, partner_id)
    buyer_id, price, data, readers = _effect(db, trade, partner_id, event)
    now = clock.now()
    after = trade.model_copy(
        update={
            "version": trade.version + 1,
            "status": step.target,
            "buyer_id": buyer_id,
            "price": price,
            "updated_at": now,
        }
    )
    published = Event(trade.id, after.version, data, readers, time=now)
    return Outcome(store.append(after, trade.version, partner_id, event.type, published), after, after.version)


def read(db: Session, trade_id: UUID) -> Trade:
    """One trade that the session may see. Raises `NotFound` otherwise."""
    trade = store.find(db, trade_id)
    if trade is None:
        raise NotFound("There is no such trade, or it is between others")
    return trade


def list_page(db: Session, query: PageQuery) -> TradePage:
    """Trades that the session may see, newest first."""
    trades = store.page(db, query.limit + 1, query.after_id())
    more = len(trades) > query.limit
    data = trades[: query.limit]
    return TradePage(data=data, has_more=more, next=cursor(data[-1].id) if more else None)


def timeline(db: Session, trade_id: UUID) -> TradeEventPage:
    """The steps of a trade that the session may see, oldest first. Raises `NotFound` if the trade is hidden."""
    read(db, trade_id)
    return TradeEventPage(data=store.events(db, trade_id))


def _acting_partner(db: Session, caller: Identity) -> UUID:
    partner_id = caller.partner_id
    if partner_id is None or caller.role not in (Role.OWNER, Role.MEMBER):
        raise Forbidden("Only an owner or a member of a partner trades")
    require(store.may_trade(db, partner_id), "The partner is not active yet")
    return partner_id


def _require_party(party: lifecycle.Party, trade: Trade, partner_id: UUID) -> None:
    allowed = {
        "seller": partner_id == trade.seller_id,
        "buyer": partner_id == trade.buyer_id,
        "bidder": partner_id != trade.seller_id,
    }
    require(allowed[party], f"This is the step of the {party}")


def _effect(
    db: Session, trade: Trade, partner_id: UUID, event: TradeEventBody
) -> tuple[UUID | None, UnitPrice | None, EventData, tuple[UUID, ...]]:
    """Buyer and price after the event, what is published of it, and to whom it may be shown."""
    if isinstance(event, BidPlaced):
        if event.price.unit != trade.ask.unit:
            message = f"This lot is quoted per {trade.ask.unit}"
            raise Invalid(message, errors=[FieldError("/event/price/unit", "unit", message)])
        bid = TradeBidPlaced(trade_id=trade.id, seller_id=trade.seller_id, bidder_id=partner_id, price=event.price)
        return None, None, bid, (trade.seller_id, partner_id)
    if isinstance(event, BidAccepted):
        accepted = store.event(db, trade.id, event.bid_sequence)
        if accepted is None or accepted.type != "bid_placed":
            message = "No bid of this trade has that sequence"
            raise Invalid(message, errors=[FieldError("/event/bid_sequence", "bid", message)])
        placed = TradeBidPlaced.model_validate(accepted.data)
        matched = TradeMatched(
            trade_id=trade.id, seller_id=trade.seller_id, buyer_id=placed.bidder_id, price=placed.price
        )
        return placed.bidder_id, placed.price, matched, (trade.seller_id, placed.bidder_id)
    return _sign(trade, event)


def _sign(trade: Trade, _: ContractSigned) -> tuple[UUID, UnitPrice, EventData, tuple[UUID, ...]]:
    if trade.buyer_id is None or trade.price is None or trade.amount is None:
        raise Conflict("The trade has no buyer and price yet")
    contracted = TradeContracted(
        trade_id=trade.id,
        seller_id=trade.seller_id,
        buyer_id=trade.buyer_id,
        price=trade.price,
        amount=trade.amount,
    )
    return trade.buyer_id, trade.price, contracted, (trade.seller_id, trade.buyer_id)
