"""Quality: lots offered and passed, readings that both agree on, prices by a table, windows that close.

A reading of one side counts when the other accepts it, an inspector's at once. A deduction that nobody agreed to and
nobody independent read is not taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from . import steps as s
from .events import (
    Changes,
    LotResult,
    LotsOffered,
    LotsPassed,
    NamedLot,
    Payload,
    QualityClosed,
    ReadingAnswered,
    Sampled,
    Tested,
)
from .moment import Moment
from .refusal import Refused, require
from .terms import Band, Slope, Terms, quality_table
from .trade import Lift, OfferedLot, Open, Trade, deadline, other, reminding, stopped
from .values import Figures, Side, days

INSPECTION = days(3)
"""How long an inspector has to read again; the platform's own word, no term."""
MOST_OFFERED = Decimal("2")
"""Lots are shown for up to twice the quantity: mahacot.com/terms.html."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What a table makes of figures: adjustments by property, and what it rejects or has no price for."""

    adjustments: tuple[tuple[str, Decimal, Decimal | None, int | None], ...]
    """Property, reading, per cent of the value or paise per unit of the price."""
    rejected: tuple[str, ...]
    unpriced: tuple[str, ...]


def offer_lots(m: Moment, step: s.OfferLots) -> list[Payload]:
    trade = m.trade
    require(trade.terms.quality.passing == "before_dispatch", "No lots are passed", against="terms.quality.passing")
    require(trade.rest is None, "What was not delivered has ended", against="the rest")
    numbers = {lot.no for lot in trade.lots}
    twice = next((i for i, lot in enumerate(step.lots) if lot.no in numbers or _repeated(step.lots, i)), None)
    if twice is not None:
        raise Refused(
            "A lot of this number was offered before",
            against="the lots offered",
            code="invalid",
            pointer=f"/lots/{twice}/no",
        )
    standing = sum(lot.bales for lot in trade.lots if lot.verdict in (None, "passed"))
    asked = contracted_bales(trade)
    if standing + sum(lot.bales for lot in step.lots) > asked * MOST_OFFERED:
        raise Refused(
            f"Lots are offered for up to twice the {asked} bales of the contract",
            against="the contract's quantity",
            pointer="/lots",
        )
    rejected = any(lot.verdict == "rejected" for lot in trade.lots)
    if rejected and replacements(trade) >= trade.terms.quality.replacements:
        raise Refused("No more rejected lots are replaced", against="terms.quality.replacements")
    named = tuple(NamedLot(no=lot.no, bales=lot.bales, marks=lot.marks) for lot in step.lots)
    return [LotsOffered(lots=named, replaces=rejected)]


def sample(_: Moment, step: s.Sample) -> list[Payload]:
    return [Sampled(samples=step.samples, lift=step.lift, lot=step.lot, seal=step.seal)]


def test(m: Moment, step: s.Test) -> list[Payload]:
    """A fact: kept whatever the state."""
    return [Tested(lift=step.lift, figures=step.figures, by=m.who, laboratory=step.laboratory, file_id=step.file_id)]


def answer_reading(m: Moment, step: s.AnswerReading) -> list[Payload]:
    lift = m.trade.lift(step.lift)
    reading = lift.readings[-1] if lift.readings else None
    if reading is None or reading.by not in ("seller", "buyer"):
        raise Refused(f"No side's reading of lift {step.lift} waits", against="the readings", pointer="/lift")
    require(lift.reading_answer is None, "The reading was answered", against="the answer")
    require(reading.by != m.side, "The other side answers a reading", against="the reading")
    return [ReadingAnswered(lift=step.lift, answer=step.answer)]


def pass_lots(m: Moment, step: s.PassLots) -> list[Payload]:
    terms = m.trade.terms.quality
    require(m.who in (terms.by, "inspector"), f"The {terms.by} passes the lots", against="terms.quality.by")
    waiting = {lot.no for lot in m.trade.lots if lot.verdict is None}
    wrong = next((i for i, result in enumerate(step.results) if result.no not in waiting), None)
    if wrong is not None or len({result.no for result in step.results}) != len(step.results):
        raise Refused(
            "A lot is passed once, after it was offered",
            against="the lots offered",
            code="invalid",
            pointer=f"/results/{wrong or 0}/no",
        )
    return [LotsPassed(results=step.results, by=m.who)]


