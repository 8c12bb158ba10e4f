"""From the offer to the contract: bids for all or a part, terms as differences, two signatures."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from kapas.values.money import MAX_PAISE

from . import steps as s
from . import tax
from .events import (
    BidEnded,
    BidPlaced,
    Contracted,
    Ended,
    MandateGiven,
    MandateRevoked,
    Matched,
    OfferChanged,
    Offered,
    PartyNamed,
    Payload,
    Signed,
)
from .lots import check_season
from .moment import Moment
from .refusal import Refused, require
from .terms import Difference, Patch, Terms, differences, faults, patch_between, patched, template
from .trade import Open, Talk, Trade, other
from .values import Price, Quantity

LONGEST_OFFER = timedelta(days=90)


def offered(m_at: datetime, seller_id: Any, step: s.Offer) -> Offered:
    """The first event. Raises `Refused` for terms, a crop year, a time or a sum that cannot be."""
    check_season(step.lot, m_at)
    _check_until(m_at, step.valid_until)
    try:
        base = template(step.template)
    except KeyError:
        raise Refused(
            f"There is no template {step.template}", against="templates", code="invalid", pointer="/template"
        ) from None
    terms = _patched(base, step.differs)
    _check_sum(step.ask, step.lot.quantity, "/ask/paise")
    return Offered(
        seller_id=seller_id,
        lot=step.lot,
        ask=step.ask,
        terms=terms,
        valid_until=step.valid_until,
        split_from=step.split_from,
    )


def change_offer(m: Moment, step: s.ChangeOffer) -> list[Payload]:
    _on_the_market(m.trade)
    if step.ask is not None:
        _same_unit(m.trade, step.ask, "/ask/unit")
        _check_sum(step.ask, m.trade.lot.quantity, "/ask/paise")
    if step.valid_until is not None:
        _check_until(m.at, step.valid_until)
    terms = None if step.differs is None else _patched(m.trade.terms, step.differs)
    require(step.ask or terms or step.valid_until, "Nothing would change", against="the offer")
    return [OfferChanged(ask=step.ask, terms=terms, valid_until=step.valid_until)]


def withdraw_offer(m: Moment, _: s.WithdrawOffer) -> list[Payload]:
    _on_the_market(m.trade)
    return [Ended(how="cancelled", reason="offer_withdrawn")]


def bid(m: Moment, step: s.Bid) -> list[Payload]:
    trade = m.trade
    _on_the_market(trade)
    bidder_id = m.actor.party_id
    if bidder_id is None or bidder_id == trade.seller_id:
        raise Refused("The seller does not bid for its own lot", against="the seller", code="forbidden")
    return [_placed(m, bidder_id, step.price, step.quantity or trade.lot.quantity, step.differs, step.valid_until)]


def counter(m: Moment, step: s.Counter) -> list[Payload]:
    _on_the_market(m.trade)
    talk = _answered(m, step.to)
    price = step.price or talk.price
    differs = patch_between(m.trade.terms, talk.terms) if step.differs is None else step.differs
    return [_placed(m, talk.bidder_id, price, step.quantity or talk.quantity, differs, step.valid_until)]


def accept(m: Moment, step: s.Accept) -> list[Payload]:
    trade = m.trade
    _on_the_market(trade)
    talk = _answered(m, step.to)
    whole = trade.lot.quantity
    remainder = _less(whole, talk.quantity)
    return [
        Matched(
            buyer_id=talk.bidder_id,
            price=talk.price,
            quantity=talk.quantity,
            terms=talk.terms,
            accepted_by=m.side,
            remainder=remainder,
        )
    ]


def end_bid(m: Moment, step: s.EndBid) -> list[Payload]:
    _on_the_market(m.trade)
    bidder_id = step.bidder_id if m.side == "seller" else m.actor.party_id
    talk = next((talk for talk in m.trade.talks if talk.bidder_id == bidder_id and talk.open), None)
    if talk is None:
        raise Refused("No bid of this bidder stands", against="negotiation", pointer="/bidder_id")
    return [BidEnded(bidder_id=talk.bidder_id, how="declined" if m.side == "seller" else "withdrawn")]


def sign(m: Moment, _: s.Sign) -> list[Payload]:
    _unsigned(m)
    return [Signed(side=m.side), Contracted(tax=_tax(m, m.trade))]


def decline_contract(m: Moment, _: s.DeclineContract) -> list[Payload]:
    _unsigned(m)
    return [Ended(how="cancelled", reason="declined")]


def give_mandate(m: Moment, step: s.GiveMandate) -> list[Payload]:
    mandate = step.mandate
    if mandate.principal_id != m.actor.party_id or mandate.side != m.side or m.actor.role == "broker":
        raise Refused(
            "A mandate is given by the principal itself, for its own side",
            against="the mandate",
            code="forbidden",
            pointer="/mandate/principal_id",
        )
    require(
        mandate.broker_id not in (m.trade.seller_id, m.trade.buyer_id, mandate.principal_id),
        "A party cannot be the broker of its own trade",
        against="the parties",
        pointer="/mandate/broker_id",
    )
    return [MandateGiven(mandate=mandate)]


def revoke_mandate(m: Moment, step: s.RevokeMandate) -> list[Payload]:
    principal_id = m.actor.party_id
    known = any((x.principal_id, x.broker_id) == (principal_id, step.broker_id) for x in m.trade.mandates)
    if principal_id is None or not known:
        raise Refused("This broker has no mandate here", against="mandates", pointer="/broker_id")
    return [MandateRevoked(principal_id=principal_id, broker_id=step.broker_id)]


def name_details(m: Moment, step: s.NameDetails) -> list[Payload]:
    """Until a lift is invoiced; the account may change as long as something is to be paid."""
    trade, party_id = m.trade, m.actor.party_id
    tax.check_details(m.own, m.side, step.details)
    named = PartyNamed(party_id=party_id or m.own.id, details=step.details)
    if trade.contracted_at is None:
        return [named]
    before = trade.details(m.side)
    moved = (before.registration_id, before.place_id) != (step.details.registration_id, step.details.place_id)
    if moved and any(lift.invoice is not None for lift in trade.lifts):
        raise Refused(
            "A lift is invoiced: its registration and place stay, the account may change",
            against="the invoice",
            pointer="/details/registration_id",
        )
    sells = step.details if m.side == "seller" else trade.details("seller")
    buys = step.details if m.side == "buyer" else trade.details("buyer")
    return [named.model_copy(update={"tax": _derive(m, trade, sells, buys)})]


def side_by_side(trade: Trade, talk: Talk) -> tuple[Difference, ...]:
    """Where the offer's terms and the last word with this bidder differ."""
    return differences(trade.terms, talk.terms)


