"""The work on an export, as tasks: plan the shards, write each shard's part, assemble the archive.

Every task may come twice, late or after a kill: a plan is kept once, parts and archives are written once, and each step ends
by making the next one's tasks, whose names are taken once.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from kapas.errors import Unavailable, VersionConflict
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Files, Signer, Task, Tasks
from kapas.privacy import legal_holds
from kapas.privacy.data_map import data_map
from kapas.privacy.keys import Keyring
from kapas.values import clock

from . import archive, shards, store
from .event_models import ExportFailed, ExportReady
from .schemas import Export, ExportFailure

QUEUE, HANDLER = "exports", "export-work"

LIFETIME = timedelta(days=7)
"""How long an archive can be downloaded: the policy `export_archive`."""
STUCK = timedelta(minutes=15)
"""Longer than a task of an export takes with its retries: then it is started over."""
MAX_ATTEMPTS = 5
"""How often an export is started over before its partner is told that it failed."""
WATCH_LIMIT = 100
"""Exports that one run of the watchdog looks after."""

Step = Literal["plan", "shard", "assemble"]


class ExportTask(BaseModel):
    """What a task of the queue says: take this step of this export, if it has not been taken."""

    export_id: UUID
    step: Step
    shard: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the work needs. `archives` is the bucket of exports, `bucket` answers any other by its name."""

    database: Database
    keyring: Keyring
    archives: Files
    bucket: Callable[[str], Files]
    tasks: Tasks
    signer: Signer


def work(dependencies: Dependencies, task: ExportTask) -> None:
    """Take one step of an export; nothing if it is over, but to clear away what is left of it."""
    with dependencies.database.session(PLATFORM) as db:
        export = store.find_export(db, task.export_id)
    if export is None:
        log.error("export_unknown", export_id=task.export_id)
    elif export.status != "preparing":
        _clear(dependencies, export, task)
    else:
        try:
            _take(dependencies, export, task)
        except FileNotFoundError as gone:
            # Whoever ends the export clears its files away: it is over, or will be when an erasure that is under way says so.
            with dependencies.database.session(PLATFORM) as db:
                after = store.find_export(db, export.id)
            if after is None or after.status == "preparing":
                raise Unavailable("A part of the export is gone") from gone
            _clear(dependencies, after, task)


def task(export_id: UUID, step: Step, *, shard: int = 0, attempt: int = 0) -> Task:
    """The task of one step. Its name is taken once an attempt."""
    payload = ExportTask(export_id=export_id, step=step, shard=shard, attempt=attempt)
    return new_task(QUEUE, HANDLER, payload, export_id, f"-{step}-{shard}-{attempt}")


def archive_path(export_id: UUID) -> str:
    """Where the archive of an export is."""
    return f"archives/{export_id}.zip"


def clear(db: Session, archives: Files, export: Export) -> None:
    """Delete the parts of an export that is over, and its archive unless it can still be downloaded."""
    for shard in store.shards(db, export.id):
        archives.delete(shards.path(export.id, shard.number))
    if export.status != "ready":
        archives.delete(archive_path(export.id))


def _clear(dependencies: Dependencies, export: Export, task: ExportTask) -> None:
    """Clear away what is left of an export that is over, and the part of this task: an erasure has deleted the plan that
    leads to it, and may have done so before the part was written."""
    with dependencies.database.session(export.partner_id) as db:
        clear(db, dependencies.archives, export)
    if task.step == "shard":
        dependencies.archives.delete(shards.path(export.id, task.shard))


def fail(db: Session, export: Export, failure: ExportFailure) -> None:
    """End an export without an archive, and say so; nothing if it is over already."""
    now = clock.now()
    data = ExportFailed(export_id=export.id, partner_id=export.partner_id, reason=failure)
    event = Event(export.id, export.version + 1, data, (export.partner_id,), time=now)
    try:
        outbox.commit(db, store.fail(export, failure, now, event))
    except VersionConflict:
        return
    log.error("export_failed", export_id=export.id, reason=failure)


def watch(database: Database, tasks: Tasks, archives: Files) -> int:
    """Start those exports over that are stuck, and delete the archives whose time is over; how many there were."""
    now = clock.now()
    with database.session(PLATFORM) as db:
        stuck = store.stuck(db, now - STUCK, WATCH_LIMIT)
        expired = store.list_expired(db, now, WATCH_LIMIT)
    for export_id, attempt, partner_id in stuck:
        with database.session(partner_id) as db:
            export = store.find_export(db, export_id)
            given_up = attempt >= MAX_ATTEMPTS
            started = not given_up and store.restart(db, export_id, attempt, now)
            if export is not None and given_up:
                # First what it holds of the partner: killed after the failure is written, nobody would come back for it.
                clear(db, archives, export)
                fail(db, export, "gave_up")
                clear(db, archives, export)  # a shard that was late
        if started:
            tasks.enqueue(task(export_id, "plan", attempt=attempt + 1))
            log.warning("export_started_over", export_id=export_id, attempt=attempt + 1)
    for export_id, partner_id in expired:
        with database.session(partner_id) as db, db.transaction():
            # A hold that was placed meanwhile counts; one that comes now waits for this archive.
            legal_holds.share(db)
            if not store.is_held(db, export_id):
                archives.delete(archive_path(export_id))
                store.expire(db, export_id, now)
    return len(stuck) + len(expired)


