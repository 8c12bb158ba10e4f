"""What comes due, with every at-least-once edge doubled, late and killed."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pg8000.native import Connection

from functions.trade_events import deadlines
from kapas.messaging import outbox
from kapas.platform.db import Database
from tests.integration.trade_events.market import INSPECTOR, Market, trading
from tests.unit.trade_events.desk import ASK, START, scale


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
    assert market.trade(trade_id).status == "EXPIRED"
    assert [event.type for event in market.cloud_events(trade_id)] == ["trade.offered.v1", "trade.expired.v1"]


def test_a_task_does_nothing_to_a_trade_that_moved_on(market: Market) -> None:
    trade_id = market.offer().id
    market.schedule(trade_id)
    task = market.queue.last()
    market.take(market.buyer, trade_id, "bid_placed", price=ASK.model_dump())
    market.time.advance(days=6)
    market.take(market.seller, trade_id, "bid_accepted", bid_sequence=2)
    market.time.advance(days=1)
    assert not deadlines.meet(market.database, market.queue, task)
    assert market.trade(trade_id).status == "MATCHED"
    market.time.advance(days=4)  # now the signature is due, which is another task's
    assert not deadlines.meet(market.database, market.queue, task)
    market.schedule(trade_id)
    assert deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.trade(trade_id).status == "CANCELLED"


def test_a_distant_deadline_is_reached_in_hops(market: Market) -> None:
    trade_id = market.offer(expires_at=START + timedelta(days=80)).id
    market.schedule(trade_id)
    for hop in range(1, 3):
        market.time.advance(days=29)
        assert not deadlines.meet(market.database, market.queue, market.queue.last())
        assert not deadlines.meet(market.database, market.queue, market.queue.last())
        assert len(market.queue.tasks) == hop + 1
    market.time.advance(days=22)
    assert deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.trade(trade_id).status == "EXPIRED"


def test_a_payment_comes_due_once_and_may_still_come(market: Market) -> None:
    trade_id = market.sampled()
    market.take(market.seller, trade_id, "bales_weighed", bales=scale(10))
    market.take(INSPECTOR, trade_id, "quality_passed")
    market.take(market.seller, trade_id, "payment_requested", **market.invoice(days=44))
    market.schedule(trade_id)
    for _ in range(2):
        market.time.advance(days=22)
        deadlines.meet(market.database, market.queue, market.queue.last())
    assert [e.type for e in market.cloud_events(trade_id)].count("trade.payment_overdue.v1") == 1
    assert market.take(market.seller, trade_id, "payment_confirmed").status == "PAYMENT_CONFIRMED"


def test_the_sweep_finds_what_no_task_did(market: Market) -> None:
    lost, later = market.offer().id, market.offer(expires_at=START + timedelta(days=9)).id
    market.time.advance(days=7, seconds=60)
    assert deadlines.watch(market.database) == 0  # its task may be on the way
    market.time.advance(seconds=61)
    assert deadlines.watch(market.database) == 1
    assert deadlines.watch(market.database) == 0
    assert [market.trade(trade_id).status for trade_id in (lost, later)] == ["EXPIRED", "OFFERED"]


def test_a_task_killed_before_its_commit_leaves_nothing(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id = market.offer().id
    market.schedule(trade_id)
    market.time.advance(days=7)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(deadlines.outbox, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            deadlines.meet(market.database, market.queue, market.queue.last())
    assert market.trade(trade_id).status == "OFFERED"
    assert deadlines.meet(market.database, market.queue, market.queue.last())


def test_a_deadline_and_a_step_at_once_have_one_effect(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seller withdraws in the last moment, between the task's reading and its writing."""
    trade_id = market.offer().id
    market.schedule(trade_id)
    task, commit = market.queue.last(), outbox.commit

    def withdrawn_first(db: Any, change: Any) -> None:
        monkeypatch.setattr(deadlines.outbox, "commit", commit)
        market.time.advance(days=-1)
        market.take(market.seller, trade_id, "offer_withdrawn")
        market.time.advance(days=1)
        commit(db, change)

    market.time.advance(days=7)
    monkeypatch.setattr(deadlines.outbox, "commit", withdrawn_first)
    assert not deadlines.meet(market.database, market.queue, task)
    assert market.trade(trade_id).status == "CANCELLED"
    assert [event.sequence for event in market.events(trade_id)] == [1, 2]
