"""What the contract's terms make of the facts: lines in integer paise, each exact and rounded once, half up.

A credit or debit note taxes its own value, not the difference of two rounded invoices. Percentages by a table are of
the invoice's value, each its own line. Interest, discounts, withheld tax and payments are the money side's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from kapas.values.clock import IST
from kapas.values.money import rounded

from . import delivery, quality, weight
from .tax import Tax, rates
from .terms import Charge, Rate
from .trade import Claim, Lift, Match, Trade
from .values import UNITS, Figures, Side

Paper = Literal["invoice", "credit_note", "debit_note", "liability", "damages"]
GRAM = Decimal("0.001")
_NOTHING = (Decimal(0), Fraction(0))


@dataclass(frozen=True, slots=True)
class Line:
    """One line, in paise. Of an invoice and its notes it is the buyer's debt to the seller, negative where it lowers it.

    A `liability` is what `payer` owes somebody else (`to`); `damages` bear no tax (circular 178/10/2022-GST).
    """

    code: str
    paper: Paper
    lift: int | None
    paise: int
    payer: Side
    to: str
    rule: str
    taxed: bool = False


@dataclass(frozen=True, slots=True)
class Weights:
    """How a lift's payable weight was come to, in kilograms."""

    net: Decimal
    moisture: Decimal
    trash: Decimal
    payable: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """All lines of a trade so far, in the order of its lifts. `unpriced`: properties that no table has a price for."""

    trade_id: str
    version: int
    lines: tuple[Line, ...]
    unpriced: tuple[tuple[int, str], ...]
    rejected: tuple[tuple[int, str], ...]

    def of(self, paper: Paper, lift: int | None = None) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.paper == paper and (lift is None or line.lift == lift))

    def total(self, *papers: Paper, lift: int | None = None) -> int:
        """The sum of the lines of these papers, in paise."""
        return sum(line.paise for paper in papers for line in self.of(paper, lift))

    @property
    def payable(self) -> int:
        """What the buyer owes the seller by invoices and notes."""
        return self.total("invoice", "credit_note", "debit_note")


def statement(trade: Trade) -> Statement:
    """The settlement as the facts stand; lifts whose weight is not agreed have no lines yet."""
    lines: list[Line] = []
    unpriced: list[tuple[int, str]] = []
    rejected: list[tuple[int, str]] = []
    if trade.match is not None and trade.tax is not None:
        for lift in trade.lifts:
            lines += _lift(trade, trade.match, trade.tax, lift)
            figures = quality.agreed_figures(lift)
            if figures is not None:
                priced = quality.priced(trade.terms, figures)
                unpriced += [(lift.number, name) for name in priced.unpriced]
                rejected += [(lift.number, name) for name in priced.rejected]
        lines += _claims(trade, trade.match, trade.tax)
        lines += close_out(trade)
    return Statement(str(trade.id), trade.version, tuple(lines), tuple(unpriced), tuple(rejected))


def weights(trade: Trade, lift: Lift) -> Weights | None:
    """The payable weight: net less what is agreed for moisture and trash; kapas to the gram, lint unrounded."""
    net = weight.kilograms(trade, lift)
    if net is None:
        return None
    terms = trade.terms.quality
    figures = quality.agreed_figures(lift) if lift.invoice is None else lift.invoice.figures
    off = [Decimal(0), Decimal(0)]
    readings = (None, None) if figures is None else (figures.moisture_pct, figures.trash_pct)
    for index, (basis, reading) in enumerate(zip((terms.moisture, terms.trash), readings, strict=True)):
        if basis is not None and reading is not None:
            off[index] = net * max(Decimal(0), reading - basis.basis_pct) * basis.ratio / 100
    payable = net - off[0] - off[1]
    return Weights(net, off[0], off[1], _gram(payable) if trade.lot.kind == "kapas" else payable)


def close_out(trade: Trade) -> tuple[Line, ...]:
    """The difference of what was closed out, and its expenses. A gain of a resale is the seller's: no line."""
    rest, match = trade.rest, trade.match
    if rest is None or match is None or rest.how != "closed_out" or rest.price is None or rest.defaulter is None:
        return ()
    kg = delivery.rest_kg(trade)
    contract, market = rounded(match.price.of(kg)).paise, rounded(rest.price.of(kg)).paise
    rule = "Contract price less the price of the resale or purchase, and its expenses (Sale of Goods Act 1930, s.54)"
    seller_defaults = rest.defaulter == "seller"
    to: Side = "buyer" if seller_defaults else "seller"
    loss = market - contract if seller_defaults else contract - market
    if loss + rest.expenses_paise <= 0:
        return ()
    sign = -1 if seller_defaults else 1
    return (
        Line("rest_at_contract_price", "damages", None, sign * contract, rest.defaulter, to, rule),
        Line("rest_at_market_price", "damages", None, -sign * market, rest.defaulter, to, rule),
        Line("expenses", "damages", None, rest.expenses_paise, rest.defaulter, to, rule),
    )


