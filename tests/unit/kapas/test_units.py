"""Units: exact weights, ambiguous names refused, a price per candy times a weight rounded once."""

import json
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kapas.values import units
from kapas.values.money import Money
from kapas.values.units import Price, Quantity, Unit, amount, convert, count, parse_unit, quantity

values = st.decimals(0, 10**6, places=6, allow_nan=False, allow_infinity=False)
fixed_units = st.sampled_from([unit for unit in Unit if unit is not Unit.BALE])


@pytest.mark.parametrize(
    ("value", "unit", "kg"),
    [
        ("2.5", "kg", "2.5"),
        ("3", "quintal", "300"),
        ("100", "bale", "17000"),
        ("1", "candy_trade", "355.62"),
        ("1", "candy_mcx", "355.56"),
    ],
)
def test_weighs_each_unit(value: str, unit: str, kg: str) -> None:
    assert quantity(value, unit).kg == Decimal(kg)


def test_keeps_what_the_bales_weighed() -> None:
    lot = quantity(100, "bale", "163.45")
    assert lot == Quantity(Decimal(100), Unit.BALE, Decimal("163.45"))
    assert lot.kg == 16345


def test_refuses_another_weight_for_a_unit_that_has_one() -> None:
    with pytest.raises(ValueError, match=r"candy_trade is 355\.62 kg"):
        quantity(1, "candy_trade", "355.56")
    assert quantity(1, "quintal", "100.0").kg == 100


@pytest.mark.parametrize(
    ("name", "why", "instead"), [("maund", "37.3242", "kg or quintal"), ("candy", "355.56", "candy_trade or candy_mcx")]
)
def test_refuses_an_ambiguous_unit_and_says_what_to_send(name: str, why: str, instead: str) -> None:
    with pytest.raises(ValueError, match="ambiguous") as refused:
        quantity(1, name)
    assert why in str(refused.value)
    assert instead in str(refused.value)


def test_names_the_units_when_it_knows_none_of_that_name() -> None:
    with pytest.raises(ValueError, match="kg, quintal, bale, candy_trade, candy_mcx"):
        parse_unit("tonne")


@pytest.mark.parametrize(
    "value", ["-1", "-0", "NaN", "sNaN", "Infinity", "1E+1000000", "0E+99", "1000000000000", "abc"]
)
def test_refuses_numbers_out_of_range(value: str) -> None:
    with pytest.raises(ValueError, match="value must be"):
        quantity(value, "kg")


def test_refuses_more_places_than_it_keeps_and_weightless_units() -> None:
    with pytest.raises(ValueError, match="decimal places"):
        quantity("0.0000001", "kg")
    with pytest.raises(ValueError, match="more than 0"):
        quantity(1, "bale", 0)


@given(values, fixed_units, fixed_units)
def test_converting_there_and_back_is_exact_up_to_the_last_place(value: Decimal, unit: Unit, other: Unit) -> None:
    there = convert(quantity(value, unit), other)
    back = convert(there, unit)
    step = Fraction(1, 10**units.PLACES)
    # Half a last place of `other`, carried back, and half a last place of `unit`.
    bound = step / 2 * (1 + Fraction(there.kg_per_unit) / Fraction(back.kg_per_unit))
    assert abs(Fraction(back.value) - Fraction(value)) <= bound


@given(values, fixed_units, fixed_units)
def test_counting_is_exact(value: Decimal, unit: Unit, other: Unit) -> None:
    of = quantity(value, unit)
    assert count(of, other) * Fraction(units.table().kg_per_unit[other]) == Fraction(of.kg)
    assert count(of, unit) == Fraction(value)


def test_weights_do_not_depend_on_the_thread_s_decimal_context() -> None:
    lot = quantity("999999999999.999999", "bale", "163.456789")
    with localcontext() as context:
        context.prec = 5
        assert Fraction(lot.kg) == Fraction("999999999999.999999") * Fraction("163.456789")
        assert convert(quantity("12345.678901", "quintal"), Unit.KG).value == Decimal("1234567.8901")


def test_a_price_per_candy_times_a_weight() -> None:
    price = Price(5_520_000, Unit.CANDY_TRADE)
    assert amount(price, quantity(1, "candy_trade")) == Money(5_520_000)
    # 100 bales of 163.45 kg: 16345 / 355.62 x 55,200.00 = 25,37,101.4003...
    assert amount(price, quantity(100, "bale", "163.45")) == Money(253_710_140)
    assert amount(Price(5_520_000, Unit.CANDY_MCX), quantity(100, "bale", "163.45")) == Money(253_752_953)


def test_an_amount_is_rounded_half_up_once() -> None:
    assert amount(Price(1, Unit.QUINTAL), quantity(50, "kg")) == Money(1)
    assert amount(Price(1, Unit.QUINTAL), quantity("49.999999", "kg")) == Money(0)


def test_no_price_per_bale_and_none_below_a_paisa() -> None:
    with pytest.raises(ValueError, match="no fixed weight"):
        Price(100, Unit.BALE)
    with pytest.raises(ValueError, match="one paisa"):
        Price(0, Unit.KG)


def test_every_fact_names_its_source() -> None:
    data = json.loads((Path(units.__file__).parent / "units.json").read_text("utf-8"))
    assert data["version"] == units.table().version
    assert set(data["units"]) == set(Unit)
    assert all(entry["source"] for entry in [*data["units"].values(), *data["refused"].values()])


def test_pydantic_embeds_it_as_plain_fields() -> None:
    adapter = TypeAdapter(Quantity)
    lot = quantity(100, "bale", "163.45")
    assert adapter.validate_json(adapter.dump_json(lot)) == lot
    assert adapter.dump_json(lot) == b'{"value":"100","unit":"bale","kg_per_unit":"163.45"}'
    for document in (
        '{"value": "-1", "unit": "kg", "kg_per_unit": "1"}',
        '{"value": "1", "unit": "maund", "kg_per_unit": "40"}',
    ):
        with pytest.raises(ValidationError):
            adapter.validate_json(document)
