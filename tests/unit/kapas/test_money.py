"""Money: exact paise, rounded half up once, shared without loss, written the Indian way."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kapas.values import money
from kapas.values.money import MAX_PAISE, Money

amounts = st.integers(-MAX_PAISE, MAX_PAISE).map(Money)
weights = st.lists(st.integers(0, 10**6) | st.fractions(0, 1000), min_size=1, max_size=12).filter(any)


@pytest.mark.parametrize(
    ("rupees", "paise"),
    [("0", 0), ("55200", 5520000), ("55200.5", 5520050), ("55200.05", 5520005), ("-0.05", -5), ("007.10", 710)],
)
def test_reads_decimal_strings_of_rupees(rupees: str, paise: int) -> None:
    assert money.parse(rupees) == Money(paise)


@pytest.mark.parametrize(
    "rupees", ["", "1.", ".5", "1.005", "1e3", "+1", " 1", "1 ", "1\n", "1,000", "--1", "NaN", "1_0", "१", "9" * 15]
)
def test_refuses_what_is_no_amount(rupees: str) -> None:
    with pytest.raises(ValueError):
        money.parse(rupees)


@given(amounts)
def test_reads_back_what_it_writes(amount: Money) -> None:
    assert money.parse(str(amount).replace("₹", "").replace(",", "")) == amount


@pytest.mark.parametrize(
    ("paise", "text"),
    [
        (0, "₹0.00"),
        (5, "₹0.05"),
        (99999, "₹999.99"),
        (100000, "₹1,000.00"),
        (10000000, "₹1,00,000.00"),
        (1234567890, "₹1,23,45,678.90"),
        (-12345678901, "-₹12,34,56,789.01"),
    ],
)
def test_groups_digits_by_lakh_and_crore(paise: int, text: str) -> None:
    assert str(Money(paise)) == text


def test_groups_negative_numbers_too() -> None:
    assert money.grouped(-1234567) == "-12,34,567"


@pytest.mark.parametrize(
    ("exact", "paise"),
    [
        (Fraction(1, 2), 1),
        (Decimal("2.5"), 3),
        (Decimal("2.4999"), 2),
        (Fraction(-5, 2), -3),
        (Decimal("-2.4999"), -2),
        (7, 7),
    ],
)
def test_rounds_halves_away_from_zero(exact: Fraction | Decimal | int, paise: int) -> None:
    assert money.rounded(exact) == Money(paise)


@given(st.fractions(-(10**9), 10**9))
def test_rounding_moves_an_amount_by_at_most_half_a_paisa(exact: Fraction) -> None:
    assert abs(money.rounded(exact).paise - exact) <= Fraction(1, 2)
    assert money.rounded(-exact) == -money.rounded(exact)


@given(amounts, weights)
def test_parts_sum_to_the_whole_and_are_off_by_less_than_a_paisa(total: Money, shares: list[Fraction | int]) -> None:
    parts = money.allocate(total, shares)
    whole = sum(Fraction(share) for share in shares)
    assert sum(part.paise for part in parts) == total.paise
    assert all(
        abs(part.paise - total.paise * Fraction(share) / whole) < 1 for part, share in zip(parts, shares, strict=True)
    )


def test_leftover_paise_go_to_the_largest_remainders_then_to_the_first() -> None:
    assert money.allocate(Money(100), [1, 1, 1]) == [Money(34), Money(33), Money(33)]
    assert money.allocate(Money(100), [1, 1, 4]) == [Money(17), Money(17), Money(66)]
    assert money.allocate(Money(10), [Decimal("0.14"), Decimal("0.86")]) == [Money(1), Money(9)]
    assert money.allocate(Money(-100), [1, 1, 1]) == [Money(-34), Money(-33), Money(-33)]


@pytest.mark.parametrize("shares", [[], [0, 0], [1, -1, 3]])
def test_does_not_share_by_weights_that_mean_nothing(shares: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        money.allocate(Money(100), shares)


def test_adds_subtracts_negates_and_compares() -> None:
    assert Money(5) + Money(7) - Money(2) == -Money(-10)
    assert Money(5) < Money(7)


def test_only_integers_within_bounds_in_rupees_are_money() -> None:
    # What a type checker refuses is refused at run time as well: amounts also come from rows and from JSON.
    unchecked: Any = Money
    for paise in (1.0, True, "1", Decimal(1)):
        with pytest.raises(TypeError, match="integer"):
            unchecked(paise)
    with pytest.raises(ValueError, match="exceed"):
        Money(MAX_PAISE) + Money(1)
    with pytest.raises(ValueError, match="INR"):
        unchecked(1, "USD")


def test_pydantic_embeds_it_as_plain_fields() -> None:
    adapter = TypeAdapter(Money)
    assert adapter.validate_json('{"paise": 5520000, "currency": "INR"}') == Money(5520000)
    assert adapter.dump_json(Money(5)) == b'{"paise":5,"currency":"INR"}'
    for document in ('{"paise": 1, "currency": "USD"}', '{"paise": 1.5}', f'{{"paise": {MAX_PAISE + 1}}}'):
        with pytest.raises(ValidationError):
            adapter.validate_json(document)