def open_items(trade: Trade) -> Iterator[Open]:
    if trade.match is None:
        yield Open(
            "negotiation",
            "withdraw_offer",
            "seller",
            trade.valid_until,
            "The offer expires",
            Ended(how="expired", reason="offer_expired"),
            or_steps=("change_offer",),
        )
        for talk in trade.talks:
            if talk.open:
                yield Open(
                    "negotiation",
                    "accept",
                    other(talk.by),
                    talk.valid_until,
                    "The bid lapses",
                    BidEnded(bidder_id=talk.bidder_id, how="lapsed"),
                    str(talk.sequence),
                    ("counter", "end_bid"),
                )
    elif trade.contracted_at is None:
        yield Open(
            "documents",
            "sign",
            other(trade.signed[0]),
            trade.terms.signing.after(trade.match.at),
            "The trade is cancelled without cost",
            Ended(how="cancelled", reason="signature_overdue"),
            or_steps=("decline_contract",),
        )


def _placed(m: Moment, bidder_id: Any, price: Price, wanted: Quantity, differs: Patch, until: datetime) -> BidPlaced:
    trade = m.trade
    _same_unit(trade, price, "/price/unit")
    _patched(trade.terms, differs)
    _check_until(m.at, until)
    whole = trade.lot.quantity
    if (
        wanted.kg > whole.kg
        or (wanted.bales or 0) > (whole.bales or 0)
        or (wanted.bales is None) != (whole.bales is None)
    ):
        raise Refused(
            f"The lot has {whole.kg} kg" + ("" if whole.bales is None else f" in {whole.bales} bales"),
            against="lot.quantity",
            code="invalid",
            pointer="/quantity",
        )
    _less(whole, wanted)
    _check_sum(price, wanted, "/price/paise")
    return BidPlaced(
        bidder_id=bidder_id,
        by=m.side,
        price=price,
        quantity=wanted,
        differs=differs,
        valid_until=min(until, trade.valid_until),
    )


