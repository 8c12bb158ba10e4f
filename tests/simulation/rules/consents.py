"""Every chain is whole, signed, told of and stands where its last record says; and processors were told to stop."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from functions.consent_updates.ledger import Head
from kapas.platform.db import Session
from kapas.privacy import signing
from tests.simulation.ports import Signer
from tools.verify_ledger import Broken, verify_one

if TYPE_CHECKING:
    from tests.simulation.world import World

_KEYS = {signing.key_id(Signer.pem): Signer.pem}


def broken(world: "World") -> Iterator[str]:
    run, db = world.server.admin.run, Session(world.server.admin)
    old = {aged.id for aged in world.history}
    # One that nobody wrote to is as it was the day before: that nothing of it is changed is what a trigger watches.
    for ledger_id, subject_id, sequence, head, at in run(
        """SELECT id, subject_id, sequence, head_hash, updated_at FROM consent_ledgers
           WHERE (id, head_hash) NOT IN (SELECT id, head_hash FROM yesterday.consent_ledgers)
             OR subject_id IN (SELECT subject_id FROM restrictions) ORDER BY subject_id"""
    ):
        if subject_id in old:
            continue
        verified = verify_one(db, Head(ledger_id, subject_id, sequence, bytes(head), at), _KEYS)
        if isinstance(verified, Broken):
            yield f"a ledger is broken: {verified.fault.kind} {verified.fault.sequence}: {verified.fault.detail}"
        published = run(
            "SELECT count(*) FROM outbox WHERE subject = :ledger AND topic = 'privacy-events'", ledger=ledger_id
        )
        if published[0][0] != sequence:
            yield f"a ledger of {sequence} records has {published[0][0]} events"
        yield from _dispatches(world, run, subject_id)
    yield from _answers(world, run)


def _dispatches(world: "World", run: Any, subject_id: Any) -> Iterator[str]:
    """Each end of a granted consent told each of its processors, once; nothing else did. That its partner is being erased
    ends a consent that is not ended before: with the record of the grant."""
    wanted: list[tuple[int, str]] = []
    processors = world.functions.module("consent-updates").processors.load()
    made = [
        tuple(row)
        for row in run("SELECT sequence, processor FROM consent_dispatches WHERE subject_id = :of", of=subject_id)
    ]
    restricted = bool(run("SELECT FROM restrictions WHERE subject_id = :of", of=subject_id))
    granted: dict[str, int] = {}
    """Purpose -> the grant that is not ended."""
    announced = {sequence for sequence, _ in made} if restricted else set[int]()

    def stops(purpose: str, sequence: int) -> list[tuple[int, str]]:
        return [(sequence, one.name) for one in processors if purpose in one.purposes]

    for sequence, purpose, state in run(
        "SELECT sequence, purpose, state FROM consent_entries WHERE subject_id = :of ORDER BY sequence", of=subject_id
    ):
        grant = granted.pop(purpose, None)
        if grant is not None and state != "granted":
            wanted += stops(purpose, grant if grant in announced else sequence)
        if grant is None and state == "withdrawn":
            yield f"{purpose} was withdrawn without being granted"
        if state == "granted":
            granted[purpose] = sequence
    if restricted:
        wanted += [stop for purpose, grant in granted.items() for stop in stops(purpose, grant)]
    if sorted(made) != sorted(wanted):
        yield f"processors were told {sorted(made)} and should be {sorted(wanted)}"


def _answers(world: "World", run: Any) -> Iterator[str]:
    """What clients were told is recorded is in the ledger, as they were told."""
    stored = {
        (str(row[0]), row[1], row[2], row[3])
        for row in run("SELECT id, sequence, purpose, state FROM consent_entries ORDER BY id")
    }
    acknowledged = {
        str(row[0]) for row in run("SELECT id FROM consent_dispatches WHERE acknowledged_at IS NOT NULL ORDER BY id")
    }
    for response in world.responses:
        if response.method != "POST" or not response.ok:
            continue
        if response.path == "/v1/consents":
            for one in response.body["outcomes"]:
                record = (one["record_id"], one["sequence"], one["purpose"], one["decision"])
                if one["outcome"] == "recorded" and record not in stored:
                    yield f"{response.step} was told of a record that is not there"
        elif response.path.endswith("/acknowledge") and response.body["id"] not in acknowledged:
            yield f"{response.step} was told of an acknowledgement that is not there"