def brokerage(trade: Trade, goods: Sequence[Line]) -> tuple[Line, ...]:
    """What each side owes its broker, without tax, on the lines of goods that the statement has."""
    terms = trade.terms.brokerage
    if terms is None or trade.match is None:
        return ()
    lines: list[Line] = []
    value = sum(line.paise for line in goods)
    for side, rate in (("seller", terms.seller), ("buyer", terms.buyer)):
        if rate is not None and goods:
            bales = delivery.lifted_bales(trade)
            paise = rounded(_rate(rate, value, delivery.lifted_kg(trade), bales, len(goods))).paise
            payer: Side = "seller" if side == "seller" else "buyer"
            lines.append(Line("brokerage", "liability", None, paise, payer, "broker", "terms.brokerage"))
    return tuple(lines)


def _lift(trade: Trade, match: Match, tax: Tax, lift: Lift) -> Iterator[Line]:
    sums = weights(trade, lift)
    if sums is None:
        return
    number = lift.number
    value = rounded(match.price.of(sums.payable)).paise
    taxable = [Line("cotton", "invoice", number, value, "buyer", "seller", "payable weight at the price", True)]
    taxable += _charges_in_value(trade, lift, value, sums.net)
    adjusted = list(_quality(trade, match, lift, value, sums.payable))
    before_invoice = [line for line in adjusted if line.paper == "invoice"]
    after_invoice = [line for line in adjusted if line.paper != "invoice"]
    yield from taxable
    yield from before_invoice
    base = sum(line.paise for line in (*taxable, *before_invoice))
    yield from _taxes(tax, base, "invoice", number)
    yield from _other_charges(trade, lift, value, sums.net)
    if after_invoice:
        yield from after_invoice
        total = sum(line.paise for line in after_invoice)
        yield from _taxes(tax, total, "credit_note" if total < 0 else "debit_note", number)
    yield from _carrying(trade, tax, lift, value)


def _quality(trade: Trade, match: Match, lift: Lift, value: int, payable: Decimal) -> Iterator[Line]:
    """What the figures were worth at the invoice; by what another reading since differs is a note."""
    known = quality.agreed_figures(lift)
    billed = known if lift.invoice is None else lift.invoice.figures
    before, now = (_worth(trade, match, figures, value, payable) for figures in (billed, known))
    for name, (reading, part) in before.items():
        yield Line(name, "invoice", lift.number, rounded(part).paise, "buyer", "seller", f"{name} {reading}", True)
    if known == billed:
        return
    since = {name: now.get(name, _NOTHING)[1] - before.get(name, _NOTHING)[1] for name in {**before, **now}}
    paper: Paper = "credit_note" if sum(since.values()) < 0 else "debit_note"
    for name, part in since.items():
        if part:
            reading = now.get(name, _NOTHING)[0]
            yield Line(name, paper, lift.number, rounded(part).paise, "buyer", "seller", f"{name} {reading}", True)


def _worth(
    trade: Trade, match: Match, figures: Figures | None, value: int, payable: Decimal
) -> dict[str, tuple[Decimal, Fraction]]:
    """By property the reading and what the table makes of it, in paise, exact."""
    if figures is None:
        return {}
    candies = Fraction(payable) / Fraction(UNITS[match.price.unit])
    return {
        name: (reading, Fraction(percent) * value / 100 if percent is not None else (paise or 0) * candies)
        for name, reading, percent, paise in quality.priced(trade.terms, figures).adjustments
    }


def _charges_in_value(trade: Trade, lift: Lift, value: int, net: Decimal) -> list[Line]:
    """What the seller charges the buyer is part of the value (CGST Act 2017, section 15(2)(c))."""
    return [
        Line(
            charge.code,
            "invoice",
            lift.number,
            rounded(_rate(charge.rate, value, net, delivery.bales(lift), 1)).paise,
            "buyer",
            "seller",
            charge.source or "terms.charges",
            True,
        )
        for charge in trade.terms.charges
        if charge.payer == "buyer" and charge.to == "seller"
    ]


