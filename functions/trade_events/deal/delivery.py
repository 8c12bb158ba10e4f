"""Delivery in consignments: what moved, what arrived, what is left, and how the rest ends."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from . import payment, quality, weight
from . import steps as s
from .events import (
    Arrived,
    ClaimRaised,
    Dispatched,
    Moves,
    NoticeGiven,
    Payload,
    RestEnded,
)
from .moment import Moment
from .refusal import Refused, require
from .trade import Lift, Notice, Open, Trade, other, reminding
from .values import Side, days

AFTER_TRANSIT = days(3)
"""Deemed arrived three days after the e-way bill ends, where the terms deem."""
NO_BALES = Moves()


def dispatch(m: Moment, step: s.Dispatch) -> list[Payload]:
    """A fact: kept whatever the state. What it is against is said, not refused."""
    trade = m.trade
    against = list[str]()
    lift = trade.lift(step.lift)
    pressed = trade.lot.kind == "bales"
    if pressed and step.bales is None:
        raise Refused("Say how many bales left", against="lot.kind", code="invalid", pointer="/bales")
    if lift.dispatch is not None:
        against.append(f"lift {step.lift} was recorded before: this record takes its place")
    if payment.blocks_dispatch(trade, lift):
        against.append("terms.payment.instalments: not paid before dispatch")
    if trade.terms.quality.passing == "before_dispatch" and quality.passed_bales(trade) == 0:
        against.append("terms.quality.passing: no lot is passed")
    if not trade.terms.delivery.partial and any(kept.number != step.lift for kept in trade.lifts):
        against.append("terms.delivery.partial: one delivery only")
    return [
        Dispatched(
            lift=step.lift,
            bales=step.bales,
            kg=step.kg,
            vehicle=step.vehicle,
            lorry_receipt=step.lorry_receipt,
            eway_bill=step.eway_bill,
            eway_bill_until=step.eway_bill_until,
            against=tuple(against),
            by=m.who,
        )
    ]


def arrive(m: Moment, step: s.Arrive) -> list[Payload]:
    """A fact of either side; the buyer's counts against the seller's and against what was deemed."""
    return [Arrived(lift=step.lift, bales=step.bales, kg=step.kg, damaged_bales=step.damaged_bales, by=m.who)]


def give_notice(m: Moment, step: s.GiveNotice) -> list[Payload]:
    trade, side = m.trade, m.side
    require(trade.notice is None or not _stands(trade, trade.notice), "Notice was given", against="the notice")
    _rest_open(trade)
    _not_paid(trade, side)
    if not _at_fault(trade, other(side), step.ground):
        raise Refused(
            f"Nothing of the {other(side)} is overdue on which notice may be given",
            against=f"the {step.ground}",
            pointer="/ground",
        )
    period = trade.terms.payment.notice if step.ground == "payment" else trade.terms.close_out.notice
    return [NoticeGiven(by=side, ground=step.ground, until=period.after(m.at))]


def close_out(m: Moment, step: s.CloseOut) -> list[Payload]:
    """Raises `Refused` before the notice ran out, and for what the other side has paid."""
    trade, side = m.trade, m.side
    _rest_open(trade)
    _not_paid(trade, side)
    if step.basis not in trade.terms.close_out.bases:
        raise Refused(
            f"The rest is closed out by {' or '.join(trade.terms.close_out.bases)}",
            against="terms.close_out.bases",
            pointer="/basis",
        )
    if step.price.unit != trade.ask.unit:
        raise Refused(
            f"This lot is quoted per {trade.ask.unit}", against="ask.unit", code="invalid", pointer="/price/unit"
        )
    notice = trade.notice
    if _status(trade, other(side)) == "active":
        ran_out = notice is not None and notice.by == side and notice.until <= m.at and _stands(trade, notice)
        require(ran_out, "The rest is closed out when a notice has run out: give notice first", against="the notice")
    return [
        RestEnded(
            how="closed_out",
            why="default",
            defaulter=other(side),
            basis=step.basis,
            price=step.price,
            expenses_paise=step.expenses_paise,
        )
    ]


def cancel_unpaid(m: Moment, _: s.CancelUnpaid) -> list[Payload]:
    trade = m.trade
    _rest_open(trade)
    late = [due for due in payment.dues(trade) if due.after == "signing" and trade.reminder(f"payment:pay:{due.key}")]
    unpaid = late and not any(due.settled for due in late)
    require(unpaid, "No advance is overdue", against="the payments")
    require(not any(lift.dispatch for lift in trade.lifts), "Goods have been lifted: give notice", against="delivery")
    require(
        not payment.received(trade), "A part is paid: it can be closed out by notice or by consent", against="payment"
    )
    return [RestEnded(how="cancelled", why="unpaid", defaulter="buyer")]


def cancel_rejected(m: Moment, _: s.CancelRejected) -> list[Payload]:
    trade = m.trade
    _rest_open(trade)
    require(any(lot.verdict == "rejected" for lot in trade.lots), "No lot is rejected", against="the lots")
    require(not any(lot.verdict is None for lot in trade.lots), "Lots wait to be passed", against="the lots")
    require(
        trade.terms.quality.replacements <= quality.replacements(trade)
        or trade.reminder("quality:offer_lots:replacement") is not None,
        "The seller may still replace the rejected lots",
        against="terms.quality.replacements",
    )
    if quality.passed_bales(trade) > lifted_bales(trade):
        raise Refused("Lots that were passed have not been lifted: lift them first", against="the lots passed")
    return [RestEnded(how="cancelled", why="rejected")]


def lifted_bales(trade: Trade) -> int:
    """Bales that left, less those that go back in exchange."""
    return sum(bales(lift) for lift in trade.lifts if moved(trade, lift)) - sum(
        claim.moves.bales for claim in trade.claims if claim.stage == "closed" and claim.moves.goods == "replaced"
    )


def lifted_kg(trade: Trade) -> Decimal:
    """Kilograms that left or were weighed in, as agreed or else as recorded."""
    return sum((_kg(trade, lift) for lift in trade.lifts if moved(trade, lift)), Decimal(0))


def rest_kg(trade: Trade) -> Decimal:
    """What of the contract was not delivered."""
    return Decimal(0) if trade.match is None else max(Decimal(0), trade.match.quantity.kg - lifted_kg(trade))


def moved(trade: Trade, lift: Lift) -> bool:
    """Whether goods changed hands: dispatched, arrived, or weighed in a yard."""
    if lift.dispatch is not None or lift.arrival is not None:
        return True
    return trade.terms.delivery.basis in ("yard", "in_warehouse") and weight.kilograms(trade, lift) is not None


def complete(trade: Trade) -> bool:
    """Whether nothing is left to deliver: all within the tolerance, or the rest has ended."""
    if trade.rest is not None:
        return True
    if trade.match is None or not any(moved(trade, lift) for lift in trade.lifts):
        return False
    if trade.match.quantity.bales is not None:
        return lifted_bales(trade) >= trade.match.quantity.bales
    most = trade.match.quantity.kg
    return lifted_kg(trade) * 100 >= most * (100 - trade.terms.delivery.tolerance_pct)


def arrival_due(trade: Trade, lift: Lift) -> datetime | None:
    if lift.dispatch is None:
        return None
    transit = lift.dispatch.eway_bill_until or trade.terms.delivery.transit.after(lift.dispatch.at)
    return AFTER_TRANSIT.after(transit)


def consequence(trade: Trade) -> Payload | None:
    """What an arrival says against a dispatch opens its claim by itself; the end of a claim to the rest ends the rest."""
    undelivered = next((c for c in trade.claims if c.kind == "not_delivered" and c.stage == "closed"), None)
    if undelivered is not None and trade.rest is None and undelivered.how in ("agreed", "decided", "awarded"):
        return RestEnded(how="cancelled", why="consent" if undelivered.how == "agreed" else "operations")
    for lift in trade.lifts:
        if lift.arrival is None or lift.arrival.deemed:
            continue
        sent = None if lift.dispatch is None else lift.dispatch.bales
        here = lift.arrival.bales
        risk = trade.terms.delivery.basis == "delivered"
        short = 0 if sent is None or here is None else sent - here
        if risk and short > 0 and not _claimed(trade, lift, "short_delivery"):
            return _claim(trade, lift, "short_delivery", "buyer", short)
        if short < 0 and not _claimed(trade, lift, "excess"):
            return _claim(trade, lift, "excess", "seller", -short)
        damaged = lift.arrival.damaged_bales
        if risk and damaged and not _claimed(trade, lift, "damage"):
            return _claim(trade, lift, "damage", "buyer", damaged)
    return None


def open_items(trade: Trade) -> Iterator[Open]:
    for lift in trade.lifts:
        yield from _arrivals(trade, lift)
    if trade.contracted_at is not None and trade.delivery_until is not None and not complete(trade):
        yield _rest(trade, trade.delivery_until)


def _arrivals(trade: Trade, lift: Lift) -> Iterator[Open]:
    due = arrival_due(trade, lift)
    if due is None or lift.arrival is not None or lift.dispatch is None:
        return
    ref = str(lift.number)
    if trade.terms.delivery.deemed_arrival and not _denied(trade, lift):
        kg = lift.dispatch.kg
        deemed = Arrived(lift=lift.number, bales=lift.dispatch.bales, kg=kg, deemed=True, by="system")
        yield Open("delivery", "arrive", "buyer", due, "The lift is deemed arrived in full", deemed, ref)
    else:
        yield reminding(trade, "delivery", "arrive", "buyer", due, "The buyer is reminded; the seller may claim", ref)


def _rest(trade: Trade, until: datetime) -> Open:
    """The period, then a notice's time for the other side to choose; then the rest lapses, or is claimed if it is paid."""
    lifter = trade.terms.delivery.lifter
    told = trade.reminder("delivery:dispatch:")
    notice = trade.notice if trade.notice is not None and _stands(trade, trade.notice) else None
    choices = ("close_out", "propose", "give_notice")
    if notice is not None:
        if trade.reminder(f"delivery:perform:{notice.by}") is None:
            then = f"The {notice.by} may close out the rest"
            return reminding(
                trade, "delivery", "perform", other(notice.by), notice.until, then, notice.by, ("dispatch", "propose")
            )
        due = trade.terms.close_out.notice.after(notice.until) + timedelta(days=30)
        return _lapse(trade, notice.by, "close_out", due, ("propose",))
    if told is None:
        then = f"The {other(lifter)} may give notice, agree on more time, or let the rest go"
        return reminding(trade, "delivery", "dispatch", lifter, until, then, "", ("weigh", "propose"))
    due = trade.terms.close_out.notice.after(told.at)
    return _lapse(trade, other(lifter), "give_notice", due, choices)


