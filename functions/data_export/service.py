"""Use cases of exports and erasures: ask for one, see how it stands, download the archive, read what is held."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role
from kapas.messaging.events import CloudEvent, Event
from kapas.platform.db import Session
from kapas.platform.ports import Files, Tasks
from kapas.privacy import restrictions
from kapas.privacy.data_map import DataMap, data_map
from kapas.privacy.retention import policies
from kapas.schemas.common import PageQuery
from kapas.values import clock, ids

from . import erasing, erasure_store, preparing, store
from .event_models import ErasureRequested, ExportLinkIssued, ExportRequested
from .schemas import (
    DataMapSummary,
    DownloadLink,
    Erasure,
    ErasureCreate,
    ErasurePage,
    Export,
    ExportCreate,
    ExportPage,
    Holding,
    Recipient,
    Retention,
)

LINK_LIFETIME = timedelta(minutes=5)


def request_export(db: Session, caller: Identity, body: ExportCreate) -> Outcome:
    """Ask for an archive of a partner's data.

    Raises:
        Forbidden: the caller is neither the owner of the partner nor the data protection officer.
        Invalid: the data protection officer names no partner.
        Conflict: there is no such partner, it is being erased, or an archive is being made already.
    """
    partner_id = _subject(caller, body.partner_id)
    _require_registered(db, partner_id)
    restrictions.refuse(db, partner_id)
    now = clock.now()
    export = Export(
        id=ids.uuid7(),
        version=1,
        partner_id=partner_id,
        status="preparing",
        failure=None,
        record_count=None,
        size_bytes=None,
        sha256=None,
        ready_at=None,
        expires_at=None,
        created_at=now,
        updated_at=now,
    )
    data = ExportRequested(export_id=export.id, partner_id=partner_id)
    event = Event(export.id, 1, data, (partner_id,), time=now)
    return Outcome(store.insert_export(export, caller.subject, caller.role, event), export, 1)


def read_export(db: Session, caller: Identity, export_id: UUID) -> Export:
    """One export that the session may see, as it is now. Raises `NotFound` or `Forbidden`."""
    _require_role(caller)
    export = store.find_export(db, export_id)
    if export is None:
        raise NotFound("Export not found; a partner sees its own only")
    return _as_of_now(export)


def list_exports(db: Session, caller: Identity, query: PageQuery) -> ExportPage:
    """Exports that the session may see, newest first."""
    _require_role(caller)
    found = store.export_page(db, query.limit + 1, query.after_id())
    return ExportPage.of([_as_of_now(export) for export in found], query.limit)


def link(db: Session, archives: Callable[[], Files], caller: Identity, export_id: UUID) -> Outcome:
    """A link to an archive, for its owner alone; that it was handed out is recorded.

    Raises:
        Forbidden: the caller is not the partner's owner.
        NotFound: there is no such export, or it is another's.
        Conflict: there is no archive yet, or no more.
        VersionConflict: when committed, if another link is being handed out at the same moment.
    """
    export = read_export(db, caller, export_id)
    if caller.role is not Role.OWNER or caller.partner_id != export.partner_id:
        raise Forbidden("Only the owner of a partner may download its data")
    if export.status != "ready" or export.size_bytes is None or export.sha256 is None:
        raise Conflict(f"The archive cannot be downloaded: the export is {export.status}")
    now = clock.now()
    filename = f"kapas-export-{export.created_at:%Y-%m-%d}.zip"
    url = archives().download_url(preparing.archive_path(export.id), lifetime=LINK_LIFETIME, filename=filename)
    resource = DownloadLink(url=url, expires_at=now + LINK_LIFETIME, size_bytes=export.size_bytes, sha256=export.sha256)
    after = export.model_copy(update={"version": export.version + 1, "updated_at": now})
    data = ExportLinkIssued(export_id=export.id, partner_id=export.partner_id, actor=caller.subject)
    event = Event(export.id, after.version, data, (export.partner_id,), time=now)
    return Outcome(store.add_link(after, export.version, event), resource, after.version)


def request_erasure(db: Session, caller: Identity, body: ErasureCreate) -> Outcome:
    """Ask for the erasure of a partner's data. From the commit on its processing is restricted.

    Raises:
        Forbidden: the caller is neither the owner of the partner nor the data protection officer.
        Invalid: the data protection officer names no partner.
        Conflict: there is no such partner, or, when committed, its erasure was asked for before.
    """
    partner_id = _subject(caller, body.partner_id)
    _require_registered(db, partner_id)
    now = clock.now()
    erasure = Erasure(
        id=ids.uuid7(),
        version=1,
        partner_id=partner_id,
        status="in_progress",
        statement=None,
        certificate=None,
        created_at=now,
        updated_at=now,
        completed_at=None,
    )
    data = ErasureRequested(erasure_id=erasure.id, partner_id=partner_id)
    event = Event(erasure.id, 1, data, (partner_id,), time=now)
    return Outcome(erasure_store.insert(erasure, caller.subject, caller.role, event), erasure, 1)


def read_erasure(db: Session, caller: Identity, erasure_id: UUID) -> Erasure:
    """One erasure that the session may see. Raises `NotFound` or `Forbidden`."""
    _require_role(caller)
    erasure = erasure_store.find(db, erasure_id)
    if erasure is None:
        raise NotFound("Erasure not found; a partner sees its own only")
    return erasure


def list_erasures(db: Session, caller: Identity, query: PageQuery) -> ErasurePage:
    """Erasures that the session may see, newest first."""
    _require_role(caller)
    return ErasurePage.of(erasure_store.page(db, query.limit + 1, query.after_id()), query.limit)


def begin(tasks: Tasks, event: CloudEvent) -> None:
    """Make the first task of what was asked for. A duplicate finds the task's name taken."""
    if event.type == ExportRequested.type:
        tasks.enqueue(preparing.task(event.subject, "plan"))
    elif event.type == ErasureRequested.type:
        tasks.enqueue(erasing.task(event.subject, requested_at=event.time))