def accept_quality(m: Moment, step: s.AcceptQuality) -> list[Payload]:
    require(not m.trade.lift(step.lift).quality_closed, "The quality is accepted", against="the window")
    return [QualityClosed(lift=step.lift, why="accepted")]


def contracted_bales(trade: Trade) -> int:
    return 0 if trade.match is None else trade.match.quantity.bales or 0


def passed_bales(trade: Trade) -> int:
    return sum(lot.bales for lot in trade.lots if lot.verdict == "passed")


def replacements(trade: Trade) -> int:
    return len({lot.at for lot in trade.lots if lot.replaces})


def agreed_figures(lift: Lift) -> Figures | None:
    """The figures that a lift is priced by: an inspector's, or a side's that the other accepted."""
    inspected = [reading for reading in lift.readings if reading.by == "inspector"]
    if inspected:
        return inspected[-1].figures
    accepted = lift.reading_answer == "accepted" and lift.readings
    return lift.readings[-1].figures if accepted else None


def priced(terms: Terms, figures: Figures) -> Priced:
    """What the contract's table says of figures. What was not tested is neither basis nor priced."""
    table = quality_table(terms)
    if table is None:
        return Priced((), (), ())
    adjustments: list[tuple[str, Decimal, Decimal | None, int | None]] = []
    rejected: list[str] = []
    unpriced: list[str] = []
    for name, reading in figures.tested().items():
        if name in table.bands:
            band = next((band for band in table.bands[name] if band.holds(reading)), None)
            _by_band(name, reading, band, adjustments, rejected, unpriced)
        elif name in table.slopes:
            _by_slope(name, reading, table.slopes[name], adjustments, rejected, unpriced)
    return Priced(tuple(adjustments), tuple(rejected), tuple(unpriced))


def changes(before: Trade, after: Trade, number: int) -> Changes | None:
    """What a fact about an invoiced lift alters in the price by its figures."""
    if after.lift(number).invoice is None:
        return None
    was, now = agreed_figures(before.lift(number)), agreed_figures(after.lift(number))
    if was == now or now is None:
        return None
    low = _worth(after.terms, now) < (_worth(after.terms, was) if was is not None else Decimal(0))
    said = {} if was is None else was.tested()
    return Changes(
        lift=number, what="quality", note="credit" if low else "debit", before=_text(said), after=_text(now.tested())
    )


def open_items(trade: Trade) -> Iterator[Open]:
    yield from _lots(trade)
    for lift in trade.lifts:
        yield from _readings(trade, lift)
        yield from _window(trade, lift)


def _lots(trade: Trade) -> Iterator[Open]:
    terms = trade.terms.quality
    if terms.passing != "before_dispatch" or trade.rest is not None or trade.contracted_at is None:
        return
    waiting = [lot for lot in trade.lots if lot.verdict is None]
    if waiting and not stopped(trade):
        verdict = "passed" if terms.silence == "passed" else "released"
        deemed = LotsPassed(results=tuple(LotResult(no=lot.no, verdict=verdict) for lot in waiting), by="system")
        due = deadline(trade, max(lot.at for lot in waiting), terms.within)
        yield Open("quality", "pass_lots", terms.by, due, f"The lots are deemed {verdict}", deemed)
        return
    missing = contracted_bales(trade) - passed_bales(trade)
    if waiting or missing <= 0:
        return
    rejected = [lot for lot in trade.lots if lot.verdict == "rejected" and lot.verdict_at is not None]
    if rejected:
        yield from _replacement(trade, rejected)
        return
    start = max([trade.contracted_at, *(lot.verdict_at for lot in trade.lots if lot.verdict_at is not None)])
    due = deadline(trade, start, trade.terms.delivery.lots_within)
    yield reminding(trade, "quality", "offer_lots", "seller", due, "The buyer may give notice of default")


def _replacement(trade: Trade, rejected: list[OfferedLot]) -> Iterator[Open]:
    start = max(lot.verdict_at for lot in rejected if lot.verdict_at is not None)
    due = deadline(trade, start, trade.terms.quality.replace_within)
    if replacements(trade) < trade.terms.quality.replacements:
        told = trade.reminder("quality:offer_lots:replacement")
        if told is None:
            then = "The buyer may cancel that part"
            yield reminding(trade, "quality", "offer_lots", "seller", due, then, "replacement")
            return
        due = told.at
    after = trade.terms.disputes.answer.after(due)
    then = "The buyer is reminded; until then the seller may still offer others, if the terms let it"
    yield reminding(trade, "quality", "cancel_rejected", "buyer", after, then, ors=("propose", "give_notice"))


