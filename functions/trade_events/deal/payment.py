"""When dues arise by the schedule, and whether they are settled. Sums, ledger and interest are the money side's.

A payer's word is a claim, a payee's a confirmation between the two, a bank line a fact: only the last two settle.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from . import steps as s
from . import weight
from .events import Payload, PaymentRecorded, PaymentReversed
from .moment import Moment
from .refusal import Refused, require
from .terms import Anchor, Instalment
from .trade import Lift, Open, Trade, deadline, reminding
from .values import days

CONFIRMATION = days(2)
"""How long a payee has to confirm what the payer says; then both are reminded, for silence receives no money."""


@dataclass(frozen=True, slots=True)
class Due:
    """A part of the price: `share_pct` of the lift's bill, or of the contract's value at `signing`."""

    key: str
    lift: int | None
    share_pct: Decimal
    after: Anchor
    arises_at: datetime
    due_at: datetime
    before_dispatch: bool
    settled: bool
    said_at: datetime | None
    """When the payer said that it paid, if nobody has confirmed it."""


def record_payment(m: Moment, step: s.RecordPayment) -> list[Payload]:
    due = next((due for due in dues(m.trade) if due.key == step.due), None)
    if due is None:
        raise Refused(
            f"No due {step.due} has arisen; there are {', '.join(d.key for d in dues(m.trade)) or 'none'}",
            against="terms.payment.instalments",
            code="invalid",
            pointer="/due",
        )
    if m.side_or_system == "buyer" and step.settles:
        raise Refused(
            "A payer's word settles nothing: the payee confirms it, or a bank line does",
            against="the payer's word",
            code="invalid",
            pointer="/settles",
        )
    source = {"buyer": "payer", "seller": "payee"}.get(m.side_or_system, "bank")
    return [
        PaymentRecorded.model_validate(
            {
                "due": step.due,
                "paise": step.paise,
                "said_by": source,
                "settles": step.settles,
                "payment_id": step.payment_id,
            }
        )
    ]


def reverse_payment(m: Moment, step: s.ReversePayment) -> list[Payload]:
    known = [paid for paid in m.trade.payments if paid.payment_id == step.payment_id and not paid.reversed]
    if not known:
        raise Refused("No payment of that id stands", against="the payments", code="invalid", pointer="/payment_id")
    banked = any(paid.source == "bank" for paid in known)
    require(
        m.side_or_system == "system" or not banked,
        "A bank line is reversed by the bank's line, not by a party's word",
        against="the bank line",
    )
    return [PaymentReversed(payment_id=step.payment_id, why=step.why)]


def dues(trade: Trade) -> tuple[Due, ...]:
    """Every due that has arisen, in the schedule's order."""
    return tuple(_dues(trade))


def open_dues(trade: Trade) -> tuple[Due, ...]:
    """What is not settled. What was to be paid at signing falls away with the rest; the money side sets it off."""
    return tuple(due for due in _dues(trade) if not due.settled and not (due.lift is None and trade.rest is not None))


def received(trade: Trade) -> bool:
    """Whether the payee has anything: by its own word or a bank line."""
    return any(paid.source != "payer" and not paid.reversed for paid in trade.payments)


def rest_paid(trade: Trade) -> bool:
    """Whether what is not delivered is paid in full: at signing, or bill by bill before dispatch."""
    known = dues(trade)
    if sum(due.share_pct for due in known if due.after == "signing" and due.settled) >= 100:
        return True
    waiting = [lift.number for lift in trade.lifts if lift.invoice is not None and lift.dispatch is None]
    return any(
        all(due.settled for due in known if due.lift == number) and any(due.lift == number for due in known)
        for number in waiting
    )


def blocks_dispatch(trade: Trade, lift: Lift) -> bool:
    """Whether the terms keep the goods until a due is paid that is not."""
    known = dues(trade)
    for number, instalment in enumerate(trade.terms.payment.instalments, 1):
        if instalment.before_dispatch:
            key = str(number) if instalment.after == "signing" else f"{number}.{lift.number}"
            if not any(due.key == key and due.settled for due in known):
                return True
    return False


def open_items(trade: Trade) -> Iterator[Open]:
    for due in open_dues(trade):
        held = trade.disputed and not trade.terms.disputes.interest_runs
        if not held:
            then = "Overdue: interest by the terms, and the seller may give notice"
            due_at = deadline(trade, due.arises_at, _instalment(trade, due).within, stops=False)
            yield reminding(trade, "payment", "pay", "buyer", due_at, then, due.key, ("record_payment", "raise_claim"))
        if due.said_at is not None:
            then = "Both are reminded; only a bank line receives money in silence"
            confirm_by = CONFIRMATION.after(due.said_at)
            yield reminding(trade, "payment", "record_payment", "seller", confirm_by, then, due.key, ("raise_claim",))


def _instalment(trade: Trade, due: Due) -> Instalment:
    return trade.terms.payment.instalments[int(due.key.partition(".")[0]) - 1]


def _dues(trade: Trade) -> Iterator[Due]:
    if trade.contracted_at is None:
        return
    for number, instalment in enumerate(trade.terms.payment.instalments, 1):
        if instalment.after == "signing":
            yield _due(trade, str(number), None, instalment, trade.contracted_at)
            continue
        for lift in trade.lifts:
            since = _since(trade, lift, instalment.after)
            if since is not None:
                yield _due(trade, f"{number}.{lift.number}", lift.number, instalment, since)


def _since(trade: Trade, lift: Lift, after: Anchor) -> datetime | None:
    if after == "invoice":
        return None if lift.invoice is None else lift.invoice.at
    if after == "dispatch":
        return None if lift.dispatch is None else lift.dispatch.at
    return weight.delivered_at(trade, lift)


def _due(trade: Trade, key: str, lift: int | None, instalment: Instalment, since: datetime) -> Due:
    known = [paid for paid in trade.payments if paid.due == key and not paid.reversed]
    heard = [paid for paid in known if paid.source != "payer"]
    said = [paid.at for paid in known if paid.source == "payer"]
    return Due(
        key,
        lift,
        instalment.share_pct,
        instalment.after,
        since,
        instalment.within.after(since),
        instalment.before_dispatch,
        any(paid.settles for paid in heard),
        said[-1] if said and not any(paid.at >= said[-1] for paid in heard) else None,
    )
