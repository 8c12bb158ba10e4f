"""What `make verify-ledger` finds of what was done to the tables."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast
from uuid import UUID, uuid4

import pytest

from functions.consent_updates import store
from functions.consent_updates.ledger import Entry, hash_of
from kapas.platform.db import Session
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE
from tests.integration.consent_updates.ledger import broken, connected, decide_four
from tests.journeys.partners import Partner
from tools import verify_ledger
from tools.verify_ledger import Broken


@pytest.fixture
def decided(client: Client) -> Partner:
    return decide_four(client)


@pytest.fixture
def superuser(cloud: LocalCloud) -> Iterator[Session]:
    """Somebody who may do anything, whose changes are gone after the test."""
    with connected(cloud) as session:
        session.command("BEGIN")
        session.command("SET LOCAL session_replication_role = replica")  # foreign keys are no obstacle either
        yield session
        session.command("ROLLBACK")


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