def holdings() -> DataMapSummary:
    """What is held of any partner, as the data map says."""
    found = data_map()
    held = [*_tables(found), *_collections(found), *_files(found)]
    recipients = [Recipient(name=one.name, purpose=one.purpose) for one in found.recipients]
    return DataMapSummary(version=found.version, holdings=held, recipients=recipients)


def _as_of_now(export: Export) -> Export:
    """The watchdog deletes an archive a little after its time; it is over on time."""
    is_expired = export.status == "ready" and export.expires_at is not None and export.expires_at <= clock.now()
    return export.model_copy(update={"status": "expired"}) if is_expired else export


def _require_role(caller: Identity) -> None:
    if caller.role not in (Role.OWNER, Role.DPO):
        raise Forbidden("Only the owner of a partner and the data protection officer may access this")


def _subject(caller: Identity, requested_id: UUID | None) -> UUID:
    """Whose data it is about: the caller's own, or, for the data protection officer, the one that is named."""
    _require_role(caller)
    if caller.role is Role.DPO:
        if requested_id is None:
            message = "Name the partner in partner_id"
            raise Invalid(message, errors=[FieldError("/partner_id", "missing", message)])
        return requested_id
    if caller.partner_id is None or requested_id not in (None, caller.partner_id):
        raise Forbidden("An owner may name its own partner only")
    return caller.partner_id


def _require_registered(db: Session, partner_id: UUID) -> None:
    if not store.is_registered(db, partner_id):
        raise Conflict("Register the partner first")


def _retention(names: list[str]) -> list[Retention]:
    chosen = [policies()[name] for name in names]
    return [Retention(law=p.law, article=p.article, period=str(p.keep), counted_from=p.anchor) for p in chosen]


def _tables(found: DataMap) -> list[Holding]:
    return [
        Holding(
            store=f"table {table.name}",
            title=table.title,
            purpose=table.purpose,
            categories=sorted({column.category for column in table.columns.values()}),
            exported=bool(table.exported),
            because=table.because or (table.withheld.because if table.withheld else ""),
            on_erasure=sorted({table.erase, *(column.erase for column in table.columns.values())}),
            retention=_retention([rule.policy for rule in found.retention(table)]),
            region=table.region,
        )
        for table in found.of_partners()
    ]


def _collections(found: DataMap) -> list[Holding]:
    return [
        Holding(
            store=f"collection {collection.name}",
            title=collection.title,
            purpose=collection.purpose,
            categories=sorted({field.category for field in collection.fields.values()}),
            exported=False,
            because=collection.because,
            on_erasure=[collection.erase],
            retention=_retention([collection.retention]),
            region=collection.region,
        )
        for collection in found.collections.values()
    ]


def _files(found: DataMap) -> list[Holding]:
    return [
        Holding(
            store=f"bucket {prefix.bucket}/{prefix.prefix}",
            title=prefix.title,
            purpose=prefix.purpose,
            categories=[prefix.category],
            exported=prefix.export == "include",
            because=prefix.because,
            on_erasure=[prefix.erase],
            retention=_retention([prefix.retention]),
            region=prefix.region,
        )
        for prefix in found.prefixes
    ]
