"""What comes by schedule and mends what was lost: it may come twice, and be killed at any of its rows."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.grading_requests import service as gradings
from functions.trade_events import deadlines
from kapas.errors import Unavailable
from kapas.messaging import outbox
from kapas.platform.db import Database
from kapas.platform.ports import Task
from kapas.values import ids
from tests import fake_tasks
from tests.integration.grading_requests.test_store import NOW, queued
from tests.integration.trade_events.market import Market, trading
from tests.times import Time, moving_time


class Killed(BaseException):
    """The process is gone."""


def killed_at(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, but that its `call`-th call, counted from 1, never comes to it."""
    calls = count(1)

    def called(*arguments: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return function(*arguments)

    return called


def events(admin: Connection, subject: UUID) -> list[str]:
    rows = admin.run("SELECT type FROM outbox WHERE subject = :of ORDER BY sequence", of=subject)
    return [row[0] for row in rows or ()]


# Gradings


@pytest.fixture
def time(admin: Connection) -> Iterator[Time]:
    admin.run("DELETE FROM grading_usage")
    admin.run("DELETE FROM gradings")
    with moving_time(NOW) as time:
        yield time


@pytest.fixture
def grading_database(open_as: Callable[..., Database]) -> Database:
    return open_as("grading_requests", 4)


def test_a_lost_grading_gets_one_task_a_minute(grading_database: Database, time: Time) -> None:
    partner_id, queue = ids.uuid7(), fake_tasks.Queue()
    with grading_database.session(partner_id) as db:
        queued(db, partner_id)
    assert gradings.watch(grading_database, queue) == 0  # its task may be on the way
    time.advance(minutes=3)
    assert [gradings.watch(grading_database, queue) for _ in range(2)] == [1, 1]
    assert len(queue.tasks) == 1, "a schedule that fires twice makes one task"
    time.advance(minutes=1)
    gradings.watch(grading_database, queue)
    assert len(queue.tasks) == 2, "the next one has a name that is not taken"


def test_a_reaper_that_is_killed_has_the_others_graded_the_next_time(
    grading_database: Database, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner_id, queue = ids.uuid7(), fake_tasks.Queue()
    with grading_database.session(partner_id) as db:
        for _ in range(2):
            queued(db, partner_id)
    time.advance(minutes=3)
    with monkeypatch.context() as dying:
        dying.setattr(queue, "enqueue", killed_at(2, queue.enqueue))
        with pytest.raises(Killed):
            gradings.watch(grading_database, queue)
    assert len(queue.tasks) == 1
    assert gradings.watch(grading_database, queue) == 2
    assert len(queue.tasks) == 2, "the one that has its task gets no other"


# Trades


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        yield market


def test_a_sweep_that_is_killed_expires_the_others_the_next_time(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [market.offer().id for _ in range(2)]
    market.time.advance(days=7, minutes=3)
    with monkeypatch.context() as dying:
        dying.setattr(deadlines.outbox, "commit", killed_at(2, outbox.commit))
        with pytest.raises(Killed):
            deadlines.watch(market.database)
    assert sorted(market.trade(trade_id).status for trade_id in lost) == ["expired", "offered"]
    assert [deadlines.watch(market.database) for _ in range(2)] == [1, 0]
    for trade_id in lost:
        assert [event.type for event in market.cloud_events(trade_id)] == ["trade.offered.v1", "trade.ended.v1"]


def test_a_deadline_that_could_not_be_planned_is_planned_when_its_event_comes_again(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Tasks is down; then it takes the task and its answer is lost."""
    trade_id, take = market.offer().id, market.queue.enqueue

    def down(_: Task) -> bool:
        raise Unavailable("Cloud Tasks")

    def unanswered(task: Task) -> bool:
        take(task)
        raise Unavailable("Cloud Tasks")

    for broken, tasks in ((down, 0), (unanswered, 1)):
        monkeypatch.setattr(market.queue, "enqueue", broken)
        with pytest.raises(Unavailable):
            market.schedule(trade_id)
        assert len(market.queue.tasks) == tasks
    monkeypatch.setattr(market.queue, "enqueue", take)
    market.schedule(trade_id)
    assert len(market.queue.tasks) == 1
    market.time.advance(days=7)
    assert deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.time.now - market.trade(trade_id).offered_at == timedelta(days=7)
    assert market.trade(trade_id).status == "expired"
