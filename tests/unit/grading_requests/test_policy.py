"""The platform's grades, the published tables, and the classing record."""

import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from functions.grading_requests import budget
from functions.grading_requests.readings import Reading
from functions.grading_requests.schemas import (
    AxisName,
    ClassingCode,
    DeviceFigures,
    GradingBody,
    GradingCreate,
    HviFigures,
    Measurement,
)
from functions.grading_requests.standards import classing, results, tables
from functions.grading_requests.standards.policy import LABELS, grade, policy, probabilities
from functions.trade_events.rules import rules
from kapas.errors import Invalid
from kapas.http.identity import Tier
from kapas.values.clock import IST
from tests.journeys.gradings import HVI, RECORD


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
    made = [measured(axis, str(value), str(uncertainty)) for axis, value in values.items()]
    of_each = probabilities(made)
    assert list(of_each) == list(LABELS)
    assert all(-1e-12 < chance < 1 + 1e-12 for chance in of_each.values())
    assert sum(of_each.values()) == pytest.approx(1)
    weights = policy().weights
    share = sum(weights[axis] for axis in values) / sum(weights.values())
    graded = grade(made)
    assert graded.grade is not None
    assert float(graded.confidence) == pytest.approx(share * of_each[graded.grade], abs=0.00501)


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
        ("length", "0.86", ["28"]),
        ("length", "1.14", ["37"]),
        ("length", "1.36", ["44"]),
        ("strength", "23.9", ["weak"]),
        ("strength", "24.0", ["intermediate"]),
        ("strength", "31", ["very strong"]),
        ("uniformity", "77", ["low"]),
        ("uniformity", "85.9", ["high"]),
        ("uniformity", "86.0", ["very high"]),
        ("micronaire", "3.4", ["discount"]),
        ("micronaire", "3.7", ["premium"]),
        ("micronaire", "4.9", ["base"]),
        ("micronaire", "5.2", ["discount"]),
        ("rd", "77.0", ["basis"]),
        ("rd", "74.0", ["discount 1.5%"]),
        ("rd", "72.9", ["not deliverable"]),
        ("plus_b", "10.2", ["deliverable"]),
        ("trash_weight", "3.00", ["basis"]),
        ("trash_weight", "3.04", ["rebate 1:1"]),
        ("moisture", "12.1", ["refused"]),
        ("trash_area", "0.4", []),
        ("leaf", "3", []),
    ],
)
def test_classes(axis: AxisName, value: str, labels: list[str]) -> None:
    found = tables.classes(axis, Decimal(value))
    assert [one.label for one in found] == labels
    assert all(one.source and one.version for one in found)


def test_tables_and_policy_have_their_bounds_where_values_are_reported() -> None:
    for table in tables.tables():
        assert table.step == results.STEPS[table.axis], table.name
    for axis, bands in policy().bands.items():
        for bound in itertools.chain.from_iterable(bands.values()):
            assert bound is None or bound % results.STEPS[axis] == 0, axis


@pytest.mark.parametrize(
    ("axis", "label", "classes", "low", "high"),
    [
        ("strength", "A", {"strong", "very strong"}, 20, 35),
        ("uniformity", "A", {"high", "very high"}, 74, 90),
        ("uniformity", "B", {"intermediate", "high", "very high"}, 74, 90),
        ("uniformity", "C", {"low", "intermediate", "high", "very high"}, 74, 90),
        ("length", "A", {str(staple) for staple in range(36, 45)}, 1, 2),
        ("micronaire", "A", {"premium"}, 2, 8),
        ("micronaire", "B", {"premium", "base"}, 2, 8),
        ("plus_b", "B", {"deliverable"}, 6, 15),
        ("moisture", "A", {"full price"}, 5, 15),
        ("moisture", "C", {"full price", "deduction"}, 5, 15),
    ],
)
def test_the_policy_draws_its_line_where_the_table_does(
    axis: AxisName, label: Literal["A", "B", "C"], classes: set[str], low: int, high: int
) -> None:
    step, (least, most) = results.STEPS[axis], policy().bands[axis][label]
    for number in range(int(low / step), int(high / step) + 1):
        value = number * step
        within = (least is None or value >= least) and (most is None or value <= most)
        assert within == (tables.classes(axis, value)[0].label in classes), value


