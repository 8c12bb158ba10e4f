"""Trades on PostgreSQL: who sees what, what a step costs, and what two at once leave."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from functions.trade_events import service, store
from functions.trade_events.deal.fold import fold
from functions.trade_events.schemas import StepRequest, TimelineQuery, TradeQuery
from kapas.errors import Conflict, Forbidden, Invalid, NotFound, VersionConflict
from kapas.http.identity import Identity
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Database, DatabaseFailure, Session
from kapas.values import ids
from tests.integration.trade_events.market import INSPECTOR, OPERATIONS, Market, trading
from tests.unit.trade_events.deal_desk import BALES, CANDY, START
from tools import verify_trades

LOSING = {"paise": 61_000_00, "unit": "candy_trade"}


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        yield market


def test_every_stored_trade_is_the_fold_of_its_events(market: Market) -> None:
    for trade_id in (market.offer().id, market.matched(), market.contracted()):
        with market.database.session(PLATFORM) as db:
            assert fold(store.events(db, trade_id)) == market.trade(trade_id)
    with market.database.session(PLATFORM) as db:
        assert [fault for _, fault in verify_trades.verify(db)] == [None] * 3
    market.admin.run("UPDATE trades SET state = jsonb_set(state, '{ask,paise}', '1') WHERE id = :id", id=trade_id)
    with market.database.session(PLATFORM) as db:
        faults = dict(verify_trades.verify(db))
    assert faults[trade_id] == "ask not as the events make it"


def test_a_contract_is_read_with_its_tracks_and_what_is_open(market: Market) -> None:
    trade_id = market.contracted()
    trade = market.read(market.buyer, trade_id)
    assert (trade.status, trade.version, trade.signed) == ("contracted", 5, ["buyer", "seller"])
    assert trade.tax is not None
    assert (trade.tax.kind, trade.tax.reverse_charge) == ("within_state", False)
    assert [(step.track, step.step, step.who) for step in trade.next][:2] == [
        ("payment", "pay", "buyer"),
        ("quality", "offer_lots", "seller"),
    ]
    assert all(step.due_at > START and step.what_happens_then for step in trade.next)
    assert [due.key for due in trade.dues] == ["1"]
    assert {"record_payment", "raise_claim", "propose"} <= set(trade.possible)
    assert "offer_lots" not in trade.possible
    assert "offer_lots" in market.read(market.seller, trade_id).possible


def test_a_weight_counts_when_the_terms_basis_is_met_and_is_settled(market: Market) -> None:
    trade_id = market.contracted()
    market.take(market.seller, trade_id, "weigh", slip=market.slip("B1"))
    [lift] = market.read(market.buyer, trade_id).lifts
    assert lift.weight.state == "missing"
    market.take(market.seller, trade_id, "weigh", slip=market.slip("B2"))
    [lift] = market.read(market.buyer, trade_id).lifts
    assert (lift.weight.state, lift.weight.kg) == ("agreed", 16350)
    with market.session(market.buyer) as db:
        settlement = service.settle(db, market.buyer, trade_id)
    [invoice] = settlement.papers
    assert [line.code for line in invoice.lines] == ["cotton", "cgst", "sgst"]
    assert invoice.total_paise == settlement.payable_paise == sum(line.paise for line in invoice.lines)


def test_the_settlement_is_between_the_two(market: Market) -> None:
    offered, trade_id = market.offer().id, market.contracted()
    for who, hidden in ((market.rival, trade_id), (market.rival, offered)):
        with market.session(who) as db, pytest.raises(NotFound):
            service.settle(db, who, hidden)
    with market.session(market.seller) as db, pytest.raises(Conflict, match="no contract"):
        service.settle(db, market.seller, offered)


# Isolation


def test_of_the_negotiations_a_bidder_sees_its_own(market: Market) -> None:
    trade_id = market.offer().id
    market.bid(trade_id)
    market.bid(trade_id, market.rival, price=LOSING)
    market.take(market.seller, trade_id, "counter", to=2, price=CANDY, valid_until=START + timedelta(days=1))
    assert [event.sequence for event in market.timeline(market.seller, trade_id)] == [1, 2, 3, 4]
    assert [event.sequence for event in market.timeline(market.buyer, trade_id)] == [2, 4]
    assert [event.sequence for event in market.timeline(market.rival, trade_id)] == [3]
    assert market.timeline(market.broker, trade_id) == []
    for who, bidders in ((market.seller, 2), (market.buyer, 1), (market.rival, 1), (market.broker, 0)):
        trade = market.read(who, trade_id)
        assert len(trade.bids) == bidders
        assert len([step for step in trade.next if step.step == "accept"]) == bidders
    market.take(market.buyer, trade_id, "accept", to=4)
    assert [event.sequence for event in market.timeline(market.buyer, trade_id)] == [1, 2, 4, 5]
    assert [bid.bidder_id for bid in market.read(market.buyer, trade_id).bids] == [market.buyer.partner_id]
    told = {event.sequence: set(event.partner_ids) for event in market.cloud_events(trade_id)}
    assert told[3] == {market.seller.partner_id, market.rival.partner_id}
    assert told[5] == {market.seller.partner_id, market.buyer.partner_id}


def test_a_lot_that_went_to_another_is_hidden(market: Market) -> None:
    trade_id = market.offer().id
    market.bid(trade_id, market.rival, price=LOSING)
    bid = market.bid(trade_id)
    market.take(market.seller, trade_id, "accept", to=bid.version)
    with pytest.raises(Conflict, match="no longer on the market"):
        market.read(market.rival, trade_id)
    with pytest.raises(NotFound):
        market.read(market.broker, trade_id)
    with market.session(market.rival) as db:
        assert [event.sequence for event in service.timeline(db, trade_id, TimelineQuery()).data] == [2]
    with market.session(market.broker) as db, pytest.raises(NotFound):
        service.timeline(db, trade_id, TimelineQuery())


def test_a_refusal_names_no_bid_of_a_rival(market: Market) -> None:
    trade_id = market.offer().id
    market.bid(trade_id, market.rival, price=LOSING)
    with pytest.raises(Invalid) as caught:
        market.take(market.buyer, trade_id, "bid", price=CANDY, valid_until=START - timedelta(days=1))
    assert caught.value.members == {
        "against": "the clock",
        "possible": [{"step": "withdraw_offer", "who": "seller"}],
        "version": 2,
    }
    assert [error.pointer for error in caught.value.errors] == ["/step/valid_until"]


def test_a_brokers_mandate_opens_the_trade_to_it(market: Market) -> None:
    trade_id = market.offer().id
    mandate = {
        "principal_id": market.buyer.partner_id,
        "broker_id": market.broker.partner_id,
        "side": "buyer",
        "rights": ["negotiate", "sign"],
    }
    market.take(market.buyer, trade_id, "give_mandate", mandate=mandate)
    bid = market.bid(trade_id, market.broker)
    assert [one.bidder_id for one in market.read(market.broker, trade_id).bids] == [market.buyer.partner_id]
    assert market.read(market.rival, trade_id).mandates == []
    market.take(market.seller, trade_id, "accept", to=bid.version)
    market.take(market.broker, trade_id, "sign")
    assert market.read(market.broker, trade_id).status == "contracted"
    assert len(market.timeline(market.broker, trade_id)) == 6
    with market.session(market.broker) as db:
        listed = service.list_page(db, market.broker, TradeQuery(party="broker"))
    assert [trade.id for trade in listed.data] == [trade_id]
    with pytest.raises(Forbidden, match="no mandate of the buyer to perform"):
        market.take(market.broker, trade_id, "weigh", slip=market.slip())
    market.take(market.buyer, trade_id, "revoke_mandate", broker_id=market.broker.partner_id)
    with pytest.raises(Conflict):
        market.read(market.broker, trade_id)


def test_a_bidder_records_no_fact_of_a_lot_on_the_market(market: Market) -> None:
    trade_id = market.offer().id
    with pytest.raises(Forbidden, match="bid for it first"):
        market.take(market.rival, trade_id, "weigh", slip=market.slip())


def test_trades_are_listed_by_what_is_asked(market: Market) -> None:
    sold = market.contracted()
    market.time.advance(seconds=1)
    offered = market.offer(lot={**BALES, "station": "Amreli"}).id

    def listed(who: Identity, **query: Any) -> list[UUID]:
        with market.session(who) as db:
            return [trade.id for trade in service.list_page(db, who, TradeQuery(**query)).data]

    assert listed(market.buyer) == [offered, sold]
    assert listed(market.rival) == [offered]
    assert listed(market.buyer, party="buyer") == [sold]
    assert listed(market.buyer, status="contracted") == [sold]
    assert listed(market.buyer, station="Amreli") == [offered]
    assert listed(market.buyer, template="cci_auction") == []
    market.admin.run("UPDATE partners SET status = 'suspended' WHERE id = :id", id=market.seller.partner_id)
    assert listed(market.rival) == []


# One decision, one statement


def test_a_step_costs_two_round_trips(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id = market.offer().id
    statements: list[str] = []
    run = Session.run

    def counted(self: Session, sql: str, **parameters: Any) -> Any:
        statements.append(sql)
        return run(self, sql, **parameters)

    version = market.trade(trade_id).version
    monkeypatch.setattr(Session, "run", counted)
    market.bid(trade_id, expected_version=version)
    assert len(statements) == 3  # the test's own look at the version is one


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trade_events SET data = '{}'",
        "DELETE FROM trade_events",
        "DELETE FROM trades",
        "UPDATE trades SET seller_id = buyer_id",
    ],
)
def test_nobody_of_the_function_edits_an_event(market: Market, statement: str) -> None:
    with market.database.session(PLATFORM) as db, pytest.raises(DatabaseFailure, match="42501"):
        db.run(statement)


def test_the_schema_refuses_an_open_trade_without_a_deadline(market: Market) -> None:
    trade_id = market.offer().id
    with pytest.raises(DatabaseError, match="check constraint"):
        market.admin.run("UPDATE trades SET due_at = NULL WHERE id = :id", id=trade_id)


def test_a_decision_that_another_came_before_is_told_what_is_possible(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade_id = market.offer().id
    bid = market.bid(trade_id)
    commit = outbox.commit

    def withdrawn_first(db: Any, change: Any) -> None:
        monkeypatch.setattr(outbox, "commit", commit)
        market.take(market.buyer, trade_id, "end_bid")
        commit(db, change)

    monkeypatch.setattr(outbox, "commit", withdrawn_first)
    with pytest.raises(VersionConflict) as caught:
        market.take(market.seller, trade_id, "accept", to=bid.version)
    assert caught.value.members["version"] == 3
    assert caught.value.members["possible"] == [{"step": "withdraw_offer", "who": "seller"}]
    assert market.types(trade_id) == ["offered", "bid_placed", "bid_ended"]


def test_a_step_of_an_old_version_is_refused(market: Market) -> None:
    trade_id = market.contracted()
    with pytest.raises(VersionConflict) as caught:
        market.take(market.buyer, trade_id, "propose", about="cancel_rest", expected_version=2)
    assert caught.value.members["version"] == 5


def test_fifty_facts_at_once_are_all_recorded(market: Market, open_as: Callable[..., Database]) -> None:
    trade_id = market.contracted()
    database = open_as("trade_events", 8)
    slips = [market.slip(f"B{number}") for number in range(50)]
    failures: list[Exception] = []

    def weigh(slip: dict[str, Any]) -> None:
        body = StepRequest.model_validate({"step": {"type": "weigh", "slip": slip}})
        try:
            with database.session(market.seller.partner_id) as db:
                service.take(db, market.seller, trade_id, body, lambda outcome: outbox.commit(db, outcome.change))
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=lambda part=part: list(map(weigh, part))) for part in _parts(slips, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    [lift] = market.trade(trade_id).lifts
    assert {kept.slip.bridge for kept in lift.slips} == {f"B{number}" for number in range(50)}
    assert [event.sequence for event in market.cloud_events(trade_id)] == list(range(1, 56))


def _parts(slips: list[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    return [slips[number::count] for number in range(count)]


def test_a_bid_that_lapsed_is_not_accepted_before_its_task_comes(market: Market) -> None:
    trade_id = market.offer().id
    bid = market.bid(trade_id)
    market.time.advance(days=1)
    with pytest.raises(VersionConflict, match="version 3, not 2"):
        market.take(market.seller, trade_id, "accept", to=bid.version)
    assert market.types(trade_id) == ["offered", "bid_placed", "bid_ended"]


def test_a_lot_that_expired_takes_no_bid_before_its_task_comes(market: Market) -> None:
    trade_id = market.offer().id
    market.time.advance(days=7)
    with pytest.raises(VersionConflict, match="version 2"):
        market.bid(trade_id, market.rival)
    assert market.trade(trade_id).status == "expired"


# Invoices, parts, parties


def test_an_invoice_number_is_given_once_in_a_financial_year(market: Market) -> None:
    first, second = market.contracted(), market.contracted()
    for trade_id in (first, second):
        market.weighed(trade_id)
    invoice = {"kind": "tax_invoice", "lift": 1}
    market.take(market.seller, first, "record_document", **invoice, number="KP/1")
    with pytest.raises(Conflict, match="given before"):
        market.take(market.seller, second, "record_document", **invoice, number="kp/1")
    market.take(market.seller, second, "record_document", **invoice, number="KP/2")


def test_what_a_part_lot_bid_leaves_is_offered_anew(market: Market) -> None:
    offered = market.offer()
    bid = market.bid(offered.id, quantity={"bales": 40, "kg": "6560"})
    matched = market.take(market.seller, offered.id, "accept", to=bid.version)
    assert matched.remainder is not None
    assert (matched.remainder.bales, matched.remainder.kg) == (60, 9840)
    rest = {**BALES, "quantity": matched.remainder.model_dump(mode="json")}
    assert market.offer(lot=rest, split_from=offered.id).split_from == offered.id
    with pytest.raises(Invalid, match="matched for a part"):
        market.offer(split_from=ids.uuid7())


def test_a_seller_that_was_suspended_offers_and_sells_nothing(market: Market) -> None:
    trade_id = market.offer().id
    market.bid(trade_id)
    market.admin.run("UPDATE partners SET status = 'suspended' WHERE id = :id", id=market.seller.partner_id)
    with pytest.raises(Forbidden, match="not active"):
        market.offer()
    with pytest.raises(Conflict, match="seller does not trade"):
        market.bid(trade_id, market.rival)
    market.take(market.buyer, trade_id, "end_bid")


def test_who_is_not_registered_does_not_bid(market: Market) -> None:
    trade_id = market.offer().id
    market.admin.run("DELETE FROM partners WHERE id = :id", id=market.rival.partner_id)
    with pytest.raises(Forbidden, match="not registered"):
        market.bid(trade_id, market.rival)


def test_staff_takes_the_steps_that_are_its_own(market: Market) -> None:
    trade_id = market.contracted()
    market.take(INSPECTOR, trade_id, "weigh", slip=market.slip(net=16000))
    [lift] = market.read(OPERATIONS, trade_id).lifts
    assert (lift.weight.state, lift.weight.source) == ("agreed", "inspector")
    with pytest.raises(Forbidden):
        market.take(INSPECTOR, trade_id, "propose", about="cancel_rest")
