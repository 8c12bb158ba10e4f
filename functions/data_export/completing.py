"""The end of an erasure: what the books must keep is sealed anew, the partner's key is destroyed, and both are certified."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kapas.errors import VersionConflict
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.platform import log
from kapas.platform.db import Session
from kapas.platform.ports import Signer
from kapas.privacy import signing
from kapas.privacy.data_map import data_map
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring, Shredded
from kapas.privacy.retention import day_of
from kapas.values import clock

from . import erasure_store, holds, statement, subject_store
from .event_models import PrivacyErased
from .schemas import Done, Erased, Erasure, ErasureStatement

CERTIFICATE_KIND = "erasure-certificate+json"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A value that the books must keep: where it was, and when the last record that needs it was made."""

    field: Field
    value: bytes
    anchored_on: datetime


def complete(db: Session, keyring: Keyring, signer: Signer, erasure: Erasure, counted: Mapping[str, int]) -> None:
    """Complete the erasure with its statement and its certificate, in one transaction; nothing if it is completed already.

    Raises `holds.Held`.
    """
    now = clock.now()
    kept = list(_kept(db, keyring, erasure.partner_id))
    retained = list(statement.retained(db, erasure.partner_id, day_of(now)))
    if kept:
        retained.append(statement.statutory(len(kept), max(value.anchored_on for value in kept)))
    stated = ErasureStatement(erased=[*_erased(counted)], retained=retained)
    after = erasure.model_copy(
        update={
            "version": erasure.version + 1,
            "status": "completed",
            "statement": stated,
            "certificate": _certificate(signer, erasure, stated, now),
            "completed_at": now,
            "updated_at": now,
        }
    )
    data = PrivacyErased(erasure_id=erasure.id, partner_id=erasure.partner_id, places_retained=len(retained))
    event = Event(erasure.id, after.version, data, (erasure.partner_id,), time=now)
    try:
        with holds.step(db, erasure.partner_id):
            outbox.commit(db, erasure_store.complete(after, erasure.version, event))
            _keep(db, keyring, erasure, kept)
            keyring.shred(SqlKeyStore(db), erasure.partner_id)
    except VersionConflict:
        log.info("erasure_completed_twice", erasure_id=erasure.id)
    keyring.forget(erasure.partner_id)


def _kept(db: Session, keyring: Keyring, subject: UUID) -> Iterator[_Kept]:
    """The values that retained records have to name, decrypted."""
    books = data_map().tables[statement.STATUTORY].retention[0].policy
    for table in data_map().of_partners():
        for column in table.columns.values():
            if not column.kept_for:
                continue
            records = data_map().tables[column.kept_for]
            [rule] = [rule for rule in records.retention if rule.policy == books]
            newest = subject_store.newest_anchor(db, records, rule, subject)
            if newest is None:
                continue
            for row_id, sealed in subject_store.sealed_values(db, table, column, subject):
                field = Field(table.name, column.name, row_id)
                try:
                    value = keyring.decrypt(SqlKeyStore(db), subject, field, sealed)
                except Shredded:  # a second run of the same erasure was faster
                    continue
                yield _Kept(field, value, newest)


def _keep(db: Session, keyring: Keyring, erasure: Erasure, kept: list[_Kept]) -> None:
    """Seal what the books must keep under a key of the erasure's own, which no other capability asks for."""
    if not kept:
        return
    cipher = keyring.create_subject(SqlKeyStore(db), erasure.id)
    for value in kept:
        of = value.field
        sealed = cipher.encrypt(Field(statement.STATUTORY, f"{of.table}.{of.column}", of.row), value.value)
        erasure_store.keep_value(db, erasure, of, sealed, value.anchored_on)


def _erased(counted: Mapping[str, int]) -> Iterator[Erased]:
    """What went, by what was counted before."""
    for table in data_map().of_partners():
        name = f"table {table.name}"
        if not counted.get(name):
            continue
        if table.erase in ("delete", "shred"):
            yield Erased(store=name, title=table.title, action="deleted", columns=[], count=counted[name])
            continue
        actions: dict[Done, list[str]] = {"made_unreadable": [], "overwritten": []}
        for column in table.changed:
            actions["made_unreadable" if column.erase == "shred" else "overwritten"].append(column.name)
        for action, columns in actions.items():
            if columns:
                yield Erased(store=name, title=table.title, action=action, columns=columns, count=counted[name])
    for collection in data_map().collections.values():
        name = f"collection {collection.name}"
        if counted.get(name):
            fields = [field.name for field in collection.fields.values() if field.erase == "redact"]
            yield Erased(store=name, title=collection.title, action="overwritten", columns=fields, count=counted[name])
    for prefix in data_map().prefixes:
        name = f"bucket {prefix.bucket}/{prefix.prefix}"
        if counted.get(name):
            yield Erased(store=name, title=prefix.title, action="deleted", columns=[], count=counted[name])


def _certificate(signer: Signer, erasure: Erasure, stated: ErasureStatement, now: datetime) -> str:
    claims = {
        "iss": signing.ISSUER,
        "iat": int(now.timestamp()),
        "jti": str(erasure.id),
        "sub": str(erasure.partner_id),
        "requested_at": clock.rfc3339(erasure.created_at),
        "completed_at": clock.rfc3339(now),
        "data_map": data_map().version,
        "statement": stated.model_dump(mode="json"),
    }
    return signing.compact(signer, claims, CERTIFICATE_KIND)
