"""What a partner is asked for, the steps between its states, and its risk."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from functions.partner_onboarding import lifecycle
from functions.partner_onboarding.checks import names
from functions.partner_onboarding.profile import requirements
from functions.partner_onboarding.records import Account, Check, Document, OpenClarification
from functions.partner_onboarding.review import risk
from functions.partner_onboarding.schemas import Constitution, PartnerProfile, PartnerStatus, PartnerType
from kapas.errors import Conflict
from kapas.values import ids
from tests.journeys.partners import registration

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


def account(**changes: Any) -> Account:
    made = Account(
        id=ids.uuid7(),
        version=1,
        status="created",
        type="ginner",
        constitution="private_limited",
        submission=0,
        clarifications=(),
        due_at=NOW + timedelta(days=30),
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **changes)


def profile(**changes: Any) -> PartnerProfile:
    body = registration(**changes)
    return PartnerProfile.model_validate({k: v for k, v in body.items() if k not in ("type", "constitution")})


def empty() -> PartnerProfile:
    return profile(identifiers={}, address=None, bank_account=None, beneficial_owners=[])


def document(kind: Any, status: Any = "uploaded", at: datetime = NOW) -> Document:
    return Document(
        id=ids.uuid7(),
        version=1,
        kind=kind,
        content_type="application/pdf",
        size=1,
        sha256="0" * 64,
        status=status,
        created_at=at,
    )


def check(kind: Any, result: Any) -> Check:
    return Check(ids.uuid7(), kind, 1, 0, result, (), None, None, NOW, NOW)


CLEAR = [check("bank_account", "clear"), check("gst_registry", "clear"), check("screening", "clear")]


def test_a_complete_partner_is_asked_for_nothing() -> None:
    found = requirements.compute(account(), profile(), [], [], NOW)
    assert (found.currently_due, found.past_due, found.errors) == ([], [], [])


@pytest.mark.parametrize(
    ("kind", "constitution", "due"),
    [
        ("farmer", "individual", ["identifiers.pan", "address", "bank_account"]),
        ("ginner", "proprietorship", ["identifiers.pan", "address", "bank_account", "identifiers.gstin"]),
        (
            "trader",
            "partnership",
            [
                *("identifiers.pan", "address", "bank_account", "identifiers.gstin"),
                *("documents.partnership_deed", "beneficial_owners"),
            ],
        ),
        (
            "spinning_mill",
            "private_limited",
            ["identifiers.pan", "address", "bank_account", "identifiers.gstin", "identifiers.cin", "beneficial_owners"],
        ),
    ],
)
def test_what_is_due_follows_from_type_and_constitution(kind: Any, constitution: Any, due: list[str]) -> None:
    found = requirements.compute(account(type=kind, constitution=constitution), empty(), [], [], NOW)
    assert found.currently_due == due


@pytest.mark.parametrize("constitution", get_args(Constitution))
def test_a_farmer_is_never_asked_for_a_gstin(constitution: Constitution) -> None:
    found = requirements.compute(account(type="farmer", constitution=constitution), empty(), [], [], NOW)
    assert "identifiers.gstin" not in found.currently_due


def test_the_table_has_every_type_and_constitution() -> None:
    table = requirements.table()
    assert table.by_type.keys() == set(get_args(PartnerType))
    assert table.by_constitution.keys() == table.pan_entities.keys() == set(get_args(Constitution))


def test_a_listed_company_need_not_name_its_owners() -> None:
    known = {**registration()["identifiers"], "cin": "L17111GJ1995PLC000001"}
    found = requirements.compute(
        account(constitution="public_limited"), profile(identifiers=known, beneficial_owners=[]), [], [], NOW
    )
    assert found.currently_due == []


def test_an_announced_document_is_not_there_before_it_is_uploaded() -> None:
    made = account(constitution="partnership")
    known = profile(identifiers={k: v for k, v in registration()["identifiers"].items() if k != "cin"})
    for status, due in (("awaiting_upload", ["documents.partnership_deed"]), ("uploaded", [])):
        found = requirements.compute(made, known, [document("partnership_deed", status)], [], NOW)
        assert found.currently_due == due


def test_what_is_due_becomes_overdue() -> None:
    made = account()
    assert requirements.compute(made, empty(), [], [], NOW + timedelta(days=29)).past_due == []
    late = requirements.compute(made, empty(), [], [], NOW + timedelta(days=30))
    assert late.past_due == late.currently_due != []


def test_a_fault_says_how_it_is_mended() -> None:
    wrong = profile(identifiers={**registration()["identifiers"], "pan": "AAAPE1234K"})
    found = requirements.compute(account(), wrong, [], [], NOW)
    assert {error.code for error in found.errors} == {"pan_entity_differs", "gstin_pan_differs"}
    assert all(error.message and error.how_to_mend for error in found.errors)


def test_a_clarification_is_due_until_the_field_changes_or_a_document_comes() -> None:
    clarifications = (
        OpenClarification("bank_account", "account_name_differs", NOW),
        OpenClarification("documents.bank_proof", "further_proof", NOW),
    )
    made = account(status="needs_clarification", clarifications=clarifications)
    assert requirements.compute(made, profile(), [], [], NOW).currently_due == ["bank_account", "documents.bank_proof"]
    assert requirements.unanswered(clarifications, ["contact"]) == list(clarifications)
    assert requirements.unanswered(clarifications, ["bank_account"]) == [clarifications[1]]
    assert requirements.unanswered(clarifications, ["legal_name"]) == [clarifications[1]]
    before, after = document("bank_proof", at=NOW - timedelta(days=1)), document("bank_proof", at=NOW)
    assert "documents.bank_proof" in requirements.compute(made, profile(), [before], [], NOW).currently_due
    assert "documents.bank_proof" not in requirements.compute(made, profile(), [after], [], NOW).currently_due


def test_while_it_is_checked_nothing_is_due() -> None:
    found = requirements.compute(account(status="verifying", due_at=None), empty(), [], ["bank_account"], NOW)
    assert (found.currently_due, found.pending_verification) == ([], ["bank_account"])


# Lifecycle


def test_every_state_is_reached_and_only_a_rejection_is_final() -> None:
    states = set(get_args(PartnerStatus))
    assert {step.target for step in lifecycle.STEPS.values()} | {"created"} == states
    sources = {source for step in lifecycle.STEPS.values() for source in step.sources}
    assert states - sources == {"rejected"}


@pytest.mark.parametrize("name", lifecycle.STEPS)
@pytest.mark.parametrize("status", get_args(PartnerStatus))
def test_a_step_is_taken_from_its_sources_only(name: str, status: PartnerStatus) -> None:
    if status in lifecycle.STEPS[name].sources:
        assert lifecycle.step(name, status) is lifecycle.STEPS[name]
    else:
        with pytest.raises(Conflict):
            lifecycle.step(name, status)


def test_nothing_but_operations_activates() -> None:
    assert {step.party for step in lifecycle.STEPS.values() if step.target in ("active", "rejected")} == {"operations"}


def test_details_change_where_a_partner_may_submit_and_nowhere_else() -> None:
    assert set(lifecycle.CHANGEABLE) == set(lifecycle.STEPS["submit"].sources)


# Risk


def test_a_partner_is_high_risk_until_all_its_checks_are_clear() -> None:
    made = account()
    for checks in ([], [*CLEAR[:2], check("screening", None)], [*CLEAR[:2], check("screening", "unavailable")]):
        found = risk.score(made, profile(), checks)
        assert (found.level, found.factors[0].name) == ("high", "not_verified_non_face_to_face")
    assert risk.score(made, profile(), CLEAR).model_dump() == {
        "score": 0,
        "level": "low",
        "factors": [],
        "policy_version": risk.policy().version,
    }


def test_the_score_is_the_sum_of_named_factors() -> None:
    found = risk.score(account(type="trader", constitution="trust"), profile(), CLEAR)
    assert [factor.name for factor in found.factors] == ["type_trader", "constitution_trust"]
    assert (found.score, found.level) == (sum(factor.points for factor in found.factors), "medium")


def test_a_possible_hit_weighs_as_one_whatever_its_score() -> None:
    found = risk.score(account(), profile(), [*CLEAR[:2], check("screening", "mismatch")])
    assert "possible_screening_hit" in [factor.name for factor in found.factors]


def test_no_reason_tells_a_partner_what_the_screening_found() -> None:
    for code, told in requirements.reasons().items():
        assert not any(word in f"{code} {told}".casefold() for word in ("listed", "screen", "sanction"))


def test_every_table_carries_a_version() -> None:
    assert requirements.table().version
    assert risk.policy().version
    assert names.table().legal_forms
