"""Identifiers: check digits, states that the library does not know, and what contradicts what."""

import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from stdnum import luhn
from stdnum.in_ import gstin as library
from stdnum.iso7064 import mod_97_10

from functions.partner_onboarding.profile import identifiers, requirements
from functions.partner_onboarding.schemas import Identifiers, PartnerProfile
from tests.journeys.partners import gstin, registration

NOW = datetime(2026, 12, 31, 18, 29, tzinfo=UTC)  # a minute before the year 2027 in India
PAN = "AAACE1234K"


def profile(**changes: Any) -> PartnerProfile:
    """A profile without an address; `changes` are identifiers, or `address`."""
    address = changes.pop("address", None)
    body = registration()
    return PartnerProfile.model_validate(
        {"legal_name": body["legal_name"], "contact": body["contact"], "identifiers": changes, "address": address}
    )


def pointers(**changes: Any) -> list[str]:
    return [fault.pointer for fault in identifiers.faults(profile(**changes))]


def codes(now: datetime = NOW, constitution: Any = "private_limited", **changes: Any) -> list[str]:
    entities = requirements.table().pan_entities
    return [one.code for one in identifiers.contradictions(profile(**changes), constitution, entities, now)]


def oddities(**changes: Any) -> list[str]:
    return [one.code for one in identifiers.oddities(profile(**changes))]


def address(pin: str = "360001", state_code: str = "24") -> dict[str, str]:
    return {"line": "1 Example Road", "city": "Rajkot", "pin": pin, "state_code": state_code}


@pytest.mark.parametrize("state", ["24", "38", "97", "99", "25", "28"])
def test_a_gstin_of_every_state_is_taken(state: str) -> None:
    assert pointers(gstin=gstin(PAN, state)) == []


@pytest.mark.parametrize("state", ["00", "39", "98"])
def test_a_gstin_of_no_state_is_not(state: str) -> None:
    assert pointers(gstin=gstin(PAN, state)) == ["/identifiers/gstin"]


@given(st.text(string.digits + string.ascii_uppercase, min_size=1, max_size=1), st.integers(0, 14))
def test_one_mistyped_character_of_a_gstin_is_found(character: str, place: int) -> None:
    right = gstin(PAN)
    mistyped = right[:place] + character + right[place + 1 :]
    assert (pointers(gstin=mistyped) == []) == (mistyped == right)


@given(
    st.sampled_from([f"{n:02d}" for n in range(1, 38)]),
    st.from_regex(r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{3}[1-9][A-Z]", fullmatch=True),
    st.sampled_from(string.digits + string.ascii_uppercase),
)
def test_the_library_agrees_where_it_knows_the_state(state: str, pan: str, last: str) -> None:
    number = f"{state}{pan}1Z{last}"
    assert (pointers(gstin=number) == []) == library.is_valid(number)


def test_spaces_hyphens_and_small_letters_are_taken() -> None:
    known = Identifiers(pan="aaace 1234k", udyam="udyam-gj-01-0000001", llpin="aaa-1234")
    assert (known.pan, known.udyam, known.llpin) == (PAN, "UDYAMGJ010000001", "AAA1234")


@pytest.mark.parametrize("pan", ["AAAXE1234K", "AAACE12345", "AACE1234K", "AAACE1234KK"])
def test_a_pan_has_a_form(pan: str) -> None:
    with pytest.raises(ValidationError):
        Identifiers(pan=pan)


def test_a_lei_has_twenty_characters_and_check_digits() -> None:
    lei = "335800EXAMPLE00000"
    lei += mod_97_10.calc_check_digits(lei)
    assert pointers(lei=lei) == []
    assert pointers(lei=lei[:-2] + ("00" if lei[-2:] != "00" else "01")) == ["/identifiers/lei"]
    with pytest.raises(ValidationError):
        Identifiers(lei=lei[1:])


@pytest.mark.parametrize(("cin", "fits"), [("U17111GJ2015PTC000001", True), ("U17111GJ2015XYZ000001", False)])
def test_a_cin_is_of_a_class(cin: str, fits: bool) -> None:
    assert (pointers(cin=cin) == []) == fits


@pytest.mark.parametrize(("iec", "fits"), [(PAN, True), ("0512345678", True), ("05123A5678", False)])
def test_an_iec_is_a_pan_or_ten_digits(iec: str, fits: bool) -> None:
    assert (pointers(iec=iec) == []) == fits


def test_an_unknown_state_of_an_address_is_refused() -> None:
    assert pointers(address=address(state_code="40")) == ["/address/state_code"]


def test_what_fits_together_contradicts_nothing() -> None:
    cin = "U17111GJ2026PTC000001"
    assert codes(pan=PAN, gstin=gstin(PAN), iec=PAN, cin=cin, address=address()) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pan": "AAACX9999K", "gstin": gstin(PAN)}, "gstin_pan_differs"),
        ({"pan": "AAACE1234L", "gstin": gstin(PAN)}, "gstin_pan_differs"),
        ({"pan": "AAAPE1234K"}, "pan_entity_differs"),
        ({"pan": PAN, "gstin": gstin(PAN), "address": address(state_code="27")}, "gstin_state_differs"),
        ({"cin": "U17111GJ2027PTC000001"}, "cin_year_in_future"),
        ({"pan": PAN, "iec": "AAACX9999K"}, "iec_pan_differs"),
    ],
)
def test_what_cannot_be_right_together(changes: dict[str, Any], code: str) -> None:
    assert codes(**changes) == [code]


def test_the_year_of_a_cin_is_india_s() -> None:
    cin = {"cin": "U17111GJ2027PTC000001"}
    assert codes(datetime(2026, 12, 31, 18, 29, tzinfo=UTC), **cin) == ["cin_year_in_future"]
    assert codes(datetime(2026, 12, 31, 18, 30, tzinfo=UTC), **cin) == []


@pytest.mark.parametrize(("legacy", "state"), [("25", "26"), ("28", "37")])
def test_a_legacy_state_is_its_successor_with_a_warning(legacy: str, state: str) -> None:
    known = {
        "pan": PAN,
        "gstin": gstin(PAN, legacy),
        "address": address("520001" if state == "37" else "396210", state),
    }
    assert codes(**known) == []
    assert oddities(**known) == ["gst_state_legacy"]


def test_a_pin_of_another_state_is_only_a_warning() -> None:
    known = {"pan": PAN, "gstin": gstin(PAN), "address": address(pin="400001")}
    assert codes(**known) == []
    assert oddities(**known) == ["pin_state_unusual"]
    assert oddities(address=address(pin="990001")) == []  # no prefix of the table


def test_a_legacy_iec_is_only_a_warning() -> None:
    assert codes(pan=PAN, iec="0512345678") == []
    assert oddities(pan=PAN, iec="0512345678") == ["iec_legacy"]


def test_the_check_character_of_the_journey_is_luhn_s() -> None:
    assert luhn.is_valid(gstin(PAN), string.digits + string.ascii_uppercase)
