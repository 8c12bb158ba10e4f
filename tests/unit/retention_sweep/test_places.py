"""The sweep looks where the data map says, by the policies that are in force."""

from dataclasses import replace

import pytest

from functions.retention_sweep import places as module
from functions.retention_sweep.places import Place, places, swept, tables
from kapas.privacy.data_map import data_map
from kapas.privacy.retention import policies


def test_every_place_is_in_the_data_map_with_a_key_and_an_anchor() -> None:
    for place in places():
        assert place.table.key
        # What goes with a row is found by one value.
        assert len(place.table.key) == 1 or not (place.children or place.documents)
        assert place.anchor != "t."
        assert place.table.retention
        for child, column in place.children.items():
            assert column in data_map().tables[child].columns


def test_rows_that_follow_another_go_with_it() -> None:
    children = {(table.name, *child) for table, sweep in swept() for child in sweep.children.items()}
    for table in data_map().tables.values():
        follows = table.follows
        if follows is not None and follows.parent in tables():
            assert (follows.parent, table.name, follows.column) in children


def test_what_a_policy_governs_is_swept_by_it() -> None:
    found = {(place.name, place.policy.name) for place in places()}
    for table, sweep in swept():
        if sweep.file is None:
            for rule in table.retention:
                assert (f"table {table.name}", rule.policy) in found


def test_files_and_documents_go_with_their_rows() -> None:
    unconcluded = _place("table trades", "negotiation_message_unconcluded")
    assert unconcluded.documents == ("trades",)
    assert not _place("table trades", "books_of_account").documents
    grading = _place("table gradings", "ai_prompt_and_output")
    assert grading.file is not None
    assert (grading.file.bucket, grading.rows_stay) == ("uploads", False)
    assert _place("bucket exports/archives/", "export_archive").rows_stay
    document = _place("table partner_documents", "kyc_document_default")
    assert document.file is not None
    assert (document.file.bucket, document.rows_stay) == ("uploads", False)


def test_only_what_the_policy_lets_go_by_itself_is_deleted() -> None:
    for place in places():
        assert place.deletes == policies()[place.policy.name].auto_delete
    assert not _place("table trades", "books_of_account").deletes


def test_an_inactive_policy_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    off = {**policies(), "privacy_audit_log": replace(policies()["privacy_audit_log"], active=False)}
    monkeypatch.setattr(module, "policies", lambda: off)
    assert "table audit_log" not in {place.name for place in places.__wrapped__()}


def test_the_audit_trail_is_swept_last() -> None:
    assert places()[-1].table.name == "audit_log"


def _place(name: str, policy: str) -> Place:
    [found] = [place for place in places() if (place.name, place.policy.name) == (name, policy)]
    return found
