"""What a device kept while it was offline, taken once and step by step."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pg8000.native import Connection

from kapas.errors import Conflict
from kapas.messaging import outbox
from kapas.platform.db import Database
from kapas.values import ids
from tests.integration.trade_events.market import DEVICE, INSPECTOR, Market, trading


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        yield market


def weighing(market: Market, bridge: str = "B1") -> dict[str, Any]:
    return {"type": "weigh", "slip": market.slip(bridge)}


def test_a_batch_that_is_sent_again_is_recorded_once(market: Market) -> None:
    trade_id = market.contracted()
    items = [(ids.uuid7(), weighing(market, "B1")), (ids.uuid7(), weighing(market, "B2"))]
    first = market.sync(market.seller, trade_id, *items)
    assert [(one.outcome, one.sequence) for one in first.outcomes] == [("recorded", 6), ("recorded", 7)]
    again = market.sync(market.seller, trade_id, *items, (ids.uuid7(), weighing(market, "B3")))
    assert [(one.outcome, one.sequence) for one in again.outcomes] == [
        ("duplicate", 6),
        ("duplicate", 7),
        ("recorded", 8),
    ]
    assert again.trade.version == 8


def test_what_cannot_be_taken_or_read_holds_up_no_other(market: Market) -> None:
    trade_id = market.contracted()
    unreadable = {"type": "weigh", "slip": {**market.slip(), "gross_kg": "7000"}}
    result = market.sync(
        market.seller,
        trade_id,
        (ids.uuid7(), unreadable),
        (ids.uuid7(), {"type": "levitate"}),
        (ids.uuid7(), {"type": "sign", "expected_version": 5}),
        (ids.uuid7(), weighing(market)),
        (ids.uuid7(), {"type": "propose", "about": "cancel_rest", "expected_version": 5}),
    )
    assert [one.outcome for one in result.outcomes] == ["refused", "refused", "refused", "recorded", "refused"]
    problems = [one.problem for one in result.outcomes if one.problem is not None]
    assert [problem.code for problem in problems] == ["invalid", "invalid", "conflict", "version-conflict"]
    assert problems[0].errors[0].pointer == "/steps/0/step/slip"
    assert "nothing was loaded" in problems[0].errors[0].message
    assert problems[1].errors[0].pointer == "/steps/1/step"
    assert problems[2].against == "the contract"
    assert ("pay", "buyer") in [(step.step, step.who) for step in problems[2].possible]
    assert problems[3].errors[0].pointer == "/steps/4/step/expected_version"


def test_an_invoice_number_that_is_taken_is_refused_alone(market: Market) -> None:
    first, second = market.contracted(), market.contracted()
    for trade_id in (first, second):
        market.weighed(trade_id)
    invoice = {"type": "record_document", "kind": "tax_invoice", "lift": 1, "number": "KP/1"}
    market.sync(market.seller, first, (ids.uuid7(), invoice))
    result = market.sync(market.seller, second, (ids.uuid7(), invoice), (ids.uuid7(), weighing(market)))
    assert [one.outcome for one in result.outcomes] == ["refused", "recorded"]
    assert [event.type for event in market.timeline(market.seller, second)].count("trade.weighed.v1") == 3


def test_two_syncs_of_one_device_at_once_record_once(market: Market) -> None:
    trade_id = market.contracted()
    item = (ids.uuid7(), weighing(market))
    outcomes: list[str] = []
    with market.database.session(market.seller.partner_id) as db, db.transaction():
        db.run("SELECT id FROM trades WHERE id = :id FOR UPDATE", id=trade_id)
        threads = [
            threading.Thread(
                target=lambda: outcomes.extend(
                    one.outcome for one in market.sync(market.seller, trade_id, item).outcomes
                )
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        market.wait_for_lock()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["duplicate", "recorded"]


def test_a_sync_that_is_killed_records_nothing(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id = market.contracted()
    items = [(ids.uuid7(), weighing(market)), (ids.uuid7(), weighing(market, "B2"))]
    commit, done = outbox.commit, list[object]()

    def killed_at_the_second(db: Any, change: Any) -> None:
        done.append(change)
        if len(done) == 2:
            raise SystemExit
        commit(db, change)

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "commit", killed_at_the_second)
        with pytest.raises(SystemExit):
            market.sync(market.seller, trade_id, *items)
    assert market.trade(trade_id).version == 5
    assert [one.outcome for one in market.sync(market.seller, trade_id, *items).outcomes] == ["recorded"] * 2


def test_a_devices_step_that_is_posted_after_its_sync_conflicts(market: Market) -> None:
    trade_id = market.contracted()
    event_id, step = ids.uuid7(), weighing(market)
    market.sync(market.seller, trade_id, (event_id, step))
    client = {"device_id": DEVICE, "event_id": event_id}
    with pytest.raises(Conflict, match="recorded already"):
        market.take(market.seller, trade_id, "weigh", slip=step["slip"], client=client)


def test_an_inspectors_device_is_its_own(market: Market) -> None:
    trade_id = market.contracted()
    event_id = ids.uuid7()
    market.sync(market.seller, trade_id, (event_id, weighing(market)))
    [outcome] = market.sync(INSPECTOR, trade_id, (event_id, weighing(market))).outcomes
    assert outcome.outcome == "recorded"
