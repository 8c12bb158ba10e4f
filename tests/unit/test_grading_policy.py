"""The platform's grades, the published tables, and the classing record."""

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from functions.grading_requests import budget, classing, results, tables
from functions.grading_requests.policy import LABELS, grade, policy
from kapas.clock import IST
from kapas.errors import Invalid
from kapas.identity import Tier
from kapas.schemas.gradings import AxisName, DeviceFigures, GradingBody, GradingCreate, HviFigures, Measurement
from tests.grading_journey import HVI, RECORD


def measured(axis: AxisName, value: str, uncertainty: str = "0.001") -> Measurement:
    return Measurement(
        axis=axis, value=Decimal(value), unit="", uncertainty=Decimal(uncertainty), source="lab", classes=[]
    )


# The platform's grade


def test_a_lot_is_as_good_as_its_worst() -> None:
    good = [measured("strength", "32"), measured("length", "1.15")]
    assert grade(good).grade == "A"
    assert grade([*good, measured("micronaire", "4.5")]).grade == "B"
    worst = grade([*good, measured("micronaire", "6.0")])
    assert worst.grade == "D"
    assert worst.reasons[0].startswith("micronaire 6.0")
    assert worst.policy == policy().version


def test_nothing_measured_is_no_grade() -> None:
    nothing = grade([measured("leaf", "3")])
    assert (nothing.grade, nothing.confidence) == (None, 0)


def test_confidence_is_what_was_measured_and_how_surely() -> None:
    everything = [
        measured(axis, value)
        for axis, value in {
            "micronaire": "4.0",
            "strength": "32",
            "length": "1.2",
            "uniformity": "85",
            "rd": "80",
            "plus_b": "8",
            "trash_area": "0.1",
            "moisture": "7",
        }.items()
    ]
    assert grade(everything).confidence == 1
    assert grade(everything[:1]).confidence == Decimal("0.18")  # 3 of 17
    on_the_line = [*everything[1:], measured("micronaire", "4.2", "0.1")]
    assert grade(on_the_line).confidence == Decimal("0.50")
    just_within_b = [*everything[1:], measured("micronaire", "4.3", "0.1")]
    assert grade(just_within_b).grade == "B"
    assert grade(just_within_b).confidence == Decimal("0.84")  # one standard uncertainty from A


def test_better_bands_lie_within_worse_ones() -> None:
    for bands in policy().bands.values():
        for better, worse in itertools.pairwise((bands["A"], bands["B"], bands["C"])):
            assert worse[0] is None or (better[0] is not None and better[0] >= worse[0])
            assert worse[1] is None or (better[1] is not None and better[1] <= worse[1])


@given(
    values=st.dictionaries(st.sampled_from(sorted(policy().bands)), st.decimals(0, 100, places=1), min_size=1),
    uncertainty=st.decimals("0.01", 5, places=2),
)
def test_the_chances_of_all_grades_add_up_to_what_was_measured(
    values: dict[AxisName, Decimal], uncertainty: Decimal
) -> None:
    given_grade = grade([measured(axis, str(value), str(uncertainty)) for axis, value in values.items()])
    assert given_grade.grade in LABELS
    assert 0 <= given_grade.confidence <= 1


# The tables


@given(st.sampled_from(tables.tables()), st.decimals(-5, 200, places=3))
def test_every_value_has_one_class_in_every_table(table: tables.Table, value: Decimal) -> None:
    assert table.classify(value).label in {band.label for band in table.bands}


def test_bands_follow_each_other_without_a_gap() -> None:
    for table in tables.tables():
        assert table.bands[0].low is None
        assert table.bands[-1].high is None
        for lower, upper in itertools.pairwise(table.bands):
            assert lower.high is not None
            assert upper.low == lower.high + table.step, f"{table.name}: {lower} {upper}"


@pytest.mark.parametrize(
    ("axis", "value", "labels"),
    [
        ("length", "0.79", ["24"]),
        ("length", "0.855", ["28"]),
        ("length", "1.14", ["37"]),
        ("length", "1.36", ["44"]),
        ("strength", "23.4", ["weak"]),
        ("strength", "23.5", ["intermediate"]),
        ("strength", "31", ["very strong"]),
        ("uniformity", "77", ["low"]),
        ("uniformity", "85.4", ["high"]),
        ("uniformity", "85.5", ["very high"]),
        ("micronaire", "3.7", ["premium", "discount"]),
        ("micronaire", "3.8", ["premium", "premium"]),
        ("micronaire", "4.9", ["base", "basic"]),
        ("micronaire", "5.2", ["discount", "discount"]),
        ("rd", "77.0", ["basis"]),
        ("rd", "74.0", ["discount 1.5%"]),
        ("rd", "72.9", ["not deliverable"]),
        ("plus_b", "10.2", ["deliverable"]),
        ("trash_weight", "3.04", ["basis"]),
        ("moisture", "12.1", ["refused"]),
        ("trash_area", "0.4", []),
        ("leaf", "3", []),
    ],
)
def test_classes(axis: AxisName, value: str, labels: list[str]) -> None:
    found = tables.classes(axis, Decimal(value))
    assert [one.label for one in found] == labels
    assert all(one.source and one.version for one in found)


