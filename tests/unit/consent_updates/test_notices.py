"""The published notices: complete in every language, and never changed."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.consent_updates import lifecycle, notices, processors, service
from functions.consent_updates.notices import FOLDER, ChangedNotice, Notices
from functions.consent_updates.schemas import PURPOSES, ConsentDecide, Language, NoticeReference, Purpose, Refusal
from kapas.errors import NotFound
from kapas.privacy.signing import digest
from kapas.values import clock

PUBLISHED = notices.load()
SCRIPTS: dict[Language, tuple[str, str]] = {"en": ("A", "z"), "hi": ("\u0900", "\u097f"), "gu": ("\u0a80", "\u0aff")}
"""The range of characters that most of a text is in."""

OWN = "image-grading"
"""The platform's own grading service, which asks for the consent each time: nobody has to tell it to stop."""

each_version = pytest.mark.parametrize("version", PUBLISHED.versions)
each_text = pytest.mark.parametrize(
    ("version", "language"), [(name, language) for name, one in PUBLISHED.versions.items() for language in one.notices]
)


@each_text
def test_a_notice_says_what_the_law_asks_for(version: str, language: Language) -> None:
    """DPDP Act s.5(1), Rules r.3: itemised data, purpose, service, and how to withdraw, use rights and complain."""
    content = PUBLISHED.versions[version].notices[language].content
    asked = [purpose for purpose in PURPOSES if PUBLISHED.versions[version].asks_for(purpose)]
    assert [purpose.purpose for purpose in content.purposes] == asked
    for purpose in content.purposes:
        assert len(purpose.personal_data) > 1
        assert all((purpose.title, purpose.why, purpose.service, purpose.shared_with, purpose.if_refused))
    for link in (content.withdraw, content.rights, content.complaint):
        assert link.url.startswith("https://kapas.example.com/")
        assert len(link.text) > 50
    assert "@" in content.contact


@each_text
def test_a_notice_is_in_its_language(version: str, language: Language) -> None:
    text = PUBLISHED.versions[version].notices[language].content.introduction
    first, last = SCRIPTS[language]
    letters = [char for char in text if char.isalpha()]
    assert sum(first <= char <= last for char in letters) > 0.9 * len(letters)


@each_version
def test_the_languages_say_the_same(version: str) -> None:
    contents = [notice.content for notice in PUBLISHED.versions[version].notices.values()]
    for purposes in zip(*(content.purposes for content in contents), strict=True):
        assert len({len(purpose.personal_data) for purpose in purposes}) == 1
    assert len({(content.withdraw.url, content.rights.url, content.complaint.url) for content in contents}) == 1


@each_text
def test_a_client_can_check_the_hash_of_what_it_shows(version: str, language: Language) -> None:
    notice = PUBLISHED.versions[version].notices[language]
    answered = json.loads(notice.model_dump_json())
    assert digest(answered["content"]).hex() == answered["sha256"]


@each_version
def test_the_terms_cover_every_purpose(version: str) -> None:
    published = PUBLISHED.versions[version]
    for purpose in published.terms["purposes"]:
        assert published.record_terms(purpose)["pii_information"]
        assert published.validity(purpose).days > 0


