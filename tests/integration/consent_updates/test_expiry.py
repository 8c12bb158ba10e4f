"""Consents that end without a decision, on a real PostgreSQL: each processor is told once, whoever dies or comes again."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pg8000.native import Connection

from functions.consent_updates import expiry, notices, processors, service
from functions.consent_updates.schemas import ConsentsDecide, ConsentState, DispatchQuery
from functions.consent_updates.service import Dependencies
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.platform.db import PLATFORM, Database, Session
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring
from kapas.values import clock, ids
from tests.journeys.consents import decisions
from tests.times import PATIENCE, Time, eventually, moving_time
from tests.unit.consent_updates.samples import START, Signer
from tests.unit.kapas.fake_keys import Kms

YEAR = timedelta(days=365)
MARKETING = ["call-centre", "sms-gateway"]


class Killed(BaseException):
    """The instance is gone in this moment."""


class System:
    """The capability on its database, with keys in memory."""

    def __init__(self, database: Database, registrar: Database, admin: Connection, time: Time) -> None:
        self.database = database
        self.registrar = registrar
        self.run = admin.run
        self.time = time
        self.dependencies = Dependencies(Keyring(Kms()), Signer(), notices.load(), processors.load())

    def register(self) -> Identity:
        """The owner of a partner that has a key."""
        partner_id = ids.uuid7()
        with self.registrar.session(partner_id) as db, db.transaction():
            self.dependencies.keyring.create_subject(SqlKeyStore(db), partner_id)
        return Identity("owner", partner_id, Role.OWNER, Tier.BASIC)

    def decide(self, caller: Identity, meanwhile: Callable[[], None] = lambda: None, **decided: str) -> None:
        """Decide; what happens `meanwhile` does while the ledger is locked."""
        shown = self.dependencies.notices.versions["2026-11-01"].notices["en"]
        notice = {"version": shown.version, "language": shown.language, "sha256": shown.sha256}
        body = ConsentsDecide.model_validate(decisions(notice, **decided))
        with self.database.session(caller.partner_id) as db, db.transaction():
            change = service.decide(db, self.dependencies, caller, body).change
            meanwhile()
            outbox.commit(db, change)

    def end(self) -> int:
        return expiry.end(self.database, self.dependencies.processors)

    def restrict(self, caller: Identity) -> None:
        self.run("INSERT INTO restrictions VALUES (:id, 'erasure', :at)", id=caller.partner_id, at=clock.now())

    def states(self, caller: Identity, at: datetime | None = None) -> dict[str, ConsentState]:
        subject_id = service.subject(caller, None)
        with self.database.session(subject_id) as db:
            states = service.current(db, subject_id) if at is None else service.as_of(db, subject_id, at)
        return {state.purpose: state for state in states.data}

    def notified(self, caller: Identity) -> list[tuple[Any, ...]]:
        """Whom a dispatch tells to stop, by which record, and why."""
        rows = self.run(
            """SELECT processor, sequence, reason FROM consent_dispatches WHERE subject_id = :id
               ORDER BY sequence, processor""",
            id=caller.partner_id,
        )
        return [tuple(row) for row in rows]

    def expiries(self, caller: Identity) -> list[list[Any]]:
        """The events of ended years: about which record, and its place among the events of that."""
        return self.run(
            """SELECT data->>'purpose', o.sequence FROM outbox o JOIN consent_entries e ON e.id = o.subject
               WHERE o.type = 'consent.expired.v1' AND e.subject_id = :id ORDER BY o.event_id""",
            id=caller.partner_id,
        )


@pytest.fixture
def system(open_as: Callable[..., Database], admin: Connection) -> Iterator[System]:
    admin.run("TRUNCATE consent_ledgers, restrictions CASCADE")  # those of other tests would end as well
    with moving_time(START) as time:
        yield System(open_as("consent_updates", 4), open_as("partner_onboarding"), admin, time)


def test_the_end_of_its_year_stops_each_processor_once(system: System) -> None:
    owner = system.register()
    system.decide(owner, marketing="granted", analytics="denied")
    system.time.advance(days=364)
    assert system.end() == 0
    assert system.states(owner)["marketing"].in_force
    system.time.advance(days=2)
    assert not system.states(owner)["marketing"].in_force
    assert system.end() == 1
    assert system.end() == 0
    assert system.notified(owner) == [(name, 1, "expiry") for name in MARKETING]
    assert system.expiries(owner) == [["marketing", 1]]
    [(due,)] = system.run("SELECT DISTINCT due_at FROM consent_dispatches WHERE subject_id = :id", id=owner.partner_id)
    assert due == system.time.now + timedelta(days=7)


def test_a_consent_that_is_given_again_begins_anew(system: System) -> None:
    owner = system.register()
    system.decide(owner, marketing="granted")
    system.time.advance(days=366)
    system.end()
    system.decide(owner, marketing="granted")
    assert system.states(owner)["marketing"].in_force
    assert system.end() == 0
    system.time.advance(days=366)
    assert system.end() == 1
    assert system.notified(owner) == [(name, n, "expiry") for n in (1, 2) for name in MARKETING]
    assert system.expiries(owner) == [["marketing", 1], ["marketing", 1]]


def test_a_consent_that_was_given_again_in_time_does_not_end(system: System) -> None:
    owner = system.register()
    system.decide(owner, marketing="granted")
    system.time.advance(days=300)
    system.decide(owner, marketing="granted")
    system.time.advance(days=66)
    assert system.end() == 0
    assert system.notified(owner) == []


@pytest.mark.parametrize("decision", ["withdrawn", "denied"])
def test_a_no_after_the_year_tells_nobody_twice(system: System, decision: str) -> None:
    owner = system.register()
    system.decide(owner, marketing="granted")
    system.time.advance(days=366)
    system.end()
    system.decide(owner, marketing=decision)
    assert system.notified(owner) == [(name, 1, "expiry") for name in MARKETING]


def test_an_erasure_stops_the_processors_of_what_was_granted(system: System) -> None:
    owner = system.register()
    system.decide(owner, marketing="granted", analytics="granted", data_sharing="denied")
    before = system.time.now
    system.time.advance(days=1)
    system.restrict(owner)
    assert not any(state.in_force for state in system.states(owner).values())
    assert system.states(owner, before)["marketing"].in_force
    assert system.end() == 2
    assert system.end() == 0
    assert system.notified(owner) == [
        *((name, 1, "erasure") for name in MARKETING),
        ("product-analytics", 2, "erasure"),
    ]
    system.decide(owner, marketing="withdrawn")
    system.time.advance(days=366)
    assert system.end() == 0
    assert len(system.notified(owner)) == 3
    assert system.expiries(owner) == []


def test_killed_between_two_ends_the_next_run_goes_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = system.register()
    system.decide(owner, marketing="granted", data_sharing="granted")
    system.time.advance(days=366)
    commit, calls = outbox.commit, iter((False, True))

    def die(db: Session, *arguments: Any) -> None:
        if next(calls):
            raise Killed
        commit(db, *arguments)

    with monkeypatch.context() as dead:
        dead.setattr(outbox, "commit", die)
        with pytest.raises(Killed):
            system.end()
    assert len(system.expiries(owner)) == 1
    assert system.end() == 1
    assert [one[0] for one in system.notified(owner)] == [*MARKETING, "finance-partners"]
    assert sorted(system.expiries(owner)) == [["data_sharing", 1], ["marketing", 1]]


def test_what_nobody_acknowledges_in_time_is_told_of(system: System, capsys: pytest.CaptureFixture[str]) -> None:
    owner = system.register()
    system.decide(owner, marketing="granted", analytics="granted")
    system.decide(owner, marketing="withdrawn", analytics="withdrawn")
    assert expiry.watch(system.database) == 0
    assert capsys.readouterr().out == ""
    system.time.advance(days=4)
    assert expiry.watch(system.database) == 1
    with system.database.session(PLATFORM) as db:
        officer = Identity("officer", None, Role.DPO, Tier.BASIC)
        listed = service.list_dispatches(db, officer, DispatchQuery(overdue=True)).data
    assert [(one.principal_id, one.processor) for one in listed] == [(owner.partner_id, "product-analytics")]
    logged = json.loads(capsys.readouterr().out)
    assert (logged["message"], logged["severity"], logged["dispatches"]) == ("consent_dispatches_overdue", "WARNING", 1)
    system.decide(owner, analytics="granted")
    assert expiry.watch(system.database) == 0


@pytest.mark.parametrize(
    ("decision", "notified"),
    [("withdrawn", [(name, 2, "decision") for name in MARKETING]), ("granted", [])],
)
def test_of_a_decision_and_an_end_at_once_one_tells(
    system: System, admin: Connection, decision: str, notified: list[Any]
) -> None:
    """The end waits for the ledger that the decision holds, and finds that it has come too late."""
    owner = system.register()
    system.decide(owner, marketing="granted")
    system.time.advance(days=366)
    ending = threading.Thread(target=system.end)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'consent_updates' AND wait_event_type = 'Lock'"

    def meanwhile() -> None:
        ending.start()
        eventually(lambda: not ending.is_alive() or admin.run(waiting) == [[1]], "a wait for the ledger")
        assert ending.is_alive()

    system.decide(owner, meanwhile, marketing=decision)
    ending.join(PATIENCE)
    assert system.notified(owner) == notified
    assert system.expiries(owner) == []


def test_two_runs_at_once_tell_once(system: System) -> None:
    owners = [system.register() for _ in range(5)]
    for owner in owners:
        system.decide(owner, marketing="granted")
    system.time.advance(days=366)
    runs = [threading.Thread(target=system.end) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(PATIENCE)
    for owner in owners:
        assert [one[0] for one in system.notified(owner)] == MARKETING
        assert len(system.expiries(owner)) == 1
