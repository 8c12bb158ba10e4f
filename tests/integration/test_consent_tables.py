"""The consent ledger on PostgreSQL: what its role may do, what happens at once, what the tool finds."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from functions.consent_updates import store
from functions.consent_updates.ledger import Entry, hash_of
from kapas import clock, consents
from kapas.db import PLATFORM, Session
from kapas.errors import Unavailable
from kapas.identity import Identity, Role, Tier
from kapas.schemas.consents import PURPOSES, ConsentsDecide, Purpose
from tests.consent_journey import decide, decisions, shown
from tests.journey import Partner, register
from tools import verify_ledger
from tools.local.client import ANY, Answer, Client
from tools.local.cloud import LocalCloud
from tools.local.environment import DATABASE
from tools.verify_ledger import Broken

CHAIN = [("marketing", "granted"), ("analytics", "granted"), ("marketing", "withdrawn"), ("analytics", "denied")]


@contextmanager
def connected(cloud: LocalCloud, role: str = "postgres", scope: Any = PLATFORM) -> Iterator[Session]:
    with Connection("postgres", host="127.0.0.1", port=cloud.postgres.port, database=DATABASE) as connection:
        session = Session(connection)
        session.command(f"SET ROLE {role}")
        session.show(scope)
        yield session


@pytest.fixture
def partner(client: Client) -> Partner:
    return register(client)[0]


@pytest.fixture
def decided(cloud: LocalCloud, client: Client, partner: Partner) -> Partner:
    """A partner with four records, each of a decision of its own, that the audit trail has heard of."""
    for purpose, decision in CHAIN:
        decide(partner, **{purpose: decision})
    client.settle()
    return partner


@pytest.fixture
def superuser(cloud: LocalCloud) -> Iterator[Session]:
    """Somebody who may do anything, whose changes are gone after the test."""
    with connected(cloud) as session:
        session.command("BEGIN")
        session.command("SET LOCAL session_replication_role = replica")  # foreign keys are no obstacle either
        yield session
        session.command("ROLLBACK")


def broken(db: Session, partner: Partner) -> Broken | None:
    """What the tool finds of one partner's ledger."""
    found = verify_ledger.verify(db, verify_ledger.stored_keys(db))
    return next((one for one in found if isinstance(one, Broken) and one.subject_id == partner.id), None)


def assert_whole(cloud: LocalCloud, partner: Partner, length: int) -> None:
    """As many records as there should be, in sequence, each told of once, in a ledger that verifies."""
    with connected(cloud) as db:
        assert broken(db, partner) is None
        assert [entry.sequence for entry in store.chain(db, partner.id)] == list(range(1, length + 1))
        told = db.run(
            """SELECT o.sequence FROM outbox o JOIN consent_ledgers l ON l.id = o.subject
               WHERE l.subject_id = :id ORDER BY o.sequence""",
            id=partner.id,
        )
    assert [row[0] for row in told] == list(range(1, length + 1))


# What the tool finds


def write(db: Session, entry: Entry) -> None:
    """Put a record over the one of its sequence, with the hash that its fields have."""
    entry = replace(entry, hash=hash_of(entry))
    db.run(
        """UPDATE consent_entries SET state = :state, valid_until = :until, previous_hash = :previous, hash = :hash
           WHERE subject_id = :subject AND sequence = :sequence""",
        state=entry.state,
        until=entry.valid_until,
        previous=entry.previous_hash,
        hash=entry.hash,
        subject=entry.subject_id,
        sequence=entry.sequence,
    )


def sql(statement: str) -> Callable[[Session, UUID], None]:
    return lambda db, subject: cast(None, db.run(statement, id=subject))


def swap(db: Session, subject: UUID) -> None:
    for before, after in ((2, 900), (3, 2), (900, 3)):
        db.run(
            "UPDATE consent_entries SET sequence = :after WHERE subject_id = :id AND sequence = :before",
            id=subject,
            before=before,
            after=after,
        )


