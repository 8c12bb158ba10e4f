"""Gradings on a real PostgreSQL: the day's budget, what is written once, and who sees and may change what."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.grading_requests import service, store
from functions.grading_requests.event_models import GradingCompleted, GradingRefused, GradingRequested, GradingSubmitted
from functions.grading_requests.readings import Reading
from functions.grading_requests.schemas import Grading, HviFigures, ImageUpload, Refusal
from functions.grading_requests.standards import results
from kapas.errors import Conflict, VersionConflict
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import PLATFORM, Database, DatabaseFailure, Session
from kapas.values import clock, ids

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
DAY = NOW.date()
IMAGE = ImageUpload(sha256="ab" * 32, size=10, content_type="image/png", card="colorchecker24")
RESULT = results.of_laboratory(HviFigures(rd=Decimal("75.5")))
REFUSED = {
    "version": 3,
    "status": "refused",
    "refusal": Refusal(code="consent_missing", detail="There is none any more"),
}
READING = Reading(
    rd=Decimal(75),
    plus_b=Decimal(9),
    trash_area_pct=Decimal("0.2"),
    trash_area_uncertainty=Decimal("0.1"),
    trash_particles=7,
    card_residual=Decimal("0.3"),
)


@pytest.fixture
def database(open_as: Callable[..., Database]) -> Database:
    return open_as("grading_requests", 8)


@dataclass(frozen=True)
class Made:
    grading: Grading
    change: Change


def new(partner_id: UUID, daily: int = 100, *, image: bool = False) -> Made:
    grading = Grading(
        id=ids.uuid7(),
        version=1,
        kind="image" if image else "lab",
        status="awaiting_image" if image else "completed",
        trade_id=None,
        image=IMAGE if image else None,
        provisional=None,
        result=None if image else RESULT,
        refusal=None,
        created_at=NOW,
        updated_at=NOW,
    )
    change = store.insert(grading, partner_id, "{}", Tier.FREE, DAY, daily, event(grading, partner_id))
    return Made(grading, change)


def event(grading: Grading, partner_id: UUID) -> Event:
    about = {"grading_id": grading.id, "partner_id": partner_id, "kind": grading.kind, "trade_id": None}
    if grading.status == "completed":
        data = GradingCompleted(**about, result=RESULT)
    elif grading.refusal is not None:
        data = GradingRefused(**about, code=grading.refusal.code, detail=grading.refusal.detail)
    elif grading.status == "queued":
        data = GradingSubmitted(**about)
    else:
        data = GradingRequested(**about, status="awaiting_image")
    return Event(grading.id, grading.version, data, (partner_id,), time=NOW)


def queued(db: Session, partner_id: UUID, at: datetime = NOW) -> Grading:
    """A grading that waits to be graded."""
    made = new(partner_id, image=True)
    outbox.commit(db, made.change)
    after = made.grading.model_copy(update={"version": 2, "status": "queued", "updated_at": at})
    outbox.commit(db, store.queue(after, 1, event(after, partner_id)))
    return after


def completed(grading: Grading) -> Grading:
    return grading.model_copy(update={"version": 3, "status": "completed", "result": RESULT})


def test_nothing_is_charged_or_kept_once_the_partner_is_being_erased(database: Database, admin: Connection) -> None:
    partner_id = ids.uuid7()
    made = new(partner_id)  # decided before
    admin.run(
        "INSERT INTO restrictions (subject_id, reason, restricted_at) VALUES (:of, 'erasure', now())", of=partner_id
    )
    caller = Identity("owner", partner_id, Role.OWNER, Tier.FREE)
    with database.session(partner_id) as db:
        with pytest.raises(VersionConflict):
            outbox.commit(db, made.change)
        with pytest.raises(Conflict):
            service.not_charged(db, caller)
    for table in ("gradings", "grading_usage", "grading_budgets"):
        assert admin.run(f"SELECT FROM {table} WHERE partner_id = :of", of=partner_id) == []


def test_what_was_read_while_an_erasure_was_asked_for_does_not_count(database: Database, admin: Connection) -> None:
    partner_id = ids.uuid7()
    with database.session(PLATFORM) as db:
        announced, waiting = new(partner_id, image=True), queued(db, partner_id)
        outbox.commit(db, announced.change)
        admin.run(
            "INSERT INTO restrictions (subject_id, reason, restricted_at) VALUES (:of, 'erasure', now())", of=partner_id
        )
        submitted = announced.grading.model_copy(update={"version": 2, "status": "queued"})
        read, refused = completed(waiting), waiting.model_copy(update=REFUSED)
        for late in (
            store.queue(submitted, 1, event(submitted, partner_id)),
            store.finish(read, 2, event(read, partner_id)),
        ):
            with pytest.raises(VersionConflict):
                outbox.commit(db, late)
        outbox.commit(db, store.finish(refused, 2, event(refused, partner_id)))
        assert store.find(db, waiting.id) == refused


def test_of_many_at_once_no_more_than_the_day_allows(database: Database, admin: Connection) -> None:
    partner_id, refused = ids.uuid7(), list[Exception]()

    def ask() -> None:
        try:
            with database.session(partner_id) as db:
                outbox.commit(db, new(partner_id, daily=5).change)
        except VersionConflict as spent:
            refused.append(spent)

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(refused) == 3
    counted = admin.run(
        """SELECT (SELECT used FROM grading_budgets WHERE partner_id = :id),
             (SELECT count(*) FROM gradings WHERE partner_id = :id),
             (SELECT count(*) FROM grading_usage WHERE partner_id = :id),
             (SELECT count(*) FROM outbox WHERE :id::uuid = ANY (partner_ids))""",
        id=str(partner_id),
    )
    assert counted == [[5, 5, 5, 5]]


def test_a_grading_comes_back_as_it_was_written(database: Database) -> None:
    partner_id = ids.uuid7()
    made = new(partner_id)
    with database.session(partner_id) as db:
        outbox.commit(db, made.change)
        assert store.find(db, made.grading.id) == made.grading


def test_two_that_finish_at_once_finish_once(database: Database, admin: Connection) -> None:
    partner_id = ids.uuid7()
    with database.session(PLATFORM) as db:
        waiting = queued(db, partner_id)
        after = completed(waiting)
        outbox.commit(db, store.finish(after, 2, event(after, partner_id)))
        with pytest.raises(VersionConflict):
            outbox.commit(db, store.finish(after, 2, event(after, partner_id)))
        assert store.find_queued(db, waiting.id) is None
    events = admin.run("SELECT sequence FROM outbox WHERE subject = :id ORDER BY sequence", id=str(waiting.id))
    assert events == [[1], [2], [3]]


def test_what_an_image_says_is_kept_once_whoever_sent_it(database: Database) -> None:
    sha, refusal = ids.random_bytes(32).hex(), Refusal(code="blurred", detail="Hold still")
    with database.session(PLATFORM) as db:
        assert store.reading(db, sha, "model", "1") is None
        store.remember(db, sha, "model", "1", READING, NOW)
        store.remember(db, sha, "model", "1", refusal, NOW)
        assert store.reading(db, sha, "model", "1") == READING
        assert store.reading(db, sha, "another model", "1") is None
        store.remember(db, sha, "model", "2", refusal, NOW)
        assert store.reading(db, sha, "model", "2") == refusal


def test_the_longest_queued_come_first(database: Database) -> None:
    partner_id = ids.uuid7()
    times = [NOW.replace(year=2020, minute=minute) for minute in (20, 5, 40)]
    with database.session(PLATFORM) as db:
        waiting = [queued(db, partner_id, at).id for at in times]
        found = store.overdue(db, NOW.replace(year=2020, minute=30), 10)
        assert found == [waiting[1], waiting[0]]
        assert store.overdue(db, NOW.replace(year=2020, minute=30), 1) == [waiting[1]]
        for grading_id in waiting:  # leave none for the other tests
            one = store.find_queued(db, grading_id)
            assert one is not None
            after = completed(one.grading)
            outbox.commit(db, store.finish(after, 2, event(after, partner_id)))


def test_a_partner_sees_and_charges_its_own(database: Database) -> None:
    partner_id, other = ids.uuid7(), ids.uuid7()
    made = new(partner_id)
    with database.session(partner_id) as db:
        outbox.commit(db, made.change)
    with database.session(other) as db:
        assert store.find(db, made.grading.id) is None
        assert store.page(db, None, 10, None) == []
        for table in ("gradings", "grading_budgets", "grading_usage"):
            assert db.run(f"SELECT count(*) FROM {table}") == [[0]]
        with pytest.raises(DatabaseFailure, match="row-level security"):
            outbox.commit(db, new(partner_id).change)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM gradings",
        "UPDATE gradings SET partner_id = id",
        "UPDATE gradings SET request = '{}'",
        "DELETE FROM grading_usage",
        "UPDATE grading_usage SET tier = 'free'",
        "UPDATE image_readings SET reading = '{}'",
        "DELETE FROM grading_budgets",
        "SELECT pan FROM partners",
        "SELECT state FROM trades",
        "UPDATE consent_states SET state = 'granted'",
    ],
)
def test_the_role_may_do_no_more_than_it_needs(database: Database, statement: str) -> None:
    with database.session(PLATFORM) as db, pytest.raises(DatabaseFailure, match="permission denied"):
        db.run(statement)


def test_time_comes_from_the_clock(database: Database, admin: Connection) -> None:
    partner_id = ids.uuid7()
    with clock.use(lambda: NOW), database.session(partner_id) as db:
        outbox.commit(db, new(partner_id).change)
    [[used_at]] = admin.run("SELECT used_at FROM grading_usage WHERE partner_id = :id", id=str(partner_id))
    assert used_at == NOW
