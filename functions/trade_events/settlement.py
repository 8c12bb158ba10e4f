"""The settlement statement: what the buyer owes the seller, line by line, to the paisa, each with its rule and source.

Every line is computed exactly and rounded once, half up to the paisa; the lines sum to the total. Nothing of it is rounded
to the rupee: section 170 of the CGST Act is about tax payable to the government, so it applies to what the buyer pays
there under reverse charge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from kapas.errors import Conflict
from kapas.schemas.common import Amount
from kapas.values.money import PAISE_PER_RUPEE, rounded
from kapas.values.states import states
from kapas.values.units import Quantity, amount, quantity, table

from . import projection, weighing
from .rules import Gst, QualityTable, Rules
from .schemas import Party, Settlement, SettlementLine, SettlementWeight, TaxLiability, Trade, TradeEvent
from .step_schemas import BaleWeight

ROUNDING = (
    "Each line is exact and rounded once, half up to the paisa. Only tax payable to the government is rounded to the "
    "rupee (CGST Act 2017, section 170)."
)
NOT_INVOICED = "The dispute ended before the invoice. The award states no tax; ask a tax adviser what tax is due on it."
INVOICED_BEFORE = (
    "The tax is as invoiced. If the award changes the value of the supply, correct the tax with a credit or debit note "
    "(CGST Act 2017, section 34)."
)
TaxCode = Literal["cgst", "sgst", "igst"]


@dataclass(frozen=True, slots=True)
class _Tax:
    code: TaxCode
    rate: Decimal
    """Per cent."""
    paise: int


def statement(trade: Trade, events: Sequence[TradeEvent], rules: Rules) -> Settlement:
    """The statement of a trade as its events stand. Before the invoice it is provisional, and taxed as inter-state; from
    then on it is what was invoiced, whatever the rules have become.

    Raises:
        Conflict: nothing is agreed yet, or the quality is outside the table that was agreed.
    """
    facts = projection.effective(events)
    invoice, award = _last(facts, "payment_requested"), _last(facts, "dispute_settled")
    kept: Any = None if invoice is None else _data(invoice).get("statement")
    if kept is not None:
        stated = Settlement.model_validate(kept)
    else:
        stated = _computed(trade, facts, invoice, rules, awarded=award is not None)
    status = "provisional" if trade.payable is None else "final"
    if award is None:
        return stated.model_copy(update={"version": trade.version, "status": status})
    line = _award(award, stated.total.paise)
    return stated.model_copy(
        update={
            "version": trade.version,
            "status": status,
            "lines": [*stated.lines, line],
            "total": Amount(paise=stated.total.paise + line.paise),
            "tax_note": NOT_INVOICED if invoice is None else INVOICED_BEFORE,
        }
    )


def _computed(
    trade: Trade, facts: Sequence[TradeEvent], invoice: TradeEvent | None, rules: Rules, *, awarded: bool
) -> Settlement:
    """What is owed by the rules as they are. Where an award takes its place: the cotton as agreed, for the award to be the
    difference to; its quality is not priced, nor is it taxed."""
    price = trade.price
    if price is None:
        raise Conflict("There is no settlement before the match")
    weight, quantity_paid = _weight(trade, facts, rules)
    lines = [
        SettlementLine(
            code="cotton",
            description=f"{quantity_paid.kg.normalize():f} kg at the agreed price per {price.unit}",
            paise=amount(price.price(), quantity_paid).paise,
            rule=f"A {price.unit} is {quantity(0, price.unit).kg_per_unit} kg",
            source=f"Units of version {table().version}",
        )
    ]
    tables = {"units": table().version, "gst": rules.gst.version}
    if weight.source == "weighed":
        tables["moisture"] = rules.moisture.version
    if trade.quality_terms != "none" and not awarded:
        terms = rules.quality[trade.quality_terms]
        tables["quality"] = terms.version
        lines += _quality(terms, _figures(trade, facts), lines[0].paise)
    taxes = [] if awarded else _taxes(sum(line.paise for line in lines), invoice, rules.gst)
    agriculturist = _seller_type(facts) in rules.gst.reverse_charge_seller_types
    reverse = agriculturist and _buyer_type(trade, facts) != "farmer"
    if not agriculturist:
        lines += [_tax_line(tax, rules.gst) for tax in taxes]
    return Settlement(
        trade_id=trade.id,
        version=trade.version,
        status="provisional",
        price=price,
        weight=weight,
        hsn=rules.gst.hsn,
        reverse_charge=reverse,
        lines=lines,
        total=Amount(paise=sum(line.paise for line in lines)),
        liabilities=[_liability(tax, rules.gst) for tax in taxes] if reverse else [],
        tax_note=rules.gst.unregistered_rule if agriculturist and not reverse else None,
        rounding=ROUNDING,
        tables=tables,
    )


def weighed_bales(events: Sequence[TradeEvent], party: Party) -> list[BaleWeight]:
    """Every bale that `party` weighed, as corrected."""
    return [
        BaleWeight.model_validate(bale)
        for event in projection.effective(events)
        if event.type == "bales_weighed" and event.party == party
        for bale in _data(event)["bales"]
    ]


def counted_bales(trade: Trade, events: Sequence[TradeEvent]) -> list[BaleWeight]:
    """The bales that are paid for: as an inspector weighed them, the rest as the seller did. More than the lot has where
    their marks do not agree, and an inspector has not weighed all of it."""
    inspected = weighed_bales(events, "inspector")
    if len(inspected) == trade.lot.bales:
        return inspected
    marks = {bale.mark for bale in inspected}
    return [*inspected, *(bale for bale in weighed_bales(events, "seller") if bale.mark not in marks)]


def payable_to_government(paise: int) -> int:
    """Tax in paise to the nearest rupee, 50 paise up (CGST Act 2017, section 170)."""
    return (paise + PAISE_PER_RUPEE // 2) // PAISE_PER_RUPEE * PAISE_PER_RUPEE


def _weight(trade: Trade, facts: Sequence[TradeEvent], rules: Rules) -> tuple[SettlementWeight, Quantity]:
    bales = counted_bales(trade, facts)
    if len(bales) != trade.lot.bales:
        offered = trade.lot.net_weight.quantity()
        weight = SettlementWeight(
            source="offered",
            bales=trade.lot.bales,
            gross=None,
            tare=None,
            moisture_deduction=None,
            chargeable=offered.kg,
        )
        return weight, offered
    sums = weighing.total(bales, rules.moisture)
    weight = SettlementWeight(
        source="weighed",
        bales=sums.bales,
        gross=sums.gross,
        tare=sums.tare,
        moisture_deduction=sums.moisture_deduction,
        chargeable=sums.chargeable,
    )
    return weight, quantity(sums.chargeable, "kg")


def _figures(trade: Trade, facts: Sequence[TradeEvent]) -> dict[str, Decimal]:
    """Rd, +b and trash by weight: as the lot was offered, and over that as the last quality decision measured them."""
    decision = next((e for e in reversed(facts) if _decides_quality(e)), None)
    decided = {} if decision is None else _data(decision)
    stated: list[dict[str, Any]] = [
        trade.lot.quality.model_dump(),
        decided.get("quality") or {},
        decided.get("figures") or {},
    ]
    return {
        name: Decimal(figures[name])
        for figures in stated
        for name in ("rd", "plus_b", "trash_weight_pct")
        if figures.get(name) is not None
    }


def _decides_quality(event: TradeEvent) -> bool:
    """Who takes a lot that failed as it is, decides nothing about its figures; who takes a claim takes its figures."""
    if event.type in ("quality_accepted", "failure_accepted"):
        return "figures" in event.data
    return event.type in ("quality_passed", "quality_failed")


def _quality(terms: QualityTable, figures: Mapping[str, Decimal], cotton: int) -> list[SettlementLine]:
    """Premium or discount for Rd and for trash by weight, each on the cotton's own line."""
    rd, trash = figures.get("rd"), figures.get("trash_weight_pct")
    if rd is None:
        raise Conflict(f"Settling by {terms.version} needs Rd, which was not measured; have the lot graded again")
    band = next((band for band in terms.rd if band.holds(rd)), None)
    excess = max(Decimal(0), (trash or terms.trash_basis) - terms.trash_basis)
    if band is None or figures.get("plus_b", terms.plus_b_max) > terms.plus_b_max or excess > terms.trash_excess_max:
        raise Conflict(f"The table {terms.version} has no price for this quality; agree on a price or raise a dispute")
    lines = [_adjustment("rd", f"Rd {rd}", band.percent, cotton, terms.rd_rule, terms.source)]
    if trash is not None:
        lines.append(
            _adjustment("trash", f"Trash {trash} % by weight", -excess, cotton, terms.trash_rule, terms.source)
        )
    return lines


