"""What comes due, with every at-least-once edge doubled, late and killed."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pg8000.native import Connection

from functions.trade_events import deadlines
from kapas.messaging import outbox
from kapas.platform.db import Database
from tests.integration.trade_events.market import Market, trading
from tests.unit.trade_events.deal_desk import START


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        yield market


def test_an_offer_expires_by_its_task_and_once(market: Market) -> None:
    trade_id = market.offer().id
    market.schedule(trade_id)
    market.schedule(trade_id)  # the event came twice
    assert len(market.queue.tasks) == 1
    task = market.queue.last()
    market.time.advance(days=7)
    assert deadlines.meet(market.database, market.queue, task)
    assert not deadlines.meet(market.database, market.queue, task)  # and so did the task
    assert market.types(trade_id) == ["offered", "ended"]
    assert market.trade(trade_id).status == "expired"


def test_a_task_does_nothing_to_a_trade_that_moved_on(market: Market) -> None:
    trade_id = market.offer().id
    market.schedule(trade_id)
    task = market.queue.last()
    market.time.advance(days=6)
    bid = market.bid(trade_id)
    market.take(market.seller, trade_id, "accept", to=bid.version)
    market.time.advance(days=1)
    assert not deadlines.meet(market.database, market.queue, task)
    assert market.trade(trade_id).status == "matched"
    market.schedule(trade_id)
    market.time.advance(days=4)  # now the signature is overdue
    assert deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.trade(trade_id).status == "cancelled"


def test_only_the_last_event_of_a_trade_makes_a_task(market: Market) -> None:
    trade_id = market.contracted()
    first, *_, last = market.cloud_events(trade_id)
    deadlines.schedule(market.database, market.queue, first)
    assert not market.queue.tasks
    deadlines.schedule(market.database, market.queue, last)
    assert [task.schedule_time for task in market.queue.tasks.values()] == [last_due(market)]


def last_due(market: Market) -> Any:
    return market.queue.last().due_at


def test_a_distant_deadline_is_reached_in_hops(market: Market) -> None:
    trade_id = market.offer(valid_until=START + timedelta(days=80)).id
    market.schedule(trade_id)
    for hop in range(1, 3):
        market.time.advance(days=29)
        assert not deadlines.meet(market.database, market.queue, market.queue.last())
        assert not deadlines.meet(market.database, market.queue, market.queue.last())
        assert len(market.queue.tasks) == hop + 1
    market.time.advance(days=22)
    assert deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.trade(trade_id).status == "expired"


def test_a_deadline_brings_the_next_one_until_the_trade_ends(market: Market) -> None:
    """Nobody does anything after the contract: each deadline has an outcome, and the trade an end."""
    trade_id = market.contracted()
    for _ in range(60):
        if market.trade(trade_id).end is not None:
            break
        market.schedule(trade_id)
        task = market.queue.last()
        market.time.now = max(market.time.now, task.due_at)
        assert deadlines.meet(market.database, market.queue, task)
    assert market.trade(trade_id).end == "cancelled"
    sequences = [event.sequence for event in market.cloud_events(trade_id)]
    assert sequences == list(range(1, len(sequences) + 1))


def test_the_sweep_finds_what_no_task_did(market: Market) -> None:
    trade_id = market.offer().id
    market.time.advance(days=7, seconds=119)
    assert deadlines.watch(market.database) == 0  # its task is on its way
    market.time.advance(seconds=1)
    assert deadlines.watch(market.database) == 1
    assert deadlines.watch(market.database) == 0
    assert market.types(trade_id) == ["offered", "ended"]


def test_a_trade_that_fails_holds_up_no_other(market: Market) -> None:
    broken, whole = market.offer().id, market.offer().id
    market.admin.run("UPDATE trades SET state = '{}' WHERE id = :id", id=broken)
    market.time.advance(days=8)
    assert deadlines.watch(market.database) == 1
    assert market.trade(whole).status == "expired"


def test_a_task_killed_before_its_commit_leaves_nothing(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id = market.offer().id
    market.schedule(trade_id)
    market.time.advance(days=7)

    def killed(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "commit", killed)
        with pytest.raises(SystemExit):
            deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.types(trade_id) == ["offered"]
    assert deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.types(trade_id) == ["offered", "ended"]


def test_two_deadlines_at_once_have_one_effect(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id = market.offer().id
    market.schedule(trade_id)
    market.time.advance(days=7)
    commit = outbox.commit

    def the_other_first(db: Any, change: Any) -> None:
        monkeypatch.setattr(outbox, "commit", commit)
        assert deadlines.expire(market.database, trade_id)
        commit(db, change)

    monkeypatch.setattr(outbox, "commit", the_other_first)
    assert not deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.types(trade_id) == ["offered", "ended"]


def test_a_deadline_that_a_step_came_before_is_decided_again(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id = market.contracted()
    market.schedule(trade_id)
    task = market.queue.last()
    market.time.now = task.due_at
    commit = outbox.commit

    def weighed_first(db: Any, change: Any) -> None:
        monkeypatch.setattr(outbox, "commit", commit)
        market.take(market.seller, trade_id, "weigh", slip=market.slip())
        commit(db, change)

    monkeypatch.setattr(outbox, "commit", weighed_first)
    deadlines.meet(market.database, market.queue, task)
    assert market.types(trade_id)[-2:] == ["overdue", "weighed"]
    sequences = [event.sequence for event in market.cloud_events(trade_id)]
    assert sequences == list(range(1, market.trade(trade_id).version + 1))


def test_a_trade_that_is_gone_is_nobodys_deadline(market: Market) -> None:
    trade_id = market.offer().id
    [event] = market.cloud_events(trade_id)
    market.admin.run("DELETE FROM trade_events")
    market.admin.run("DELETE FROM trades")
    deadlines.schedule(market.database, market.queue, event)
    assert not market.queue.tasks
