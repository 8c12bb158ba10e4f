"""Whose data may not be processed any further, because its erasure was asked for.

restrictions.refuse(db, partner_id)

A statement that writes asks as well, for a request that was held up may come after the erasure: `UNRESTRICTED.format(...)`.
"""

from uuid import UUID

from kapas.errors import Conflict
from kapas.platform.db import Session

UNRESTRICTED = "NOT EXISTS (SELECT FROM restrictions r WHERE r.subject_id = {})"
"""The condition in SQL; in its braces whose data it is."""


def restricted(db: Session, subject_id: UUID) -> bool:
    """Whether the processing of a partner's data is restricted (GDPR art. 18; DPDP Act s.12(3), s.8(7)).

    Asked before each new processing, in whatever scope the session has; never undone.
    """
    return db.one("SELECT FROM restrictions WHERE subject_id = :subject_id", subject_id=subject_id) is not None


def refuse(db: Session, subject_id: UUID) -> None:
    """Raise `Conflict` if the processing of a partner's data is restricted."""
    if restricted(db, subject_id):
        raise Conflict("This partner's data has been or is being erased; GET /v1/erasures shows what stays")
