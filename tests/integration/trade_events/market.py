"""Trading on a real PostgreSQL, with a queue where Cloud Tasks would be."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pg8000.native import Connection

from functions.trade_events import deadlines, service, store
from functions.trade_events.deadlines import DeadlineTask
from functions.trade_events.deal.steps import BY_NAME, Offer
from functions.trade_events.deal.trade import Trade
from functions.trade_events.schemas import StepBatch, StepBatchResult, StepRequest, TimelineEvent, TradeView
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Task
from kapas.values import ids
from tests.times import Time, eventually, moving_time
from tests.unit.trade_events.deal_desk import BALES, CANDY, START

DEVICE = "device-0001"
INSPECTOR = Identity("inspector", None, Role.INSPECTOR, Tier.FREE)
OPERATIONS = Identity("operations", None, Role.OPS, Tier.FREE)
GUJARAT = "24"

# As another capability registers them; trading reads these columns.
_PARTNERS = """INSERT INTO partners (id, version, status, type, constitution, submission, clarifications, legal_name,
    contact, state_code, gstin_state, created_at, updated_at)
  SELECT id, 1, 'active', 'trader', 'partnership', 1, '[]', ''::bytea, ''::bytea, :state, :state, :at, :at
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
    """The trade functions on one database, and four active partners."""

    database: Database
    admin: Connection
    time: Time
    queue: Queue
    seller: Identity
    buyer: Identity
    rival: Identity
    broker: Identity
    slips: int = field(default=0)

    def offer(self, **changes: Any) -> TradeView:
        body = {
            "lot": BALES,
            "ask": CANDY,
            "template": "ex_gin_passing",
            "valid_until": self.time.now + timedelta(days=7),
            **changes,
        }
        with self.database.session(self.seller.partner_id) as db:
            outcome = service.offer(db, self.seller, Offer.model_validate(body))
            outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, TradeView)
        return outcome.resource

    def take(
        self, who: Identity, trade_id: UUID, step: str, *, client: Any = None, principal: Any = None, **fields: Any
    ) -> TradeView:
        """Take a step at the version that the trade has."""
        if not BY_NAME[step].fact:
            fields = {"expected_version": self.trade(trade_id).version, **fields}
        body = StepRequest.model_validate(
            {"step": {"type": step, **fields}, "client": client, "principal_id": principal}
        )
        with self.session(who) as db:
            return service.take(db, who, trade_id, body, lambda outcome: self._written(db, outcome))

    def _written(self, db: Session, outcome: Outcome) -> TradeView:
        outbox.commit(db, outcome.change)
        assert isinstance(outcome.resource, TradeView)
        return outcome.resource

    def session(self, who: Identity) -> AbstractContextManager[Session]:
        return self.database.session(who.partner_id if who.role.of_partner else PLATFORM)

    def bid(self, trade_id: UUID, who: Identity | None = None, **changes: Any) -> TradeView:
        until = self.time.now + timedelta(days=1)
        return self.take(who or self.buyer, trade_id, "bid", **{"price": CANDY, "valid_until": until, **changes})

    def matched(self, **changes: Any) -> UUID:
        trade_id = self.offer(**changes).id
        bid = self.bid(trade_id)
        self.take(self.seller, trade_id, "accept", to=bid.version)
        return trade_id

    def contracted(self, **changes: Any) -> UUID:
        trade_id = self.matched(**changes)
        self.take(self.buyer, trade_id, "sign")
        return trade_id

    def slip(self, bridge: str = "B1", net: int = 16400) -> dict[str, Any]:
        self.slips += 1
        return {
            "at": "gin",
            "bridge": bridge,
            "serial": f"S{self.slips}",
            "gross_kg": str(net + 8000),
            "tare_kg": "8000",
            "bales": 100,
        }

    def weighed(self, trade_id: UUID) -> None:
        self.take(self.seller, trade_id, "weigh", slip=self.slip("B1"))
        self.take(self.seller, trade_id, "weigh", slip=self.slip("B2"))

    def read(self, who: Identity, trade_id: UUID) -> TradeView:
        with self.session(who) as db:
            return service.read(db, who, trade_id)

    def trade(self, trade_id: UUID) -> Trade:
        with self.database.session(PLATFORM) as db:
            found = store.find(db, trade_id, None)
        assert found is not None
        return found.trade

    def timeline(self, who: Identity, trade_id: UUID) -> list[TimelineEvent]:
        with self.session(who) as db:
            return store.timeline(db, trade_id)

    def types(self, trade_id: UUID) -> list[str]:
        """The types of a trade's events, without prefix and version."""
        return [event.type.split(".")[1] for event in self.timeline(OPERATIONS, trade_id)]

    def cloud_events(self, trade_id: UUID) -> list[CloudEvent]:
        """What was published of the trade."""
        rows = self.admin.run(
            "SELECT event_id, type, source, subject, sequence, occurred_at, data, partner_ids FROM outbox"
            " WHERE subject = :id ORDER BY sequence",
            id=trade_id,
        )
        return [cloud_event(*row) for row in rows]

    def schedule(self, trade_id: UUID) -> None:
        for event in self.cloud_events(trade_id):
            deadlines.schedule(self.database, self.queue, event)

    def wait_for_lock(self) -> None:
        """Wait until a session waits for another's lock."""
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'trade_events'"
        eventually(lambda: self.admin.run(waiting) != [[0]], "a wait for a lock")

    def sync(self, who: Identity, trade_id: UUID, *items: tuple[UUID, dict[str, Any]]) -> StepBatchResult:
        steps = [{"event_id": event_id, "step": step} for event_id, step in items]
        batch = StepBatch.model_validate({"device_id": DEVICE, "steps": steps})
        with self.session(who) as db, db.transaction():
            outcome = service.sync(db, who, trade_id, batch)
        assert isinstance(outcome.resource, StepBatchResult)
        return outcome.resource


def cloud_event(
    event_id: UUID,
    event_type: str,
    source: str,
    subject: UUID,
    sequence: int,
    time: datetime,
    data: Any,
    partner_ids: Sequence[UUID] = (),
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
        partnerids=",".join(map(str, partner_ids)),
        data=data,
    )


@contextmanager
def trading(database: Database, admin: Connection) -> Iterator[Market]:
    """A market without the trades of other tests."""
    partner_ids = [ids.uuid7() for _ in range(4)]
    admin.run("TRUNCATE trades, trade_events, outbox, partners, restrictions CASCADE")
    with moving_time(START) as time:
        admin.run(_PARTNERS, ids=partner_ids, at=time.now, state=GUJARAT)
        seller, buyer, rival, broker = (
            Identity(f"owner-{n}", partner_id, Role.OWNER, Tier.FREE) for n, partner_id in enumerate(partner_ids)
        )
        yield Market(database, admin, time, Queue(time), seller, buyer, rival, broker)