def append(db: Session, subject: UUID) -> None:
    """A record that is right in itself, and the head moved on to it."""
    last = store.chain(db, subject)[-1]
    new = replace(last, sequence=5, id=uuid4(), previous_hash=last.hash)
    db.run(
        """INSERT INTO consent_entries (subject_id, sequence, id, decision_id, schema_version, purpose, state,
             notice_version, notice_language, notice_sha256, terms, actor, comment, decided_at, valid_until,
             previous_hash, hash)
           SELECT subject_id, 5, :new, decision_id, schema_version, purpose, state, notice_version, notice_language,
             notice_sha256, terms, actor, comment, decided_at, valid_until, hash, :hash
           FROM consent_entries WHERE subject_id = :id AND sequence = 4""",
        id=subject,
        new=new.id,
        hash=hash_of(new),
    )
    db.run(
        "UPDATE consent_ledgers SET sequence = 5, head_hash = :hash WHERE subject_id = :id",
        id=subject,
        hash=hash_of(new),
    )


def fork(db: Session, subject: UUID) -> None:
    entries = store.chain(db, subject)
    write(db, replace(entries[3], previous_hash=entries[1].hash))


def truncate(db: Session, subject: UUID) -> None:
    """The last record gone, and everything beside it made to fit."""
    db.run("DELETE FROM consent_entries WHERE subject_id = :id AND sequence = 4", id=subject)
    db.run("DELETE FROM consent_receipts WHERE subject_id = :id AND first_sequence = 4", id=subject)
    db.run(
        """UPDATE consent_states s SET sequence = 2, state = e.state, valid_until = e.valid_until FROM consent_entries e
           WHERE s.subject_id = :id AND s.sequence = 4 AND e.subject_id = :id AND e.sequence = 2""",
        id=subject,
    )
    db.run(
        "UPDATE consent_ledgers SET sequence = 3, head_hash = :hash WHERE subject_id = :id",
        id=subject,
        hash=store.chain(db, subject)[-1].hash,
    )


def rewrite(db: Session, subject: UUID) -> None:
    """A withdrawal turned into a denial, every hash from there on and the head made to fit; the events too."""
    entries = store.chain(db, subject)
    previous = entries[1].hash
    for entry in entries[2:]:
        state = "denied" if entry.state == "withdrawn" else entry.state
        after = replace(entry, state=state, previous_hash=previous)
        write(db, after)
        previous = hash_of(after)
        for table in ("outbox", "audit_log"):
            db.run(
                f"""UPDATE {table} SET data = jsonb_set(data, '{{record_hash}}', to_jsonb(:hash::text))
                    WHERE subject = :ledger AND sequence = :sequence""",
                hash=previous.hex(),
                ledger=entry.ledger_id,
                sequence=entry.sequence,
            )
    db.run("UPDATE consent_ledgers SET head_hash = :hash WHERE subject_id = :id", hash=previous, id=subject)


def forget(db: Session, subject: UUID) -> None:
    for table in ("consent_states", "consent_dispatches", "consent_entries", "consent_receipts", "consent_ledgers"):
        db.run(f"DELETE FROM {table} WHERE subject_id = :id", id=subject)


EDIT = "UPDATE consent_entries SET {} WHERE subject_id = :id AND sequence = 2"
TAMPERED: dict[str, tuple[Callable[[Session, UUID], None], int, str]] = {
    "state": (sql(EDIT.format("state = 'denied', valid_until = NULL")), 2, "edited"),
    "purpose": (sql(EDIT.format("purpose = 'cross_border'")), 2, "edited"),
    "notice": (sql(EDIT.format("notice_language = 'hi'")), 2, "edited"),
    "terms": (sql(EDIT.format("""terms = terms || '{"recipients": []}'""")), 2, "edited"),
    "ciphertext": (sql(EDIT.format("actor = actor || '\\x00'")), 2, "edited"),
    "time": (sql(EDIT.format("decided_at = decided_at - interval '1 day'")), 2, "edited"),
    "validity": (sql(EDIT.format("valid_until = valid_until + interval '1 year'")), 2, "edited"),
    "deleted": (sql("DELETE FROM consent_entries WHERE subject_id = :id AND sequence = 2"), 2, "deleted"),
    "deleted last": (sql("DELETE FROM consent_entries WHERE subject_id = :id AND sequence = 4"), 4, "deleted"),
    "truncated": (truncate, 4, "deleted"),
    "swapped": (swap, 2, "swapped"),
    "appended": (append, 5, "inserted"),
    "forked": (fork, 4, "forked"),
    "rewritten": (rewrite, 3, "edited"),
    "receipt gone": (sql("DELETE FROM consent_receipts WHERE subject_id = :id AND first_sequence = 3"), 3, "inserted"),
    "signature": (
        sql("UPDATE consent_receipts SET signature = decode(repeat('00', 64), 'hex') WHERE subject_id = :id"),
        1,
        "edited",
    ),
    "stands granted": (
        sql("UPDATE consent_states SET state = 'granted' WHERE subject_id = :id AND purpose = 'marketing'"),
        3,
        "edited",
    ),
    "a state of its own": (
        sql("""INSERT INTO consent_states (subject_id, purpose, sequence, state, valid_until)
               SELECT :id, 'cross_border', 1, 'granted', valid_until FROM consent_states
               WHERE subject_id = :id ORDER BY purpose LIMIT 1"""),
        5,
        "edited",
    ),
    "all gone": (forget, 1, "deleted"),
}