def _adjustment(
    code: Literal["rd", "trash"], measured: str, percent: Decimal, cotton: int, rule: str, source: str
) -> SettlementLine:
    paise = rounded(Fraction(percent) * cotton / 100).paise
    return SettlementLine(code=code, description=f"{measured}: {percent:+} %", paise=paise, rule=rule, source=source)


def _taxes(taxable: int, invoice: TradeEvent | None, gst: Gst) -> list[_Tax]:
    """CGST and SGST, half the rate each, within a state; IGST between states (IGST Act 2017, sections 7 and 8)."""
    data = {} if invoice is None else _data(invoice)
    known = states().successors
    within = invoice is not None and known[data["supplier_state"]] == known[data["place_of_supply"]]
    shares: list[tuple[TaxCode, Decimal]] = (
        [("cgst", gst.rate / 2), ("sgst", gst.rate / 2)] if within else [("igst", gst.rate)]
    )
    return [_Tax(code, rate, rounded(Fraction(rate) * taxable / 100).paise) for code, rate in shares]


def _tax_line(tax: _Tax, gst: Gst) -> SettlementLine:
    description = f"{tax.code.upper()} {tax.rate.normalize():f} %"
    return SettlementLine(code=tax.code, description=description, paise=tax.paise, rule=gst.rule, source=gst.source)


