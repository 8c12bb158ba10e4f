"""Money: integer paise of Indian rupees, exact until it is rounded once.

Amounts are rounded half up to the paisa, where a result has a fraction of one. Rounding of *tax payable* to the nearest
rupee (CGST Act 2017, section 170) is another rule for another sum and is not applied here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

PAISE_PER_RUPEE = 100

MAX_PAISE = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259 section 6): about INR 90 lakh crore."""

_RUPEES = re.compile(r"(-?)([0-9]{1,14})(?:\.([0-9]{1,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in `paise`, negative where it is owed the other way.

    Raises:
        ValueError: beyond `MAX_PAISE` either way, or in another currency than INR.
        TypeError: if `paise` is not an integer: floats never become money.
    """

    paise: int
    currency: Literal["INR"] = "INR"

    def __post_init__(self) -> None:
        if type(self.paise) is not int:
            raise TypeError("paise must be an integer")
        if self.currency != "INR":
            raise ValueError("the currency must be INR")
        if abs(self.paise) > MAX_PAISE:
            raise ValueError(f"an amount must not exceed {MAX_PAISE} paise")

    def __add__(self, other: "Money") -> "Money":
        return Money(self.paise + other.paise)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.paise - other.paise)

    def __neg__(self) -> "Money":
        return Money(-self.paise)

    def __str__(self) -> str:
        """`₹1,23,45,678.90`: Indian grouping (thousand, lakh, crore) and always two decimals."""
        rupees, paise = divmod(abs(self.paise), PAISE_PER_RUPEE)
        return f"{'-' if self.paise < 0 else ''}₹{grouped(rupees)}.{paise:02d}"


def parse(rupees: str) -> Money:
    """The amount that a decimal string of rupees states: `"55200"`, `"55200.5"`, `"-0.05"`.

    Raises:
        ValueError: for anything else: more than two decimals, an exponent, separators, spaces, a plus sign.
    """
    match = _RUPEES.fullmatch(rupees)
    if match is None:
        raise ValueError("an amount of rupees is written with digits and at most two decimals, like 55200.50")
    sign, whole, decimals = match.groups(default="")
    paise = int(whole) * PAISE_PER_RUPEE + int(decimals.ljust(2, "0"))
    return Money(-paise if sign else paise)


def rounded(paise: Fraction | Decimal | int) -> Money:
    """The amount nearest to `paise`, halves away from zero, so that a refund mirrors its charge."""
    exact = Fraction(paise)
    whole = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return Money(whole if exact >= 0 else -whole)


def allocate(total: Money, weights: Sequence[Fraction | Decimal | int]) -> list[Money]:
    """Share `total` in proportion to `weights`; the parts always sum to it.

    Each part is cut to whole paise; the paise left over go one each to the parts that lost the most by it, the earlier
    one first where they lost the same (largest remainder method).

    Raises:
        ValueError: if a weight is negative or all are zero.
    """
    exact = [Fraction(weight) for weight in weights]
    whole = sum(exact)
    if any(weight < 0 for weight in exact) or whole == 0:
        raise ValueError("weights must not be negative, and not all zero")
    magnitude, sign = abs(total.paise), -1 if total.paise < 0 else 1
    shares = [magnitude * weight / whole for weight in exact]
    paise = [int(share) for share in shares]
    by_loss = sorted(range(len(shares)), key=lambda part: (paise[part] - shares[part], part))
    for part in by_loss[: magnitude - sum(paise)]:
        paise[part] += 1
    return [Money(sign * part) for part in paise]


def grouped(number: int) -> str:
    """The digits of a whole number in Indian groups: three, then by two. 12345678 is `1,23,45,678`."""
    sign, digits = ("-" if number < 0 else ""), str(abs(number))
    head, tail = digits[:-3], digits[-3:]
    first = len(head) % 2
    groups = [head[:first], *(head[at : at + 2] for at in range(first, len(head), 2)), tail]
    return sign + ",".join(group for group in groups if group)
