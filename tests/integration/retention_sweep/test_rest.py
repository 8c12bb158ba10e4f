"""What else goes by itself: readings of images, budgets, deleted endpoints, released holds, and the reports of sweeps."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.retention_sweep import sweeping
from kapas.platform.db import Database
from kapas.privacy.retention import day_of
from kapas.values.ids import uuid7
from tests.integration.retention_sweep.system import System, figures, running

READINGS, BUDGETS, ENDPOINTS = "table image_readings", "table grading_budgets", "table webhook_endpoints"
HOLDS, SWEEPS = "table legal_holds", "table retention_sweeps"
YEAR = 365.25


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    with running(open_as("retention_sweep", 4), admin) as system:
        yield system


@pytest.fixture
def partner() -> UUID:
    return uuid7()


def reading(system: System, days: float, image: str, model: str = "m1") -> None:
    system.admin.run(
        "INSERT INTO image_readings VALUES (:image, :model, 'photograph/1', '{}', NULL, :at)",
        image=image,
        model=model,
        at=system.ago(days),
    )


def budget(system: System, days: int, partner_id: UUID) -> str:
    """A day's budget that was used, as a hold names it."""
    day = day_of(system.time.now) - timedelta(days=days)
    system.admin.run("INSERT INTO grading_budgets VALUES (:of, :day, 1)", of=partner_id, day=day)
    return f"{partner_id}/{day}"


def sent(system: System, days: float, endpoint_id: UUID, status: str = "delivered") -> UUID:
    message_id = uuid7()
    system.admin.run(
        """INSERT INTO webhook_messages (id, endpoint_id, partner_id, event_id, event_type, payload, status, attempt_count,
             next_attempt_at, created_at)
           SELECT :id, id, partner_id, :id, 'trade.offered.v1', '{}', :status, 0, :next, :at FROM webhook_endpoints
           WHERE id = :endpoint_id""",
        id=message_id,
        endpoint_id=endpoint_id,
        status=status,
        next=system.ago(days) if status == "pending" else None,
        at=system.ago(days),
    )
    return message_id


def ids_in(system: System, table: str) -> set[UUID]:
    return {row[0] for row in system.admin.run(f"SELECT id FROM {table}")}


# What goes and what stays


def test_a_reading_goes_after_a_year_whatever_else_was_read_from_its_image(system: System) -> None:
    reading(system, 400, "a")
    reading(system, 300, "a", "m2")
    reading(system, 400, "b")
    assert figures(system.sweep(), READINGS) == (2, 2, 0, 0)
    assert system.admin.run("SELECT image_sha256, model_sha256 FROM image_readings") == [["a", "m2"]]


def test_a_budget_goes_thirty_days_after_its_day(system: System, partner: UUID) -> None:
    kept = budget(system, 30, partner)
    for days in (31, 32):
        budget(system, days, partner)
        budget(system, days, uuid7())
    assert figures(system.sweep(), BUDGETS) == (4, 4, 0, 0)
    assert system.admin.run("SELECT partner_id || '/' || day FROM grading_budgets") == [[kept]]


def test_only_a_deleted_endpoint_goes_and_its_messages_before_it(system: System, partner: UUID) -> None:
    gone = system.endpoint(400, partner)
    sent(system, 401, gone)
    kept = {system.endpoint(300, partner), system.endpoint(400, partner, "enabled")}
    waits = system.endpoint(400, partner)
    sent(system, 401, waits, "pending")
    late = system.endpoint(400, partner)
    sent(system, 300, late)
    dry = system.sweep(dry_run=True)
    assert figures(dry, ENDPOINTS) == figures(system.sweep(), ENDPOINTS) == (1, 1, 0, 0)
    assert ids_in(system, "webhook_endpoints") == kept | {waits, late}


def test_the_report_of_a_sweep_goes_after_seven_years(system: System) -> None:
    old = system.sweep()
    under_way = system.begin()
    system.queue.tasks.clear()
    findings = system.count("retention_findings")
    system.time.advance(days=6.9 * YEAR)
    kept = system.sweep(policies=["privacy_audit_log"])
    assert figures(kept, SWEEPS) == (0, 0, 0, 0)
    system.time.advance(days=0.2 * YEAR)
    swept = system.sweep(policies=["privacy_audit_log"])
    assert figures(swept, SWEEPS) == (1, 1, 0, 0)
    assert ids_in(system, "retention_sweeps") == {under_way, kept.id, swept.id}
    of_old = system.admin.run("SELECT count(*) FROM retention_findings WHERE sweep_id = :id", id=old.id)
    assert (of_old, findings > 0) == ([[0]], True)


def test_a_released_hold_goes_after_three_years_and_one_in_force_never(system: System) -> None:
    in_force, released = system.hold(system.partner()), system.hold(system.partner())
    system.release(released)
    system.time.advance(days=2.9 * YEAR)
    assert figures(system.sweep(), HOLDS) == (0, 0, 0, 0)
    system.time.advance(days=0.2 * YEAR)
    assert figures(system.sweep(), HOLDS) == (1, 1, 0, 0)
    assert ids_in(system, "legal_holds") == {in_force.id}


# Holds and dry runs


def test_a_hold_keeps_each_until_it_is_released(system: System, partner: UUID) -> None:
    other = uuid7()
    reading(system, 400, "a")
    reading(system, 400, "a", "m2")
    day, _ = budget(system, 40, partner), budget(system, 40, other)
    endpoint_id = system.endpoint(400, other)
    message_id = sent(system, 401, endpoint_id)
    holds = [
        system.hold(table="image_readings", row_id="a/m1/photograph/1"),
        system.hold(table="grading_budgets", row_id=day),
        system.hold(table="webhook_messages", row_id=message_id),
    ]
    swept = system.sweep()
    assert [figures(swept, name) for name in (READINGS, BUDGETS)] == [(2, 1, 1, 0)] * 2
    assert system.admin.run("SELECT model_sha256 FROM image_readings") == [["m1"]]
    # A message that is held keeps its endpoint, which is not due while it is there.
    assert (figures(swept, ENDPOINTS), system.count("webhook_endpoints")) == ((0, 0, 0, 0), 1)
    whole = system.hold(other)
    for hold in holds:
        system.release(hold)
    assert figures(system.sweep(), ENDPOINTS) == (1, 0, 1, 0)
    system.release(whole)
    swept = system.sweep()
    assert [system.count(name.split()[1]) for name in (READINGS, BUDGETS, ENDPOINTS)] == [0, 0, 0]


def test_a_dry_run_says_what_the_real_one_then_does(
    system: System, partner: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 3)
    at, others = 400, [uuid7() for _ in range(8)]
    for number, other in enumerate(others):
        # Several of one moment: a page ends between rows that only their keys tell apart.
        reading(system, at, "a" if number < 4 else "b", f"m{number}")
        budget(system, 40, other)
        sent(system, at, system.endpoint(at, other))
    budget(system, 41, partner)
    system.endpoint(at, partner)
    system.hold(partner)
    as_of = system.time.now
    dry, real = (system.sweep(dry_run=dry_run, as_of=as_of) for dry_run in (True, False))
    assert dry.lines == real.lines
    assert [figures(real, name) for name in (READINGS, BUDGETS, ENDPOINTS)] == [
        (8, 8, 0, 0),
        (9, 8, 1, 0),
        (9, 8, 1, 0),
    ]
    assert [system.count(name.split()[1]) for name in (READINGS, BUDGETS, ENDPOINTS)] == [0, 1, 1]