def test_every_recipient_is_a_processor_or_the_platform_itself() -> None:
    current = PUBLISHED.versions[list(PUBLISHED.versions)[-1]]
    known = processors.load()
    for purpose in PURPOSES:
        names = [processor.name for processor in processors.of(purpose, known)]
        assert names == [name for name in current.record_terms(purpose)["recipients"] if name != OWN]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what is published, with a second version from 2027 on."""
    copy = tmp_path / "notices"
    shutil.copytree(FOLDER, copy)
    shutil.copytree(copy / "2026-11-01", copy / "2027-01-01")
    published = json.loads((copy / "published.json").read_text())
    published["2027-01-01"] = {**published["2026-11-01"], "effective_from": "2027-01-01"}
    (copy / "published.json").write_text(json.dumps(published))
    return copy


@pytest.mark.parametrize("name", ["hi.json", "terms.json"])
def test_a_changed_or_missing_file_is_refused(folder: Path, name: str) -> None:
    path = folder / "2026-11-01" / name
    path.write_text(path.read_text().replace("Kapas", "Cotton"))
    with pytest.raises(ChangedNotice, match=f"2026-11-01/{name}"):
        notices.load(folder)
    path.unlink()
    with pytest.raises(ChangedNotice, match=f"2026-11-01/{name}"):
        notices.load(folder)


def test_layout_is_no_change(folder: Path) -> None:
    path = folder / "2026-11-01/hi.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=8))
    notices.load(folder)


def test_a_version_is_shown_from_its_day_in_india(folder: Path) -> None:
    published = notices.load(folder)
    new_year = datetime(2026, 12, 31, 18, 30, tzinfo=UTC)
    before = new_year.replace(minute=29)
    assert [published.current(at) for at in (before, new_year)] == ["2026-11-01", "2027-01-01"]
    assert published.find("2027-01-01", before) is None
    assert published.find("2027-01-01", new_year) is not None
    assert published.find("2026-11-01", new_year) is not None
    assert published.current(datetime(2026, 10, 1, tzinfo=UTC)) is None


@pytest.fixture
def grown(folder: Path) -> Notices:
    """What is published once its second version, from 2027 on, has a language and a purpose more than its first."""
    first = folder / "2026-11-01"
    (first / "gu.json").unlink()
    published = json.loads((folder / "published.json").read_text())
    hashes = published[first.name]["sha256"]
    del hashes["gu"]
    for name in ("en", "hi", "terms"):
        content = json.loads((first / f"{name}.json").read_text())
        if name == "terms":
            del content["purposes"]["cross_border"]
        else:
            content["purposes"] = [one for one in content["purposes"] if one["purpose"] != "cross_border"]
        (first / f"{name}.json").write_text(json.dumps(content))
        hashes[name] = digest(content).hex()
    (folder / "published.json").write_text(json.dumps(published))
    return notices.load(folder)


OLD, NEW = "2026-11-01", "2027-01-01"
YEAR_2027 = datetime(2027, 1, 2, tzinfo=UTC)


def test_versions_differ_in_languages_and_purposes(grown: Notices) -> None:
    assert [list(version.notices) for version in grown.versions.values()] == [["en", "hi"], ["en", "gu", "hi"]]
    assert [version.asks_for("cross_border") for version in grown.versions.values()] == [False, True]
    with clock.use(lambda: YEAR_2027):
        assert service.current_notice(grown, "gu").version == NEW
        assert service.notice(grown, OLD, "hi").version == OLD
        for read in (lambda: service.notice(grown, OLD, "gu"), lambda: service.current_notice(grown, "ta")):
            with pytest.raises(NotFound):
                read()


@pytest.mark.parametrize(
    ("version", "language", "purpose", "refused"),
    [
        (OLD, "hi", "marketing", None),
        (OLD, "gu", "marketing", "notice_unknown"),
        (OLD, "hi", "cross_border", "purpose_unknown"),
        (NEW, "gu", "marketing", None),
        (NEW, "hi", "cross_border", None),
        (NEW, "ta", "marketing", "notice_unknown"),
    ],
)
def test_a_decision_is_on_what_its_own_notice_says(
    grown: Notices, version: str, language: Language, purpose: Purpose, refused: Refusal | None
) -> None:
    shown = grown.versions[version].notices.get(language) or grown.versions[NEW].notices["en"]
    reference = NoticeReference(version=version, language=language, sha256=shown.sha256)
    decide = ConsentDecide(purpose=purpose, decision="denied", notice=reference)
    assert lifecycle.refusal(grown, decide, None, YEAR_2027) == refused
    if refused is None:
        assert grown.versions[version].record_terms(purpose)["pii_information"]
