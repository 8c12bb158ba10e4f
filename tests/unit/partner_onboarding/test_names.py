"""Names of a holder: three bands with an explanation, where no single score tells true from false pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.partner_onboarding.checks import names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Laxmi Cotton Industries", "LAKSHMI COTTON INDS"),
        ("Example Ginning Private Limited", "EXAMPLE GINNING PVT. LTD."),
        ("Example Ginning (P) Ltd", "Example Ginning Private Limited"),
        ("M/s. Krishna Ginning Co.", "Krushna Ginning Company"),
        ("Chaudhary Bros", "Choudhury Brothers"),
        ("Shri Ram Traders", "Shriram Traders"),
        ("A.K. Traders", "AK Traders"),
        ("Mahavir Cotton", "Mahaveer Cotton"),
        ("Patel Meena", "Meena Patel"),
        ("Jain Cotton & Sons", "Jain Cotton and Sons"),
    ],
)
def test_true_pairs_match(one: str, other: str) -> None:
    assert names.compare(one, other).band == "match"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Vijay Cotton", "Ajay Cotton"),
        ("Sunil Cotton", "Anil Cotton"),
        ("Ramesh Patel", "Kamesh Patel"),
        ("Patel Cotton", "Patel Ginning"),
        ("Example Ginning Private Limited", "Other Trading Private Limited"),
    ],
)
def test_false_pairs_do_not_however_alike_they_look(one: str, other: str) -> None:
    assert names.compare(one, other).band == "mismatch"


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Meena R Patel", "Meena Ramesh Patel", "initial"),
        ("Meena Patel", "Meena Ramesh Patel", "word_missing"),
        ("Gujrat Cotton", "Gujarat Cotton", "word_near"),
        ("Vijay Cotton", "Vijay Cotton Pvt Ltd", "legal_form_missing"),
        ("लक्ष्मी कॉटन", "Lakshmi Cotton", "other_script"),
        ("Vijay Cotton", "", "other_script"),
    ],
)
def test_what_a_person_looks_at(one: str, other: str, why: str) -> None:
    compared = names.compare(one, other)
    assert (compared.band, compared.explanation) == ("review", (why,))


def test_another_legal_form_is_another_holder() -> None:
    compared = names.compare("Example Ginning Private Limited", "Example Ginning LLP")
    assert (compared.band, compared.explanation) == ("mismatch", ("legal_form_conflict",))


NAMES = st.text(st.sampled_from("aeijkmrsvy .&कम"), min_size=1, max_size=24)


@given(NAMES, NAMES)
def test_it_is_symmetric(one: str, other: str) -> None:
    first, second = names.compare(one, other), names.compare(other, one)
    assert (first.band, first.explanation) == (second.band, second.explanation)


@given(NAMES)
def test_a_name_matches_itself_in_capitals_and_with_spaces(name: str) -> None:
    assert names.compare(name, f"  {name.upper()} ").band == "match"
