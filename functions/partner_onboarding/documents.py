"""Use cases of a partner's documents: announce, upload by a signed URL, confirm, read, withdraw.

The URL takes exactly the announced bytes: type, size and SHA-256 are signed with it. The file's name says nothing.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from kapas.errors import Conflict, NotFound
from kapas.http.app import Outcome, require
from kapas.http.identity import Identity, Role
from kapas.platform.db import Session
from kapas.platform.ports import Files
from kapas.privacy import legal_holds, restrictions
from kapas.schemas.common import Upload
from kapas.values import clock, ids

from . import document_store, lifecycle, service, store
from .event_models import PartnerChanged
from .schemas import (
    DocumentCreate,
    PartnerDocument,
    PartnerDocumentCreated,
    PartnerDocumentList,
    PartnerDocumentRead,
)

UPLOAD_LIFETIME = timedelta(minutes=15)
READ_LIFETIME = timedelta(minutes=5)
MAX_DOCUMENTS = 50


def announce(db: Session, files: Files, caller: Identity, partner_id: UUID, body: DocumentCreate) -> Outcome:
    """Announce a document, to be uploaded to the URL that is answered.

    Raises:
        NotFound: there is no such partner.
        Forbidden: it is not the caller's.
        Conflict: it has as many documents as a partner may have, or is being erased.
    """
    _require_own(db, caller, partner_id)
    now = clock.now()
    known = document_store.list_all(db, partner_id)
    if sum(one.status == "uploaded" or now < _upload_ends(one) for one in known) >= MAX_DOCUMENTS:
        raise Conflict(f"A partner may have at most {MAX_DOCUMENTS} documents")
    document_id = ids.uuid7()
    signed = files.upload_url(
        _path(partner_id, document_id),
        content_type=body.content_type,
        size=body.size,
        sha256=body.sha256,
        lifetime=UPLOAD_LIFETIME,
    )
    document = PartnerDocumentCreated(
        id=document_id,
        version=1,
        kind=body.kind,
        content_type=body.content_type,
        size=body.size,
        sha256=body.sha256,
        status="awaiting_upload",
        created_at=now,
        upload=Upload.model_validate(signed, from_attributes=True),
    )
    return Outcome(document_store.add(document, partner_id), document, 1)


def confirm(db: Session, files: Files, caller: Identity, partner_id: UUID, document_id: UUID) -> Outcome:
    """Take a document as uploaded, once its file is there.

    Raises:
        NotFound: there is no such partner or document.
        Forbidden: it is not the caller's.
        Conflict: nothing was uploaded yet, it is confirmed already, or there are as many as may be; or the partner is being
            erased.
    """
    _require_own(db, caller, partner_id)
    document = _find(db, partner_id, document_id)
    if document.status == "uploaded":
        raise Conflict("The document is already confirmed")
    if sum(one.status == "uploaded" for one in document_store.list_all(db, partner_id)) >= MAX_DOCUMENTS:
        raise Conflict(f"A partner may have at most {MAX_DOCUMENTS} documents")
    if files.stat(_path(partner_id, document_id)) is None:
        raise Conflict("No file has been uploaded. Send it as described in `upload` of the announcement")
    after = document.model_copy(update={"version": document.version + 1, "status": "uploaded"})
    return Outcome(document_store.set_uploaded(after), after, after.version)


def withdraw(db: Session, files: Files, caller: Identity, partner_id: UUID, document_id: UUID) -> Outcome:
    """Delete a document that is wrong, its file before its row: killed between, it is done again.

    To be called in a transaction: no check begins and no hold is placed meanwhile.

    Raises:
        NotFound: there is no such partner or document.
        Forbidden: it is not the caller's.
        Conflict: the partner is being checked, erased or was decided on, the document has to be kept, or its URL works still.
    """
    _require_own(db, caller, partner_id)
    account = store.lock(db, partner_id)
    if account is None:
        raise NotFound("Partner not found; a partner sees only itself")
    lifecycle.require("withdraw_a_document", account.status)
    document, now = _find(db, partner_id, document_id), clock.now()
    if now < _upload_ends(document):
        raise Conflict(
            f"Its upload URL is valid until {clock.rfc3339(_upload_ends(document))}; withdraw the document after that"
        )
    legal_holds.share(db)
    if document_store.is_kept(db, document_id):
        raise Conflict(
            "This document must be kept and cannot be withdrawn"
        )  # no more than that: of a hold the partner may not be told
    files.delete(_path(partner_id, document_id))
    after = replace(account, version=account.version + 1, updated_at=now)
    changed = PartnerChanged(partner_id=partner_id, partner_type=account.type, fields=[f"documents.{document.kind}"])
    change = document_store.withdraw(after, document_id, service.event(after, changed))
    return Outcome(change, service.summary(after), after.version)


def read(db: Session, files: Files, partner_id: UUID, document_id: UUID) -> PartnerDocumentRead:
    """A document with a URL to read it at. Raises `NotFound`."""
    with db.snapshot():
        service.find(db, partner_id)
        document = _find(db, partner_id, document_id)
    url = None
    if document.status == "uploaded":
        url = files.download_url(_path(partner_id, document_id), lifetime=READ_LIFETIME, filename=document.kind)
    return PartnerDocumentRead(**document.model_dump(), download_url=url)


def list_all(db: Session, partner_id: UUID) -> PartnerDocumentList:
    """The documents of a partner that the session may see, newest first. Raises `NotFound`."""
    service.find(db, partner_id)
    return PartnerDocumentList(data=document_store.list_all(db, partner_id))


def _find(db: Session, partner_id: UUID, document_id: UUID) -> PartnerDocument:
    document = document_store.find(db, partner_id, document_id)
    if document is None:
        raise NotFound("Document not found")
    return document


def _upload_ends(document: PartnerDocument) -> datetime:
    """When the URL that was handed out for it takes nothing any more."""
    return document.created_at + UPLOAD_LIFETIME


def _require_own(db: Session, caller: Identity, partner_id: UUID) -> None:
    service.find(db, partner_id)
    own = caller.partner_id == partner_id and caller.role in (Role.OWNER, Role.MEMBER)
    require(own, "Only an owner or a member of the partner may upload its documents")
    restrictions.refuse(db, partner_id)


def _path(partner_id: UUID, document_id: UUID) -> str:
    return f"partners/{partner_id}/documents/{document_id}"
