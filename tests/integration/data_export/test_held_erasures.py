"""Erasures under legal holds on a real PostgreSQL: a hold on the partner or on one row wins, whenever it is placed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from functions.data_export import completing, erasing, holds, preparing, service, store
from functions.retention_sweep import service as retention
from functions.retention_sweep.schemas import HeldRow, LegalHoldCreate
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Database, LockTimeout, Session
from kapas.privacy import legal_holds
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring
from kapas.values import ids
from tests.integration.data_export.system import SECRETS, START, System
from tests.times import Time

OFFICER = Identity("officer", None, Role.DPO, Tier.FREE)
HASH = b"\0" * 32


class Office:
    """Who places legal holds, as the retention sweep does it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold(self, subject_id: UUID | None = None, table: str = "", row_id: object = "") -> UUID:
        row = HeldRow(table=table, id=str(row_id)) if table else None
        body = LegalHoldCreate(subject_id=subject_id, row=row, reason="Case 7 of 2026")
        with self._database.session(PLATFORM) as db, db.transaction():
            outcome = retention.place_hold(db, OFFICER, body)
            outbox.commit(db, outcome.change)
        return outcome.change.parameters["id"]

    def release(self, hold_id: UUID) -> None:
        with self._database.session(PLATFORM) as db:
            retention.release_hold(db, OFFICER, hold_id)


@pytest.fixture
def office(open_as: Callable[..., Database]) -> Office:
    return Office(open_as("retention_sweep"))