def _lapse(trade: Trade, who: Side, step: str, due: datetime, ors: tuple[str, ...]) -> Open:
    if payment.received(trade) and not _claimed(trade, None, "not_delivered"):
        raised = ClaimRaised(claim=len(trade.claims) + 1, kind="not_delivered", by="buyer", lift=None, asked=NO_BALES)
        then = "What is paid and not delivered becomes a claim of the buyer"
        return Open("delivery", step, who, due, then, raised, "rest", ors)
    claim = next((c for c in trade.claims if c.kind == "not_delivered" and c.stage != "closed"), None)
    if claim is not None:
        return reminding(trade, "delivery", step, who, due, "The claim goes on", "rest", ors)
    lapsed = RestEnded(how="lapsed", why="deadline")
    return Open("delivery", step, who, due, "The rest lapses; nothing is owed for it", lapsed, "rest", ors)


def _rest_open(trade: Trade) -> None:
    require(trade.contracted_at is not None, "There is no contract yet", against="the contract")
    require(not complete(trade), "Nothing is left to deliver", against="the delivery")


def _not_paid(trade: Trade, side: Side) -> None:
    """A paid part can neither be cancelled nor defaulted by who was paid."""
    if side == "seller" and payment.rest_paid(trade):
        raise Refused(
            "The buyer has paid for what is not delivered: deliver it, or agree with the buyer",
            against="the payments",
        )


