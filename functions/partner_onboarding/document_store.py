"""Documents of partners in SQL; row level security decides which a session sees."""

from uuid import UUID

from kapas.messaging.events import Event
from kapas.messaging.outbox import Change
from kapas.platform.db import Row, Session
from kapas.privacy.legal_holds import of_row
from kapas.privacy.restrictions import UNRESTRICTED

from .records import Account, Document

_DOCUMENT = "id, version, kind, content_type, size, sha256, status, created_at"

_ADD = f"""INSERT INTO partner_documents
    (id, version, partner_id, kind, content_type, size, sha256, status, created_at)
  SELECT :id::uuid, 1, :partner_id::uuid, :kind, :content_type, :size::bigint, :sha256, :status, :at::timestamptz
  WHERE {UNRESTRICTED.format(":partner_id::uuid")} RETURNING id"""

_UPLOADED = f"""UPDATE partner_documents SET version = version + 1, status = 'uploaded'
  WHERE id = :id AND version = :version AND {UNRESTRICTED.format("partner_documents.partner_id")} RETURNING id"""

_WITHDRAW = f"""UPDATE partners SET version = version + 1, updated_at = :at
  WHERE id = :id AND version = :version AND {UNRESTRICTED.format("partners.id")} RETURNING id"""
_DELETE = "DELETE FROM partner_documents d USING change WHERE d.partner_id = change.id AND d.id = :document_id"


def add(document: Document, partner_id: UUID) -> Change:
    """A document of a partner, provided that it is not being erased."""
    parameters = document.model_dump(exclude={"version", "created_at", "upload"})
    return Change(_ADD, {**parameters, "partner_id": partner_id, "at": document.created_at})


def set_uploaded(document: Document) -> Change:
    """The document is there, provided that its row is as it was and its partner is not being erased.

    `document` is as it is after it.
    """
    return Change(_UPLOADED, {"id": document.id, "version": document.version - 1})


def withdraw(account: Account, document_id: UUID, event: Event) -> Change:
    """No such document, provided that the partner is at the version before `account`'s, and is not being erased."""
    parameters = {
        "id": account.id,
        "version": account.version - 1,
        "at": account.updated_at,
        "document_id": document_id,
    }
    return Change(_WITHDRAW, parameters, events=(event,), also=(_DELETE,))


def list_all(db: Session, partner_id: UUID) -> list[Document]:
    """The partner's documents, newest first."""
    rows = db.run(
        f"SELECT {_DOCUMENT} FROM partner_documents WHERE partner_id = :partner_id ORDER BY id DESC",
        partner_id=partner_id,
    )
    return [_document(row) for row in rows]


def find(db: Session, partner_id: UUID, document_id: UUID) -> Document | None:
    row = db.one(
        f"SELECT {_DOCUMENT} FROM partner_documents WHERE partner_id = :partner_id AND id = :id",
        partner_id=partner_id,
        id=document_id,
    )
    return _document(row) if row else None


def is_kept(db: Session, document_id: UUID) -> bool:
    """Whether a legal hold keeps a document, or the partner was admitted by it: it goes with the proofs of who it is."""
    row = db.one(
        f"""SELECT FROM partner_documents t WHERE t.id = :id AND (
              EXISTS (SELECT FROM legal_holds h WHERE h.released_at IS NULL AND h.subject_id = t.partner_id)
              OR EXISTS (SELECT FROM legal_holds h WHERE {of_row("partner_documents", ["id"], "t")})
              OR EXISTS (SELECT FROM partner_decisions d
                WHERE d.partner_id = t.partner_id AND d.action = 'activate' AND d.decided_at >= t.created_at))""",
        id=document_id,
    )
    return row is not None


def _document(row: Row) -> Document:
    return Document(
        id=row[0],
        version=row[1],
        kind=row[2],
        content_type=row[3],
        size=row[4],
        sha256=row[5],
        status=row[6],
        created_at=row[7],
    )