@pytest.mark.parametrize(
    ("micronaire", "length_mm", "label"),
    [
        ("4.3", "24.5", "basic"),
        ("3.7", "25.5", "discount"),
        ("4.2", "25.0", "premium"),
        ("5.1", "25.0", "basic"),
        ("5.2", "25.0", "discount"),
        ("3.4", "30.0", "discount"),
        ("3.5", "29.5", "basic"),
        ("4.3", "30.5", "basic"),
        ("4.4", "30.0", "not basic"),
        ("4.3", "24.4", None),
        ("4.3", "25.6", None),
        ("4.3", "27.0", None),
        ("4.3", None, None),
    ],
)
def test_the_support_price_asks_for_length_and_micronaire(
    micronaire: str, length_mm: str | None, label: str | None
) -> None:
    length = {} if length_mm is None else {"upper_half_mean_length_mm": length_mm}
    result = results.of_laboratory(HviFigures.model_validate({"micronaire": micronaire, **length}))
    labels = [one.label for one in result.measured[0].classes if one.table.startswith("india_msp_")]
    assert labels == ([] if label is None else [label])


@pytest.mark.parametrize(
    ("figure", "value", "inches", "millimetres"),
    [
        ("upper_half_mean_length_mm", "29.0", "1.14", "29.0"),
        ("upper_half_mean_length_mm", "28.12", "1.11", "28.1"),
        ("upper_half_mean_length_mm", "28.15", "1.11", "28.2"),
        ("upper_half_mean_length_in", "1.14", "1.14", "29.0"),
        ("upper_half_mean_length_in", "1.107", "1.11", "28.2"),
    ],
)
def test_a_length_is_told_in_inches_and_in_millimetres(figure: str, value: str, inches: str, millimetres: str) -> None:
    result = results.of_laboratory(HviFigures.model_validate({figure: value}))
    assert (str(result.measured[0].value), str(result.length_mm)) == (inches, millimetres)


MCX_RD = {"not deliverable": None, "discount 3.5%": "-3.5", "discount 1.5%": "-1.5", "basis": "0", "premium 1%": "1"}


@given(
    rd=st.decimals(70, 80, places=2),
    plus_b=st.decimals("9.5", 11, places=2),
    trash=st.decimals("2.5", 5, places=2),
)
def test_a_lot_is_settled_as_it_was_classed(rd: Decimal, plus_b: Decimal, trash: Decimal) -> None:
    terms = rules().quality["mcx_2021_11"]
    figures = HviFigures(rd=rd, plus_b=plus_b, trash_weight_pct=trash)
    found = {one.axis: one for one in results.of_laboratory(figures).measured}
    label = {axis: one.classes[0].label for axis, one in found.items()}
    band = next((band for band in terms.rd if band.holds(found["rd"].value)), None)
    expected = MCX_RD[label["rd"]]
    assert (None if band is None else band.percent) == (None if expected is None else Decimal(expected))
    assert (label["plus_b"] == "deliverable") == (found["plus_b"].value <= terms.plus_b_max)
    excess = found["trash_weight"].value - terms.trash_basis
    assert (label["trash_weight"] == "basis") == (excess <= 0)
    assert (label["trash_weight"] == "not deliverable") == (excess > terms.trash_excess_max)


