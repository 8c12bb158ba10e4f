"""Events in any order, any number of times: each has its effect once, and in its turn."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pg8000.native import Connection

from functions.live_feed import service as live_feed
from kapas.messaging import inbox
from kapas.messaging.events import CloudEvent, SequenceGap
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Document
from kapas.values import ids
from tools.catalog import ROOT

DECISION = ROOT / "docs/decisions/0002-version-is-sequence.md"

SELLER, BUYER = ids.uuid7(), ids.uuid7()
PRICE = {"paise": 61_200_00, "unit": "candy_trade"}
LOT = {"kind": "bales", "variety": "Shankar-6", "quantity": {"bales": 100, "kg": "16400"}}
BID = {"trade_status": "negotiating", "bidder_id": str(BUYER), "price": PRICE}
MATCH = {"trade_status": "matched", "buyer_id": str(BUYER), "price": PRICE, "quantity": LOT["quantity"]}
UNTIL = "2026-12-01T06:30:00Z"
STEPS: list[tuple[str, dict[str, Any]]] = [
    (
        "trade.offered.v1",
        {"trade_status": "offered", "seller_id": str(SELLER), "lot": LOT, "ask": PRICE, "valid_until": UNTIL},
    ),
    ("trade.bid_placed.v1", BID),
    ("trade.bid_placed.v1", BID),
    ("trade.matched.v1", MATCH | {"trade_due_at": UNTIL}),
    ("trade.contracted.v1", {"trade_status": "contracted", "trade_due_at": UNTIL}),
]
FINAL = {"status": "contracted", "sequence": 5, "bids": 2, "open": False, "due_at": UNTIL}


class Documents:
    """Firestore: one transaction at a time."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.history: list[int] = []

    def update(self, path: str, change: Callable[[Document | None], Document | None]) -> None:
        changed = change(self.documents.get(path))
        if changed is not None:
            self.documents[path] = changed
            self.history.append(changed["sequence"])


def event(subject: UUID, sequence: int, step: tuple[str, dict[str, Any]] | None = None) -> CloudEvent:
    event_type, data = step or STEPS[sequence - 1]
    return CloudEvent(
        specversion="1.0",
        id=ids.uuid7(),
        type=event_type,
        source="/trade_events",
        subject=subject,
        time=datetime(2026, 11, 24, tzinfo=UTC),
        dataschema=f"https://kapas.example.com/schemas/{event_type}.json",
        partitionkey=subject,
        sequence=sequence,
        partnerids=f"{SELLER},{BUYER}",
        data=data,
    )


deliveries = st.lists(st.tuples(st.integers(0, 2), st.integers(1, len(STEPS)), st.booleans()), min_size=1, max_size=60)
"""Which aggregate, which of its events, and whether the consumer is killed after its effect, before its commit."""


@pytest.fixture
def database(open_as: Callable[[str], Database]) -> Database:
    return open_as("webhook_delivery")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries)
def test_the_inbox_takes_each_event_once_and_in_turn(database: Database, plan: list[tuple[int, int, bool]]) -> None:
    subjects = [ids.uuid7() for _ in range(3)]
    taken: dict[UUID, list[int]] = {subject: [] for subject in subjects}

    class Killed(Exception):
        """The consumer died with its transaction open."""

    def deliver(subject: UUID, sequence: int, dies: bool) -> bool:
        """One push; whether it was acknowledged."""
        try:
            with database.session(PLATFORM) as db, db.transaction():
                accepted = inbox.accept(db, "a consumer", event(subject, sequence))
                if dies:
                    raise Killed
            if accepted:
                taken[subject].append(sequence)
        except (SequenceGap, Killed):
            return False
        return True

    for index, sequence, dies in plan:
        deliver(subjects[index], sequence, dies)
    # Pub/Sub goes on until everything is acknowledged.
    waiting = [(subject, sequence) for subject in subjects for sequence in range(len(STEPS), 0, -1)]
    while waiting:
        waiting = [(subject, sequence) for subject, sequence in waiting if not deliver(subject, sequence, False)]

    for subject in subjects:
        assert taken[subject] == [1, 2, 3, 4, 5]