def _stands(trade: Trade, notice: Notice) -> bool:
    """Whether what a notice was given for is still undone."""
    return _at_fault(trade, other(notice.by), notice.ground)


def _at_fault(trade: Trade, side: Side, ground: str) -> bool:
    if ground == "payment":
        return side == "buyer" and any(trade.reminder(f"payment:pay:{due.key}") for due in payment.open_dues(trade))
    if ground == "lots":
        told = any(reminder.key.startswith("quality:offer_lots:") for reminder in trade.reminders)
        offered = sum(lot.bales for lot in trade.lots if lot.verdict in (None, "passed"))
        return side == "seller" and told and offered < quality.contracted_bales(trade)
    if ground == "delivery":
        return trade.reminder("delivery:dispatch:") is not None
    return _status(trade, side) != "active"


def _status(trade: Trade, side: Side) -> str:
    """A party that performs under watch counts as active."""
    if trade.watched:
        return "active"
    return trade.seller_status if side == "seller" else trade.buyer_status


def bales(lift: Lift) -> int:
    """Bales of a lift as dispatched, else as they arrived, else as a slip counts them."""
    counted = [part.bales for part in (lift.dispatch, lift.arrival) if part is not None and part.bales is not None]
    counted += [slip.slip.bales for slip in lift.slips if slip.slip.bales is not None]
    return counted[0] if counted else 0


def _kg(trade: Trade, lift: Lift) -> Decimal:
    agreed = weight.kilograms(trade, lift)
    if agreed is not None:
        return agreed
    recorded = [part.kg for part in (lift.dispatch, lift.arrival) if part is not None and part.kg is not None]
    if recorded:
        return recorded[0]
    quantity = None if trade.match is None else trade.match.quantity
    if quantity is None or quantity.bales is None:
        return Decimal(0)
    return quantity.kg * bales(lift) / quantity.bales


def _denied(trade: Trade, lift: Lift) -> bool:
    """Whether the buyer says that a lift did not come: then nothing is deemed."""
    kinds = ("not_delivered", "short_delivery")
    return any(
        claim.kind in kinds and claim.by == "buyer" and claim.lift in (None, lift.number) and claim.stage != "closed"
        for claim in trade.claims
    )


def _claimed(trade: Trade, lift: Lift | None, kind: str) -> bool:
    number = None if lift is None else lift.number
    return any(claim.kind == kind and claim.lift == number for claim in trade.claims)


def _claim(trade: Trade, lift: Lift, kind: str, by: Side, count: int) -> ClaimRaised:
    return ClaimRaised.model_validate(
        {
            "claim": len(trade.claims) + 1,
            "kind": kind,
            "by": by,
            "lift": lift.number,
            "asked": {"bales": count},
        }
    )