def _less(whole: Quantity, part: Quantity) -> Quantity | None:
    """What a part leaves of the whole; None if nothing. Raises `Refused` if what is left is no possible lot."""
    if part == whole:
        return None
    kg, bales = whole.kg - part.kg, None if whole.bales is None else whole.bales - (part.bales or 0)
    if kg == 0 and not bales:
        return None
    try:
        return Quantity(bales=bales, kg=kg)
    except ValidationError:
        raise Refused(
            f"What is left of the lot, {kg} kg in {bales} bales, would be no possible lot",
            against="lot.quantity",
            code="invalid",
            pointer="/quantity",
        ) from None


def _answered(m: Moment, sequence: int) -> Talk:
    talk = next((talk for talk in m.trade.talks if talk.sequence == sequence), None)
    if talk is None or not talk.open or talk.by == m.side:
        raise Refused(
            "No word of the other side that still stands has that sequence",
            against="negotiation",
            code="invalid",
            pointer="/to",
        )
    if m.side == "buyer" and talk.bidder_id != m.actor.party_id:
        raise Refused("That word is another bidder's", against="negotiation", code="forbidden", pointer="/to")
    return talk


def _unsigned(m: Moment) -> None:
    trade = m.trade
    require(trade.match is not None, "Nothing is matched yet: accept a bid first", against="negotiation")
    require(trade.contracted_at is None, "Both have signed", against="the contract")
    require(m.side not in trade.signed, f"The {m.side} signed by accepting", against="the match")


def _tax(m: Moment, trade: Trade) -> tax.Tax:
    return _derive(m, trade, trade.details("seller"), trade.details("buyer"))


def _derive(m: Moment, trade: Trade, sells: tax.Details, buys: tax.Details) -> tax.Tax:
    buyer = m.parties.buyer
    if buyer is None or buyer.id != trade.buyer_id:
        raise Refused("Nothing is known of the buyer", against="the parties")
    return tax.derive(trade.terms, trade.lot.place_id, m.parties.seller, sells, buyer, buys)


def _on_the_market(trade: Trade) -> None:
    require(trade.match is None, "The lot is no longer on the market: it is matched", against="the match")


def _same_unit(trade: Trade, price: Price, pointer: str) -> None:
    if price.unit != trade.ask.unit:
        raise Refused(f"This lot is quoted per {trade.ask.unit}", against="ask.unit", code="invalid", pointer=pointer)


def _check_until(at: datetime, until: datetime) -> None:
    if not at < until <= at + LONGEST_OFFER:
        raise Refused(
            f"It must end within {LONGEST_OFFER.days} days from now",
            against="the clock",
            code="invalid",
            pointer="/valid_until",
        )


def _check_sum(price: Price, quantity: Quantity, pointer: str) -> None:
    """Premiums, charges and tax never double a sum: with that room every line stays a sum that can be written down."""
    if 2 * price.of(quantity.kg) > MAX_PAISE:
        raise Refused(
            "At this price the lot comes to more than can be settled",
            against="kapas.values.money.MAX_PAISE",
            code="invalid",
            pointer=pointer,
        )


def _patched(terms: Terms, differs: Mapping[str, Any]) -> Terms:
    try:
        return patched(terms, differs)
    except ValidationError as error:
        pointer, message = faults(error, "/differs")
        raise Refused(f"These are no terms: {message}", against="terms", code="invalid", pointer=pointer) from None
