"""What proves who a partner is goes some years after the relationship, and what was superseded by its own age."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.retention_sweep import sweeping
from kapas.platform.db import Database
from tests.integration.retention_sweep.system import System, figures, line, place_between, running

POLICY = "kyc_document_default"
TABLES = ("partner_documents", "partner_checks", "partner_decisions")
DOCUMENTS, CHECKS, DECISIONS = (f"table {table}" for table in TABLES)
YEAR = 365.25


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    with running(open_as("retention_sweep", 4), admin) as system:
        yield system


def registration(system: System, days: float, partner_id: UUID) -> UUID:
    """A document, a check and a decision of so many days ago; the document."""
    system.check(days, partner_id)
    system.decision(days, partner_id)
    return system.document(days, partner_id)


def counts(system: System) -> tuple[int, ...]:
    return tuple(system.count(table) for table in TABLES)


# What goes and what stays


@pytest.mark.parametrize("end", ["rejected", "erased"])
def test_it_goes_three_years_after_the_relationship(system: System, end: str) -> None:
    gone, kept = (system.partner(**{end: years * YEAR}) for years in (3.1, 2.9))
    for partner_id in (gone, kept, system.partner()):
        registration(system, 9 * YEAR, partner_id)
    swept = system.sweep(policies=[POLICY])
    assert [figures(swept, f"table {table}") for table in TABLES] == [(1, 1, 0, 0)] * 3
    assert counts(system) == (2, 2, 2)
    assert [path.split("/")[:2] for path in system.outside.deleted] == [["partners", str(gone)]]
    assert (line(swept, DOCUMENTS).law, line(swept, DOCUMENTS).action) == (
        "Limitation Act 1963 (3 y, policy)",
        "delete",
    )
    system.time.advance(days=0.2 * YEAR)
    system.sweep(policies=[POLICY])
    assert counts(system) == (1, 1, 1)


def test_the_first_end_counts_and_what_came_after_it_for_itself(system: System) -> None:
    partner_id = system.partner(rejected=4 * YEAR, erased=YEAR)
    registration(system, 9 * YEAR, partner_id)
    later = system.document(2 * YEAR, partner_id, kind="identity_proof")
    system.decision(2 * YEAR, partner_id)
    swept = system.sweep(policies=[POLICY])
    assert [figures(swept, f"table {table}")[1] for table in TABLES] == [1, 1, 1]
    assert counts(system) == (1, 0, 1)
    assert system.admin.run("SELECT id FROM partner_documents") == [[later]]


def test_a_document_goes_by_its_own_age_once_another_was_asked_for_and_came(system: System) -> None:
    partner_id = system.partner()
    system.document(4 * YEAR, partner_id)
    system.document(4 * YEAR, partner_id, kind="identity_proof")  # the other kind has no second
    system.decision(3.9 * YEAR, partner_id)
    newer = system.document(3.8 * YEAR, partner_id)
    assert figures(system.sweep(policies=[POLICY]), DOCUMENTS) == (1, 1, 0, 0)
    assert [newer] in system.admin.run("SELECT id FROM partner_documents")
    assert counts(system) == (2, 0, 1)


def test_documents_that_came_together_do_not_supersede_each_other(system: System) -> None:
    partner_id = system.partner()
    system.decision(5 * YEAR, partner_id)
    system.document(4 * YEAR, partner_id)
    system.document(4 * YEAR - 1, partner_id)
    system.decision(3.9 * YEAR, partner_id)
    system.document(3.8 * YEAR, partner_id, "awaiting_upload")
    assert figures(system.sweep(policies=[POLICY]), DOCUMENTS) == (1, 1, 0, 0)
    assert system.admin.run("SELECT DISTINCT status FROM partner_documents") == [["uploaded"]]


def test_a_superseded_document_is_kept_for_three_years(system: System) -> None:
    partner_id = system.partner()
    system.document(2.9 * YEAR, partner_id)
    system.decision(2 * YEAR, partner_id)
    system.document(YEAR, partner_id)
    assert figures(system.sweep(policies=[POLICY]), DOCUMENTS) == (0, 0, 0, 0)


# Holds, failures, dry runs


@pytest.mark.parametrize("of", ["subject", "row"])
def test_a_hold_keeps_it_until_it_is_released(system: System, of: str) -> None:
    partner_id = system.partner(rejected=4 * YEAR)
    document_id = registration(system, 9 * YEAR, partner_id)
    if of == "subject":
        hold, kept = system.hold(partner_id), (1, 1, 1)
    else:
        hold, kept = system.hold(table="partner_documents", row_id=document_id), (1, 0, 0)
    swept = system.sweep(policies=[POLICY])
    assert tuple(figures(swept, f"table {table}")[2] for table in TABLES) == kept == counts(system)
    assert system.outside.deleted == []
    system.release(hold)
    system.sweep(policies=[POLICY])
    assert counts(system) == (0, 0, 0)


def test_a_hold_placed_between_the_scan_and_the_delete_wins(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    held, other = (system.partner(erased=4 * YEAR) for _ in range(2))
    for partner_id in (held, other):
        system.document(9 * YEAR, partner_id)
    with place_between(monkeypatch, lambda: system.hold(held)):
        assert figures(system.sweep(policies=[POLICY]), DOCUMENTS) == (2, 1, 1, 0)
    assert [path.split("/")[1] for path in system.outside.deleted] == [str(other)]


def test_a_file_that_is_not_deleted_keeps_its_row(system: System) -> None:
    system.document(9 * YEAR, system.partner(rejected=4 * YEAR))
    system.outside.down = True
    assert figures(system.sweep(policies=[POLICY]), DOCUMENTS) == (1, 0, 0, 1)
    assert system.count("partner_documents") == 1
    system.outside.down = False
    assert figures(system.sweep(policies=[POLICY]), DOCUMENTS) == (1, 1, 0, 0)


def test_a_dry_run_says_what_the_real_one_then_does(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 3)
    monkeypatch.setattr(sweeping, "OUTSIDE_PAGE", 2)
    for years in (1, 2.9, 3.1, 3.1, 4, 4, 5):
        for ended in (system.partner(rejected=years * YEAR), system.partner(erased=years * YEAR), system.partner()):
            registration(system, 6 * YEAR, ended)
            system.decision(5.8 * YEAR, ended)
            system.document(5.5 * YEAR, ended)
    held = system.partner(rejected=6 * YEAR, erased=5 * YEAR)
    registration(system, 7 * YEAR, held)
    system.hold(held)
    before, as_of = counts(system), system.time.now
    dry = system.sweep(policies=[POLICY], dry_run=True, as_of=as_of)
    assert counts(system) == before
    assert not system.outside.deleted
    real = system.sweep(policies=[POLICY], as_of=as_of)
    assert dry.lines == real.lines
    assert [figures(real, name) for name in (CHECKS, DECISIONS)] == [(11, 10, 1, 0), (21, 20, 1, 0)]
    # Both of each of ten partners, and of eleven that may trade, or might have until lately, the one that was superseded.
    assert figures(real, DOCUMENTS) == (32, 31, 1, 0)
    assert len(system.outside.deleted) == 31
    again = system.sweep(policies=[POLICY], as_of=as_of)
    assert [(one.due, one.deleted) for one in again.lines] == [(1, 0)] * 3
