"""One deployment of onboarding on a real PostgreSQL, with fakes where Google and the providers would be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pg8000.native import Connection

from functions.partner_onboarding import service
from functions.partner_onboarding.checks import providers, verification
from functions.partner_onboarding.checks.providers import (
    BankRecord,
    GstRecord,
    Hit,
    Providers,
    ScreeningList,
    ScreeningRecord,
)
from functions.partner_onboarding.checks.verification import CheckTask
from functions.partner_onboarding.review import reviews
from functions.partner_onboarding.review_schemas import PartnerReview
from functions.partner_onboarding.schemas import PartnerCreate, Submit
from kapas.errors import Unavailable
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import CloudEvent
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Task
from kapas.privacy.keys import Keyring
from kapas.values import clock, ids
from tests.journeys.partners import registration
from tests.times import Time
from tests.unit.kapas.fake_keys import Kms

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
OPERATIONS = Identity("operations", None, Role.OPS, Tier.BASIC)


class Killed(BaseException):
    """The instance is gone in this moment."""


@dataclass
class World:
    """Whoever is asked: answers honestly, or as told; each call is noted with its check."""

    calls: list[UUID] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """The numbers of accounts that a penny was dropped on."""
    unknown: set[str] = field(default_factory=set)
    """The numbers that the bank does not know: it compares exactly."""
    down: set[str] = field(default_factory=set)
    holder: str | None = None
    hits: list[Hit] = field(default_factory=list)
    published_at: datetime | None = START
    meanwhile: Callable[[], None] = lambda: None

    def lookup(self, gstin: str, name: str, check_id: UUID) -> GstRecord:
        self._call("gst_registry", check_id)
        return GstRecord(reference="gst-1", found=True, status="Active", legal_name=name.upper())

    def penny_drop(self, ifsc: str, number: str, name: str, check_id: UUID) -> BankRecord:
        self._call("bank_account", check_id)
        self.dropped.append(number)
        if number in self.unknown:
            return BankRecord(reference="drop-1", status="unknown")
        return BankRecord(reference="drop-1", status="credited", registered_name=self.holder or name)

    def search(self, names: Sequence[str], check_id: UUID) -> ScreeningRecord:
        self._call("screening", check_id)
        listed = self.published_at and ScreeningList(version="1", published_at=self.published_at)
        found = ScreeningRecord(reference="search-1", list=listed, hits=self.hits)
        providers.check_list(found, clock.now())
        return found

    def _call(self, kind: str, check_id: UUID) -> None:
        self.calls.append(check_id)
        if kind in self.down:
            raise Unavailable("The provider does not answer")
        self.meanwhile()


class Queue:
    """Cloud Tasks: a name is taken once, and stays taken."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.down = False

    def enqueue(self, task: Task) -> bool:
        if self.down:
            raise Unavailable
        return self.tasks.setdefault(task.name, task) is task


@dataclass
class System:
    """One deployment: the database, the queue, the keys and who is asked."""

    database: Database
    admin: Connection
    time: Time
    world: World = field(default_factory=World)
    queue: Queue = field(default_factory=Queue)

    def __post_init__(self) -> None:
        self.keyring = Keyring(Kms())
        self.providers = Providers(self.world, self.world, self.world)

    def run(self, caller: Identity, use_case: Callable[..., Outcome], *arguments: Any) -> Any:
        scope = caller.partner_id if caller.role.of_partner else PLATFORM
        with self.database.session(scope) as db, db.transaction():
            outcome = use_case(db, self.keyring, caller, *arguments)
            outbox.commit(db, outcome.change)
            return outcome.resource

    def register(self, **changes: Any) -> Identity:
        caller = Identity("owner", ids.uuid7(), Role.OWNER, Tier.BASIC)
        self.run(caller, service.register, PartnerCreate.model_validate(registration(**changes)))
        return caller

    def submit(self, caller: Identity, version: int = 1) -> CloudEvent:
        self.run(caller, service.submit, caller.partner_id, version, Submit())
        return self.event(caller, version + 1)

    def event(self, caller: Identity, sequence: int) -> CloudEvent:
        (row,) = self.admin.run(
            "SELECT event_id, type, source, occurred_at, data FROM outbox WHERE subject = :id AND sequence = :n",
            id=caller.partner_id,
            n=sequence,
        )
        return CloudEvent(
            specversion="1.0",
            id=row[0],
            type=row[1],
            source=row[2],
            subject=caller.partner_id,
            time=row[3],
            dataschema="https://kapas.example.com/schemas/any.json",
            partitionkey=caller.partner_id,
            sequence=sequence,
            data=row[4],
        )

    def begin(self, event: CloudEvent) -> list[CheckTask]:
        verification.begin(self.database, self.queue, event)
        return [CheckTask.model_validate_json(task.body) for task in self.queue.tasks.values()]

    def check(self, task: CheckTask) -> bool:
        return verification.check(self.database, self.keyring, self.providers, task)

    def checked(self, **changes: Any) -> Identity:
        """A partner whose checks have ended."""
        caller = self.register(**changes)
        for task in self.begin(self.submit(caller)):
            self.check(task)
        return caller

    def restrict(self, caller: Identity) -> None:
        """Have its erasure asked for."""
        self.admin.run(
            "INSERT INTO restrictions (subject_id, reason, restricted_at) VALUES (:id, 'erasure', :at)",
            id=caller.partner_id,
            at=clock.now(),
        )

    def status(self, caller: Identity) -> tuple[str, int]:
        with self.database.session(PLATFORM) as db:
            account = service.find(db, identifier(caller)).account
        return account.status, account.version

    def review(self, caller: Identity) -> PartnerReview:
        with self.database.session(PLATFORM) as db:
            return reviews.review(db, self.keyring, OPERATIONS, identifier(caller))

    def types(self, caller: Identity) -> list[str]:
        rows = self.admin.run("SELECT type FROM outbox WHERE subject = :id ORDER BY sequence", id=caller.partner_id)
        return [row[0].split(".")[1] for row in rows]


def identifier(caller: Identity) -> UUID:
    """The caller's partner."""
    assert caller.partner_id is not None
    return caller.partner_id
