"""Use cases of grading: by laboratory figures, by a classing record, by an image, by what a telephone measured."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from kapas.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, RateLimited, VersionConflict
from kapas.http.app import Outcome, require
from kapas.http.identity import Identity, Role
from kapas.messaging import outbox
from kapas.messaging.events import Event
from kapas.messaging.tasks import new_task
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Files, Tasks
from kapas.privacy import consents, restrictions
from kapas.schemas.common import Upload
from kapas.schemas.vocabulary import TradeStatus
from kapas.values import clock, ids

from . import budget, store
from .event_models import GradingCompleted, GradingRefused, GradingRequested, GradingSubmitted
from .image import model
from .readings import Reading, RefusalCode, Unreadable
from .schemas import (
    AxisClass,
    DeviceGrading,
    Grading,
    GradingBody,
    GradingCreated,
    GradingPage,
    GradingQuery,
    GradingResult,
    HviFigures,
    ImageGrading,
    ImageUpload,
    LabGrading,
    RecordGrading,
    Refusal,
)
from .standards import classing, results, tables
from .standards.policy import policy

QUEUE, HANDLER = "gradings", "grading-task"

UPLOAD_LIFETIME = timedelta(minutes=15)
OVERDUE = timedelta(minutes=2)
"""How long a grading is queued before the watchdog looks after it: until then its task is on its way."""
ATTEMPTS = 5
"""How often reading an image is begun before it is refused: it then has killed whoever read it."""
REAP_LIMIT = 500

GRADED: tuple[TradeStatus, ...] = ("contracted", "in_delivery", "disputed", "completed", "closed_out")
"""From the contract on there is a lot that a grading for the trade can be of; a late reading still is a fact."""

Read = Callable[[bytes], Reading]
"""Reads an image; raises `Unreadable`. Given by the entry point, for it brings numpy and LiteRT."""


class GradingTask(BaseModel):
    """What a task of the queue says: grade this, if it is still to be graded."""

    grading_id: UUID


# For partners


def request(db: Session, files: Files, caller: Identity, body: GradingBody) -> Outcome:
    """Begin a grading; by figures it is complete at once. It is charged to the caller's day when it is committed.

    Raises:
        Forbidden: the caller does not act for a partner, or the partner has not consented to AI processing of images.
        Conflict: the partner is not registered, or is being erased; or the trade has no contract.
        Invalid: the figures are impossible, or the trade is not the caller's.
    """
    partner_id = _partner(caller)
    if not store.is_registered(db, partner_id):
        raise Conflict("Register the partner first")
    restrictions.refuse(db, partner_id)
    if body.trade_id is not None:
        _require_contract(db, body.trade_id, partner_id)
    image = _image(body)
    if image is not None:
        _require_consent(db, partner_id)
    result = _of_figures(body)
    now = clock.now()
    grading = Grading(
        id=ids.uuid7(),
        version=1,
        kind=body.kind,
        status="completed" if result else "awaiting_image" if image else "provisional",
        trade_id=body.trade_id,
        image=image,
        provisional=results.of_device(body.result, body.model_sha256) if isinstance(body, DeviceGrading) else None,
        result=result,
        refusal=None,
        created_at=now,
        updated_at=now,
    )
    created = GradingCreated(**dict(grading), upload=_upload(files, partner_id, grading.id, image) if image else None)
    change = store.insert(
        grading,
        partner_id,
        body.model_dump_json(),
        caller.tier,
        budget.day(now),
        budget.DAILY[caller.tier],
        _event(grading, partner_id),
    )
    return Outcome(change, created, 1)


def not_charged(db: Session, caller: Identity) -> RateLimited:
    """What to tell a caller whose grading was not committed, because the day is spent.

    Raises:
        Conflict: it was not because of that: the partner is being erased meanwhile.
    """
    restrictions.refuse(db, _partner(caller))
    return budget.spent(caller.tier, clock.now())


def link(db: Session, files: Files, caller: Identity, grading_id: UUID) -> Outcome:
    """Another URL for the image that is still to come, for the same bytes; nothing is charged for it.

    Raises:
        NotFound, Forbidden: as for submitting it.
        Conflict: no image is awaited, or the partner is being erased.
    """
    partner_id = _partner(caller)
    grading = read(db, caller, grading_id)
    restrictions.refuse(db, partner_id)
    if grading.image is None or grading.status != "awaiting_image":
        raise Conflict("This grading does not wait for an image")
    _require_consent(db, partner_id)
    upload = _upload(files, partner_id, grading_id, grading.image)
    return Outcome(store.still_awaited(grading), upload, grading.version)


def submit(db: Session, files: Files, caller: Identity, grading_id: UUID) -> Outcome:
    """Have the uploaded image graded. To be followed by `enqueue` when it is committed.

    Raises:
        NotFound, Forbidden: as for reading it; or consent to AI processing was withdrawn.
        Conflict: it has no image, was submitted before, or the image is not uploaded; or the partner is being erased.
    """
    partner_id = _partner(caller)
    grading = read(db, caller, grading_id)
    restrictions.refuse(db, partner_id)
    if grading.image is None:
        raise Conflict("This grading has no image to submit")
    if grading.status != "awaiting_image":
        raise Conflict("The image has already been submitted")
    _require_consent(db, partner_id)
    if files.stat(_path(partner_id, grading_id)) is None:
        raise Conflict("Upload the image first")
    after = grading.model_copy(update={"version": grading.version + 1, "status": "queued", "updated_at": clock.now()})
    return Outcome(store.queue(after, grading.version, _event(after, partner_id)), after, after.version)


def read(db: Session, caller: Identity, grading_id: UUID) -> Grading:
    """One grading of the caller's partner; an inspector reads those of trades. Raises `NotFound` or `Forbidden`."""
    _reader(caller)
    grading = store.find(db, grading_id)
    if grading is None or (caller.role is Role.INSPECTOR and grading.trade_id is None):
        raise NotFound("Grading not found; a partner sees its own only")
    return grading


