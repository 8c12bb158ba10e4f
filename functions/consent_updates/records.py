"""From decisions to what is written of them: sealed and linked records, their receipt, dispatches and events."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from kapas.errors import Conflict
from kapas.http.identity import Identity, Role
from kapas.messaging.events import Event
from kapas.platform.db import Session
from kapas.platform.ports import Signer
from kapas.privacy import signing
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring, Shredded
from kapas.values import ids

from . import ledger, processors, receipts, store
from .event_models import ConsentDenied, ConsentExpired, ConsentGranted, ConsentWithdrawn
from .ledger import Entry, Head
from .notices import Notices
from .processors import Processor
from .schemas import ConsentDecide, ConsentDispatch, ConsentRecord, EndReason


def seal(
    db: Session,
    keyring: Keyring,
    notices: Notices,
    head: Head,
    caller: Identity,
    decisions: Sequence[ConsentDecide],
    at: datetime,
) -> list[Entry]:
    """A record for each decision, with what identifies a person encrypted, linked to the end of the chain.

    Raises:
        Conflict: the partner has no key: it is not registered, or it was erased.
    """
    drafts = [(ids.uuid7(), decide) for decide in decisions]
    # The officer records what the partner decided, and is named as the one who recorded it.
    entity = f"dpo:{caller.subject}" if caller.role is Role.DPO else caller.subject
    plain = {store.actor_field(record_id): entity for record_id, _ in drafts}
    plain |= {store.comment_field(record_id): decide.comment for record_id, decide in drafts if decide.comment}
    try:
        sealed = keyring.encrypt_many(SqlKeyStore(db), head.subject_id, plain)
    except Shredded:
        raise Conflict("Register the partner first") from None
    decision_id = ids.uuid7()
    entries: list[Entry] = []
    for sequence, (record_id, decide) in enumerate(drafts, start=head.sequence + 1):
        version = notices.versions[decide.notice.version]
        entry = Entry(
            ledger_id=head.ledger_id,
            subject_id=head.subject_id,
            sequence=sequence,
            id=record_id,
            decision_id=decision_id,
            purpose=decide.purpose,
            state=decide.decision,
            notice=decide.notice,
            terms=version.record_terms(decide.purpose),
            actor=sealed[store.actor_field(record_id)],
            comment=sealed.get(store.comment_field(record_id)),
            decided_at=at,
            valid_until=at + version.validity(decide.purpose) if decide.decision == "granted" else None,
            previous_hash=entries[-1].hash if entries else head.hash,
        )
        entries.append(replace(entry, hash=ledger.hash_of(entry)))
    return entries


def sign(signer: Signer, entries: Sequence[Entry]) -> tuple[store.Receipt, str]:
    """The receipt over the records of one decision: what is kept of it, and its compact form."""
    public_key = signer.public_key()
    key_id = signing.key_id(public_key)
    signed = receipts.signing_input(entries, key_id)
    signature = signer.sign(signed)
    first, last = entries[0], entries[-1]
    kept = store.Receipt(first.decision_id, first.sequence, last.sequence, key_id, public_key, signature)
    return kept, receipts.compose(signed, signature)


def dispatches(entry: Entry, known: Sequence[Processor], reason: EndReason, at: datetime) -> list[ConsentDispatch]:
    """One for each processor that has to stop: because of this record, or because the grant that it is has ended."""
    return [
        ConsentDispatch(
            id=ids.uuid7(),
            version=1,
            principal_id=entry.subject_id,
            record_id=entry.id,
            purpose=entry.purpose,
            reason=reason,
            processor=processor.name,
            status="open",
            due_at=at + processor.acknowledge_within,
            created_at=at,
            acknowledged_at=None,
            acknowledged_by=None,
            superseded_at=None,
        )
        for processor in processors.of(entry.purpose, known)
    ]


def event(entry: Entry) -> Event:
    """What is published of a record. Its sequence is the record's in the ledger."""
    if entry.state == "granted":
        data = ConsentGranted.model_validate({**_event_data(entry), "valid_until": entry.valid_until})
    else:
        data = {"denied": ConsentDenied, "withdrawn": ConsentWithdrawn}[entry.state].model_validate(_event_data(entry))
    return Event(entry.ledger_id, entry.sequence, data, (entry.subject_id,), time=entry.decided_at)


def expiry(entry: Entry, at: datetime) -> Event:
    """What is published of a grant whose year is over. It is no record: the grant itself is what it is about."""
    data = ConsentExpired.model_validate({**_event_data(entry), "valid_until": entry.valid_until})
    return Event(entry.id, 1, data, (entry.subject_id,), time=at)


def _event_data(entry: Entry) -> dict[str, Any]:
    return {
        "partner_id": entry.subject_id,
        "record_id": entry.id,
        "purpose": entry.purpose,
        "notice": entry.notice,
        "record_hash": entry.hash.hex(),
    }


def opened(db: Session, keyring: Keyring, entries: Sequence[Entry]) -> list[ConsentRecord]:
    """The records of one principal in clear; of one that was erased without what identified a person."""
    if not entries:
        return []
    sealed = {store.actor_field(entry.id): entry.actor for entry in entries}
    sealed |= {store.comment_field(entry.id): entry.comment for entry in entries if entry.comment is not None}
    try:
        found = keyring.decrypt_many(SqlKeyStore(db), entries[0].subject_id, sealed)
    except Shredded:
        found = {}
    plain = {field: value.decode() for field, value in found.items()}
    return [
        ConsentRecord(
            schema_version=entry.schema_version,
            record_id=entry.id,
            principal_id=entry.subject_id,
            sequence=entry.sequence,
            decision_id=entry.decision_id,
            notice=entry.notice,
            purpose=entry.purpose,
            event_time=entry.decided_at,
            valid_until=entry.valid_until,
            entity=plain.get(store.actor_field(entry.id)),
            comment=plain.get(store.comment_field(entry.id)),
            type=ledger.CONSENT_TYPE,
            state=entry.state,
            previous_hash=entry.previous_hash.hex(),
            hash=entry.hash.hex(),
            **entry.terms,
        )
        for entry in entries
    ]
