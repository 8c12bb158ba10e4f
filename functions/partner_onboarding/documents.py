"""Use cases of a partner's documents: announce, upload by a signed URL, confirm, read.

The URL takes exactly the announced bytes: type, size and SHA-256 are signed with it. The file's name says nothing.
"""

from datetime import timedelta
from uuid import UUID

from kapas import clock, ids, restrictions
from kapas.api import Outcome, require
from kapas.db import Session
from kapas.errors import Conflict, NotFound
from kapas.identity import Identity, Role
from kapas.ports import Files
from kapas.schemas.partners import (
    DocumentCreate,
    PartnerDocument,
    PartnerDocumentCreated,
    PartnerDocumentList,
    PartnerDocumentRead,
    Upload,
)

from . import service, store

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
    if len(store.documents(db, partner_id)) >= MAX_DOCUMENTS:
        raise Conflict(f"A partner has at most {MAX_DOCUMENTS} documents")
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
        created_at=clock.now(),
        upload=Upload(method=signed.method, url=signed.url, headers=dict(signed.headers), expires_at=signed.expires_at),
    )
    return Outcome(store.add_document(document, partner_id), document, 1)


def confirm(db: Session, files: Files, caller: Identity, partner_id: UUID, document_id: UUID) -> Outcome:
    """Take a document as uploaded, once its file is there.

    Raises:
        NotFound: there is no such partner or document.
        Forbidden: it is not the caller's.
        Conflict: nothing was uploaded yet, it is confirmed already, or the partner is being erased.
    """
    _require_own(db, caller, partner_id)
    document = _find(db, partner_id, document_id)
    if document.status == "uploaded":
        raise Conflict("The document is confirmed already")
    if files.stat(_path(partner_id, document_id)) is None:
        raise Conflict("Nothing was uploaded yet: send the file as `upload` of the announcement says")
    after = document.model_copy(update={"version": document.version + 1, "status": "uploaded"})
    return Outcome(store.set_uploaded(after), after, after.version)


def read(db: Session, files: Files, partner_id: UUID, document_id: UUID) -> PartnerDocumentRead:
    """A document with a URL to read it at. Raises `NotFound`."""
    service.find(db, partner_id)
    document = _find(db, partner_id, document_id)
    url = None
    if document.status == "uploaded":
        url = files.download_url(_path(partner_id, document_id), lifetime=READ_LIFETIME, filename=document.kind)
    return PartnerDocumentRead(**document.model_dump(), download_url=url)


def list_all(db: Session, partner_id: UUID) -> PartnerDocumentList:
    """The documents of a partner that the session may see, newest first. Raises `NotFound`."""
    service.find(db, partner_id)
    return PartnerDocumentList(data=store.documents(db, partner_id))


def _find(db: Session, partner_id: UUID, document_id: UUID) -> PartnerDocument:
    document = store.document(db, partner_id, document_id)
    if document is None:
        raise NotFound("There is no such document")
    return document


def _require_own(db: Session, caller: Identity, partner_id: UUID) -> None:
    service.find(db, partner_id)
    own = caller.partner_id == partner_id and caller.role in (Role.OWNER, Role.MEMBER)
    require(own, "Documents are brought by an owner or a member of the partner")
    restrictions.refuse(db, partner_id)


def _path(partner_id: UUID, document_id: UUID) -> str:
    return f"partners/{partner_id}/documents/{document_id}"