@pytest.mark.parametrize("done", TAMPERED)
def test_the_tool_finds_what_was_done_to_the_tables(superuser: Session, decided: Partner, done: str) -> None:
    tamper, sequence, kind = TAMPERED[done]
    assert broken(superuser, decided) is None
    tamper(superuser, decided.id)
    found = broken(superuser, decided)
    assert found is not None
    assert (found.fault.sequence, found.fault.kind) == (sequence, kind), found


def test_the_tool_trusts_the_keys_it_is_given(superuser: Session, decided: Partner) -> None:
    """Whoever may write to the tables could sign everything anew, and put a key of their own beside it."""
    found = [one for one in verify_ledger.verify(superuser, {}) if isinstance(one, Broken)]
    assert "not trusted" in str(next(one for one in found if one.subject_id == decided.id))


def test_the_tool_says_what_is_broken_and_exits_so(
    cloud: LocalCloud, decided: Partner, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"DATABASE_URL": cloud.postgres.dsn(database=DATABASE)}
    assert verify_ledger.main([], environment) == 0
    assert "0 broken" in capsys.readouterr().out
    statement = """UPDATE consent_entries SET terms = jsonb_set(terms, '{retention}', to_jsonb(:retention::text))
                   WHERE subject_id = :id AND sequence = 3"""
    with connected(cloud) as db:
        db.run(statement, id=decided.id, retention="P99Y")
        try:
            assert verify_ledger.main([], environment) == 1
        finally:
            db.run(statement, id=decided.id, retention="P1Y")
    output = capsys.readouterr().out
    assert f"of {decided.id}: record 3 edited: its fields do not have its hash" in output
    assert "1 broken" in output
    assert verify_ledger.main([], environment) == 0


def test_the_tool_without_a_database(capsys: pytest.CaptureFixture[str]) -> None:
    unreachable = "postgresql://postgres@127.0.0.1:1/kapas?sslmode=disable"
    assert verify_ledger.main([], {"DATABASE_URL": unreachable}) == 2
    assert "cannot verify" in capsys.readouterr().err


# What the roles may do


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("consent_updates", "UPDATE consent_entries SET state = 'granted'"),
        ("consent_updates", "DELETE FROM consent_entries"),
        ("consent_updates", "TRUNCATE consent_entries"),
        ("consent_updates", "UPDATE consent_receipts SET signature = ''"),
        ("consent_updates", "DELETE FROM consent_receipts"),
        ("consent_updates", "UPDATE receipt_keys SET public_key = ''"),
        ("consent_updates", "UPDATE consent_ledgers SET id = subject_id"),
        ("consent_updates", "DELETE FROM consent_ledgers"),
        ("consent_updates", "DELETE FROM consent_states"),
        ("consent_updates", "DELETE FROM consent_dispatches"),
        ("consent_updates", "SELECT FROM partners"),
        ("consent_updates", "INSERT INTO subject_keys SELECT FROM subject_keys"),
        ("grading_requests", "SELECT FROM consent_entries"),
        ("grading_requests", "UPDATE consent_states SET state = 'granted'"),
    ],
)
def test_a_role_may_do_no_more_than_its_function(cloud: LocalCloud, role: str, statement: str) -> None:
    with Connection("postgres", host="127.0.0.1", port=cloud.postgres.port, database=DATABASE) as connection:
        connection.run(f"SET ROLE {role}")
        with pytest.raises(DatabaseError) as refused:
            connection.run(statement)
    assert refused.value.args[0]["C"] == "42501"