class Books:
    """A partner of whom there is something in every table whose rows can be held."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.owner = system.register()
        assert self.owner.partner_id
        self.id: UUID = self.owner.partner_id
        system.webhook(self.id)
        system.grading(self.id, None, image=True)
        system.trade(self.id, None)
        system.accesses(self.id, 1)
        self._insert(
            """INSERT INTO exports (id, version, partner_id, status, requested_by, requested_role, attempt, ready_at,
                 expires_at, sha256, created_at, updated_at)
               VALUES (:number, 3, :id, 'ready', 'owner', 'owner', 1, :at, :at, 'ab', :at, :at)"""
        )
        self._insert("INSERT INTO grading_budgets (partner_id, day, used) VALUES (:id, CAST(:at AS date), 1)")
        self._insert("INSERT INTO consent_ledgers VALUES (:id, :number, 2, :hash, :at, :at)")
        system.archives.objects[f"archives/{self.row('exports')}.zip"] = b"zip"

    def _insert(self, sql: str) -> None:
        values = {"id": self.id, "number": ids.uuid7(), "at": START, "hash": HASH}
        self.system.run(sql, **{name: value for name, value in values.items() if f":{name}" in sql})

    def row(self, table: str) -> object:
        """The key of the first row of the table that is about the partner."""
        keys = {"consent_ledgers": "subject_id", "audit_log": "event_id"}
        keys |= {"grading_budgets": "partner_id::text || '/' || day::text"}
        about = {"consent_ledgers": "subject_id", "trades": "seller_id", "audit_log": "partner_ids[1]"}
        key, column = keys.get(table, "id"), about.get(table, "partner_id")
        return self.system.run(f"SELECT {key} FROM {table} WHERE {column} = :id ORDER BY 1", id=self.id)[0][0]

    def everything(self) -> dict[str, object]:
        """What there is of the partner that an erasure deletes or overwrites."""
        tables = (
            "partner_documents",
            "gradings",
            "grading_usage",
            "grading_budgets",
            "webhook_messages",
            "webhook_attempts",
            "subject_keys",
        )
        about = dict.fromkeys(tables, "partner_id") | {"subject_keys": "subject_id"}
        run, of = self.system.run, str(self.id)
        rows = {name: f"SELECT * FROM {name} t WHERE {about[name]} = :id ORDER BY t::text" for name in tables}
        return {
            **{name: run(sql, id=self.id) for name, sql in rows.items()},
            "partners": run("SELECT pan_index, legal_name FROM partners WHERE id = :id", id=self.id),
            "webhook_endpoints": run("SELECT url, secret FROM webhook_endpoints WHERE partner_id = :id", id=self.id),
            "exports": run("SELECT status, version FROM exports WHERE partner_id = :id", id=self.id),
            "uploads": sorted(path for path in self.system.uploads.objects if of in path),
            "archives": sorted(self.system.archives.objects),
            "document": dict(self.system.documents.documents[f"partners/{of}"]),
        }

    def name(self) -> str:
        """What the partner is called, for whoever may decrypt it."""
        sealed = self.system.run("SELECT legal_name FROM partners WHERE id = :id", id=self.id)[0][0]
        field = Field("partners", "legal_name", self.id)
        with self.system.database.session(self.id) as db:
            return Keyring(self.system.kms).decrypt(SqlKeyStore(db), self.id, field, sealed).decode()

    def is_erased(self) -> bool:
        erasures = self.system.run("SELECT status FROM erasures WHERE partner_id = :id", id=self.id)
        return erasures == [["completed"]]


@pytest.fixture
def books(system: System) -> Books:
    return Books(system)


def watched(system: System, time: Time) -> None:
    """The watchdog comes when the erasure should be done, and its tasks are carried out."""
    time.advance(minutes=46)
    erasing.watch(system.database, system.queue)
    system.work()


@pytest.mark.parametrize(
    "table",
    [
        "webhook_messages",
        "webhook_messages in capitals",
        "webhook_endpoints",
        "gradings",
        "grading_budgets",
        "exports",
        "trades",
        "consent_ledgers",
        "partner_documents",
        "audit_log",
        "the partner",
    ],
)
def test_a_hold_keeps_the_row_and_all_else_until_it_is_released(
    system: System, office: Office, books: Books, time: Time, table: str
) -> None:
    table, _, capitals = table.partition(" in ")
    row_id = "" if table == "the partner" else str(books.row(table))
    row = {"table": table, "row_id": row_id.upper() if capitals else row_id}
    hold_id = office.hold(books.id) if table == "the partner" else office.hold(**row)
    before = books.everything()
    erasure = system.request_erasure(books.owner)
    system.deliver(erasing.task(erasure.id))
    watched(system, time)
    assert books.everything() == before
    assert books.name() == SECRETS["legal_name"]
    # Nothing tells the partner that there is a hold.
    assert system.erasure(books.owner, erasure.id) == erasure
    office.release(hold_id)
    watched(system, time)
    after = system.erasure(books.owner, erasure.id)
    assert after.status == "completed"
    assert after.statement is not None
    done = {entry.store: entry.count for entry in after.statement.erased}
    assert (done["table webhook_messages"], done["table gradings"]) == (2, 1)
    left = books.everything()
    assert not any(left[name] for name in ("webhook_messages", "gradings", "subject_keys", "uploads", "archives"))


def test_an_archive_outlives_its_seven_days_only_while_the_row_of_its_export_is_held(
    system: System, office: Office, books: Books, time: Time
) -> None:
    """A hold on its partner keeps what the archive is a copy of."""
    other = Books(system)
    archives = [f"archives/{one.row('exports')}.zip" for one in (books, other)]
    hold_id, _ = office.hold(table="exports", row_id=books.row("exports")), office.hold(other.id)
    time.advance(days=7)
    preparing.watch(system.database, system.queue, system.archives)
    assert [path in system.archives.objects for path in archives] == [True, False]
    # Nothing tells the partner that there is a hold: the export is over for it.
    with system.database.session(books.id) as db:
        assert service.read_export(db, books.owner, UUID(archives[0][9:45])).status == "expired"
    office.release(hold_id)
    preparing.watch(system.database, system.queue, system.archives)
    assert archives[0] not in system.archives.objects


def test_a_hold_on_an_export_waits_for_its_archive_or_keeps_it(
    system: System, office: Office, books: Books, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the watchdog has looked which archives are over, or while it deletes one."""
    monkeypatch.setattr(retention, "HOLD_WAIT", 50)
    time.advance(days=7)
    path, list_expired = f"archives/{books.row('exports')}.zip", store.list_expired
    holds_placed: list[UUID] = []

    def overtaken(*arguments: Any) -> Any:
        found = list_expired(*arguments)
        holds_placed.append(office.hold(table="exports", row_id=books.row("exports")))
        return found

    with monkeypatch.context() as placing:
        placing.setattr(store, "list_expired", overtaken)
        preparing.watch(system.database, system.queue, system.archives)
    assert path in system.archives.objects
    office.release(holds_placed[0])
    delete = system.archives.delete

    def refusing(path: str) -> bool:
        with pytest.raises(LockTimeout):
            office.hold(table="exports", row_id=books.row("exports"))
        return delete(path)

    monkeypatch.setattr(system.archives, "delete", refusing)
    preparing.watch(system.database, system.queue, system.archives)
    assert path not in system.archives.objects


