"""The work of an erasure: what may go goes, what stays is stated, and both are certified.

Each step changes nothing where it was taken before, so that the work can be killed anywhere and begun again, or done twice
at once. Each asks for legal holds in the transaction that it is. The last (`completing`) seals anew what the books must keep,
destroys the partner's key, and completes the erasure with its certificate and its event.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel

from kapas.errors import Unavailable
from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, ForeignKeyViolation, Session
from kapas.platform.ports import Documents, Task, Tasks
from kapas.privacy.data_map import DataMap, Table, data_map
from kapas.privacy.retention import day_of
from kapas.values import clock

from . import completing, erasure_store, holds, preparing, store, subject_store
from .schemas import Erasure

T = TypeVar("T")

QUEUE, HANDLER = "erasures", "erasure-work"
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
class Dependencies:
    """What an erasure needs beside what exports are made with."""

    export: preparing.Dependencies
    documents: Documents


def task(erasure_id: UUID, *, requested_at: datetime | None = None, suffix: str = "") -> Task:
    """The task that carries an erasure out: when its time has come, if it is told when it was asked for; else now."""
    at = requested_at + UPLOADS_END if requested_at else None
    return new_task(QUEUE, HANDLER, ErasureTask(erasure_id=erasure_id), erasure_id, suffix, at=at)


def watch(database: Database, tasks: Tasks) -> int:
    """Make a task for each erasure that should be done by now; how many there were."""
    now = clock.now()
    with database.session(PLATFORM) as db:
        late = erasure_store.list_open(db, now - OVERDUE, preparing.WATCH_LIMIT)
    for erasure_id, _ in late:
        tasks.enqueue(task(erasure_id, suffix=f"-{now:%Y%m%d%H%M}"))
        log.warning("erasure_started_over", erasure_id=erasure_id)
    return len(late)


def erase(dependencies: Dependencies, work: ErasureTask) -> None:
    """Carry an erasure out; nothing if it is done, and nothing more once a legal hold names the partner or a row about it."""
    database = dependencies.export.database
    with database.session(PLATFORM) as db:
        erasure = erasure_store.find(db, work.erasure_id)
    if erasure is None or erasure.status == "completed":
        log.info("erasure_over", erasure_id=work.erasure_id, known=erasure is not None)
        return
    try:
        with database.session(erasure.partner_id) as db:
            _erase(db, dependencies, erasure)
    except holds.Held:
        # The watchdog comes back to it: the erasure goes on when the hold is released. Processing stays restricted.
        log.warning("erasure_held", erasure_id=erasure.id)
    except ForeignKeyViolation as failure:
        # An attempt at a webhook was recorded meanwhile, and holds its message: the task is delivered again.
        raise Unavailable("A row was added to what is deleted") from failure
    else:
        log.info("erasure_completed", erasure_id=erasure.id)


def _erase(db: Session, dependencies: Dependencies, erasure: Erasure) -> None:
    """Take every step. Raises `holds.Held` at the first that may not be taken."""
    subject, today = erasure.partner_id, day_of(clock.now())
    if holds.is_held(db, subject):  # then nothing is counted either: it is what there is when the hold is released
        raise holds.Held
    archives = _end_exports(db, dependencies.export, subject)
    counted = erasure_store.keep_plan(db, erasure.id, _count(db, subject, today, archives), clock.now())
    _redact_documents(db, dependencies.documents, subject)
    _delete_files(db, dependencies.export, subject, today)
    for table in _children_first(data_map()):
        _delete_rows(db, table, subject, today)
    for table in data_map().of_partners():
        _overwrite(db, table, subject)
    completing.complete(db, dependencies.export.keyring, dependencies.export.signer, erasure, counted)


def _end_exports(db: Session, dependencies: preparing.Dependencies, subject: UUID) -> int:
    """Stop the exports of the subject and delete their archives and parts; how many archives there may have been."""
    for export in store.all_exports(db, subject):
        with holds.step(db, subject):
            if export.status == "preparing":
                preparing.fail(db, export, "erased")
            store.expire(db, export.id, clock.now())
        # Once that is committed: a shard that writes its part meanwhile finds its export over, and deletes it.
        with holds.step(db, subject):
            preparing.clear(db, dependencies.archives, export.model_copy(update={"status": "expired"}))
    return sum(export.sha256 is not None for export in store.all_exports(db, subject))


def _count(db: Session, subject: UUID, today: date, archives: int) -> dict[str, int]:
    """How many rows, files and documents of each store are about the partner, before anything is erased."""
    counts = {"bucket exports/archives/": archives}
    for table in data_map().of_partners():
        if table.erase == "delete":
            counts[f"table {table.name}"] = subject_store.count_deletable(db, table, subject, today)
        elif table.erase == "shred" or table.changed:
            counts[f"table {table.name}"] = subject_store.count(db, table, subject)
        if table.files and table.erase == "delete":
            prefix = data_map().prefix(table.files)
            counts[f"bucket {prefix.bucket}/{prefix.prefix}"] = subject_store.count_files(
                db, table, table.files, subject, today
            )
    for collection in data_map().collections.values():
        counts[f"collection {collection.name}"] = sum(1 for _ in subject_store.document_ids(db, collection, subject))
    return counts


# Documents and files


def _redact_documents(db: Session, documents: Documents, subject: UUID) -> None:
    """Overwrite the documents of the subject. One whose first event is still to come is made: so it finds it overwritten."""
    for collection in data_map().collections.values():
        for document_ids in _batches(subject_store.document_ids(db, collection, subject)):
            with holds.step(db, subject):
                for document_id in document_ids:
                    documents.update(
                        f"{collection.name}/{document_id}",
                        lambda document, of=collection: of.redacted({"sequence": 0} if document is None else document),
                    )


def _delete_files(db: Session, dependencies: preparing.Dependencies, subject: UUID, today: date) -> None:
    """Delete the files that no statute in force forbids to delete, also of rows that stay: a photograph goes, and the grade
    that a trade was settled by does not. Rows that go go after them, so that a kill leaves none behind."""
    for table in data_map().of_partners():
        if table.files is None or table.erase != "delete":
            continue
        paths = subject_store.file_paths(db, table, table.files, subject, today)
        for batch in _batches(paths):
            with holds.step(db, subject):
                for path in batch:
                    dependencies.bucket(table.files.bucket).delete(path)


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(things)
    while batch := list(islice(remaining, OUTSIDE_BATCH)):
        yield batch


# Rows


def _children_first(data_map: DataMap) -> list[Table]:
    """The tables whose rows are deleted, those first whose rows refer to others."""
    tables = [table for table in data_map.of_partners() if table.erase == "delete"]
    return sorted(tables, key=lambda table: table.follows is None)


def _delete_rows(db: Session, table: Table, subject: UUID, today: date) -> None:
    deleted = subject_store.BATCH
    while deleted == subject_store.BATCH:
        with holds.step(db, subject):
            deleted = subject_store.delete_batch(db, table, subject, today)


def _overwrite(db: Session, table: Table, subject: UUID) -> None:
    """Overwrite what is redacted or unlinked in the rows that stay."""
    columns = [column for column in table.changed if column.erase in ("redact", "unlink")]
    if columns:
        with holds.step(db, subject):
            subject_store.overwrite(db, table, columns, subject)
