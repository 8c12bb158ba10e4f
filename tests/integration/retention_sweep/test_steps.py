"""Holds on partners whose steps go with another's row: a lot stays while one who bid on it is held."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from pg8000.native import Connection

from kapas.platform.db import Database
from kapas.values.ids import uuid7
from tests.integration.retention_sweep.system import System, figures, place_between, running

TRADES, UNCONCLUDED = "table trades", "negotiation_message_unconcluded"
YEAR = 365.25


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    with running(open_as("retention_sweep", 4), admin) as system:
        yield system


def step(system: System, trade_id: UUID, partner_id: UUID, bidder_id: UUID | None) -> None:
    """A second step of a lot: a bid, or the seller's counter to one."""
    system.admin.run(
        """INSERT INTO trade_events (trade_id, sequence, type, role, side, partner_id, bidder_id, broker_ids, data,
             occurred_at, recorded_at)
           SELECT id, 2, 'trade.bid_placed.v1', 'partner', 'buyer', :partner_id, :bidder_id, '{}', '{}', updated_at,
             updated_at
           FROM trades
           WHERE id = :trade_id""",
        trade_id=trade_id,
        partner_id=partner_id,
        bidder_id=bidder_id,
    )


@pytest.mark.parametrize("own", [True, False], ids=["a bid of its own", "an answer to its bid"])
def test_a_lot_stays_while_one_who_bid_on_it_is_held(system: System, own: bool) -> None:
    seller, bidder = uuid7(), system.partner()
    bid_on, other = system.trade(4 * YEAR, seller), system.trade(4 * YEAR, seller)
    step(system, bid_on, bidder if own else seller, bidder)
    step(system, other, uuid7(), uuid7())
    hold = system.hold(bidder)
    dry, real = (system.sweep(dry_run=dry_run) for dry_run in (True, False))
    assert figures(dry, TRADES, UNCONCLUDED) == figures(real, TRADES, UNCONCLUDED) == (2, 1, 1, 0)
    assert system.admin.run("SELECT trade_id, sequence FROM trade_events ORDER BY 2") == [[bid_on, 1], [bid_on, 2]]
    assert f"trades/{bid_on}" in system.outside.there
    system.release(hold)
    assert figures(system.sweep(), TRADES, UNCONCLUDED) == (1, 1, 0, 0)
    assert system.count("trade_events") == 0


def test_a_hold_on_a_bidder_that_is_placed_between_the_scan_and_the_delete_wins(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    bidder = system.partner()
    trade_id = system.trade(4 * YEAR, uuid7())
    step(system, trade_id, bidder, bidder)
    with place_between(monkeypatch, lambda: system.hold(bidder)):
        swept = system.sweep(policies=[UNCONCLUDED])
    assert figures(swept, TRADES, UNCONCLUDED) == (1, 0, 1, 0)
    assert system.count("trade_events") == 2