def _take(dependencies: Dependencies, export: Export, task: ExportTask) -> None:
    if task.step == "plan":
        _plan(dependencies, export, task.attempt)
    elif task.step == "shard":
        _shard(dependencies, export, task)
    else:
        _assemble(dependencies, export)


def _plan(dependencies: Dependencies, export: Export, attempt: int) -> None:
    with dependencies.database.session(export.partner_id) as db:
        planned = store.shards(db, export.id)
        if not planned:
            ranges = shards.plan(db, data_map(), export.partner_id)
            store.add_shards(db, export.id, export.partner_id, ranges, clock.now())
            planned = store.shards(db, export.id)
    for shard in planned:
        if shard.part is None:
            dependencies.tasks.enqueue(task(export.id, "shard", shard=shard.number, attempt=attempt))
    if all(shard.part for shard in planned):
        dependencies.tasks.enqueue(task(export.id, "assemble", attempt=attempt))
    log.info("export_planned", export_id=export.id, shards=len(planned), rows=sum(s.rows.planned for s in planned))


def _shard(dependencies: Dependencies, export: Export, work: ExportTask) -> None:
    with dependencies.database.session(export.partner_id) as db:
        shard = next((one for one in store.shards(db, export.id) if one.number == work.shard), None)
        if shard is None:
            log.error("export_shard_unknown", export_id=export.id, shard=work.shard)
            return
        if shard.part is None:
            part = shards.path(export.id, shard.number)
            written = shards.write(
                db, dependencies.keyring, dependencies.archives, data_map(), part, export.partner_id, shard.rows
            )
            store.finish_shard(db, export.id, shard.number, written, clock.now())
        # Whoever finishes last sees all done: the update of each is committed before it looks.
        done = all(one.part for one in store.shards(db, export.id))
        after = store.find_export(db, export.id)
    if after is not None and after.status != "preparing":
        _clear(dependencies, after, work)
    elif done:
        dependencies.tasks.enqueue(task(export.id, "assemble", attempt=work.attempt))


def _assemble(dependencies: Dependencies, export: Export) -> None:
    with dependencies.database.session(export.partner_id) as db:
        planned = store.shards(db, export.id)
    if not planned or not all(shard.part for shard in planned):
        log.error("export_assembled_early", export_id=export.id)
        return
    path = archive_path(export.id)
    try:
        if dependencies.archives.stat(path) is None:
            with dependencies.archives.create(path, archive.CONTENT_TYPE) as stream:
                archive.build(stream, data_map(), dependencies.signer, _contents(dependencies, export, planned))
    except FileExistsError:
        log.info("export_assembled_twice", export_id=export.id)
    except archive.Incomplete as incomplete:
        log.error("export_incomplete", incomplete, export_id=export.id)
        with dependencies.database.session(export.partner_id) as db:
            fail(db, export, "incomplete")
            clear(db, dependencies.archives, export.model_copy(update={"status": "failed"}))
        return
    _finish(dependencies, export, sum(shard.part.expected for shard in planned if shard.part))


def _contents(dependencies: Dependencies, export: Export, planned: list[store.Shard]) -> archive.Contents:
    parts: dict[str, list[archive.Part]] = {}
    for shard in planned:
        if shard.part:
            parts.setdefault(shard.rows.table, []).append(shard.part)
    return archive.Contents(
        export_id=export.id,
        subject=export.partner_id,
        generated_at=clock.now(),
        tables=[(data_map().tables[name], of_table) for name, of_table in parts.items()],
        open_part=dependencies.archives.open,
        open_file=lambda bucket: dependencies.bucket(bucket).open,
    )


def _finish(dependencies: Dependencies, export: Export, records: int) -> None:
    """Say that the archive is there. What is said of it is read from it: an earlier task may have written it."""
    size, sha256 = _measure(dependencies.archives, archive_path(export.id))
    now = clock.now()
    after = export.model_copy(
        update={
            "version": export.version + 1,
            "status": "ready",
            "record_count": records,
            "size_bytes": size,
            "sha256": sha256,
            "ready_at": now,
            "expires_at": now + LIFETIME,
            "updated_at": now,
        }
    )
    data = ExportReady(export_id=export.id, partner_id=export.partner_id, expires_at=now + LIFETIME, size_bytes=size)
    event = Event(export.id, after.version, data, (export.partner_id,), time=now)
    with dependencies.database.session(export.partner_id) as db:
        try:
            outbox.commit(db, store.ready(after, export.version, event))
            log.info("export_ready", export_id=export.id, records=records, size_bytes=size)
        except VersionConflict:
            # Somebody was faster, or the data is being erased: then the archive must not stay.
            after = store.find_export(db, export.id) or export
        clear(db, dependencies.archives, after)


def _measure(archives: Files, path: str) -> tuple[int, str]:
    """The size of a file and its SHA-256, in hex."""
    digest, size = hashlib.sha256(), 0
    with archives.open(path) as stream:
        while chunk := stream.read(shards.CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