@pytest.mark.parametrize(
    ("sequence", "previous", "constraint"),
    [(2, 1, "consent_entries_pkey"), (5, 2, "consent_entries_chain"), (6, 4, "consent_entries_chain")],
    ids=["a second record 2", "a record that follows another", "a gap"],
)
def test_the_tables_take_no_fork_and_no_gap(
    cloud: LocalCloud, decided: Partner, sequence: int, previous: int, constraint: str
) -> None:
    """Not even from the role that appends."""
    with connected(cloud, "consent_updates", decided.id) as db, pytest.raises(Exception) as refused:
        db.run(
            """INSERT INTO consent_entries (subject_id, sequence, id, decision_id, schema_version, purpose, state,
                 notice_version, notice_language, notice_sha256, terms, actor, decided_at, previous_hash, hash)
               SELECT subject_id, :sequence, :new, decision_id, schema_version, purpose, 'denied', notice_version,
                 notice_language, notice_sha256, terms, actor, decided_at, hash, sha256(hash)
               FROM consent_entries WHERE subject_id = :id AND sequence = :previous""",
            id=decided.id,
            new=uuid4(),
            sequence=sequence,
            previous=previous,
        )
    assert getattr(refused.value, "constraint", "") == constraint


def test_a_session_sees_its_own_partner_s_rows(cloud: LocalCloud, client: Client, decided: Partner) -> None:
    stranger = register(client)[0]
    for table in ("entries", "receipts", "ledgers", "states", "dispatches"):
        count = f"SELECT count(*) FROM consent_{table} WHERE subject_id = :id"
        with connected(cloud, "consent_updates", stranger.id) as db:
            assert db.one(count, id=decided.id) == [0]
        with connected(cloud, "consent_updates", decided.id) as db:
            assert db.one(count, id=decided.id) != [0]


# The check before processing


def granted(cloud: LocalCloud, partner: Partner, purpose: Purpose, scope: Any = PLATFORM) -> bool:
    with connected(cloud, "grading_requests", scope) as db:
        return consents.granted(db, partner.id, purpose)


def test_the_check_follows_the_last_decision(cloud: LocalCloud, partner: Partner) -> None:
    assert not granted(cloud, partner, "ai_processing")
    decide(partner, ai_processing="granted")
    assert granted(cloud, partner, "ai_processing")
    assert granted(cloud, partner, "ai_processing", partner.id)
    assert not granted(cloud, partner, "marketing")
    decide(partner, ai_processing="withdrawn")
    assert not granted(cloud, partner, "ai_processing")


def test_the_check_ends_with_the_consent_s_year(cloud: LocalCloud, partner: Partner) -> None:
    decide(partner, ai_processing="granted")
    granted_at = clock.now()
    with clock.use(lambda: granted_at + timedelta(days=364)):
        assert granted(cloud, partner, "ai_processing")
    with clock.use(lambda: granted_at + timedelta(days=365)):
        assert not granted(cloud, partner, "ai_processing")


@pytest.mark.parametrize("scope", [None, uuid4()])
def test_a_session_that_may_not_see_gets_no(cloud: LocalCloud, partner: Partner, scope: UUID | None) -> None:
    decide(partner, ai_processing="granted")
    assert not granted(cloud, partner, "ai_processing", scope)


# At once, twice, and killed in between


def at_once(count: int, work: Callable[[int], Answer]) -> list[Answer]:
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(work(n))) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return answers


def test_eight_decide_at_once_for_one_partner(cloud: LocalCloud, partner: Partner) -> None:
    """Also the ledger itself is made once."""
    notice = shown(partner)

    def work(n: int) -> Answer:
        body = decisions(notice, **{PURPOSES[n % 5]: "granted", PURPOSES[(n + 1) % 5]: "denied"})
        return partner.owner.post("/v1/consents", body, expect=ANY)

    assert [answer.status for answer in at_once(8, work)] == [201] * 8
    assert_whole(cloud, partner, 16)


