"""Terms of a contract. Where practice varies it is a term, agreed by offer and bids and kept with the match.

Templates are data (`../terms/*.json`): complete terms that a party starts from. What a party changes is a JSON merge
patch (RFC 7396) against the terms of the offer; the two sides are shown by JSON pointer.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, JsonValue, ValidationError, model_validator

from .values import NO_BOOL, Exact, Figures, Model, PaiseFromZero, Percent, Period, Side, Words

TEMPLATES = Path(__file__).parent.parent / "terms"

Anchor = Literal["signing", "invoice", "dispatch", "delivery"]
"""What a payment's days run from. An instalment at `signing` is one sum; of the others each lift has its own."""


class Carrying(Model):
    """A charge for goods that are lifted late, in proportion to days of 30. Part of the value, taxed as the goods are."""

    free_days: int = Field(strict=True, ge=0, le=365)
    pct_a_month: Percent


class Delivery(Model):
    """Where the goods change hands, until when, and who carries them there."""

    basis: Literal["ex_gin", "delivered", "yard", "in_warehouse"] = Field(
        description="in_warehouse: no movement, the goods stay where they lie; yard: the seller brings kapas"
    )
    period: Period = Field(description="From the signing")
    tolerance_pct: Percent = Field(description="How much more or less than the contract may be delivered")
    partial: bool = Field(description="Whether the goods may go in several lifts")
    lots_within: Period = Field(
        description="Until when the seller names the lots, where there is passing before dispatch"
    )
    transit: Period = Field(description="From a dispatch, where no e-way bill says when it ends")
    deemed_arrival: bool = Field(description="Whether goods count as arrived in full after the transit and three days")
    carrying: Carrying | None = None

    @property
    def lifter(self) -> Side:
        """Who moves the goods, and so has to act before the period ends."""
        return "seller" if self.basis in ("delivered", "yard") else "buyer"


class Allowance(Model):
    """Shortage that the buyer bears: kilograms a lift or per cent of its gin weight."""

    kg: Annotated[Decimal, Field(ge=0, le=2000, decimal_places=3), NO_BOOL] | None = None
    pct: Percent | None = None
    mode: Literal["excess_only", "all_if_exceeded"]

    @model_validator(mode="after")
    def _one(self) -> "Allowance":
        if (self.kg is None) == (self.pct is None):
            raise ValueError("an allowance is kilograms a lift or per cent: exactly one of kg and pct")
        return self


class Weight(Model):
    """Whose scale pays, and what becomes of a difference."""

    basis: Literal["gin_average", "one_bridge", "mill", "independent", "inspector"]
    tolerance_pct: Percent = Field(description="Within which the slips of both sides agree; their mean pays then")
    allowance: Allowance | None = Field(description="Only where the mill's weight counts")
    packing_kg_per_bale: Annotated[Decimal, Field(ge=0, le=5, decimal_places=3), NO_BOOL] = Field(
        description="Taken off a slip's net for each bale: ties and cloth"
    )
    confirmed: bool = Field(description="Whether the other side must accept a slip that one side alone recorded")
    one_voice: bool = Field(description="Whether one slip counts alone when the other has not come by its deadline")
    answer: Period = Field(description="To accept or contest a weight or a shortage")
    mill_slip: Period = Field(description="From the arrival; then the gin weight stands")


class Basis(Model):
    """A weight deduction for what a kilogram of kapas holds too much of."""

    basis_pct: Percent
    ratio: Annotated[Decimal, Field(ge=0, le=5, decimal_places=3), NO_BOOL] = Field(
        description="Per cent of weight for each per cent"
    )
    refuse_above_pct: Percent | None = None


class Band(Model):
    """Readings from `from_` to `to` inclusive, or strictly `above` or `below`; what they are worth."""

    from_: Exact | None = Field(None, alias="from")
    to: Exact | None = None
    above: Exact | None = None
    below: Exact | None = None
    percent: Annotated[Decimal, Field(ge=-100, le=100), NO_BOOL] | None = None
    paise_per_unit: Annotated[int, Field(strict=True, ge=-(10**8), le=10**8)] | None = Field(
        None, description="Of the price's unit: rupees a candy are 100 paise each"
    )
    reject: bool = False

    def holds(self, reading: Decimal) -> bool:
        return (
            (self.from_ is None or reading >= self.from_)
            and (self.to is None or reading <= self.to)
            and (self.above is None or reading > self.above)
            and (self.below is None or reading < self.below)
        )


