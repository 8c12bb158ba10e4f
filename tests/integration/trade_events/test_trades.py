"""Trades on a real PostgreSQL: the row is the fold of its events, and who sees what."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from functions.trade_events import service, store
from functions.trade_events.moment import there
from functions.trade_events.rules import rules
from functions.trade_events.schemas import TradeQuery
from functions.trade_events.step_schemas import TradeEventAppend
from kapas.errors import Conflict, NotFound
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Database
from kapas.values import ids
from kapas.values.clock import IST
from tests.integration.trade_events.market import INSPECTOR, Market, trading
from tests.unit.trade_events.desk import ASK, LOT, START, scale
from tools.verify_trades import verify


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        yield market


def test_every_stored_trade_is_the_fold_of_its_events(market: Market, open_as: Callable[..., Database]) -> None:
    market.offer()
    sampled = market.sampled(quality_terms="mcx_2021_11", expires_at=START + timedelta(days=80))
    market.take(INSPECTOR, sampled, "quality_failed", grade="D")
    market.take(market.buyer, sampled, "lot_rejected")
    asked = market.contracted()
    market.take(market.seller, asked, "cancellation_requested")
    with market.database.session(PLATFORM) as db:
        assert [fault for _, fault in verify(db)] == [None] * 3
    market.admin.run("UPDATE trades SET price_paise = price_paise + 1 WHERE id = :id", id=asked)
    with market.database.session(PLATFORM) as db:
        assert {trade_id: fault for trade_id, fault in verify(db) if fault} == {
            asked: "price, amount not as the events make it"
        }


def test_an_invoiced_trade_is_read_as_it_was_answered(market: Market) -> None:
    trade_id = market.sampled()
    market.take(market.seller, trade_id, "bales_weighed", bales=scale(10))
    market.take(INSPECTOR, trade_id, "quality_passed")
    answered = market.take(market.seller, trade_id, "payment_requested", **market.invoice())
    assert market.trade(trade_id).model_dump_json() == answered.model_dump_json()
    with market.database.session(PLATFORM) as db:
        assert [fault for _, fault in verify(db)] == [None]


def test_a_statement_is_read_as_it_was_invoiced(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id = market.sampled()
    market.take(market.seller, trade_id, "bales_weighed", bales=scale(10))
    market.take(INSPECTOR, trade_id, "quality_passed")
    payable = market.take(market.seller, trade_id, "payment_requested", **market.invoice()).payable
    changed = replace(rules(), gst=replace(rules().gst, rate=Decimal(12)))
    monkeypatch.setattr(service, "rules", lambda: changed)
    for party in (market.seller, market.buyer):
        with market.database.session(party.partner_id) as db:
            stated = service.settle(db, party, trade_id)
        assert (stated.status, stated.total, sum(line.paise for line in stated.lines)) == (
            "final",
            payable,
            there(payable).paise,
        )


def test_an_invoice_number_is_free_again_in_april(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    market.time.advance(days=(datetime(2027, 3, 31, tzinfo=IST) - START).days)  # the evening before
    trades = [market.sampled() for _ in range(2)]
    for trade_id in trades:
        market.take(market.seller, trade_id, "bales_weighed", bales=scale(10))
        market.take(INSPECTOR, trade_id, "quality_passed")
    market.time.advance(hours=(datetime(2027, 4, 1, tzinfo=IST) - market.time.now).total_seconds() / 3600 - 1)
    market.take(market.seller, trades[0], "payment_requested", **market.invoice())
    with pytest.raises(Conflict, match="46"):
        market.take(market.seller, trades[1], "payment_requested", **market.invoice())
    with monkeypatch.context() as at_once:
        at_once.setattr(store.SqlHistory, "number_given", lambda *_: False)
        with pytest.raises(Conflict, match="46"):
            market.take(market.seller, trades[1], "payment_requested", **market.invoice())
    market.time.advance(hours=2)
    assert market.take(market.seller, trades[1], "payment_requested", **market.invoice()).status == "PAYMENT_PENDING"


@pytest.mark.parametrize("statement", ["UPDATE trade_events SET type = 'x'", "DELETE FROM trade_events"])
def test_nobody_of_the_function_edits_an_event(market: Market, statement: str) -> None:
    with market.database.session(PLATFORM) as db, pytest.raises(Exception, match="42501"):
        db.run(statement)


def test_the_schema_refuses_a_deadline_that_nothing_meets(market: Market) -> None:
    trade_id = market.contracted()
    with pytest.raises(DatabaseError):
        market.admin.run("UPDATE trades SET due_at = updated_at WHERE id = :id", id=trade_id)


def test_a_step_costs_two_round_trips(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id, statements = market.offer().id, list[str]()
    run = type(market.database.session(None).__enter__()).run
    monkeypatch.setattr(
        "kapas.platform.db.Session.run", lambda self, sql, **p: statements.append(sql) or run(self, sql, **p)
    )
    body = {"event": {"type": "bid_placed", "expected_version": 1, "price": ASK.model_dump()}}
    with market.database.session(market.buyer.partner_id) as db:
        statements.clear()
        outcome = service.append(db, market.buyer, trade_id, TradeEventAppend.model_validate(body))
        outbox.commit(db, outcome.change)
        assert len(statements) == 2


# Who sees what


def test_a_bidder_sees_what_was_answered_to_it_and_a_rival_does_not(market: Market) -> None:
    trade_id = market.offer().id
    market.take(market.buyer, trade_id, "bid_placed", price={**ASK.model_dump(), "paise": 60_000_00})
    market.take(market.seller, trade_id, "price_countered", counters_sequence=2, price=ASK.model_dump())
    rival = ids.uuid7()
    seen = dict[UUID | None, list[int]]()
    for partner_id in (market.seller.partner_id, market.buyer.partner_id, rival):
        with market.database.session(partner_id) as db:
            seen[partner_id] = [event.sequence for event in store.events(db, trade_id)]
    assert seen == {market.seller.partner_id: [1, 2, 3], market.buyer.partner_id: [2, 3], rival: []}


def test_trades_are_listed_by_what_is_asked(market: Market) -> None:
    offered = market.offer(lot=LOT.model_copy(update={"variety": "MCU-5"})).id
    market.time.advance(seconds=1)
    contracted = market.contracted()
    with market.database.session(market.seller.partner_id) as db:

        def listed(**query: Any) -> list[UUID]:
            return [t.id for t in service.list_page(db, market.seller, TradeQuery(**query)).data]

        assert listed() == [contracted, offered]
        assert listed(status="OFFERED") == [offered]
        assert listed(variety="MCU-5", crop_year="2026-27") == [offered]
        assert listed(party="seller") == [contracted, offered]
        assert listed(party="buyer") == []


def test_the_settlement_is_between_the_two(market: Market) -> None:
    trade_id = market.contracted()
    stranger = Identity("stranger", ids.uuid7(), Role.OWNER, Tier.FREE)
    with market.database.session(stranger.partner_id) as db, pytest.raises(NotFound):
        service.settle(db, stranger, trade_id)
    with market.database.session(market.buyer.partner_id) as db:
        assert service.settle(db, market.buyer, trade_id).total.paise == 2_95_442_05
