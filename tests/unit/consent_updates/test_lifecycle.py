"""Which decisions can follow which, and with which notice."""

from dataclasses import replace
from datetime import timedelta

import pytest

from functions.consent_updates import lifecycle, notices
from functions.consent_updates.notices import Notices
from functions.consent_updates.schemas import ConsentDecide, Decision, NoticeReference, Refusal
from tests.unit.consent_updates.samples import START

PUBLISHED = notices.load()
FIRST = PUBLISHED.versions["2026-11-01"]
SECOND = "2026-11-20"
TWO = Notices({"2026-11-01": FIRST, SECOND: replace(FIRST, effective_from=START - timedelta(days=4))})


def decide(decision: Decision, **changes: str) -> ConsentDecide:
    shown = {"version": "2026-11-01", "language": "hi", "sha256": FIRST.notices["hi"].sha256} | changes
    return ConsentDecide(purpose="marketing", decision=decision, notice=NoticeReference.model_validate(shown))


@pytest.mark.parametrize(
    ("last", "decision", "refused", "ends"),
    [
        (None, "granted", None, False),
        (None, "denied", None, False),
        (None, "withdrawn", "not_granted", False),
        ("granted", "granted", None, False),
        ("granted", "denied", None, True),
        ("granted", "withdrawn", None, True),
        ("denied", "granted", None, False),
        ("denied", "denied", None, False),
        ("denied", "withdrawn", "not_granted", False),
        ("withdrawn", "granted", None, False),
        ("withdrawn", "denied", None, False),
        ("withdrawn", "withdrawn", "not_granted", False),
    ],
)
def test_what_can_follow(last: Decision | None, decision: Decision, refused: Refusal | None, ends: bool) -> None:
    assert lifecycle.refusal(PUBLISHED, decide(decision), last, START) == refused
    if refused is None:
        assert lifecycle.ends_processing(decision, last) == ends


@pytest.mark.parametrize("decision", ["granted", "denied", "withdrawn"])
@pytest.mark.parametrize(
    ("shown", "refused"),
    [
        ({"version": "2026-10-01"}, "notice_unknown"),
        ({"language": "gu"}, "notice_mismatch"),
        ({"sha256": "0" * 64}, "notice_mismatch"),
    ],
)
def test_never_without_the_notice_that_was_published(
    decision: Decision, shown: dict[str, str], refused: Refusal
) -> None:
    assert lifecycle.refusal(PUBLISHED, decide(decision, **shown), "granted", START) == refused


def test_a_notice_that_is_not_shown_yet_is_unknown() -> None:
    at = START - timedelta(days=5)
    assert lifecycle.refusal(TWO, decide("granted", version=SECOND), None, at) == "notice_unknown"
    assert lifecycle.refusal(TWO, decide("granted"), None, at) is None


def test_a_newer_notice_takes_a_new_yes_but_no_new_notice_for_a_no() -> None:
    assert lifecycle.refusal(TWO, decide("granted"), None, START) == "notice_superseded"
    assert lifecycle.refusal(TWO, decide("granted", version=SECOND), None, START) is None
    assert lifecycle.refusal(TWO, decide("denied"), "granted", START) is None
    assert lifecycle.refusal(TWO, decide("withdrawn"), "granted", START) is None


def test_every_refusal_says_what_to_do() -> None:
    assert lifecycle.REFUSED.keys() == set(Refusal.__args__)
