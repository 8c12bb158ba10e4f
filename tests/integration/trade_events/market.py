"""Trading on a real PostgreSQL, with a queue where Cloud Tasks would be."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pg8000.native import Connection

from functions.trade_events import deadlines, service, store
from functions.trade_events.deadlines import DeadlineTask
from functions.trade_events.schemas import LotOffer, Trade, TradeEvent, TradeEventBatchResult
from functions.trade_events.step_schemas import TradeEventAppend, TradeEventBatch
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Task
from kapas.values import ids
from tests.times import Time, eventually, moving_time
from tests.unit.trade_events.desk import ASK, LOT, START

DEVICE = "device-0001"
INSPECTOR = Identity("inspector", None, Role.INSPECTOR, Tier.FREE)

# As another capability registers them; trading reads the type and the status.
_PARTNERS = """INSERT INTO partners (id, version, status, type, constitution, submission, clarifications, legal_name,
    contact, created_at, updated_at)
  SELECT id, 1, 'active', 'trader', 'partnership', 1, '[]', ''::bytea, ''::bytea, :at, :at
  FROM unnest(:ids::uuid[]) AS id"""


class Queue:
    """Cloud Tasks: a name is taken once, and a task is at most 30 days ahead."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.tasks: dict[str, Task] = {}

    def enqueue(self, task: Task) -> bool:
        assert task.schedule_time is not None
        assert task.schedule_time <= self.time.now + timedelta(days=30)
        if task.name in self.tasks:
            return False
        self.tasks[task.name] = task
        return True

    def last(self) -> DeadlineTask:
        return DeadlineTask.model_validate_json(list(self.tasks.values())[-1].body)


@dataclass
class Market:
    """The trade functions on one database, and two active partners."""

    database: Database
    admin: Connection
    time: Time
    queue: Queue
    seller: Identity
    buyer: Identity

    def offer(self, **changes: Any) -> Trade:
        body = LotOffer.model_validate({"lot": LOT, "ask": ASK, **changes})
        with self.database.session(self.seller.partner_id) as db:
            outcome = service.offer(db, self.seller, body)
            outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, Trade)
        return outcome.resource

    def take(self, who: Identity, trade_id: UUID, event_type: str, *, client: Any = None, **facts: Any) -> Trade:
        event = {"type": event_type, "expected_version": self.trade(trade_id).version, **facts}
        body = TradeEventAppend.model_validate({"event": event, "client": client})
        with self.database.session(who.partner_id if who.role.of_partner else PLATFORM) as db:
            outcome = service.append(db, who, trade_id, body)
            outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, Trade)
        return outcome.resource

    def matched(self, **changes: Any) -> UUID:
        trade_id = self.offer(**changes).id
        self.take(self.buyer, trade_id, "bid_placed", price={**ASK.model_dump(), "paise": 61_200_00})
        self.take(self.seller, trade_id, "bid_accepted", bid_sequence=2)
        return trade_id

    def contracted(self, **changes: Any) -> UUID:
        trade_id = self.matched(**changes)
        self.take(self.buyer, trade_id, "contract_signed")
        return trade_id

    def sampled(self, **changes: Any) -> UUID:
        trade_id = self.contracted(**changes)
        self.take(INSPECTOR, trade_id, "sample_drawn", samples=1)
        return trade_id

    def invoice(self, days: int = 10) -> dict[str, Any]:
        due_at = self.time.now.astimezone(UTC) + timedelta(days=days)
        return {"due_at": due_at, "invoice_number": "KP/1", "supplier_state": "24", "place_of_supply": "24"}

    def trade(self, trade_id: UUID) -> Trade:
        with self.database.session(PLATFORM) as db:
            return service.read(db, trade_id)

    def events(self, trade_id: UUID) -> list[TradeEvent]:
        with self.database.session(PLATFORM) as db:
            return store.events(db, trade_id)

    def cloud_events(self, trade_id: UUID) -> list[CloudEvent]:
        """What was published of the trade."""
        rows = self.admin.run(
            "SELECT event_id, type, source, subject, sequence, occurred_at, data FROM outbox WHERE subject = :id ORDER BY 5",
            id=trade_id,
        )
        return [cloud_event(*row) for row in rows]

    def schedule(self, trade_id: UUID) -> None:
        for event in self.cloud_events(trade_id):
            deadlines.schedule(self.queue, event)

    def wait_for_lock(self) -> None:
        """Wait until a session waits for another's lock."""
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'trade_events'"
        eventually(lambda: self.admin.run(waiting) != [[0]], "a wait for a lock")

    def sync(self, who: Identity, trade_id: UUID, *items: tuple[UUID, dict[str, Any]]) -> TradeEventBatchResult:
        events = [{"event_id": event_id, "event": event} for event_id, event in items]
        batch = TradeEventBatch.model_validate({"device_id": DEVICE, "events": events})
        with self.database.session(who.partner_id if who.role.of_partner else PLATFORM) as db, db.transaction():
            outcome = service.sync(db, who, trade_id, batch)
        assert isinstance(outcome.resource, TradeEventBatchResult)
        return outcome.resource


def cloud_event(
    event_id: UUID, event_type: str, source: str, subject: UUID, sequence: int, time: datetime, data: Any
) -> CloudEvent:
    return CloudEvent(
        specversion="1.0",
        id=event_id,
        type=event_type,
        source=source,
        subject=subject,
        time=time,
        dataschema="",
        partitionkey=subject,
        sequence=sequence,
        data=data,
    )


@contextmanager
def trading(database: Database, admin: Connection) -> Iterator[Market]:
    """A market without the trades of other tests."""
    partner_ids = [ids.uuid7(), ids.uuid7()]
    admin.run("TRUNCATE trades, trade_events, outbox")
    seller, buyer = (Identity(f"owner-{n}", partner_ids[n], Role.OWNER, Tier.FREE) for n in range(2))
    with moving_time(START) as time:
        admin.run(_PARTNERS, ids=partner_ids, at=time.now)
        yield Market(database, admin, time, Queue(time), seller, buyer)