def test_holds_on_what_is_anothers_or_nothing_delay_no_erasure(system: System, office: Office, books: Books) -> None:
    other = Books(system)
    holds_placed = [office.hold(table="webhook_messages", row_id=other.row("webhook_messages")), office.hold(other.id)]
    for row_id in ("case-7", ids.uuid7()):  # what is refused since, and was taken before
        hold_id = ids.uuid7()
        system.run(
            """INSERT INTO legal_holds (id, table_name, row_id, reason, placed_by, held_from)
               VALUES (:id, 'webhook_messages', :row_id, 'Case 7 of 2025', 'officer', :at)""",
            id=hold_id,
            row_id=str(row_id),
            at=START,
        )
        holds_placed.append(hold_id)
    system.run("INSERT INTO idempotency_keys VALUES (:hash, :hash, :hash, :at)", hash=HASH, at=START)
    holds_placed.append(office.hold(table="idempotency_keys", row_id=f"\\x{HASH.hex()}"))
    event_id = system.run("SELECT event_id FROM outbox ORDER BY 1 LIMIT 1")
    holds_placed += [office.hold(table="outbox", row_id=row[0]) for row in event_id]
    before = other.everything()
    system.deliver(erasing.task(system.request_erasure(books.owner).id))
    assert books.is_erased()
    assert {**other.everything(), "archives": None} == {**before, "archives": None}
    for hold_id in holds_placed:
        office.release(hold_id)


def test_a_hold_that_is_placed_between_two_steps_wins_for_what_is_left(
    system: System, office: Office, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step in turn: what is there when the hold is answered is there afterwards."""
    steps, share = 0, legal_holds.share
    while True:
        books = Books(system)
        erasure = system.request_erasure(books.owner)
        placed: list[UUID] = []
        seen: list[dict[str, object]] = []
        calls = 0

        def between(db: Session, at: int = steps, of: Books = books) -> None:
            nonlocal calls
            if calls == at:
                placed.append(office.hold(table="trades", row_id=of.row("trades")))  # noqa: B023
                seen.append(of.everything())  # noqa: B023
            calls += 1
            share(db)

        monkeypatch.setattr(legal_holds, "share", between)
        system.deliver(erasing.task(erasure.id))
        monkeypatch.setattr(legal_holds, "share", share)
        if not placed:
            assert books.is_erased()
            break
        assert not books.is_erased(), steps
        assert books.everything() == seen[0], steps
        assert books.name() == SECRETS["legal_name"], steps
        office.release(placed[0])
        watched(system, time)
        assert books.is_erased(), steps
        steps += 1
    assert steps > 10


@pytest.mark.parametrize(
    ("module", "step"),
    [
        (erasing, "_end_exports"),
        (erasing, "_redact_documents"),
        (erasing, "_delete_files"),
        (erasing, "_delete_rows"),
        (erasing, "_overwrite"),
        (completing, "complete"),
    ],
)
def test_a_hold_that_comes_in_a_step_waits_for_its_end(
    system: System, office: Office, books: Books, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    """It is not answered while something goes: so nothing goes once it is answered."""
    monkeypatch.setattr(retention, "HOLD_WAIT", 50)
    take, in_transaction = getattr(module, step), holds.step
    refused: list[str] = []

    @contextmanager
    def overtaken(db: Session, subject: UUID) -> Iterator[None]:
        with in_transaction(db, subject):
            if not refused:
                with pytest.raises(LockTimeout):
                    office.hold(table="trades", row_id=books.row("trades"))
                refused.append(step)
            yield

    def taken(*arguments: Any) -> Any:
        monkeypatch.setattr(holds, "step", overtaken)
        try:
            return take(*arguments)
        finally:
            monkeypatch.setattr(holds, "step", in_transaction)

    monkeypatch.setattr(module, step, taken)
    system.deliver(erasing.task(system.request_erasure(books.owner).id))
    assert refused
    assert books.is_erased()
    office.hold(table="trades", row_id=books.row("trades"))