def _readings(trade: Trade, lift: Lift) -> Iterator[Open]:
    """Readings that pay: for kapas before unloading, elsewhere where a table prices them."""
    terms, ref = trade.terms.quality, str(lift.number)
    if lift.reading_answer == "dropped" or agreed_figures(lift) is not None or lift.quality_closed:
        return
    if not (terms.moisture or terms.trash or terms.table):
        return
    if lift.invoice is not None and (terms.moisture or terms.trash):
        return
    dropped = ReadingAnswered(lift=lift.number, answer="dropped")
    if not lift.readings:
        if lift.slips and terms.table is None:
            due = deadline(trade, lift.slips[0].at, terms.reading_answer)
            then = "No deduction is taken for what was not read"
            yield Open("quality", "test", "buyer", due, then, dropped, ref)
        return
    reading = lift.readings[-1]
    if lift.reading_answer is None and reading.by in ("seller", "buyer"):
        side: Side = "seller" if reading.by == "seller" else "buyer"
        due = deadline(trade, reading.at, terms.reading_answer)
        contested = ReadingAnswered(lift=lift.number, answer="contested")
        then = "An inspector reads again"
        yield Open("quality", "answer_reading", other(side), due, then, contested, ref, ("test",))
    elif lift.reading_answered_at is not None:
        due = INSPECTION.after(lift.reading_answered_at)
        then = "A deduction that is not agreed is not taken"
        yield Open("quality", "test", "inspector", due, then, dropped, ref)


def _window(trade: Trade, lift: Lift) -> Iterator[Open]:
    """After the arrival: the mill's own test, or the window for hidden defects."""
    terms = trade.terms.quality
    period = terms.within if terms.passing == "after_arrival" else terms.claims_within
    if period is None or terms.passing == "none" or lift.arrival is None or lift.quality_closed or stopped(trade):
        return
    due = deadline(trade, lift.arrival.at, period)
    closed = QualityClosed(lift=lift.number, why="window_passed")
    then = "The goods are accepted as shipped"
    yield Open("quality", "accept_quality", "buyer", due, then, closed, str(lift.number), ("raise_claim", "test"))


def _by_band(
    name: str,
    reading: Decimal,
    band: Band | None,
    adjustments: list[tuple[str, Decimal, Decimal | None, int | None]],
    rejected: list[str],
    unpriced: list[str],
) -> None:
    if band is None:
        unpriced.append(name)
    elif band.reject:
        rejected.append(name)
    elif band.percent or band.paise_per_unit:
        adjustments.append((name, reading, band.percent, band.paise_per_unit))


def _by_slope(
    name: str,
    reading: Decimal,
    slope: Slope,
    adjustments: list[tuple[str, Decimal, Decimal | None, int | None]],
    rejected: list[str],
    unpriced: list[str],
) -> None:
    if slope.reject_above is not None and reading > slope.reject_above:
        rejected.append(name)
    elif slope.above_to is not None and reading > slope.above_to:
        unpriced.append(name)
    else:
        low = max(reading, slope.below_to) if slope.below_to is not None else reading
        percent = (
            (reading - slope.basis) * slope.above_ratio
            if reading > slope.basis
            else ((slope.basis - low) * slope.below_ratio)
        )
        if percent:
            adjustments.append((name, reading, percent, None))


def _worth(terms: Terms, figures: Figures) -> Decimal:
    """Whether figures are worth more or less than others: per cent, and paise where a table counts in paise."""
    quality = terms.quality
    taken = Decimal(0)
    for basis, reading in ((quality.moisture, figures.moisture_pct), (quality.trash, figures.trash_pct)):
        if basis is not None and reading is not None:
            taken -= max(Decimal(0), reading - basis.basis_pct) * basis.ratio
    return taken + sum(
        ((percent or 0) + Decimal(paise or 0) / 1000 for _, _, percent, paise in priced(terms, figures).adjustments),
        Decimal(0),
    )


def _text(figures: dict[str, Decimal]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def _repeated(lots: tuple[s.OfferedLotStep, ...], index: int) -> bool:
    return any(lot.no == lots[index].no for lot in lots[:index])
