"""The consent tables on PostgreSQL: what a role may do with them, and the check before processing."""

import re
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from functions.consent_updates.schemas import LANGUAGES
from kapas.values import clock
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE
from tests.integration.consent_updates.ledger import connected, decide_four, granted
from tests.journeys.consents import decide, on_behalf
from tests.journeys.partners import Partner, register


@pytest.fixture
def partner(client: Client) -> Partner:
    return register(client)[0]


@pytest.fixture
def decided(client: Client) -> Partner:
    return decide_four(client)


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


def test_a_record_may_be_of_any_language_that_a_notice_may_be_in(cloud: LocalCloud) -> None:
    with connected(cloud) as db:
        check = db.one(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'consent_entries_notice_language_check'"
        )
    assert check
    assert re.findall(r"'(\w+)'", check[0]) == list(LANGUAGES)
    assert len(LANGUAGES) == 23


def test_a_session_sees_its_own_partner_s_rows(cloud: LocalCloud, client: Client, decided: Partner) -> None:
    stranger = register(client)[0]
    for table in ("entries", "receipts", "ledgers", "states", "dispatches"):
        count = f"SELECT count(*) FROM consent_{table} WHERE subject_id = :id"
        with connected(cloud, "consent_updates", stranger.id) as db:
            assert db.one(count, id=decided.id) == [0]
        with connected(cloud, "consent_updates", decided.id) as db:
            assert db.one(count, id=decided.id) != [0]


# The check before processing


def test_the_check_follows_the_last_decision(cloud: LocalCloud, partner: Partner) -> None:
    assert not granted(cloud, partner, "ai_processing")
    decide(partner, ai_processing="granted")
    assert granted(cloud, partner, "ai_processing")
    assert granted(cloud, partner, "ai_processing", partner.id)
    assert not granted(cloud, partner, "marketing")
    decide(partner, ai_processing="withdrawn")
    assert not granted(cloud, partner, "ai_processing")


def test_the_check_follows_what_the_officer_recorded(cloud: LocalCloud, client: Client, partner: Partner) -> None:
    decide(partner, ai_processing="granted")
    client.as_user("officer", None, "dpo").post(
        "/v1/consents", on_behalf(partner, ai_processing="withdrawn"), expect=201
    )
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