def _other_charges(trade: Trade, lift: Lift, value: int, net: Decimal) -> Iterator[Line]:
    """Charges to others. In a yard the buyer keeps back what the seller owes for labour and weighing, and pays it."""
    for charge in trade.terms.charges:
        if charge.payer == "buyer" and charge.to == "seller":
            continue
        paise = rounded(_rate(charge.rate, value, net, delivery.bales(lift), 1)).paise
        kept_back = charge.payer == "seller" and trade.terms.delivery.basis == "yard"
        yield _charge(charge, lift, -paise if kept_back else paise, kept_back)


def _charge(charge: Charge, lift: Lift, paise: int, kept_back: bool) -> Line:
    paper: Paper = "invoice" if kept_back else "liability"
    return Line(charge.code, paper, lift.number, paise, charge.payer, charge.to, charge.source or "terms.charges")


def _taxes(tax: Tax, base: int, paper: Paper, lift: int | None) -> Iterator[Line]:
    """CGST and SGST, half each, within a state; IGST between states; under reverse charge the buyer's own liability."""
    if tax.kind == "none":
        return
    rate = Fraction(rates().pct)
    shares = [("cgst", rate / 2), ("sgst", rate / 2)] if tax.kind == "within_state" else [("igst", rate)]
    for code, share in shares:
        paise = rounded(share * base / 100).paise
        if tax.reverse_charge:
            yield Line(code, "liability", lift, paise, "buyer", "government", f"{tax.rule}. {tax.source}")
        else:
            yield Line(code, paper, lift, paise, "buyer", "seller", f"{tax.rule}. {tax.source}")


def _carrying(trade: Trade, tax: Tax, lift: Lift, value: int) -> Iterator[Line]:
    """Per cent a month of the value, by days of 30, from the day after the free period until the lifting."""
    terms, contracted = trade.terms.delivery.carrying, trade.contracted_at
    pct = trade.carrying_pct_a_month if trade.carrying_pct_a_month is not None else terms and terms.pct_a_month
    if pct is None or contracted is None or lift.dispatch is None:
        return
    free = terms.free_days if terms is not None else trade.terms.delivery.period.count
    late = (_day(lift.dispatch.at) - _day(contracted)).days - free
    if late <= 0:
        return
    paise = rounded(Fraction(pct) * late * value / 3000).paise
    rule = f"{pct} % a month of the value for {late} days of 30"
    yield Line("carrying", "debit_note", lift.number, paise, "buyer", "seller", rule, True)
    yield from _taxes(tax, paise, "debit_note", lift.number)


def _claims(trade: Trade, match: Match, tax: Tax) -> Iterator[Line]:
    """What claims ended with: kilograms at the contract's price, or a sum; a note with tax on its own value."""
    for claim in trade.claims:
        if claim.stage != "closed" or claim.kind == "difference":
            continue
        paise = _moved(match, claim)
        if not paise or claim.moves.to is None:
            continue
        rule = f"claim {claim.number}, {claim.kind}: {claim.how}"
        if claim.kind == "not_delivered":
            sign = -1 if claim.moves.to == "buyer" else 1
            payer: Side = "seller" if claim.moves.to == "buyer" else "buyer"
            yield Line(claim.kind, "damages", None, sign * paise, payer, claim.moves.to, rule)
            continue
        paper: Paper = "credit_note" if claim.moves.to == "buyer" else "debit_note"
        signed = -paise if claim.moves.to == "buyer" else paise
        yield Line(claim.kind, paper, claim.lift, signed, "buyer", "seller", rule, True)
        yield from _taxes(tax, signed, paper, claim.lift)


def _moved(match: Match, claim: Claim) -> int:
    if claim.moves.kg is not None:
        return rounded(match.price.of(claim.moves.kg)).paise
    return claim.moves.paise


def _rate(rate: Rate, value: int, net: Decimal, bales: int, lifts: int) -> Fraction:
    if rate.pct is not None:
        return Fraction(rate.pct) * value / 100
    if rate.paise_per_100kg is not None:
        return rate.paise_per_100kg * Fraction(net) / 100
    if rate.paise_per_bale is not None:
        return Fraction(rate.paise_per_bale * bales)
    return Fraction((rate.paise_a_lift or 0) * lifts)


def _gram(kg: Decimal) -> Decimal:
    exact = Fraction(kg) * 1000
    return ((2 * exact.numerator + exact.denominator) // (2 * exact.denominator)) * GRAM


def _day(at: datetime) -> date:
    return at.astimezone(IST).date()