def test_color_grades_are_read_from_the_list_and_never_computed() -> None:
    assert tables.color_grade("85").name == "Below Middling Yellow Stained"
    assert len(tables.color_codes().codes) == 30
    unknown = tables.color_grade(None)
    assert (unknown.code, unknown.reason) == (None, "chart_unavailable")
    device = DeviceFigures(rd=Decimal(75), plus_b=Decimal(9), trash_area_pct=Decimal("0.2"), trash_particles=9)
    assert results.of_device(device, "ab" * 32).color_grade.reason == "chart_unavailable"


def test_every_axis_is_either_measured_or_says_why_not() -> None:
    everything = set(get_args(AxisName))
    for made in (
        results.of_laboratory(HviFigures(**HVI)),
        results.of_laboratory(HviFigures(rd=Decimal(70))),
        results.of_device(
            DeviceFigures(rd=Decimal(75), plus_b=Decimal(9), trash_area_pct=Decimal(0), trash_particles=0), "0" * 64
        ),
    ):
        found = [one.axis for one in made.measured] + [one.axis for one in made.not_measured]
        assert sorted(found) == sorted(everything)


# The classing record


def test_the_layout_covers_each_of_67_columns_once() -> None:
    length, fields = classing.columns()
    covered = [column for field in fields for column in range(field.first, field.last + 1)]
    assert (length, covered) == (67, list(range(1, 68)))
    assert len(RECORD) == 67


def test_a_record_is_read_by_column() -> None:
    record = classing.parse(RECORD + "\n")
    assert record.staple_32nds == "36"
    assert record.figures.micronaire == Decimal("4.1")
    assert record.figures.upper_half_mean_length_in == Decimal("1.14")
    assert record.figures.trash_area_pct == Decimal("0.2")
    assert (record.figures.color_grade, record.figures.leaf_grade) == ("31", 3)


def test_blanks_are_not_measured() -> None:
    record = classing.parse(RECORD[:30] + "  " + RECORD[32:45] + "   " + RECORD[48:])
    assert (record.staple_32nds, record.figures.rd) == (None, None)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("", "length"),
        (RECORD + "1", "length"),
        (RECORD[:59] + "2" + RECORD[60:], "growth"),
        (RECORD[:12] + "20260230" + RECORD[20:], "date_classed"),
        (RECORD[:32] + "४२" + RECORD[34:], "micronaire"),
        (RECORD[:32] + "-4" + RECORD[34:], "micronaire"),
        (RECORD[:32] + "99" + RECORD[34:], "less_than_equal"),
        (" " * 59 + "1" + " " * 7, "value_error"),
    ],
)
def test_refuses_what_is_no_record(line: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        classing.parse(line)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("/record", code)]


@given(st.text(min_size=60, max_size=70))
def test_no_line_breaks_the_reader(line: str) -> None:
    with suppress(Invalid):
        classing.parse(line)


def test_a_body_is_of_one_kind() -> None:
    adapter: TypeAdapter[GradingBody] = TypeAdapter(GradingBody)
    record = adapter.validate_python({"kind": "classing_record", "record": f"  {RECORD[2:]}"})
    assert getattr(record, "record", "").startswith("  ")  # columns are kept, blanks and all
    for wrong in ({"kind": "lab", "figures": HVI, "record": RECORD}, {"figures": HVI}, []):
        with pytest.raises(ValidationError):
            GradingCreate.model_validate(wrong)


# The day


@pytest.mark.parametrize(
    ("utc", "day", "seconds"),
    [
        (datetime(2026, 11, 24, 18, 29, 59, tzinfo=UTC), "2026-11-24", 2),
        (datetime(2026, 11, 24, 18, 30, 0, tzinfo=UTC), "2026-11-25", 24 * 3600 + 1),
        (datetime(2026, 11, 24, 6, 30, 0, tzinfo=UTC), "2026-11-24", 12 * 3600 + 1),
    ],
)
def test_the_day_is_india_s(utc: datetime, day: str, seconds: int) -> None:
    assert str(budget.day(utc)) == day
    spent = budget.spent(Tier.FREE, utc)
    assert (spent.status, spent.headers["Retry-After"]) == (429, str(seconds))
    assert budget.day(utc + timedelta(seconds=seconds)) == budget.day(utc.astimezone(IST)) + timedelta(days=1)


def test_every_tier_has_a_budget() -> None:
    assert list(budget.DAILY) == list(Tier)
    assert sorted(budget.DAILY.values()) == list(budget.DAILY.values())
