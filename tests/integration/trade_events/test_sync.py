"""Gradings and what devices kept: doubled, late, at once and killed, each is recorded once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pg8000.native import Connection

from functions.trade_events import gradings, service
from functions.trade_events.step_schemas import TradeEventBatch
from kapas.errors import Conflict, Unavailable, VersionConflict
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform.db import PLATFORM, Database
from kapas.values import ids
from tests.integration.trade_events.market import DEVICE, INSPECTOR, Market, cloud_event, trading
from tests.times import PATIENCE
from tests.unit.trade_events.desk import START, scale


@pytest.fixture
def market(open_as: Callable[..., Database], admin: Connection) -> Iterator[Market]:
    with trading(open_as("trade_events", 4), admin) as market:
        yield market


# Gradings


def graded(
    trade_id: UUID | None, partner: Identity, time: datetime, grade: str | None = "B", **measures: str
) -> CloudEvent:
    grading_id = ids.uuid7()
    measured = [{"axis": "micronaire", "value": "4.1"}]
    measured += [{"axis": axis, "value": value} for axis, value in ({"rd": "75.0"} | measures).items()]
    data = {
        "grading_id": str(grading_id),
        "partner_id": str(partner.partner_id),
        "kind": "lab",
        "trade_id": None if trade_id is None else str(trade_id),
        "result": {"measured": measured, "platform_grade": {"grade": grade, "policy": "1"}},
    }
    return cloud_event(ids.uuid7(), "grading.completed.v1", "/grading_requests", grading_id, 1, time, data)


@pytest.mark.parametrize(
    ("side", "grade", "status"),
    [("buyer", "A", "QUALITY_PASSED"), ("buyer", "C", "QUALITY_PASSED"), ("seller", "D", "QUALITY_FAILED")],
)
def test_a_grading_decides_by_the_grade_that_was_contracted(market: Market, side: str, grade: str, status: str) -> None:
    trade_id = market.sampled()
    assert gradings.decide(market.database, graded(trade_id, getattr(market, side), market.time.now, grade))
    assert market.trade(trade_id).status == status


@pytest.mark.parametrize(
    ("side", "grade", "terms"), [("seller", "C", "none"), ("buyer", "D", "none"), ("buyer", "A", "mcx_2021_11")]
)
def test_a_grading_that_favours_who_ordered_it_decides_nothing(
    market: Market, side: str, grade: str, terms: str
) -> None:
    trade_id = market.sampled(quality_terms=terms)
    event = graded(trade_id, getattr(market, side), market.time.now, grade)
    assert gradings.decide(market.database, event)
    assert not gradings.decide(market.database, event)
    assert (market.trade(trade_id).status, market.trade(trade_id).version) == ("SAMPLED", 6)
    claim = market.events(trade_id)[-1]
    assert (claim.type, claim.party, claim.data["grade"]) == ("quality_claimed", side, grade)


def test_a_claim_is_accepted_once_and_its_figures_settle(market: Market) -> None:
    trade_id = market.sampled(quality_terms="mcx_2021_11")
    event = graded(trade_id, market.seller, market.time.now)
    assert gradings.decide(market.database, event)
    market.take(market.buyer, trade_id, "quality_accepted")
    assert not gradings.decide(market.database, event)
    assert market.trade(trade_id).version == 7
    with market.database.session(PLATFORM) as db:
        rd = service.settle(db, INSPECTOR, trade_id).lines[1]
    assert rd.description == "Rd 75.0: -1.5 %"


@pytest.mark.parametrize(
    ("measures", "lines"),
    [
        ({"rd": "78.4"}, ["Rd 76.5: 0 %"]),
        ({"rd": "74.2"}, ["Rd 74.2: -1.5 %"]),
        ({"rd": "77.2", "trash_weight": "3.5", "plus_b": "9.0"}, ["Rd 76.5: 0 %", "Trash 3.5 % by weight: -0.5 %"]),
    ],
)
def test_a_failure_by_the_sellers_own_figures_raises_no_price(
    market: Market, measures: dict[str, str], lines: list[str]
) -> None:
    """That a lot failed is against its seller; that it is brighter than offered is not."""
    trade_id = market.sampled(quality_terms="mcx_2021_11")
    assert gradings.decide(market.database, graded(trade_id, market.seller, market.time.now, "D", **measures))
    assert market.trade(trade_id).status == "QUALITY_FAILED"
    market.take(market.buyer, trade_id, "quality_accepted")
    with market.database.session(PLATFORM) as db:
        stated = service.settle(db, INSPECTOR, trade_id)
    assert [line.description.replace("+0 %", "0 %") for line in stated.lines[1:-1]] == lines


def test_two_gradings_at_once_decide_once(market: Market) -> None:
    trade_id = market.sampled()
    events = [graded(trade_id, market.buyer, market.time.now, grade) for grade in ("A", "B")]

    def decide(event: CloudEvent) -> bool:
        for _ in range(5):  # as Pub/Sub delivers again
            try:
                return gradings.decide(market.database, event)
            except Unavailable:
                continue
        raise AssertionError("never decided")

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(decide, events)) == [False, True]
    assert market.trade(trade_id).version == 6


def test_a_claim_and_what_is_taken_at_the_same_moment_follow_one_another(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade_id, take = market.sampled(), service.take
    event = graded(trade_id, market.seller, market.time.now)

    def while_the_bales_are_weighed(*step: Any) -> Any:
        monkeypatch.undo()
        taken = take(*step)
        market.take(market.seller, trade_id, "bales_weighed", bales=scale(1))
        return taken

    monkeypatch.setattr(service, "take", while_the_bales_are_weighed)
    with pytest.raises(Unavailable):
        gradings.decide(market.database, event)
    assert gradings.decide(market.database, event)
    assert [event.type for event in market.events(trade_id)[-2:]] == ["bales_weighed", "quality_claimed"]


def test_a_grading_of_a_lot_that_nobody_sampled_moves_nothing(market: Market) -> None:
    trade_id = market.contracted()
    event = graded(trade_id, market.buyer, market.time.now)
    assert not gradings.decide(market.database, event)
    market.take(INSPECTOR, trade_id, "sample_drawn", samples=1)
    assert market.trade(trade_id).version == 5


def test_a_late_grading_of_the_first_sample_does_not_decide_the_second(market: Market) -> None:
    trade_id = market.sampled()
    late = graded(trade_id, market.buyer, market.time.now, "A")
    first = graded(trade_id, market.seller, market.time.now, "D")
    assert gradings.decide(market.database, first)
    market.time.advance(hours=1)
    market.take(INSPECTOR, trade_id, "sample_drawn", samples=1)
    assert not gradings.decide(market.database, late)
    assert not gradings.decide(market.database, first)
    assert market.trade(trade_id).status == "SAMPLED"


def test_a_grading_counts_also_where_the_inspectors_clock_is_fast(market: Market) -> None:
    """A device may be five minutes ahead: what counts is when the sample was recorded, by the clock that gradings go by."""
    trade_id = market.contracted()
    ahead = (market.time.now + timedelta(minutes=4)).isoformat()
    market.take(INSPECTOR, trade_id, "sample_drawn", samples=1, occurred_at=ahead)
    market.time.advance(minutes=2)
    assert gradings.decide(market.database, graded(trade_id, market.buyer, market.time.now, "A"))
    assert market.trade(trade_id).status == "QUALITY_PASSED"


def test_what_is_no_verdict_on_this_trade_moves_nothing(market: Market) -> None:
    trade_id, now = market.sampled(), market.time.now
    stranger = Identity("stranger", ids.uuid7(), Role.OWNER, Tier.FREE)
    for event in (
        graded(trade_id, stranger, now),
        graded(trade_id, market.buyer, now, None),
        graded(None, market.buyer, now),
        graded(uuid4(), market.buyer, now),
    ):
        assert not gradings.decide(market.database, event)
    assert market.trade(trade_id).status == "SAMPLED"


# What a device kept


def test_a_batch_that_is_sent_again_is_recorded_once(market: Market) -> None:
    trade_id, first, second = market.contracted(), uuid4(), uuid4()
    drawn = (first, {"type": "sample_drawn", "samples": 1, "occurred_at": START.isoformat()})
    passed = (second, {"type": "quality_passed", "grade": "B"})
    market.time.advance(hours=5)
    done = market.sync(INSPECTOR, trade_id, drawn, passed, drawn)
    assert [(o.outcome, o.sequence) for o in done.outcomes] == [("recorded", 5), ("recorded", 6), ("duplicate", 5)]
    again = market.sync(INSPECTOR, trade_id, drawn, passed, drawn)
    assert [(o.outcome, o.sequence) for o in again.outcomes] == [("duplicate", 5), ("duplicate", 6), ("duplicate", 5)]
    sample = market.events(trade_id)[4]
    assert (sample.occurred_at, sample.recorded_at) == (START, market.time.now)
    assert again.trade.status == "QUALITY_PASSED"


def test_what_cannot_be_taken_holds_up_no_other(market: Market) -> None:
    trade_id = market.contracted()
    done = market.sync(
        INSPECTOR,
        trade_id,
        (uuid4(), {"type": "quality_passed"}),
        (uuid4(), {"type": "dispatched", "bales": 10}),
        (uuid4(), {"type": "sample_drawn", "samples": 1}),
        (uuid4(), {"type": "sample_drawn", "samples": 1, "expected_version": 4}),
    )
    assert [o.outcome for o in done.outcomes] == ["refused", "refused", "recorded", "refused"]
    assert [o.problem.code for o in done.outcomes if o.problem] == ["conflict", "conflict", "version-conflict"]
    assert [event.sequence for event in market.events(trade_id)] == [1, 2, 3, 4, 5]


def test_two_syncs_of_one_device_at_once_record_once(market: Market) -> None:
    """The second comes while the first is not committed: it waits for it, and then finds duplicates."""
    trade_id = market.contracted()
    items = [(uuid4(), {"type": "bales_weighed", "bales": scale(2, first=n)}) for n in (1, 3, 5)]
    events = [{"event_id": event_id, "event": event} for event_id, event in items]
    batch = TradeEventBatch.model_validate({"device_id": DEVICE, "events": events})
    with ThreadPoolExecutor(1) as pool:
        with market.database.session(market.seller.partner_id) as db, db.transaction():
            service.sync(db, market.seller, trade_id, batch)
            second = pool.submit(market.sync, market.seller, trade_id, *items)
            market.wait_for_lock()
        assert [outcome.outcome for outcome in second.result(PATIENCE).outcomes] == ["duplicate"] * 3
    assert [event.sequence for event in market.events(trade_id)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_sync_that_is_killed_records_nothing(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    trade_id, commit = market.contracted(), outbox.commit
    items = [(uuid4(), {"type": "bales_weighed", "bales": scale(2, first=n)}) for n in (1, 3)]
    left = iter([True])

    def killed_at_the_second(db: Any, change: Any) -> None:
        if next(left, False):
            return commit(db, change)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(service.outbox, "commit", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            market.sync(market.seller, trade_id, *items)
    assert market.trade(trade_id).version == 4
    assert [o.outcome for o in market.sync(market.seller, trade_id, *items).outcomes] == ["recorded", "recorded"]


def test_a_devices_event_that_is_posted_after_its_sync_conflicts(market: Market) -> None:
    trade_id, event_id = market.contracted(), uuid4()
    market.sync(INSPECTOR, trade_id, (event_id, {"type": "bales_weighed", "bales": scale(1)}))
    client = {"device_id": DEVICE, "event_id": event_id}
    with pytest.raises(Conflict, match="already recorded"):
        market.take(INSPECTOR, trade_id, "bales_weighed", client=client, bales=scale(1, first=2))
    # Another partner's device of the same name is another device.
    market.take(market.seller, trade_id, "bales_weighed", client=client, bales=scale(1, first=2))


def test_a_decision_on_an_old_version_is_refused(market: Market) -> None:
    trade_id = market.contracted()
    with pytest.raises(VersionConflict):
        market.take(market.buyer, trade_id, "dispute_raised", reason="quality", expected_version=3)
