"""The sweep on PostgreSQL: what goes and what stays, holds, kills, duplicates, several at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.retention_sweep import due_store, service, store, sweeping
from functions.retention_sweep.places import places
from functions.retention_sweep.schemas import RetentionSweepCreate
from kapas.errors import Invalid, NotFound
from kapas.platform.db import PLATFORM, Database, LockTimeout, Session
from kapas.privacy import legal_holds
from kapas.privacy.retention import day_of
from kapas.values.ids import uuid7
from tests.integration.retention_sweep.system import (
    OPERATIONS,
    Killed,
    System,
    figures,
    line,
    place_between,
    running,
)

KEYS, AUDIT = "table idempotency_keys", "table audit_log"
YEAR = 365.25


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    with running(open_as("retention_sweep", 4), admin) as system:
        yield system


@pytest.fixture
def partner() -> UUID:
    return uuid7()


# What goes and what stays


def test_each_place_goes_by_its_own_law(system: System, partner: UUID) -> None:
    for days in (1, 4):
        system.key(days)
    for days in (300, 400):
        system.event(days)
        system.event(days, published=False)
        system.message(days, partner)
        system.message(days, partner, "pending")
        system.grading(days, partner)
    for days in (5, 9, 4 * YEAR):
        system.export(days, partner)
    for years in (2, 4, 8.2, 10):
        system.trade(years * YEAR, partner)
        system.trade(years * YEAR, partner, uuid7())
    for years in (6, 8):
        system.audited(years * YEAR)
        system.consents(years * YEAR, uuid7())
    before = system.outside.there.copy()
    swept = system.sweep()
    assert (swept.status, swept.complete, swept.version) == ("completed", True, 2)
    found = {(one.place, one.policy): (one.due, one.deleted) for one in swept.lines}
    assert found.keys() == {(place.name, place.policy.name) for place in places()}
    assert {name: figures for name, figures in found.items() if figures != (0, 0)} == {
        (KEYS, "idempotency_key"): (1, 1),
        ("table outbox", "processing_and_traffic_log"): (1, 1),
        ("table webhook_messages", "processing_and_traffic_log"): (1, 1),
        ("bucket exports/archives/", "export_archive"): (2, 2),
        ("table exports", "dsr_case_and_erasure_certificate"): (1, 1),
        ("table gradings", "ai_prompt_and_output"): (1, 1),
        ("table trades", "negotiation_message_unconcluded"): (3, 3),
        ("table trades", "books_of_account"): (1, 0),
        ("table consent_ledgers", "consent_ledger"): (1, 1),
        (AUDIT, "privacy_audit_log"): (1, 1),
    }
    assert {
        table: system.count(table) for table in ("webhook_messages", "webhook_attempts", "exports", "export_shards")
    } == {
        "webhook_messages": 3,
        "webhook_attempts": 3,
        "exports": 2,
        "export_shards": 2,
    }
    assert (system.count("trades"), system.count("trade_events")) == (5, 5)
    for table in ("ledgers", "receipts", "states", "dispatches"):
        assert system.count(f"consent_{table}") == 1
    assert (system.count("consent_entries"), system.count("grading_usage")) == (2, 1)
    gone = before - system.outside.there
    assert sorted(path.partition("/")[0] for path in gone) == ["archives"] * 2 + ["gradings"] + ["trades"] * 3


@pytest.mark.parametrize("status", ["offered", "negotiating", "expired", "cancelled"])
def test_a_lot_that_nobody_bought_goes_after_three_years_however_it_ended(
    system: System, partner: UUID, status: str
) -> None:
    trade_id = system.trade(3.1 * YEAR, partner, status=status)
    kept = system.trade(2.9 * YEAR, partner, status=status)
    bought = system.trade(3.1 * YEAR, partner, uuid7(), status="cancelled")
    assert figures(system.sweep(), "table trades", "negotiation_message_unconcluded") == (1, 1, 0, 0)
    assert {row[0] for row in system.admin.run("SELECT id FROM trades")} == {kept, bought}
    assert f"trades/{trade_id}" not in system.outside.there


def test_what_the_books_hold_is_reported_with_its_law(system: System, partner: UUID) -> None:
    system.trade(10 * YEAR, partner, uuid7())
    swept = system.sweep(policies=["books_of_account"])
    found = line(swept, "table trades")
    assert (found.action, found.due, found.deleted) == ("report", 1, 0)
    assert (found.law, found.article.partition(";")[0]) == ("Companies Act 2013", "s.128(5)")
    assert found.due_until.month == 3
    assert {one.policy for one in swept.lines} == {"books_of_account"}
    assert system.count("trades") == 1


def test_the_photograph_of_a_traded_grading_goes_and_the_grading_stays(system: System, partner: UUID) -> None:
    for days in (300, 400):
        system.grading(days, partner, system.trade(days, partner, uuid7()))
    held = system.grading(400, partner, system.trade(400, partner, uuid7()))
    system.hold(table="gradings", row_id=held)
    swept = system.sweep()
    assert figures(swept, "bucket uploads/gradings/") == (2, 1, 1, 0)
    assert system.count("gradings") == 3
    assert len([path for path in system.outside.there if path.startswith("gradings/")]) == 2
    assert figures(system.sweep(), "bucket uploads/gradings/") == (1, 0, 1, 0)


def test_the_last_day_is_kept_to_its_end_in_india(system: System) -> None:
    system.time.now = system.time.now.replace(hour=18, minute=29)  # 23:59 in India
    system.audited(0)
    system.time.advance(minutes=1)
    system.audited(0)
    assert day_of(system.time.now).day == 25
    system.time.advance(days=7 * 365 + 1)  # 25 November 2043, in India
    assert figures(system.sweep(), AUDIT)[1] == 1
    system.time.advance(days=1)
    assert figures(system.sweep(), AUDIT)[1] == 1


def test_a_consent_is_kept_from_the_end_of_its_last_grant(system: System, partner: UUID) -> None:
    system.consents(7.5 * YEAR, partner, valid_days=365)
    place = "table consent_ledgers"
    assert figures(system.sweep(), place)[1] == 0
    system.time.advance(days=0.5 * YEAR + 3)
    assert figures(system.sweep(), place)[1] == 1
    assert system.count("consent_entries") == 0


def test_a_policy_that_is_not_asked_for_does_nothing(system: System) -> None:
    system.key(9)
    assert system.sweep(policies=["privacy_audit_log"]).lines[0].place == AUDIT
    assert system.count("idempotency_keys") >= 1


def test_a_limit_ends_a_sweep_early_and_says_so(system: System) -> None:
    for _ in range(5):
        system.audited(8 * YEAR)
    limited = system.sweep(policies=["privacy_audit_log"], limit=3)
    assert (figures(limited, AUDIT), limited.complete) == ((3, 3, 0, 0), False)
    assert figures(system.sweep(), AUDIT) == (2, 2, 0, 0)


def test_a_dry_run_says_what_the_real_one_then_does(
    system: System, partner: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 3)
    monkeypatch.setattr(sweeping, "OUTSIDE_PAGE", 2)
    for days in (1, 4, 30, 300, 366, 368, 400, 4 * YEAR, 9 * YEAR, 11 * YEAR):
        system.key(days)
        system.event(days)
        system.message(days, partner if days > 390 else uuid7())
        system.export(days, uuid7())
        system.grading(days, uuid7())
        system.audited(days, partner if days > 10 * YEAR else uuid7())
        system.trade(days, uuid7())
        system.trade(days, partner, uuid7())
        system.consents(days, uuid7())
    system.hold(partner)
    as_of = system.time.now
    tables = ("webhook_messages", "audit_log", "trades", "exports", "gradings", "consent_entries")
    before = {table: system.count(table) for table in tables}
    dry = system.sweep(dry_run=True, as_of=as_of)
    assert {table: system.count(table) for table in tables} == before
    assert not system.outside.deleted
    real = system.sweep(as_of=as_of)
    assert dry.lines == real.lines
    assert figures(real, "table webhook_messages") == (5, 1, 4, 0)
    assert figures(real, AUDIT) == (2, 1, 1, 0)
    assert {table: before[table] - system.count(table) for table in ("webhook_messages", "audit_log")} == {
        "webhook_messages": 1,
        "audit_log": 1,
    }
    again = system.sweep(as_of=as_of)
    assert sum(one.deleted for one in again.lines) == 0
    assert [(one.due, one.held) for one in again.lines] == [(one.due - one.deleted, one.held) for one in real.lines]


def test_only_a_dry_run_looks_into_the_future(system: System) -> None:
    system.audited(6 * YEAR)
    later = system.time.now + timedelta(days=2 * YEAR)
    with pytest.raises(Invalid):
        service.plan(OPERATIONS, RetentionSweepCreate(as_of=later))
    assert figures(system.sweep(dry_run=True, as_of=later), AUDIT) == (1, 1, 0, 0)


# Legal holds


def test_a_hold_on_a_row_or_a_subject_keeps_it_until_it_is_released(system: System, partner: UUID) -> None:
    trade_id = system.trade(5 * YEAR, partner)
    message_id = system.message(500, partner)
    system.audited(8 * YEAR, uuid7(), partner)
    one = system.hold(table="webhook_messages", row_id=message_id)
    place = "table webhook_messages"
    assert figures(system.sweep(policies=["processing_and_traffic_log"]), place) == (1, 0, 1, 0)
    every = system.hold(partner)
    system.release(one)
    swept = system.sweep()
    assert [figures(swept, name)[2] for name in (place, AUDIT)] == [1, 1]
    assert figures(swept, "table trades", "negotiation_message_unconcluded") == (1, 0, 1, 0)
    assert f"trades/{trade_id}" in system.outside.there
    system.release(every)
    swept = system.sweep()
    assert figures(swept, place) == (1, 1, 0, 0)
    assert system.count("trades") == 0
    with pytest.raises(NotFound):
        system.release(every)


@pytest.mark.parametrize("of", ["subject", "row"])
def test_a_hold_placed_between_the_scan_and_the_delete_wins(
    system: System, partner: UUID, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    grading_id, other = system.grading(400, partner), system.grading(400, uuid7())

    def hold() -> None:
        if of == "subject":
            system.hold(partner)
        else:
            system.hold(table="gradings", row_id=grading_id)

    with place_between(monkeypatch, hold):
        swept = system.sweep(policies=["ai_prompt_and_output"])
    assert figures(swept, "table gradings") == (2, 1, 1, 0)
    assert system.admin.run("SELECT id FROM gradings") == [[grading_id]]
    assert [path.endswith(str(other)) for path in system.outside.deleted] == [True]


def test_a_hold_waits_for_a_deletion_and_a_deletion_for_a_hold(system: System) -> None:
    with system.database.session(PLATFORM) as one, system.database.session(PLATFORM) as two:
        two.command("SET lock_timeout = 50")
        for first, second in ((legal_holds.share, take), (take, legal_holds.share)):
            with one.transaction():
                first(one)
                with pytest.raises(LockTimeout):
                    alone(two, second)
            alone(two, second)
        # Deletions do not wait for each other.
        with one.transaction(), two.transaction():
            legal_holds.share(one)
            legal_holds.share(two)


def alone(db: Session, lock: Callable[[Session], None]) -> None:
    with db.transaction():
        lock(db)


def take(db: Session) -> None:
    legal_holds.take(db, 50)


# Kills, duplicates, several at once


@pytest.mark.parametrize("step", ["advance", "delete", "add"])
def test_killed_in_a_page_it_does_the_page_again(system: System, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 2)
    for _ in range(5):
        system.audited(8 * YEAR)
    sweep_id = system.begin(policies=["privacy_audit_log"])
    module = due_store if step == "delete" else store
    real, calls = getattr(module, step), 0

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        of_trail = AUDIT in str(arguments)
        calls += of_trail
        result = real(*arguments)
        if of_trail and calls == 2:
            raise Killed
        return result

    monkeypatch.setattr(module, step, killed)
    task = system.queue.tasks.pop(0)
    system.work(task)
    task = system.queue.tasks.pop(0)
    with pytest.raises(Killed):
        system.work(task)
    assert system.count("audit_log") == 3
    system.work(task)
    system.drain()
    swept = system.read(sweep_id)
    assert (figures(swept, AUDIT), swept.complete, system.count("audit_log")) == ((5, 5, 0, 0), True, 0)


def test_killed_before_the_next_task_is_enqueued_it_goes_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 2)
    for _ in range(5):
        system.audited(8 * YEAR)
    sweep_id = system.begin(policies=["privacy_audit_log"])
    task = system.queue.tasks.pop(0)
    system.queue.down = True
    with pytest.raises(Exception, match="temporarily unavailable"):
        system.work(task)
    system.queue.down = False
    # The same task is tried again: it finds its page done, and has the next one enqueued.
    system.work(task)
    assert system.count("audit_log") == 3
    system.drain()
    assert figures(system.read(sweep_id), AUDIT) == (5, 5, 0, 0)


def test_a_sweep_without_a_task_goes_on_the_next_night(system: System) -> None:
    system.audited(8 * YEAR)
    sweep_id = system.begin()
    system.queue.tasks.clear()
    assert service.begin_nightly(system.database, system.queue)
    assert len(system.queue.tasks) == 1  # the night's own: this one may still have its task
    system.queue.tasks.clear()
    system.time.advance(days=1)
    assert service.begin_nightly(system.database, system.queue)
    assert not service.begin_nightly(system.database, system.queue)
    system.drain()
    assert system.read(sweep_id).status == "completed"
    assert system.admin.run("SELECT count(*) FROM retention_sweeps WHERE status = 'running'") == [[0]]


def test_duplicates_of_a_task_do_its_pages_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 4)
    for _ in range(20):
        system.audited(8 * YEAR)
    sweep_id = system.begin(policies=["privacy_audit_log"])
    while system.queue.tasks:
        task = system.queue.tasks.pop(0)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(system.work, [task] * 3))
    assert figures(system.read(sweep_id), AUDIT) == (20, 20, 0, 0)
    assert system.admin.run("SELECT sequence, type FROM outbox WHERE subject = :id ORDER BY sequence", id=sweep_id) == [
        [1, "retention.started.v1"],
        [2, "retention.swept.v1"],
    ]


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_duplicate_that_overtakes_a_task_leaves_it_nothing_to_count(
    system: System, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    for _ in range(3):
        system.audited(8 * YEAR)
    sweep_id = system.begin(policies=["privacy_audit_log"], dry_run=dry_run)
    [task] = system.queue.tasks
    scan = due_store.scan

    def overtaken(*arguments: Any) -> Any:
        found = scan(*arguments)
        monkeypatch.setattr(due_store, "scan", scan)
        system.work(task)
        return found

    monkeypatch.setattr(due_store, "scan", overtaken)
    system.drain()
    assert figures(system.read(sweep_id), AUDIT) == (3, 3, 0, 0)


def test_two_sweeps_at_once_delete_everything_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 4)
    for _ in range(30):
        system.audited(8 * YEAR)
    sweeps = [system.begin(policies=["privacy_audit_log"]) for _ in range(2)]
    while system.queue.tasks:
        tasks, system.queue.tasks = system.queue.tasks, []
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(system.work, tasks))
    found = [figures(system.read(sweep_id), AUDIT) for sweep_id in sweeps]
    assert sum(deleted for _, deleted, _, _ in found) == 30
    assert all(due == deleted for due, deleted, _, _ in found)
    assert system.count("audit_log") == 0


def test_what_a_service_does_not_delete_is_told_and_tried_again(system: System, partner: UUID) -> None:
    for _ in range(3):
        system.trade(5 * YEAR, partner)
    system.export(20, partner)
    system.outside.down = True
    swept = system.sweep()
    unconcluded = "negotiation_message_unconcluded"
    assert figures(swept, "table trades", unconcluded) == (3, 0, 0, 3)
    assert figures(swept, "bucket exports/archives/") == (1, 0, 0, 1)
    assert system.count("trades") == 3
    system.outside.down = False
    swept = system.sweep()
    assert figures(swept, "table trades", unconcluded) == (3, 3, 0, 0)
    assert figures(swept, "bucket exports/archives/") == (1, 1, 0, 0)
    assert system.count("exports") == 1