@pytest.mark.parametrize(
    ("figures", "axis", "value", "label", "grade_of_it"),
    [
        ({"rd": "75.46"}, "rd", "75.5", "basis", "B"),
        ({"rd": "72.96"}, "rd", "73.0", "discount 3.5%", "C"),
        ({"rd": "75.45"}, "rd", "75.5", "basis", "B"),
        ({"plus_b": "10.24"}, "plus_b", "10.2", "deliverable", "B"),
        ({"micronaire": "4.24"}, "micronaire", "4.2", "premium", "A"),
        ({"upper_half_mean_length_in": "1.107"}, "length", "1.11", "36", "A"),
        ({"strength_g_tex": "28.9"}, "strength", "28.9", "average", "B"),
        ({"moisture_pct": "8.04"}, "moisture", "8.0", "full price", "A"),
    ],
)
def test_a_value_is_rounded_once(
    figures: dict[str, str], axis: AxisName, value: str, label: str, grade_of_it: str
) -> None:
    result = results.of_laboratory(HviFigures.model_validate(figures))
    [found] = result.measured
    assert (found.axis, str(found.value), found.classes[0].label) == (axis, value, label)
    assert result.platform_grade.grade == grade_of_it


def test_what_an_image_shows_is_rounded_as_well() -> None:
    reading = Reading(
        rd=Decimal("75.95"),
        plus_b=Decimal("9.04"),
        trash_area_pct=Decimal("0.21"),
        trash_area_uncertainty=Decimal("0.03"),
        trash_particles=12,
        card_residual=Decimal("0.3"),
    )
    result = results.of_image(reading, "0" * 64)
    assert [str(one.value) for one in result.measured] == ["76.0", "9.0", "0.21", "12"]
    assert result.platform_grade.grade == "A"


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
    assert record.classing.staple_32nds == "36"
    assert record.figures.micronaire == Decimal("4.1")
    assert record.figures.upper_half_mean_length_in == Decimal("1.14")
    assert record.figures.trash_area_pct == Decimal("0.2")
    assert (record.figures.color_grade, record.figures.leaf_grade) == ("31", 3)


def test_a_record_says_which_bale_it_is_of_and_what_is_wrong_with_it() -> None:
    plain = classing.parse(RECORD).classing
    assert (plain.gin_code, plain.bale, str(plain.date_classed)) == ("12345", "0012345", "2026-11-10")
    assert (plain.extraneous_matter, plain.remarks) == (None, None)
    assert plain.record_type == ClassingCode(code="0", name="Original")
    found = classing.parse(" " * 20 + RECORD[20:38] + "7176" + RECORD[42:60] + "11" + RECORD[62:]).classing
    assert (found.gin_code, found.bale, found.date_classed) == (None, None, None)
    assert found.extraneous_matter == ClassingCode(code="71", name="Plastic level 1")
    assert found.remarks == ClassingCode(code="76", name="Reginned")
    assert found.record_type == ClassingCode(code="1", name="Review")
    assert found.record_status == ClassingCode(code="1", name="Correction")
    unnamed = classing.parse(RECORD[:38] + "3199" + RECORD[42:]).classing
    assert unnamed.extraneous_matter == ClassingCode(code="31", name=None)
    assert unnamed.remarks == ClassingCode(code="99", name=None)


def test_extraneous_matter_is_told_and_plastic_caps_the_grade() -> None:
    good = [measured("strength", "32", "0.9"), measured("length", "1.15", "0.012")]
    bark = grade(good, ClassingCode(code="12", name="Bark level 2"))
    assert (bark.grade, bark.confidence) == ("A", grade(good).confidence)
    assert "extraneous matter 12, Bark level 2" in bark.reasons
    plastic = grade(good, ClassingCode(code="72", name="Plastic level 2"))
    assert plastic.grade == "D"
    assert plastic.reasons[0] == "extraneous matter 72, Plastic level 2: no better than D"
    assert plastic.confidence == Decimal("0.35")  # 6 of 17, and certain
    assert grade([], ClassingCode(code="31", name=None)).reasons[-1] == "extraneous matter 31"
    assert set(policy().caps.values()) <= set(LABELS)


def test_blanks_are_not_measured() -> None:
    record = classing.parse(RECORD[:30] + "  " + RECORD[32:45] + "   " + RECORD[48:])
    assert (record.classing.staple_32nds, record.figures.rd) == (None, None)


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
