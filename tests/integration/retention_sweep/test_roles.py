"""What the role of the sweep may on PostgreSQL: delete where a policy may, and never what is in use or in the books."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.retention_sweep.places import places
from kapas.platform.db import PLATFORM, Database, DatabaseFailure
from kapas.values.ids import uuid7
from tests.integration.retention_sweep.system import System, running

YEAR = 365.25


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    with running(open_as("retention_sweep", 4), admin) as system:
        yield system


@pytest.fixture
def partner() -> UUID:
    return uuid7()


def test_nobody_else_deletes_what_is_only_appended_to(admin: Connection) -> None:
    appended = ["audit_log", "trade_events", "consent_entries", "consent_receipts", "outbox", "idempotency_keys"]
    granted = admin.run(
        """SELECT DISTINCT grantee FROM information_schema.table_privileges
           WHERE table_name = ANY(:tables) AND privilege_type IN ('DELETE', 'TRUNCATE') AND grantee <> 'postgres'
           ORDER BY grantee""",
        tables=appended,
    )
    assert granted == [["retention_sweep"]]


def test_the_role_deletes_where_a_policy_may_and_nowhere_else(admin: Connection) -> None:
    may = {place.table.name for place in places() if place.deletes and not place.rows_stay}
    may |= {child for place in places() if place.deletes for child in place.children}
    rows = admin.run(
        """SELECT table_name FROM information_schema.table_privileges
           WHERE grantee = 'retention_sweep' AND privilege_type = 'DELETE' ORDER BY table_name"""
    )
    assert {row[0] for row in rows} == may


@pytest.mark.parametrize("table", ["trades", "gradings"])
def test_the_books_are_out_of_reach_even_by_mistake(system: System, partner: UUID, table: str) -> None:
    trade_id = system.trade(20 * YEAR, partner, uuid7())
    system.grading(20 * YEAR, partner, trade_id)
    with system.database.session(PLATFORM) as db:
        db.run("DELETE FROM trade_events") if table == "trades" else db.run("DELETE FROM grading_usage WHERE false")
        db.run(f"DELETE FROM {table}")
    assert (system.count(table), system.count("trade_events")) == (1, 1)


@pytest.mark.parametrize("table", ["partner_checks", "partner_decisions"])
def test_who_trades_stays_proven_even_by_mistake(system: System, table: str) -> None:
    for partner_id in (system.partner(), system.partner(rejected=9 * YEAR), system.partner(erased=9 * YEAR)):
        system.check(9 * YEAR, partner_id)
        system.decision(9 * YEAR, partner_id)
    with system.database.session(PLATFORM) as db:
        db.run(f"DELETE FROM {table}")
    assert system.count(table) == 1


def test_what_is_in_use_is_out_of_reach_even_by_mistake(system: System, partner: UUID) -> None:
    in_use = system.endpoint(0, partner, "enabled"), system.hold(partner).id
    system.endpoint(0, partner)
    system.release(system.hold(system.partner()))
    with system.database.session(PLATFORM) as db:
        db.run("DELETE FROM webhook_endpoints")
        db.run("DELETE FROM legal_holds")
    left = [system.admin.run(f"SELECT id FROM {table}") for table in ("webhook_endpoints", "legal_holds")]
    assert left == [[[one]] for one in in_use]


def test_a_real_sweep_as_at_a_future_moment_is_refused_by_the_table(system: System) -> None:
    sweep_id = system.begin()
    with pytest.raises(Exception, match="check"):
        system.admin.run(
            "UPDATE retention_sweeps SET as_of = created_at + interval '1 day' WHERE id = :id", id=sweep_id
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET data = '{}'",
        "SELECT data FROM audit_log",
        "SELECT state FROM trades",
        "DELETE FROM partners",
    ],
)
def test_the_role_reads_and_changes_nothing_else(system: System, statement: str) -> None:
    with system.database.session(PLATFORM) as db, pytest.raises(DatabaseFailure, match="permission denied"):
        db.run(statement)