def _liability(tax: _Tax, gst: Gst) -> TaxLiability:
    return TaxLiability(
        tax=tax.code,
        paise=tax.paise,
        payable_paise=payable_to_government(tax.paise),
        rule=f"{gst.reverse_charge_rule}. {gst.payable_rule}",
        source=f"{gst.reverse_charge_source}; {gst.payable_source}",
    )


def _award(award: TradeEvent, owed: int) -> SettlementLine:
    data = _data(award)
    number = data["award_number"]
    return SettlementLine(
        code="award",
        description="Difference to the agreed amount" if number is None else f"Difference to award {number}",
        paise=int(data["amount"]["paise"]) - owed,
        rule="What the parties agreed or the arbitrators awarded replaces the statement",
        source="Arbitration and Conciliation Act 1996, sections 30 and 35",
    )


def _seller_type(facts: Sequence[TradeEvent]) -> object:
    offered = _last(facts, "lot_offered")
    return None if offered is None else _data(offered)["seller_type"]


def _buyer_type(trade: Trade, facts: Sequence[TradeEvent]) -> object:
    """What the buyer was when it bid first."""
    return next(
        (_data(e)["bidder_type"] for e in facts if e.type == "bid_placed" and e.partner_id == trade.buyer_id), None
    )


def _last(facts: Sequence[TradeEvent], event_type: str) -> TradeEvent | None:
    return next((event for event in reversed(facts) if event.type == event_type), None)


def _data(event: TradeEvent) -> dict[str, Any]:
    return event.data