@settings(max_examples=200)
@given(deliveries)
def test_a_live_document_is_the_fold_of_its_events(plan: list[tuple[int, int, bool]]) -> None:
    subjects = [ids.uuid7() for _ in range(3)]
    documents = Documents()

    def deliver(subject: UUID, sequence: int) -> bool:
        try:
            live_feed.project(documents, event(subject, sequence))
        except SequenceGap:
            return False
        return True

    for index, sequence, _ in plan:
        deliver(subjects[index], sequence)
    waiting = [(subject, sequence) for subject in subjects for sequence in range(len(STEPS), 0, -1)]
    while waiting:
        waiting = [(subject, sequence) for subject, sequence in waiting if not deliver(subject, sequence)]

    for subject in subjects:
        document = documents.documents[f"trades/{subject}"]
        assert {name: document[name] for name in FINAL} == FINAL
    assert len(documents.history) == 15


def test_an_event_of_an_unknown_type_does_not_hold_up_what_follows_it() -> None:
    documents, subject = Documents(), ids.uuid7()
    unknown: tuple[str, dict[str, Any]] = ("trade.reweighed.v1", {"bales": 99})
    for delivery in (event(subject, 1), event(subject, 2, unknown), event(subject, 3, STEPS[1])):
        live_feed.project(documents, delivery)
    document = documents.documents[f"trades/{subject}"]
    assert (document["sequence"], document["status"], document["lot"]) == (3, "negotiating", LOT)


def test_a_document_that_began_with_an_unknown_type_is_shown_to_nobody_and_goes_on() -> None:
    documents, subject = Documents(), ids.uuid7()
    for delivery in (event(subject, 1, ("trade.offered.v2", {})), event(subject, 2)):
        live_feed.project(documents, delivery)
    document = documents.documents[f"trades/{subject}"]
    assert (document["sequence"], document["bids"]) == (2, 1)
    assert not {"partner_ids", "open"} & document.keys()


def test_two_deliveries_of_one_event_at_once_have_one_effect(database: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor

    subject = ids.uuid7()

    def deliver(_: int) -> bool:
        with database.session(PLATFORM) as db, db.transaction():
            return inbox.accept(db, "a consumer", event(subject, 1))

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(deliver, range(2))) == [False, True]


def test_a_consumer_that_is_added_later_goes_on_from_what_was_told_before(
    database: Database, admin: Connection
) -> None:
    swept, told, waiting = ids.uuid7(), ids.uuid7(), ids.uuid7()
    for subject, sequence, published in ((told, 1, True), (told, 2, True), (waiting, 1, False)):
        admin.run(
            """INSERT INTO outbox
                 (event_id, topic, source, type, subject, sequence, data, partner_ids, occurred_at, published_at)
               VALUES (:id, 'trade-events', '/trade_events', :type, :subject, :sequence, '{}', '{}', now(), :published)""",
            id=ids.uuid7(),
            type=event(subject, sequence).type,
            subject=subject,
            sequence=sequence,
            published=datetime(2026, 11, 24, tzinfo=UTC) if published else None,
        )
    admin.run(
        """INSERT INTO audit_log (event_id, type, source, subject, sequence, partner_ids, data, occurred_at, recorded_at)
           VALUES (:id, 'trade.matched.v1', '/trade_events', :subject, 4, '{}', '{}', now(), now())""",
        id=ids.uuid7(),
        subject=swept,
    )
    admin.run(re.findall(r"```sql\n(.*?)```", DECISION.read_text(), re.DOTALL)[0])
    for subject, sequence in ((swept, 5), (told, 3), (waiting, 1)):
        with database.session(PLATFORM) as db, db.transaction():
            assert inbox.accept(db, "lot-notes-events", event(subject, sequence))


def test_the_trail_may_append_and_read_and_nothing_else(admin: Connection) -> None:
    granted = admin.run(
        """SELECT table_name, privilege_type FROM information_schema.table_privileges
           WHERE grantee = 'audit_trail' ORDER BY 1, 2"""
    )
    assert granted == [["audit_log", "INSERT"], ["audit_log", "SELECT"]]
