"""Steps on the market: bids and counter-offers. With each bidder the seller negotiates apart; a rival sees nothing of it."""

from typing import Literal
from uuid import UUID

from kapas.errors import Conflict, FieldError, Invalid
from kapas.schemas.common import UnitPrice
from kapas.values.clock import rfc3339
from kapas.values.money import MAX_PAISE
from kapas.values.units import Quantity, Unit, count, quantity

from .event_models import (
    TradeBidPlaced,
    TradeBidWithdrawn,
    TradeCancelled,
    TradeCountered,
    TradeExpired,
    TradeMatched,
)
from .lifecycle import SIGNING
from .moment import Effect, Moment, OfferExpired, there
from .schemas import Trade
from .step_schemas import (
    HEAVIEST_BALE,
    BidAccepted,
    BidPlaced,
    BidWithdrawn,
    CounterAccepted,
    OfferWithdrawn,
    PriceCountered,
)

WITH_PREMIUM_AND_TAX = 2
"""More than any of them adds to a sum, so that a price that is taken never comes to one that cannot be written down."""


def bid_placed(moment: Moment, body: BidPlaced) -> Effect:
    trade, bidder_id = moment.trade, there(moment.partner_id)
    _check_price(trade, body.price)
    published = TradeBidPlaced(trade_id=trade.id, seller_id=trade.seller_id, bidder_id=bidder_id, price=body.price)
    return Effect(published, (trade.seller_id, bidder_id), {"bidder_type": moment.partner_type}, bidder_id)


def bid_withdrawn(moment: Moment, _: BidWithdrawn) -> Effect:
    trade, bidder_id = moment.trade, there(moment.partner_id)
    if moment.history.last_word(bidder_id) is None:
        raise Conflict("This partner has no open bid")
    published = TradeBidWithdrawn(trade_id=trade.id, seller_id=trade.seller_id, bidder_id=bidder_id)
    return Effect(published, (trade.seller_id, bidder_id), bidder_id=bidder_id)


def price_countered(moment: Moment, body: PriceCountered) -> Effect:
    trade = moment.trade
    _check_price(trade, body.price)
    bidder_id, _ = _answered(moment, body.counters_sequence, "counters_sequence")
    published = TradeCountered(
        trade_id=trade.id,
        seller_id=trade.seller_id,
        bidder_id=bidder_id,
        by="seller" if moment.party == "seller" else "bidder",
        price=body.price,
    )
    return Effect(published, (trade.seller_id, bidder_id), bidder_id=bidder_id)


def bid_accepted(moment: Moment, body: BidAccepted) -> Effect:
    return _match(moment, body.bid_sequence, "bid_sequence")


def counter_accepted(moment: Moment, body: CounterAccepted) -> Effect:
    return _match(moment, body.counter_sequence, "counter_sequence")


def offer_withdrawn(moment: Moment, _: OfferWithdrawn) -> Effect:
    trade = moment.trade
    published = TradeCancelled(trade_id=trade.id, seller_id=trade.seller_id, buyer_id=None, reason="offer_withdrawn")
    return Effect(published, (trade.seller_id, *moment.history.bidders()))


def offer_expired(moment: Moment, _: OfferExpired) -> Effect:
    published = TradeExpired(trade_id=moment.trade.id, seller_id=moment.trade.seller_id)
    return Effect(published, (moment.trade.seller_id, *moment.history.bidders()))


def _match(moment: Moment, sequence: int, named: Literal["bid_sequence", "counter_sequence"]) -> Effect:
    trade = moment.trade
    buyer_id, price = _answered(moment, sequence, named)
    sign_by = moment.now + SIGNING
    published = TradeMatched(
        trade_id=trade.id, seller_id=trade.seller_id, buyer_id=buyer_id, price=price, sign_by=sign_by
    )
    data = {"buyer_id": str(buyer_id), "price": price.model_dump(mode="json"), "sign_by": rfc3339(sign_by)}
    return Effect(published, (trade.seller_id, buyer_id), data, buyer_id)


def _answered(moment: Moment, sequence: int, named: str) -> tuple[UUID, UnitPrice]:
    """The bidder and the price that are answered: the other side's last word, which still stands.

    Raises `Invalid` if `sequence` is anything else: one's own price, one that was answered or withdrawn, another's.
    """
    history = moment.history
    bidder_id = history.bidder_of(sequence) if moment.party == "seller" else there(moment.partner_id)
    last = None if bidder_id is None else history.last_word(bidder_id)
    if bidder_id is None or last is None or last.sequence != sequence or last.party == moment.party:
        message = "This sequence is not the other side's current price; read the timeline again"
        raise Invalid(message, errors=[FieldError(f"/event/{named}", "bid", message)])
    return bidder_id, UnitPrice.model_validate(last.data["price"])


def _check_price(trade: Trade, price: UnitPrice) -> None:
    """Raises `Invalid` for another unit than the ask's, and for a price at which the lot comes to more than a sum can be."""
    if price.unit != trade.ask.unit:
        message = f"Quote the price per {trade.ask.unit}, as the ask"
        raise Invalid(message, errors=[FieldError("/event/price/unit", "unit", message)])
    lot = trade.lot
    heaviest = max(count(lot.net_weight.quantity(), Unit(price.unit)), count(_pressed(lot.bales), Unit(price.unit)))
    if price.paise * heaviest * WITH_PREMIUM_AND_TAX > MAX_PAISE:
        message = "The price is too high: the amount of the lot would exceed the maximum"
        raise Invalid(message, errors=[FieldError("/event/price/paise", "amount", message)])


def _pressed(bales: int) -> Quantity:
    """As much as so many bales may turn out to weigh."""
    return quantity(bales, "bale", HEAVIEST_BALE)
