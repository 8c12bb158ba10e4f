"""The work of an erasure: what may go goes, what stays is stated, and both are certified.

Each step changes nothing where it was taken before, so that the work can be killed anywhere and begun again, or done twice
at once. Each asks for legal holds in the transaction that it is. The last (`completing`) seals anew what the books must keep,
destroys the partner's key, and completes the erasure with its certificate and its event.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

from kapas.errors import Unavailable
from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, ForeignKeyViolation, Session
from kapas.platform.ports import Documents, Task, Tasks
from kapas.privacy.data_map import Collection, DataMap, FileOf, Table, data_map
from kapas.privacy.retention import day_of, policies
from kapas.values import clock

from . import completing, holds, preparing, selection, store
from .schemas import Erasure

T = TypeVar("T")

QUEUE, HANDLER = "erasures", "erasure-work"
BATCH = 2000
"""Rows deleted, or documents looked up, at once."""
OUTSIDE_BATCH = 25
"""Files deleted, or documents overwritten, at once: nobody can place a legal hold meanwhile."""
UPLOADS_END = timedelta(minutes=30)
"""An erasure begins so long after its request: by then every URL that was handed out before has expired, which they do after
15 minutes, and what began to be uploaded in the last of them has come."""
OVERDUE = UPLOADS_END + timedelta(minutes=15)
"""After so long an erasure is done; the watchdog makes a task for one that is not."""


class ErasureTask(BaseModel):
    """What a task of the queue says: carry this erasure out, if it is not done."""

    erasure_id: UUID


@dataclass(frozen=True, slots=True)
class Means:
    """What an erasure needs beside what exports are made with."""

    export: preparing.Means
    documents: Documents


def task(erasure_id: UUID, *, requested_at: datetime | None = None, suffix: str = "") -> Task:
    """The task that carries an erasure out: when its time has come, if it is told when it was asked for; else now."""
    at = requested_at + UPLOADS_END if requested_at else None
    return new_task(QUEUE, HANDLER, ErasureTask(erasure_id=erasure_id), erasure_id, suffix, at=at)


def watch(database: Database, tasks: Tasks) -> int:
    """Make a task for each erasure that should be done by now; how many there were."""
    now = clock.now()
    with database.session(PLATFORM) as db:
        late = store.open_erasures(db, now - OVERDUE, preparing.WATCH_LIMIT)
    for erasure_id, _ in late:
        tasks.enqueue(task(erasure_id, suffix=f"-{now:%Y%m%d%H%M}"))
        log.warning("erasure_started_over", erasure_id=erasure_id)
    return len(late)


def erase(means: Means, work: ErasureTask) -> None:
    """Carry an erasure out; nothing if it is done, and nothing more once a legal hold names the partner or a row about it."""
    database = means.export.database
    with database.session(PLATFORM) as db:
        erasure = store.find_erasure(db, work.erasure_id)
    if erasure is None or erasure.status == "completed":
        log.info("erasure_over", erasure_id=work.erasure_id, known=erasure is not None)
        return
    try:
        with database.session(erasure.partner_id) as db:
            _erase(db, means, erasure)
    except holds.Held:
        # The watchdog comes back to it: the erasure goes on when the hold is released. Processing stays restricted.
        log.warning("erasure_held", erasure_id=erasure.id)
    except ForeignKeyViolation as failure:
        # An attempt at a webhook was recorded meanwhile, and holds its message: the task is delivered again.
        raise Unavailable("A row was added to what is deleted") from failure
    else:
        log.info("erasure_completed", erasure_id=erasure.id)


def _erase(db: Session, means: Means, erasure: Erasure) -> None:
    """Take every step. Raises `holds.Held` at the first that may not be taken."""
    subject, today = erasure.partner_id, day_of(clock.now())
    if holds.is_held(db, subject):  # then nothing is counted either: it is what there is when the hold is released
        raise holds.Held
    archives = _end_exports(db, means.export, subject)
    counted = store.erasure_plan(db, erasure.id, _count(db, subject, today, archives), clock.now())
    _redact_documents(db, means.documents, subject)
    _delete_files(db, means.export, subject, today)
    for table in _children_first(data_map()):
        _delete_rows(db, table, subject, today)
    for table in data_map().of_partners():
        _overwrite(db, table, subject)
    completing.complete(db, means.export.keyring, means.export.signer, erasure, counted)


def _end_exports(db: Session, means: preparing.Means, subject: UUID) -> int:
    """Stop the exports of the subject and delete their archives and parts; how many archives there may have been."""
    for export in store.all_exports(db, subject):
        with holds.step(db, subject):
            if export.status == "preparing":
                preparing.fail(db, export, "erased")
            store.expire(db, export.id, clock.now())
        # Once that is committed: a shard that writes its part meanwhile finds its export over, and deletes it.
        with holds.step(db, subject):
            preparing.clear(db, means.archives, export.model_copy(update={"status": "expired"}))
    return sum(export.sha256 is not None for export in store.all_exports(db, subject))


def _count(db: Session, subject: UUID, today: date, archives: int) -> dict[str, int]:
    """How much there is of each place, before anything goes."""
    counts = {"bucket exports/archives/": archives}
    for table in data_map().of_partners():
        if table.erase in ("delete", "shred") or table.changed:
            condition, parameters = _deletable(table, today) if table.erase == "delete" else ("true", {})
            row = db.one(
                f"SELECT count(*) FROM {table.name} t"
                f" WHERE {selection.about_subject(data_map(), table)} AND {condition}",
                subject=subject,
                **parameters,
            )
            counts[f"table {table.name}"] = row[0] if row else 0
        if table.files and table.erase == "delete":
            prefix = data_map().prefix(table.files)
            condition, parameters = _file_deletable(table, table.files, today)
            row = db.one(
                f"SELECT count(*) FROM {table.name} t WHERE {selection.about_subject(data_map(), table)} AND {condition}",
                subject=subject,
                **parameters,
            )
            counts[f"bucket {prefix.bucket}/{prefix.prefix}"] = row[0] if row else 0
    for collection in data_map().collections.values():
        counts[f"collection {collection.name}"] = sum(1 for _ in documents_of(db, collection, subject))
    return counts


# Documents and files


def _redact_documents(db: Session, documents: Documents, subject: UUID) -> None:
    """Overwrite the documents of the subject. One whose first event is still to come is made: so it finds it overwritten."""
    for collection in data_map().collections.values():
        for document_ids in _batches(documents_of(db, collection, subject)):
            with holds.step(db, subject):
                for document_id in document_ids:
                    documents.update(
                        f"{collection.name}/{document_id}",
                        lambda document, of=collection: of.redacted({"sequence": 0} if document is None else document),
                    )


def documents_of(db: Session, collection: Collection, subject: UUID) -> Iterator[UUID]:
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
    """Delete the files that no statute in force forbids to delete, also of rows that stay: a photograph goes, and the grade
    that a trade was settled by does not. Rows that go go after them, so that a kill leaves none behind."""
    for table in data_map().of_partners():
        if table.files is None or table.erase != "delete":
            continue
        names = table.files.columns
        condition, parameters = _file_deletable(table, table.files, today)
        rows = db.run(
            f"SELECT {', '.join(f't.{name}' for name in names)} FROM {table.name} t"
            f" WHERE {selection.about_subject(data_map(), table)} AND {condition} ORDER BY {selection.ordered_by(table)}",
            subject=subject,
            **parameters,
        )
        paths = (table.files.path.format_map(dict(zip(names, row, strict=True))) for row in rows)
        for batch in _batches(paths):
            with holds.step(db, subject):
                for path in batch:
                    means.bucket(table.files.bucket).delete(path)


def _file_deletable(table: Table, file: FileOf, today: date) -> tuple[str, dict[str, Any]]:
    """The condition that a row has a file that no statute in force forbids to delete, and its parameters."""
    there = f"t.{file.when} IS NOT NULL" if file.when else "true"
    bound = policies()[data_map().prefix(file).retention].deletable_until(today)
    if bound is None:
        return there, {}
    return f"{there} AND t.{table.anchor} < :bound", {"bound": selection.midnight(bound + timedelta(days=1))}


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(things)
    while batch := list(islice(remaining, OUTSIDE_BATCH)):
        yield batch


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
        with holds.step(db, subject):
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
    for column in table.changed:
        if column.erase == "redact":
            assignments.append(f"{column.name} = :{column.name}_to")
            values[f"{column.name}_to"] = json.dumps(column.to) if isinstance(column.to, list | dict) else column.to
        elif column.erase == "unlink":
            unique = f"sha256(convert_to(t.{next(iter(table.key))}::text, 'UTF8'))"
            assignments.append(f"{column.name} = CASE WHEN {column.name} IS NOT NULL THEN {unique} END")
    if assignments:
        condition = selection.about_subject(data_map(), table)
        with holds.step(db, subject):
            db.run(f"UPDATE {table.name} t SET {', '.join(assignments)} WHERE {condition}", subject=subject, **values)
