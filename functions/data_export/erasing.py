"""The work of an erasure: what may go goes, what stays is stated, and both are certified.

Each step changes nothing where it was taken before, so that the work can be killed anywhere and begun again, or done twice
at once. The last step is one transaction: what the books must keep is sealed anew, the partner's key is destroyed, and the
erasure is completed with its certificate and its event.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from kapas import clock, log, outbox, trace
from kapas.data_map import Collection, Column, DataMap, Table, data_map
from kapas.db import PLATFORM, Database, ForeignKeyViolation, Session
from kapas.db.key_store import SqlKeyStore
from kapas.errors import Unavailable, VersionConflict
from kapas.events import Event
from kapas.keys import Field, Keyring, Shredded
from kapas.ports import Documents, Signer, Task, Tasks
from kapas.retention import day_of, policies
from kapas.schemas.events.exports import PrivacyErased
from kapas.schemas.exports import Done, Erased, Erasure, ErasureStatement

from . import preparing, selection, signatures, statement, store

QUEUE, HANDLER = "erasures", "erasure-work"
BATCH = 2000
"""Rows deleted, or documents looked up, at once."""
CERTIFICATE_KIND = "erasure-certificate+json"
ISSUER = "https://kapas.example.com/"
OVERDUE = timedelta(minutes=15)
"""How long an erasure takes at most; the watchdog makes a task for one that takes longer."""


class ErasureTask(BaseModel):
    """What a task of the queue says: carry this erasure out, if it is not done."""

    erasure_id: UUID


@dataclass(frozen=True, slots=True)
class Means:
    """What an erasure needs beside what exports are made with."""

    export: preparing.Means
    documents: Documents


def task(erasure_id: UUID, suffix: str = "") -> Task:
    current = trace.current()
    return Task(
        queue=QUEUE,
        function=HANDLER,
        name=f"{erasure_id.hex[-8:]}-{erasure_id}{suffix}",
        body=ErasureTask(erasure_id=erasure_id).model_dump_json().encode(),
        headers={"traceparent": str(current)} if current else {},
    )


def watch(database: Database, tasks: Tasks) -> int:
    """Make a task for each erasure that should be done by now; how many there were."""
    now = clock.now()
    with database.session(PLATFORM) as db:
        late = store.open_erasures(db, now - OVERDUE, preparing.WATCH_LIMIT)
    for erasure_id, _ in late:
        tasks.enqueue(task(erasure_id, f"-{now:%Y%m%d%H%M}"))
        log.warning("erasure_started_over", erasure_id=erasure_id)
    return len(late)


def erase(means: Means, work: ErasureTask) -> None:
    """Carry an erasure out; nothing if it is done, or while a legal hold names the partner."""
    database = means.export.database
    with database.session(PLATFORM) as db:
        erasure = store.find_erasure(db, work.erasure_id)
    if erasure is None or erasure.status == "completed":
        log.info("erasure_over", erasure_id=work.erasure_id, known=erasure is not None)
        return
    subject, today = erasure.partner_id, day_of(clock.now())
    with database.session(PLATFORM) as db:
        if store.is_held(db, subject):
            # The watchdog comes back to it: the erasure goes on when the hold is released. Processing stays restricted.
            log.warning("erasure_held", erasure_id=erasure.id)
            return
    archives = _end_exports(means.export, subject)
    with database.session(subject) as db:
        counted = store.erasure_plan(db, erasure.id, _count(db, subject, today, archives), clock.now())
        _redact_documents(db, means.documents, subject)
        _delete_files(db, means.export, subject, today)
        try:
            for table in _children_first(data_map()):
                _delete_rows(db, table, subject, today)
        except ForeignKeyViolation as failure:
            # An attempt at a webhook was recorded meanwhile, and holds its message: the task is delivered again.
            raise Unavailable("A row was added to what is deleted") from failure
        for table in data_map().of_partners():
            _overwrite(db, table, subject)
        _complete(db, means.export.keyring, means.export.signer, erasure, counted)
    log.info("erasure_completed", erasure_id=erasure.id)


def _end_exports(means: preparing.Means, subject: UUID) -> int:
    """Stop the exports of the subject and delete their archives and parts; how many archives there may have been."""
    with means.database.session(subject) as db:
        exports = store.all_exports(db, subject)
    for export in exports:
        if export.status == "preparing":
            preparing.fail(means.database, export, "erased")
    with means.database.session(subject) as db:
        exports = store.all_exports(db, subject)
        for export in exports:
            store.expire(db, export.id, clock.now())
    for export in exports:
        preparing.clear(means.database, means.archives, export.model_copy(update={"status": "expired"}))
    return sum(export.sha256 is not None for export in exports)


def _count(db: Session, subject: UUID, today: date, archives: int) -> dict[str, int]:
    """How much there is of each place, before anything goes."""
    counts = {"bucket exports/archives/": archives}
    for table in data_map().of_partners():
        if table.erase in ("delete", "shred") or any(_changed(table)):
            condition, parameters = _deletable(table, today) if table.erase == "delete" else ("true", {})
            row = db.one(
                f"SELECT count(*) FROM {table.name} t"
                f" WHERE {selection.about_subject(data_map(), table)} AND {condition}",
                subject=subject,
                **parameters,
            )
            counts[f"table {table.name}"] = row[0] if row else 0
    for collection in data_map().collections.values():
        counts[f"collection {collection.name}"] = sum(1 for _ in _document_ids(db, collection, subject))
    return counts


def _changed(table: Table) -> Iterator[Column]:
    """The columns that an erasure overwrites or makes unreadable."""
    return (column for column in table.columns.values() if column.erase in ("shred", "redact", "unlink"))


# Documents and files


def _redact_documents(db: Session, documents: Documents, subject: UUID) -> None:
    """Overwrite the documents of the subject. One whose first event is still to come is made: so it finds it overwritten."""
    for collection in data_map().collections.values():
        for document_id in _document_ids(db, collection, subject):
            documents.update(
                f"{collection.name}/{document_id}",
                lambda document, of=collection: of.redacted({"sequence": 0} if document is None else document),
            )


def _document_ids(db: Session, collection: Collection, subject: UUID) -> Iterator[UUID]:
    """The documents of the subject that an erasure changes."""
    table = data_map().tables[collection.rows_of]
    condition = selection.about_subject(data_map(), table)
    for rule in table.retention:
        if collection.with_policy and rule.policy == collection.with_policy:
            condition += f" AND {selection.of_rule(table, rule)}"
    key, last = next(iter(table.key)), UUID(int=0)
    while rows := db.run(
        f"SELECT t.{key} FROM {table.name} t WHERE {condition} AND t.{key} > :last::uuid ORDER BY t.{key} LIMIT {BATCH}",
        subject=subject,
        last=last,
    ):
        yield from (row[0] for row in rows)
        last = rows[-1][0]


def _delete_files(db: Session, means: preparing.Means, subject: UUID, today: date) -> None:
    """Delete the files of the rows that are to be deleted; their rows go after them, so that a kill leaves none behind."""
    for table in data_map().of_partners():
        if table.files is None or table.erase != "delete":
            continue
        names = table.files.columns
        condition, parameters = _deletable(table, today)
        for row in db.run(
            f"SELECT {', '.join(f't.{name}' for name in names)} FROM {table.name} t"
            f" WHERE {selection.about_subject(data_map(), table)} AND {condition} ORDER BY {selection.ordered_by(table)}",
            subject=subject,
            **parameters,
        ):
            means.bucket(table.files.bucket).delete(table.files.path.format_map(dict(zip(names, row, strict=True))))


# Rows


def _children_first(data_map: DataMap) -> list[Table]:
    """The tables whose rows are deleted, those first whose rows refer to others."""
    tables = [table for table in data_map.of_partners() if table.erase == "delete"]
    return sorted(tables, key=lambda table: table.follows is None)


def _deletable(table: Table, today: date) -> tuple[str, dict[str, Any]]:
    """The condition that no statute in force forbids to delete a row, and its parameters."""
    origin, conditions, parameters = data_map().followed(table), list[str](), dict[str, Any]()
    alias = "o" if table.follows else "t"
    for number, rule in enumerate(origin.retention):
        condition = selection.of_rule(origin, rule, alias)
        bound = policies()[rule.policy].deletable_until(today)
        if bound is not None and origin.anchor:
            condition += f" AND {alias}.{origin.anchor} < :bound{number}"
            parameters[f"bound{number}"] = selection.midnight(bound + timedelta(days=1))
        conditions.append(f"({condition})")
    deletable = f"({' OR '.join(conditions)})"
    if not table.follows:
        return deletable, parameters
    of_origin = f"o.{next(iter(origin.key))} = t.{table.follows.column}"
    return f"EXISTS (SELECT FROM {origin.name} o WHERE {of_origin} AND {deletable})", parameters


def _delete_rows(db: Session, table: Table, subject: UUID, today: date) -> None:
    condition, parameters = _deletable(table, today)
    keys = ", ".join(table.key)
    deleted = BATCH
    while deleted == BATCH:
        deleted = len(
            db.run(
                f"DELETE FROM {table.name} WHERE ({keys}) IN (SELECT {selection.ordered_by(table)} FROM {table.name} t"
                f" WHERE {selection.about_subject(data_map(), table)} AND {condition}"
                f" ORDER BY {selection.ordered_by(table)} LIMIT {BATCH}) RETURNING {keys}",
                subject=subject,
                **parameters,
            )
        )


def _overwrite(db: Session, table: Table, subject: UUID) -> None:
    """Overwrite what is redacted or unlinked in the rows that stay."""
    values: dict[str, Any] = {}
    assignments: list[str] = []
    for column in _changed(table):
        if column.erase == "redact":
            assignments.append(f"{column.name} = :{column.name}_to")
            values[f"{column.name}_to"] = json.dumps(column.to) if isinstance(column.to, list | dict) else column.to
        elif column.erase == "unlink":
            unique = f"sha256(convert_to(t.{next(iter(table.key))}::text, 'UTF8'))"
            assignments.append(f"{column.name} = CASE WHEN {column.name} IS NOT NULL THEN {unique} END")
    if assignments:
        condition = selection.about_subject(data_map(), table)
        db.run(f"UPDATE {table.name} t SET {', '.join(assignments)} WHERE {condition}", subject=subject, **values)


# The end


@dataclass(frozen=True, slots=True)
class _Kept:
    """A value that the books must keep: where it was, and when the last record that needs it was made."""

    field: Field
    value: bytes
    anchored_on: datetime


def _complete(db: Session, keyring: Keyring, signer: Signer, erasure: Erasure, counted: dict[str, int]) -> None:
    now = clock.now()
    kept = list(_kept(db, keyring, erasure.partner_id))
    retained = list(statement.retained(db, data_map(), erasure.partner_id, day_of(now)))
    if kept:
        retained.append(statement.statutory(data_map(), len(kept), max(value.anchored_on for value in kept)))
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
        with db.transaction():
            outbox.commit(db, store.complete(after, erasure.version, event))
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
            newest = db.one(
                f"SELECT max(t.{records.anchor}) FROM {records.name} t"
                f" WHERE {selection.about_subject(data_map(), records)} AND {selection.of_rule(records, rule)}",
                subject=subject,
            )
            if newest is None or newest[0] is None:
                continue
            rows = db.run(
                f"SELECT t.{column.sealed}, t.{column.name} FROM {table.name} t"
                f" WHERE {selection.about_subject(data_map(), table)} AND t.{column.name} IS NOT NULL"
                f" ORDER BY {selection.ordered_by(table)}",
                subject=subject,
            )
            for row_id, sealed in rows:
                field = Field(table.name, column.name, row_id)
                try:
                    value = keyring.decrypt(SqlKeyStore(db), subject, field, bytes(sealed))
                except Shredded:  # the other of two that work at once was faster
                    continue
                yield _Kept(field, value, newest[0])


def _keep(db: Session, keyring: Keyring, erasure: Erasure, kept: list[_Kept]) -> None:
    """Seal what the books must keep under a key of the erasure's own, which no other capability asks for."""
    if not kept:
        return
    cipher = keyring.create_subject(SqlKeyStore(db), erasure.id)
    for value in kept:
        of = value.field
        sealed = cipher.encrypt(Field(statement.STATUTORY, f"{of.table}.{of.column}", of.row), value.value)
        db.run(
            """INSERT INTO statutory_records
                 (table_name, column_name, row_id, erasure_id, partner_id, sealed, anchored_on)
               VALUES (:table_name, :column_name, :row_id, :erasure_id, :partner_id, :sealed, :anchored_on)
               ON CONFLICT DO NOTHING""",
            table_name=of.table,
            column_name=of.column,
            row_id=of.row,
            erasure_id=erasure.id,
            partner_id=erasure.partner_id,
            sealed=sealed,
            anchored_on=value.anchored_on,
        )


def _erased(counted: dict[str, int]) -> Iterator[Erased]:
    """What went, by what was counted before."""
    for table in data_map().of_partners():
        name = f"table {table.name}"
        if not counted.get(name):
            continue
        if table.erase in ("delete", "shred"):
            yield Erased(store=name, title=table.title, action="deleted", columns=[], count=counted[name])
            continue
        actions: dict[Done, list[str]] = {"made_unreadable": [], "overwritten": []}
        for column in _changed(table):
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
        "iss": ISSUER,
        "iat": int(now.timestamp()),
        "jti": str(erasure.id),
        "sub": str(erasure.partner_id),
        "requested_at": clock.rfc3339(erasure.created_at),
        "completed_at": clock.rfc3339(now),
        "data_map": data_map().version,
        "statement": stated.model_dump(mode="json"),
    }
    return signatures.compact(signer, claims, CERTIFICATE_KIND)