def list_page(db: Session, caller: Identity, query: GradingQuery) -> GradingPage:
    """The gradings that the session may see, newest first. Raises `Forbidden`, also for an inspector that names no trade."""
    _reader(caller)
    require(caller.role is not Role.INSPECTOR or query.trade_id is not None, "Inspectors must name a trade in trade_id")
    return GradingPage.of(store.page(db, query.trade_id, query.limit + 1, query.after_id()), query.limit)


# Grading of images


def enqueue(tasks: Tasks, grading_id: UUID, suffix: str = "") -> None:
    """Have a queued grading graded. Failing is harmless: the watchdog finds what has no task."""
    try:
        tasks.enqueue(new_task(QUEUE, HANDLER, GradingTask(grading_id=grading_id), grading_id, suffix))
    except Exception as error:
        log.warning("grading_enqueue_failed", exception=type(error).__name__)


def grade(database: Database, files: Files, look: Read, task: GradingTask) -> bool:
    """Grade a queued image, unless it was; whether this call did.

    Twice or killed midway it grades once: what is written is guarded by the grading's version. An image that was read
    before, whoever sent it, is not read again. Each reading is counted before it begins, for one that kills its reader
    could not be counted after; what fails before it, as the storage may, does not count, and is tried until it works.
    """
    with database.session(PLATFORM) as db:
        queued = store.find_queued(db, task.grading_id)
        if queued is None or queued.grading.image is None:
            return False
        consented = consents.granted(db, queued.partner_id, "ai_processing")
        image = queued.grading.image
        known = store.reading(db, image.sha256, model.current().sha256, policy().version) if consented else None
    if not consented:
        return _finish(
            database, queued, _refusal("consent_missing", "The consent to AI processing of images has ended")
        )
    if known is not None:
        return _finish(database, queued, known)
    if queued.attempts >= ATTEMPTS:
        return _finish(
            database, queued, _refusal("image_unreadable", "The image could not be graded. Take another one")
        )
    try:
        data = _fetch(files, _path(queued.partner_id, queued.grading.id), image)
    except Unreadable as missing:
        return _finish(database, queued, _refusal(missing.code, missing.detail))
    with database.session(PLATFORM) as db:
        store.count_attempt(db, queued.grading.id)
    try:
        found: Reading | Refusal = look(data)
    except Unreadable as unreadable:
        found = _refusal(unreadable.code, unreadable.detail)
    with database.session(PLATFORM) as db:
        store.remember(db, image.sha256, model.current().sha256, policy().version, found, clock.now())
    return _finish(database, queued, found)


def watch(database: Database, tasks: Tasks) -> int:
    """Have those gradings graded that are still queued, however long; how many there were.

    The task gets a name of its own: one that was used stays taken for hours.
    """
    now = clock.now()
    with database.session(PLATFORM) as db:
        due = store.overdue(db, now - OVERDUE, REAP_LIMIT)
    for grading_id in due:
        enqueue(tasks, grading_id, f"-{now:%Y%m%d%H%M}")
    if due:
        log.info("gradings_reaped", gradings=len(due))
    return len(due)


def _finish(database: Database, queued: store.Queued, found: Reading | Refusal) -> bool:
    before = queued.grading
    refused = isinstance(found, Refusal)
    after = before.model_copy(
        update={
            "version": before.version + 1,
            "status": "refused" if refused else "completed",
            "result": None if refused else results.of_image(found, model.current().sha256),
            "refusal": found if refused else None,
            "updated_at": clock.now(),
        }
    )
    change = store.finish(after, before.version, _event(after, queued.partner_id))
    try:
        with database.session(PLATFORM) as db:
            outbox.commit(db, change)
    except VersionConflict:
        # Another delivery of the task was faster, or an erasure was asked for meanwhile, which the next delivery finds.
        return False
    log.info("grading_finished", grading_id=after.id, status=after.status, code=found.code if refused else None)
    return True