class Slope(Model):
    """In proportion to the distance from a basis, up to a limit on either side."""

    basis: Exact
    above_ratio: Exact = Decimal(0)
    above_to: Exact | None = None
    below_ratio: Exact = Decimal(0)
    below_to: Exact | None = None
    reject_above: Exact | None = None


class QualityTable(Model):
    """Premiums and discounts by property. What no band holds has no price: the parties agree on an allowance."""

    version: Words
    source: str = Field(max_length=400)
    bands: dict[str, tuple[Band, ...]] = Field(default_factory=dict[str, tuple[Band, ...]])
    slopes: dict[str, Slope] = Field(default_factory=dict[str, Slope])

    @model_validator(mode="after")
    def _known(self) -> "QualityTable":
        unknown = (set(self.bands) | set(self.slopes)) - set(Figures.model_fields)
        if unknown:
            raise ValueError(f"no test reads {', '.join(sorted(unknown))}")
        return self


class Quality(Model):
    """Who passes the goods, when, by what table, and what silence means."""

    passing: Literal["before_dispatch", "after_arrival", "none"]
    by: Literal["buyer", "inspector"]
    within: Period = Field(description="From the lots' offer, or from the arrival")
    silence: Literal["passed", "released"] = Field(description="released: the lots are free again, nothing is owed")
    sampling_pct: Percent
    replacements: int = Field(strict=True, ge=0, le=5, description="How often the seller may replace rejected lots")
    replace_within: Period
    claims_within: Period | None = Field(description="For hidden defects, from the arrival; null: none after passing")
    reading_answer: Period = Field(description="To accept or contest the other side's reading")
    moisture: Basis | None = None
    trash: Basis | None = None
    table: str | QualityTable | None = Field(None, description="A published version, the parties' own table, or none")


class Instalment(Model):
    """A part of the price, due `within` from `after`."""

    share_pct: Annotated[Decimal, Field(gt=0, le=100, decimal_places=3), NO_BOOL]
    after: Anchor
    within: Period
    before_dispatch: bool = Field(False, description="Whether the goods stay until it is paid")


class InterestBand(Model):
    """Per cent a year for so many days; 0 days: the rest."""

    days: int = Field(strict=True, ge=0, le=3650)
    pct_a_year: Percent


class Payment(Model):
    """When the price is paid."""

    instalments: Annotated[tuple[Instalment, ...], Field(min_length=1, max_length=12)]
    interest: tuple[InterestBand, ...] = ()
    cash_discount_pct_a_year: Percent | None = None
    notice: Period = Field(description="From an overdue payment until the other side may close out")
    forfeits_advance: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "Payment":
        sums = sum(instalment.share_pct for instalment in self.instalments)
        if sums != 100:
            raise ValueError(f"the instalments must come to 100 per cent, not {sums}")
        return self


class Rate(Model):
    """Exactly one of these."""

    pct: Percent | None = Field(None, description="Of the value of the goods, without tax")
    paise_per_100kg: PaiseFromZero | None = Field(None, description="Of the net weight before deductions")
    paise_per_bale: PaiseFromZero | None = None
    paise_a_lift: PaiseFromZero | None = None

    @model_validator(mode="after")
    def _one(self) -> "Rate":
        if sum(value is not None for _, value in self) != 1:
            raise ValueError("a rate is exactly one of pct, paise_per_100kg, paise_per_bale and paise_a_lift")
        return self


class Charge(Model):
    """A named line. What is not named is not taken."""

    code: Literal["hamali", "weighing", "cleaning", "mandi_fee", "adat", "loading", "freight", "insurance", "cess"]
    payer: Side
    to: Literal["seller", "buyer", "committee", "agent", "labour", "carrier", "insurer"]
    rate: Rate
    source: str = Field("", max_length=200, description="Where the rate stands: a yard's notice and its date")


class Brokerage(Model):
    """What each side pays its broker, and when the broker has earned it."""

    seller: Rate | None = None
    buyer: Rate | None = None
    earned: Literal["on_payment", "on_contract"] = "on_payment"


class CloseOut(Model):
    """What a default costs: the difference to a resale, a purchase or the association's rate of the day."""

    notice: Period
    bases: Annotated[tuple[Literal["resale", "purchase", "day_rate"], ...], Field(min_length=1)]


class Disputes(Model):
    """How the parties settle what they do not agree on."""

    answer: Period = Field(description="To answer a claim or a proposal")
    arbitration: Literal["cai", "courts"] = Field(description="cai: by the rules of the Cotton Association of India")
    windows_stop: bool = Field(description="Whether passing and claim windows stop while a claim is disputed")
    interest_runs: bool = Field(description="Whether payments stay due while a claim is disputed")


