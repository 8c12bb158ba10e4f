"""Aadhaar numbers are found however they are written, and other numbers are left alone."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import verhoeff

from functions.partner_onboarding.profile import aadhaar
from kapas.errors import Invalid

NUMBER = "234123412346"  # the example of python-stdnum: of the right form, and nobody's


@pytest.mark.parametrize(
    "text",
    [
        NUMBER,
        "2341 2341 2346",
        "2341-2341-2346",
        "2341–2341–2346",
        "Meena 2341 2341 2346 Example",
        f"id{NUMBER}x",
        "12 2341 2341 2346",
        "२३४१ २३४१ २३४६",
        "2341\u200b2341\u200b2346",
        f"+{NUMBER}",
        f"{NUMBER}, {NUMBER}",
    ],
)
def test_an_aadhaar_number_is_found_however_it_is_written(text: str) -> None:
    assert aadhaar.contains(text)


@pytest.mark.parametrize(
    "text",
    [
        "234123412347",  # another check digit
        f"1{NUMBER}",  # thirteen digits
        f"{NUMBER}0",
        "134123412345",  # begins with 1
        "222222222222",  # a palindrome
        "2341 2341 234",
        "",
    ],
)
def test_another_number_is_none(text: str) -> None:
    assert not aadhaar.contains(text)


@given(st.from_regex(r"\+91[6-9][0-9]{9}", fullmatch=True))
def test_a_phone_number_is_none(phone: str) -> None:
    assert not aadhaar.contains(phone)


@given(st.from_regex(r"[2-9][0-9]{10}", fullmatch=True), st.sampled_from(["", " ", "-", "."]))
def test_every_number_of_the_form_is_found(digits: str, separator: str) -> None:
    number = digits + verhoeff.calc_check_digit(digits)
    grouped = separator.join((number[:4], number[4:8], number[8:]))
    assert aadhaar.contains(grouped) == (number != number[::-1])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"legal_name": NUMBER}, "/legal_name"),
        ({"beneficial_owners": [{"name": "Meena"}, {"name": f"Ravi {NUMBER}"}]}, "/beneficial_owners/1/name"),
        ({"contact": {NUMBER: 1}}, "/contact"),
        ({"a/b~c": NUMBER}, "/a~1b~0c"),
        ({"number": int(NUMBER)}, "/number"),
        ([NUMBER], "/0"),
        (NUMBER, ""),
    ],
)
def test_it_is_refused_wherever_it_stands_and_not_repeated(body: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        aadhaar.refuse(body)
    assert [fault.pointer for fault in refused.value.errors] == [pointer]
    assert NUMBER not in str(refused.value.to_json("/v1/partners"))


def test_a_deep_body_is_looked_through() -> None:
    body: Any = NUMBER
    for _ in range(5000):
        body = [body]
    with pytest.raises(Invalid):
        aadhaar.refuse(body)


def test_an_id_in_a_path_is_no_aadhaar_number_whatever_its_digits() -> None:
    unlucky = "01a20c19-9511-7183-8870-d11212db77bc"
    assert aadhaar.contains(unlucky)
    assert not aadhaar.in_path(f"/v1/partners/{unlucky}/submit")
    assert aadhaar.in_path("/v1/partners/9511-7183-8870")


def test_a_files_hash_is_no_aadhaar_number_whatever_its_digits() -> None:
    unlucky = hashlib.sha256(b"deed 453").hexdigest()
    assert aadhaar.contains(unlucky)
    aadhaar.refuse({"kind": "partnership_deed", "sha256": unlucky})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"sha256": NUMBER}, "/sha256"),
        ({"sha256": hashlib.sha256(b"deed 453").hexdigest().upper()}, "/sha256"),
        ({"legal_name": hashlib.sha256(b"deed 453").hexdigest()}, "/legal_name"),
    ],
)
def test_what_is_no_hash_or_stands_elsewhere_is_looked_through(body: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        aadhaar.refuse(body)
    assert [fault.pointer for fault in refused.value.errors] == [pointer]
