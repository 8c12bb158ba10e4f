"""Whose data may not be processed any further, because its erasure was asked for.

if restrictions.restricted(db, partner_id):
    raise Conflict("The data of this partner is being erased")
"""

from uuid import UUID

from kapas.db import Session


def restricted(db: Session, subject_id: UUID) -> bool:
    """Whether the processing of a partner's data is restricted (GDPR art. 18; DPDP Act s.12(3), s.8(7)).

    Asked before each new processing, in whatever scope the session has; never undone.
    """
    return db.one("SELECT FROM restrictions WHERE subject_id = :subject_id", subject_id=subject_id) is not None
