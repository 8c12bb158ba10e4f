"""A consent ledger on the local cloud, seen from its tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pg8000.native import Connection

from functions.consent_updates import store
from functions.consent_updates.schemas import Purpose
from kapas.platform.db import PLATFORM, Session
from kapas.privacy import consents
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE
from tests.journeys.consents import decide
from tests.journeys.partners import Partner, register
from tools import verify_ledger
from tools.verify_ledger import Broken

CHAIN = [("marketing", "granted"), ("analytics", "granted"), ("marketing", "withdrawn"), ("analytics", "denied")]


@contextmanager
def connected(cloud: LocalCloud, role: str = "postgres", scope: Any = PLATFORM) -> Iterator[Session]:
    with Connection("postgres", host="127.0.0.1", port=cloud.postgres.port, database=DATABASE) as connection:
        session = Session(connection)
        session.command(f"SET ROLE {role}")
        session.show(scope)
        yield session


def decide_four(client: Client) -> Partner:
    """A partner with four records, each of a decision of its own, that the audit trail has heard of."""
    partner = register(client)[0]
    for purpose, decision in CHAIN:
        decide(partner, **{purpose: decision})
    client.settle()
    return partner


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


def granted(cloud: LocalCloud, partner: Partner, purpose: Purpose, scope: Any = PLATFORM) -> bool:
    with connected(cloud, "grading_requests", scope) as db:
        return consents.granted(db, partner.id, purpose)