def _fetch(files: Files, path: str, image: ImageUpload) -> bytes:
    """The uploaded bytes, if they are those that were announced. Raises `Unreadable`."""
    try:
        with files.open(path) as stream:
            data = stream.read(image.size + 1)
    except FileNotFoundError:
        raise Unreadable("image_missing", "The image no longer exists. Request a new grading") from None
    if len(data) != image.size or hashlib.sha256(data).hexdigest() != image.sha256:
        raise Unreadable("image_mismatch", "The image differs from the announced one. Request a new grading")
    return data


def _event(grading: Grading, partner_id: UUID) -> Event:
    """What the world is told of a grading as it now stands."""
    about: dict[str, Any] = {
        "grading_id": grading.id,
        "partner_id": partner_id,
        "kind": grading.kind,
        "trade_id": grading.trade_id,
    }
    if grading.result is not None:
        data = GradingCompleted(**about, result=grading.result)
    elif grading.refusal is not None:
        data = GradingRefused(**about, code=grading.refusal.code, detail=grading.refusal.detail)
    elif grading.status == "queued":
        data = GradingSubmitted(**about)
    else:
        data = GradingRequested(**about, status=grading.status)
    return Event(grading.id, grading.version, data, (partner_id,), time=grading.updated_at)


def _of_figures(body: GradingBody) -> GradingResult | None:
    """The result of a grading that needs no image."""
    if isinstance(body, LabGrading):
        _check_color(body.figures, "/figures/color_grade")
        return results.of_laboratory(body.figures)
    if isinstance(body, RecordGrading):
        record = classing.parse(body.record)
        _check_color(record.figures, "/record")
        return results.of_laboratory(record.figures, record.classing, _staple(record.classing.staple_32nds))
    return None


def _check_color(figures: HviFigures, pointer: str) -> None:
    known = tables.color_codes().codes
    if figures.color_grade is not None and figures.color_grade not in known:
        message = f"The color grade must be one of the USDA upland codes: {', '.join(known)}"
        raise Invalid(message, errors=[FieldError(pointer, "color_grade", message)])


def _staple(code: str | None) -> AxisClass | None:
    if code is None:
        return None
    found = tables.staple(code)
    if found is None:
        message = "staple_32nds (columns 31 to 32) must be a USDA upland staple"
        raise Invalid(message, errors=[FieldError("/record", "staple_32nds", message)])
    return found


def _image(body: GradingBody) -> ImageUpload | None:
    if isinstance(body, DeviceGrading):
        return body.image
    if isinstance(body, ImageGrading):
        return ImageUpload(sha256=body.sha256, size=body.size, content_type=body.content_type, card=body.card)
    return None


def _upload(files: Files, partner_id: UUID, grading_id: UUID, image: ImageUpload) -> Upload:
    signed = files.upload_url(
        _path(partner_id, grading_id),
        content_type=image.content_type,
        size=image.size,
        sha256=image.sha256,
        lifetime=UPLOAD_LIFETIME,
    )
    return Upload.model_validate(signed, from_attributes=True)


def _path(partner_id: UUID, grading_id: UUID) -> str:
    return f"gradings/{partner_id}/{grading_id}"


def _refusal(code: RefusalCode, detail: str) -> Refusal:
    return Refusal(code=code, detail=detail)


def _require_contract(db: Session, trade_id: UUID, partner_id: UUID) -> None:
    status = store.trade_status(db, trade_id, partner_id)
    if status is None:
        message = "The partner has no such trade"
        raise Invalid(message, errors=[FieldError("/trade_id", "trade", message)])
    if status not in GRADED:
        raise Conflict(f"Gradings for a trade are possible from the contract on; this one is {status}")


def _require_consent(db: Session, partner_id: UUID) -> None:
    granted = consents.granted(db, partner_id, "ai_processing")
    require(granted, "Grading an image requires consent to ai_processing; record it at /v1/consents")


def _partner(caller: Identity) -> UUID:
    partner_id = caller.partner_id
    if partner_id is None or caller.role not in (Role.OWNER, Role.MEMBER):
        raise Forbidden("Only an owner or a member of a partner may request a grading")
    return partner_id


def _reader(caller: Identity) -> None:
    staff = caller.role in (Role.OPS, Role.INSPECTOR)
    require(caller.role.of_partner or staff, "Only the partner, inspectors and operations may read gradings")