class Terms(Model):
    """All that the parties agree on besides lot, quantity and price."""

    template: Words
    signing: Period = Field(description="From the match until the other side has signed")
    delivery: Delivery
    weight: Weight
    quality: Quality
    payment: Payment
    charges: tuple[Charge, ...] = ()
    brokerage: Brokerage | None = None
    close_out: CloseOut
    disputes: Disputes
    clauses: tuple[Annotated[str, Field(max_length=500)], ...] = Field((), max_length=20)

    @model_validator(mode="after")
    def _together(self) -> "Terms":
        if self.weight.basis == "mill" and self.weight.allowance is None:
            raise ValueError("with the mill's weight the terms say what shortage the buyer bears: weight.allowance")
        if self.quality.passing == "none" and self.quality.claims_within is not None:
            raise ValueError("goods sold as tested and seen bear no claim: quality.claims_within must be null")
        if isinstance(self.quality.table, str) and self.quality.table not in tables():
            raise ValueError(f"quality.table names no published table; known: {', '.join(sorted(tables()))}")
        return self


def quality_table(terms: Terms) -> QualityTable | None:
    """The table that prices quality, if any."""
    table = terms.quality.table
    return tables()[table] if isinstance(table, str) else table


@functools.cache
def tables() -> Mapping[str, QualityTable]:
    """The published tables by version, from `quality_tables.json`."""
    data = json.loads((TEMPLATES / "quality_tables.json").read_text("utf-8"))
    return {entry["version"]: QualityTable.model_validate(entry) for entry in data["tables"]}


def templates() -> tuple[str, ...]:
    """The names of the templates."""
    return ("kapas_spot", "ex_gin_passing", "delivered_mill_weight", "cci_auction")


@functools.cache
def template(name: str) -> Terms:
    """The terms of that name.

    Raises:
        KeyError: there is no such template.
    """
    if name not in templates():
        raise KeyError(name)
    return Terms.model_validate_json((TEMPLATES / f"{name}.json").read_bytes())


def _as_text(value: Any) -> Any:
    """A body's exact numbers as text, which terms take as well: a patch is JSON."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {name: _as_text(member) for name, member in cast(dict[str, Any], value).items()}
    return [_as_text(item) for item in cast(list[Any], value)] if isinstance(value, list) else value


Patch = Annotated[dict[str, JsonValue], BeforeValidator(_as_text)]
"""A JSON merge patch: what differs, null where a member is left out."""


def patched(terms: Terms, patch: Mapping[str, Any]) -> Terms:
    """The terms with a patch applied. Raises pydantic's ValidationError if they are none then."""
    return terms if not patch else Terms.model_validate(_merge(_json(terms), patch))


def patch_between(base: Terms, terms: Terms) -> Patch:
    """The patch that makes `terms` of `base`."""
    return _patch(_json(base), _json(terms))


@dataclass(frozen=True, slots=True)
class Difference:
    """One member that two sides say differently; `None` where a side leaves it out."""

    pointer: str
    seller: Any
    buyer: Any


def differences(seller: Terms, buyer: Terms) -> tuple[Difference, ...]:
    """Both sides' terms where they differ, by JSON pointer, in order."""
    return tuple(_differences("", _json(seller), _json(buyer)))


def faults(error: ValidationError, at: str) -> tuple[str, str]:
    """The pointer to and the message of the first fault."""
    first = error.errors(include_url=False)[0]
    return at + "".join(f"/{part}" for part in first["loc"]), first["msg"]


def _json(terms: Terms) -> dict[str, Any]:
    return terms.model_dump(mode="json")


def _patch(base: dict[str, Any], target: dict[str, Any]) -> Patch:
    patch: Patch = {}
    for name, value in target.items():
        before = base.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            inner = _patch(cast(dict[str, Any], before), cast(dict[str, Any], value))
            if inner:
                patch[name] = inner
        elif before != value:
            patch[name] = value
    return patch


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    merged: dict[str, Any] = dict(cast(Mapping[str, Any], target)) if isinstance(target, Mapping) else {}
    for name, value in cast(Mapping[str, Any], patch).items():
        merged[name] = None if value is None else _merge(merged.get(name), value)
    return merged


def _differences(at: str, seller: Any, buyer: Any) -> Iterator[Difference]:
    if isinstance(seller, dict) and isinstance(buyer, dict):
        one, two = cast(dict[str, Any], seller), cast(dict[str, Any], buyer)
        for name in {**one, **two}:
            yield from _differences(f"{at}/{name}", one.get(name), two.get(name))
    elif seller != buyer:
        yield Difference(at, seller, buyer)