def test_one_request_eight_times_at_once_is_one_decision(cloud: LocalCloud, partner: Partner) -> None:
    body, key = decisions(shown(partner), marketing="granted", analytics="denied"), str(uuid4())
    answers = at_once(8, lambda _: partner.owner.post("/v1/consents", body, key=key, expect=ANY))
    assert {answer.status for answer in answers} == {201}
    assert len({str(answer.body) for answer in answers}) == 1
    assert_whole(cloud, partner, 2)


def test_a_repeated_withdrawal_adds_nothing(cloud: LocalCloud, partner: Partner) -> None:
    """Under its key it is answered as before, though by now there is nothing left to withdraw."""
    decide(partner, marketing="granted")
    key = str(uuid4())
    first, again = (decide(partner, marketing="withdrawn", key=key) for _ in range(2))
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_whole(cloud, partner, 2)


def test_the_ledger_s_time_does_not_run_backwards(cloud: LocalCloud, partner: Partner) -> None:
    """An instance whose clock is behind decides after one whose clock is right."""
    first = decide(partner, marketing="granted").body["decided_at"]
    module = cloud.functions.module("consent-updates")
    owner = Identity(f"owner-{partner.id}", partner.id, Role.OWNER, Tier.BASIC)
    body = ConsentsDecide.model_validate(decisions(shown(partner), marketing="withdrawn"))
    behind = clock.now() - timedelta(hours=1)
    with connected(cloud, "consent_updates", partner.id) as db, db.transaction(), clock.use(lambda: behind):
        outcome = module.service.decide(db, module.desk(), owner, body)
    assert clock.rfc3339(outcome.resource.decided_at) == first


class Meanwhile:
    """A signer at whose first signature something happens."""

    def __init__(self, signer: Any, happens: Callable[[], None]) -> None:
        self._signer = signer
        self._happens = iter([happens])
        self.public_key = signer.public_key

    def sign(self, message: bytes) -> bytes:
        happens = next(self._happens, None)
        if happens is not None:
            happens()
        return self._signer.sign(message)


def replace_signer(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """To be called after the function made its own: with the first decision."""
    module = cloud.functions.module("consent-updates")
    desk = module.desk()
    signer = Meanwhile(desk.signer, happens)
    monkeypatch.setattr(module, "desk", lambda: replace(desk, signer=signer))


def kill_connections(cloud: LocalCloud) -> None:
    with connected(cloud) as db:
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'consent_updates' ORDER BY pid")


def test_killed_while_it_decides(cloud: LocalCloud, partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ledger locked and nothing written: all of it is gone, and the repeated request does it once."""
    decide(partner, marketing="granted")
    replace_signer(cloud, monkeypatch, lambda: kill_connections(cloud))
    key = str(uuid4())
    decide(partner, marketing="withdrawn", analytics="denied", key=key, expect=503)
    assert_whole(cloud, partner, 1)
    assert granted(cloud, partner, "marketing") is True
    decide(partner, marketing="withdrawn", analytics="denied", key=key)
    assert_whole(cloud, partner, 3)


def test_a_signer_that_does_not_answer_leaves_nothing(
    cloud: LocalCloud, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise Unavailable

    decide(partner, analytics="denied")
    replace_signer(cloud, monkeypatch, fail)
    decide(partner, marketing="granted", expect=503)
    assert_whole(cloud, partner, 1)
    decide(partner, marketing="granted")
    assert_whole(cloud, partner, 2)


def test_the_ledger_outlives_the_partner_s_key(cloud: LocalCloud, client: Client, decided: Partner) -> None:
    """After crypto-shredding nobody is named any more, and every chain and receipt still holds."""
    module = cloud.functions.module("consent-updates")
    with connected(cloud) as db:
        db.run("DELETE FROM subject_keys WHERE subject_id = :id", id=decided.id)
    module.keyring().forget(decided.id)
    records = decided.owner.get("/v1/consents/history").body["data"]
    assert [(record["entity"], record["comment"]) for record in records] == [(None, None)] * 4
    decide(decided, marketing="granted", expect=409)
    assert_whole(cloud, decided, 4)
