"""Facts that the platform records by itself: gradings, and parties that may not go on."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.trade_events import facts
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform.db import Database
from kapas.values import ids
from tests.integration.trade_events.market import Market, cloud_event, trading


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        yield market


def grading(market: Market, trade_id: UUID | None, partner_id: UUID | None, **figures: str) -> CloudEvent:
    measured = [{"axis": axis, "value": value, "unit": "", "source": "lab"} for axis, value in figures.items()]
    data = {
        "grading_id": str(ids.uuid7()),
        "partner_id": str(partner_id),
        "kind": "lab",
        "trade_id": None if trade_id is None else str(trade_id),
        "result": {"measured": measured, "length_mm": "29.1", "platform_grade": {"grade": "A"}},
    }
    subject = UUID(data["grading_id"])  # type: ignore[arg-type]
    return cloud_event(ids.uuid7(), "grading.completed.v1", "/grading_requests", subject, 2, market.time.now, data, [])


def of_partner(market: Market, event_type: str, partner_id: UUID | None) -> CloudEvent:
    assert partner_id is not None
    data = {"partner_id": str(partner_id)}
    return cloud_event(ids.uuid7(), event_type, "/partner_onboarding", partner_id, 9, market.time.now, data, [])


def suspended(market: Market, partner_id: UUID | None, status: str = "suspended") -> CloudEvent:
    market.admin.run("UPDATE partners SET status = :status WHERE id = :id", id=partner_id, status=status)
    return of_partner(market, "partner.suspended.v1", partner_id)


# Gradings


def test_a_grading_is_the_reading_of_who_ordered_it_and_waits_for_the_other(market: Market) -> None:
    trade_id = market.contracted(differs={"quality": {"table": "MCX-2021-11"}})
    market.weighed(trade_id)
    event = grading(market, trade_id, market.buyer.partner_id, rd="74.5", trash_weight="3.20", trash_area="0.9")
    assert facts.record_grading(market.database, event)
    assert not facts.record_grading(market.database, event)  # delivered again
    [lift] = market.trade(trade_id).lifts
    [reading] = lift.readings
    assert (reading.by, reading.laboratory) == ("buyer", "laboratory")
    assert reading.figures.tested() == {
        "rd": Decimal("74.5"),
        "trash_pct": Decimal("3.20"),
        "staple_mm": Decimal("29.1"),
    }
    assert lift.reading_answer is None
    assert ("answer_reading", "seller") in [(step.step, step.who) for step in market.read(market.buyer, trade_id).next]


def test_a_grading_of_nobody_of_the_trade_is_no_fact(market: Market) -> None:
    trade_id, offered = market.contracted(), market.offer().id
    for event in (
        grading(market, None, market.buyer.partner_id, rd="74.5"),
        grading(market, trade_id, market.rival.partner_id, rd="74.5"),
        grading(market, offered, market.rival.partner_id, rd="74.5"),
        grading(market, ids.uuid7(), market.buyer.partner_id, rd="74.5"),
        grading(market, trade_id, market.buyer.partner_id, rd="5"),
    ):
        assert not facts.record_grading(market.database, event)
    assert market.trade(trade_id).version == 5


def test_two_deliveries_of_a_grading_at_once_record_once(market: Market) -> None:
    trade_id = market.contracted()
    event = grading(market, trade_id, market.seller.partner_id, rd="76")
    recorded: list[bool] = []
    with market.database.session("*") as db, db.transaction():
        db.run("SELECT id FROM trades WHERE id = :id FOR UPDATE", id=trade_id)
        threads = [
            threading.Thread(target=lambda: recorded.append(facts.record_grading(market.database, event)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        market.wait_for_lock()
    for thread in threads:
        thread.join()
    assert sorted(recorded) == [False, True]
    assert market.types(trade_id).count("tested") == 1


# Parties


def test_a_party_that_is_suspended_is_reported_and_the_other_side_goes_on(market: Market) -> None:
    trade_id, offered = market.contracted(), market.offer().id
    event = suspended(market, market.buyer.partner_id)
    assert facts.report_standing(market.database, event)
    assert not facts.report_standing(market.database, event)
    assert market.types(trade_id)[-1] == "party_status_changed"
    trade = market.read(market.seller, trade_id)
    assert trade.buyer_status == "suspended"
    assert ("decide_party", "operations") in [(step.step, step.who) for step in trade.next]
    assert "close_out" in trade.possible
    assert market.trade(offered).version == 1
    market.admin.run("UPDATE partners SET status = 'active' WHERE id = :id", id=market.buyer.partner_id)
    assert facts.report_standing(market.database, of_partner(market, "partner.activated.v1", market.buyer.partner_id))
    assert market.read(market.seller, trade_id).buyer_status == "active"


def test_what_counts_is_the_registration_and_not_the_event(market: Market) -> None:
    trade_id = market.contracted()
    assert not facts.report_standing(
        market.database, of_partner(market, "partner.suspended.v1", market.buyer.partner_id)
    )
    assert not facts.report_standing(market.database, of_partner(market, "partner.changed.v1", market.buyer.partner_id))
    assert market.trade(trade_id).version == 5


def test_a_party_whose_erasure_was_asked_for_is_reported_as_erased(market: Market) -> None:
    trade_id = market.contracted()
    market.admin.run(
        "INSERT INTO restrictions (subject_id, reason, restricted_at) VALUES (:id, 'erasure', :at)",
        id=market.seller.partner_id,
        at=market.time.now,
    )
    assert facts.report_standing(market.database, of_partner(market, "erasure.requested.v1", market.seller.partner_id))
    assert market.trade(trade_id).seller_status == "erased"


def test_a_report_that_is_killed_goes_on_with_the_trades_that_are_left(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    trades = [market.contracted() for _ in range(3)]
    event = suspended(market, market.seller.partner_id)
    commit, done = outbox.commit, list[object]()

    def killed_at_the_second(db: Any, change: Any) -> None:
        done.append(change)
        if len(done) == 2:
            raise SystemExit
        commit(db, change)

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "commit", killed_at_the_second)
        with pytest.raises(SystemExit):
            facts.report_standing(market.database, event)
    assert facts.report_standing(market.database, event)
    for trade_id in trades:
        assert market.types(trade_id).count("party_status_changed") == 1


def test_the_sweep_reports_who_was_suspended_while_a_trade_was_matched(market: Market) -> None:
    event = suspended(market, market.rival.partner_id)
    assert not facts.report_standing(market.database, event)
    trade_id = market.contracted()
    market.admin.run("UPDATE partners SET status = 'suspended' WHERE id = :id", id=market.buyer.partner_id)
    assert facts.watch_standing(market.database) == 1
    assert facts.watch_standing(market.database) == 0
    assert market.trade(trade_id).buyer_status == "suspended"


def test_a_trade_that_has_ended_is_left_alone(market: Market) -> None:
    trade_id = market.matched()
    market.take(market.buyer, trade_id, "decline_contract")
    market.time.advance(days=1)
    assert not facts.report_standing(market.database, suspended(market, market.seller.partner_id))
    assert market.trade(trade_id).end == "cancelled"
    assert market.time.now - market.trade(trade_id).updated_at == timedelta(days=1)
