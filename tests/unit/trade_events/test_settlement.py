"""Settlement to the paisa: against figures worked out by hand, and against fractions."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.trade_events import settlement
from functions.trade_events.rules import rules
from functions.trade_events.schemas import Settlement
from functions.trade_events.service import Actor
from kapas.errors import Conflict, Invalid
from kapas.values import ids
from tests.times import Time, moving_time
from tests.unit.trade_events.desk import START, Desk, scale


@pytest.fixture(autouse=True)
def time() -> Iterator[Time]:
    with moving_time(START) as time:
        yield time


def stated(desk: Desk) -> Settlement:
    return settlement.statement(desk.trade, desk.events, rules())


def half_up(exact: Fraction) -> int:
    return int(abs(exact) + Fraction(1, 2)) * (1 if exact >= 0 else -1)


def test_a_trade_between_two_states_worked_out_by_hand() -> None:
    desk = Desk()
    desk.contracted(61_200_00)
    desk.weighed()
    desk.passed()
    trade = desk.invoiced()
    # 10 bales of 165.4 - 1.9 kg are 1635 kg; x 61,200 / 355.62 = 281,373.376... rupees; IGST 5 % = 14,068.67
    result = stated(desk)
    assert [(line.code, line.paise) for line in result.lines] == [("cotton", 2_81_373_38), ("igst", 14_068_67)]
    assert result.total.paise == 2_95_442_05
    assert trade.payable == result.total
    assert (result.status, result.weight.source, result.hsn) == ("final", "weighed", "5201")
    assert not result.liabilities


def test_within_a_state_the_tax_is_half_and_half() -> None:
    desk = Desk()
    desk.contracted()
    desk.weighed()
    desk.passed()
    desk.invoiced(place_of_supply="24")
    assert [(line.code, line.paise) for line in stated(desk).lines[1:]] == [("cgst", 7_034_33), ("sgst", 7_034_33)]


def test_a_farmers_cotton_is_taxed_on_the_buyer() -> None:
    desk = Desk(seller=Actor(ids.uuid7(), "farmer"))
    desk.contracted()
    desk.weighed()
    desk.passed()
    desk.invoiced()
    result = stated(desk)
    assert result.reverse_charge
    assert [line.code for line in result.lines] == ["cotton"]
    (liability,) = result.liabilities
    # To the rupee only here, where the tax is payable: 14,068.67 becomes 14,069.
    assert (liability.tax, liability.paise, liability.payable_paise) == ("igst", 14_068_67, 14_069_00)
    assert "43/2017" in liability.source
    assert "section 170" in liability.source


def test_between_two_farmers_nobody_is_registered() -> None:
    desk = Desk(seller=Actor(ids.uuid7(), "farmer"), buyer=Actor(ids.uuid7(), "farmer"))
    desk.contracted()
    desk.weighed()
    desk.passed()
    trade = desk.invoiced()
    result = stated(desk)
    # Who is not registered collects no tax (CGST Act 2017, section 32(1)), and none is due under reverse charge.
    assert (result.reverse_charge, [line.code for line in result.lines], result.liabilities) == (False, ["cotton"], [])
    assert result.total.paise == 2_81_373_38
    assert trade.payable == result.total
    assert result.tax_note
    assert "32(1)" in result.tax_note


@pytest.mark.parametrize(
    ("paise", "payable"), [(0, 0), (49, 0), (50, 100), (149, 100), (150, 200), (14_068_67, 14_069_00)]
)
def test_tax_payable_is_rounded_to_the_rupee(paise: int, payable: int) -> None:
    assert settlement.payable_to_government(paise) == payable


def test_moisture_above_eight_per_cent_takes_weight_off() -> None:
    desk = Desk()
    desk.contracted()
    desk.weighed([*scale(9), *scale(1, 10, moisture_pct="10.5")])
    # One bale of 163.5 kg, 2.5 % too wet: 4.0875 kg.
    weight = stated(desk).weight
    assert (weight.moisture_deduction, weight.chargeable) == (Decimal("4.087500"), Decimal("1630.912500"))


def test_an_inspectors_weight_counts_whatever_the_seller_weighed() -> None:
    desk = Desk()
    desk.contracted()
    desk.weighed(scale(10, gross_kg="999"))
    desk.take(desk.inspector, "bales_weighed", bales=scale(4))
    # 4 bales at 163.5 kg, and 6 by the seller's word at 997.1 kg.
    assert (stated(desk).weight.source, stated(desk).weight.chargeable) == ("weighed", Decimal("6636.600"))
    desk.take(desk.inspector, "bales_weighed", bales=scale(6, first=5))
    desk.passed()
    assert desk.invoiced().payable == stated(desk).total
    assert stated(desk).total.paise == 2_95_442_05


def test_what_a_seller_weighs_after_the_inspector_changes_no_weight() -> None:
    desk = Desk()
    desk.contracted()
    desk.take(desk.inspector, "bales_weighed", bales=scale(10))
    desk.weighed(scale(10, gross_kg="999"))
    assert stated(desk).weight.gross == Decimal("1654.000")


def test_a_lot_that_an_inspector_weighed_by_other_marks_is_weighed() -> None:
    desk = Desk()
    desk.contracted()
    desk.weighed(scale(10, gross_kg="999"))
    desk.take(desk.inspector, "bales_weighed", bales=scale(3, first=101))
    desk.passed()
    assert stated(desk).weight.source == "offered"  # 13 marks on 10 bales: somebody misread some
    with pytest.raises(Conflict, match="13 are weighed"):
        desk.invoiced()
    desk.take(desk.inspector, "bales_weighed", bales=scale(7, first=104))
    assert (stated(desk).weight.source, stated(desk).weight.gross) == ("weighed", Decimal("1654.000"))
    with pytest.raises(Invalid, match="are invalid"):
        desk.take(desk.inspector, "bales_weighed", bales=scale(1, first=111))


def test_a_bale_above_twelve_per_cent_is_refused_and_named() -> None:
    desk = Desk()
    desk.contracted()
    with pytest.raises(Invalid) as refused:
        desk.weighed([*scale(9), *scale(1, 10, moisture_pct="12.1")])
    assert [error.pointer for error in refused.value.errors] == ["/event/bales/9/moisture_pct"]


@pytest.mark.parametrize(
    ("rd", "percent"),
    [("77.1", "1"), ("77.0", "0"), ("76.0", "0"), ("75.5", "0"), ("75.4", "-1.5"), ("74.0", "-1.5"), ("73.9", "-3.5")],
)
def test_the_example_table_pays_for_brightness(rd: str, percent: str) -> None:
    desk = Desk(terms={"quality_terms": "mcx_2021_11"})
    desk.contracted()
    desk.weighed()
    desk.passed(quality=figures(rd=rd))
    cotton, line, *_ = stated(desk).lines
    assert line.paise == half_up(Fraction(percent) * cotton.paise / 100)
    assert line.code == "rd"
    assert stated(desk).tables["quality"] == "MCX-2021-11"


def test_trash_by_weight_is_discounted_one_to_one() -> None:
    desk = Desk(terms={"quality_terms": "mcx_2021_11"})
    desk.contracted()
    desk.passed(quality=figures(trash_weight_pct="4.20"))
    cotton, _, trash, _ = stated(desk).lines
    assert (trash.code, trash.paise) == ("trash", half_up(Fraction("-1.2") * cotton.paise / 100))


@pytest.mark.parametrize("outside", [{"rd": "72.9"}, {"plus_b": "10.3"}, {"trash_weight_pct": "4.51"}])
def test_what_is_outside_the_table_has_no_price(outside: dict[str, str]) -> None:
    desk = Desk(terms={"quality_terms": "mcx_2021_11"})
    desk.contracted()
    desk.weighed()
    desk.passed(quality=figures(**outside))
    with pytest.raises(Conflict, match="has no price"):
        desk.invoiced()


def test_without_terms_quality_changes_no_price() -> None:
    desk = Desk()
    desk.contracted()
    desk.passed(quality=figures(rd="60.0"))
    assert [line.code for line in stated(desk).lines] == ["cotton", "igst"]


def test_before_the_match_there_is_nothing_to_settle() -> None:
    with pytest.raises(Conflict, match="before the match"):
        stated(Desk())


def test_an_invoice_needs_every_bale_weighed() -> None:
    desk = Desk()
    desk.contracted()
    desk.weighed(scale(9))
    desk.passed()
    with pytest.raises(Conflict, match="10 bales, but 9 are weighed"):
        desk.invoiced()


def test_what_was_invoiced_stays_whatever_the_rules_become() -> None:
    desk = Desk(terms={"quality_terms": "mcx_2021_11"})
    desk.contracted()
    desk.weighed()
    desk.passed(quality=figures(rd="78.0"))
    trade, invoiced = desk.invoiced(), stated(desk)
    assert invoiced.total == trade.payable
    changed = replace(rules(), gst=replace(rules().gst, rate=Decimal(12), version="2027-04-01"), quality={})
    assert settlement.statement(desk.trade, desk.events, changed) == invoiced
    desk.take(desk.seller, "payment_confirmed")
    after = settlement.statement(desk.trade, desk.events, changed)
    assert after == invoiced.model_copy(update={"version": desk.trade.version})
    desk.take(desk.buyer, "dispute_raised", reason="quality")
    desk.take(desk.operations, "dispute_settled", amount={"paise": 2_50_000_00})
    awarded = settlement.statement(desk.trade, desk.events, changed)
    assert (awarded.lines[:-1], awarded.lines[-1].code) == (invoiced.lines, "award")
    assert awarded.total.paise == sum(line.paise for line in awarded.lines) == 2_50_000_00


def test_an_award_takes_the_place_of_the_statement() -> None:
    desk = Desk()
    desk.contracted()
    desk.take(desk.buyer, "dispute_raised", reason="quality")
    desk.take(desk.seller, "arbitration_referred", institution="CAI")
    with pytest.raises(Invalid, match="award"):
        desk.take(desk.operations, "dispute_settled", amount={"paise": 1_00_000_00})
    desk.take(desk.operations, "dispute_settled", amount={"paise": 1_00_000_00}, award_number="CAI/2026/17")
    result = stated(desk)
    assert result.total.paise == 1_00_000_00
    assert [line.code for line in result.lines] == ["cotton", "award"]
    assert result.tax_note
    assert "before the invoice" in result.tax_note


def test_an_award_needs_no_price_for_the_quality() -> None:
    """Outside the table there is no invoice; what the parties agreed instead can be read."""
    desk = Desk(terms={"quality_terms": "mcx_2021_11"})
    desk.contracted()
    desk.weighed()
    desk.passed(quality=figures(rd="72.0"))
    with pytest.raises(Conflict, match="has no price"):
        desk.invoiced()
    desk.take(desk.buyer, "dispute_raised", reason="quality")
    desk.take(desk.operations, "dispute_settled", amount={"paise": 25_000_00})
    result = stated(desk)
    assert [line.code for line in result.lines] == ["cotton", "award"]
    assert (result.status, result.total.paise) == ("final", 25_000_00)
    assert "quality" not in result.tables


def test_an_award_of_nothing_leaves_no_tax_to_pay() -> None:
    desk = Desk(seller=Actor(ids.uuid7(), "farmer"))
    desk.contracted()
    desk.take(desk.buyer, "dispute_raised", reason="quality")
    desk.take(desk.operations, "dispute_settled", amount={"paise": 0})
    result = stated(desk)
    assert (result.status, result.total.paise, result.liabilities) == ("final", 0, [])
    assert result.tax_note


def test_after_an_invoice_an_award_says_that_the_tax_is_the_invoices() -> None:
    desk = Desk(seller=Actor(ids.uuid7(), "farmer"))
    desk.contracted()
    desk.weighed()
    desk.passed()
    desk.invoiced()
    assert stated(desk).tax_note is None
    desk.take(desk.buyer, "dispute_raised", reason="quality")
    desk.take(desk.operations, "dispute_settled", amount={"paise": 2_00_000_00})
    result = stated(desk)
    assert [liability.paise for liability in result.liabilities] == [14_068_67]
    assert result.tax_note
    assert "section 34" in result.tax_note


weights = st.decimals(min_value=150, max_value=180, places=3)
moistures = st.decimals(min_value=0, max_value=12, places=1)
bale_lists = st.lists(st.tuples(weights, st.decimals(0, 3, places=3), moistures), min_size=10, max_size=10)


@settings(max_examples=150)
@given(
    paise=st.integers(1, 99_999_999),
    measured=bale_lists,
    rd=st.decimals(73, 85, places=1),
    trash=st.decimals(0, Decimal("4.5"), places=2),
    within=st.booleans(),
    farmer=st.booleans(),
)
def test_the_statement_agrees_with_fractions(
    paise: int,
    measured: list[tuple[Decimal, Decimal, Decimal]],
    rd: Decimal,
    trash: Decimal,
    within: bool,
    farmer: bool,
) -> None:
    desk = Desk(seller=Actor(ids.uuid7(), "farmer" if farmer else "ginner"), terms={"quality_terms": "mcx_2021_11"})
    desk.contracted(paise)
    desk.weighed(
        [{"mark": f"B{n}", "gross_kg": g, "tare_kg": t, "moisture_pct": m} for n, (g, t, m) in enumerate(measured)]
    )
    desk.passed(quality=figures(rd=rd, trash_weight_pct=trash))
    desk.invoiced(place_of_supply="24" if within else "33")
    result = stated(desk)

    kg = sum((Fraction(g) - Fraction(t)) * (1 - max(Fraction(0), Fraction(m) - 8) / 100) for g, t, m in measured)
    cotton = half_up(paise * kg / Fraction("355.62"))
    bright = (
        Fraction(1) if rd > 77 else Fraction(0) if rd >= Decimal("75.5") else Fraction("-1.5" if rd >= 74 else "-3.5")
    )
    taxable = cotton + half_up(bright * cotton / 100) + half_up(-max(Fraction(0), Fraction(trash) - 3) * cotton / 100)
    taxes = [half_up(taxable * Fraction("0.025"))] * 2 if within else [half_up(taxable * Fraction("0.05"))]
    assert Fraction(result.weight.chargeable) == kg
    assert result.total.paise == sum(line.paise for line in result.lines)
    assert result.total.paise == taxable + (0 if farmer else sum(taxes))
    assert [liability.paise for liability in result.liabilities] == (taxes if farmer else [])


@settings(max_examples=60)
@given(low=st.integers(1, 99_999_998), more=st.integers(1, 1_000_000))
def test_a_higher_price_never_costs_less(low: int, more: int) -> None:
    totals: list[int] = []
    for paise in (low, low + more):
        desk = Desk()
        desk.contracted(paise)
        totals.append(stated(desk).total.paise)
    assert totals[0] <= totals[1]


def figures(**changes: Any) -> dict[str, Any]:
    return {
        "micronaire": "4.2",
        "strength_g_tex": "29.6",
        "upper_half_mean_length_in": "1.14",
        "uniformity_index_pct": "82.3",
        "rd": "76.5",
    } | changes
