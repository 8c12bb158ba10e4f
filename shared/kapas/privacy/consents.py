"""Whether processing may rest on a partner's consent. Fail closed: no answer is no consent.

if not consents.granted(db, partner_id, "ai_processing"):
    raise Forbidden("Images are graded only with consent to AI processing")
"""

from typing import Literal, get_args
from uuid import UUID

from kapas.platform.db import Session
from kapas.privacy.restrictions import UNRESTRICTED
from kapas.values import clock

Purpose = Literal["marketing", "analytics", "data_sharing", "ai_processing", "cross_border"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


def granted(db: Session, subject_id: UUID, purpose: Purpose) -> bool:
    """Whether the subject's last decision on `purpose` is a grant that is still valid (DPDP Act s.6).

    While a partner is being erased nothing more may rest on its consents, whatever they say (GDPR art. 18). Asked at each
    processing and never cached, so that a withdrawal stops the next one. A session that may not see the subject's rows
    gets False.

    Raises:
        ValueError: there is no such purpose.
        DatabaseFailure, Unavailable: the database did not answer.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"{purpose} is no purpose that consent is asked for")
    row = db.one(
        f"""SELECT state, valid_until FROM consent_states
            WHERE subject_id = :subject_id AND purpose = :purpose AND {UNRESTRICTED.format(":subject_id")}""",
        subject_id=subject_id,
        purpose=purpose,
    )
    return row is not None and row[0] == "granted" and row[1] is not None and clock.now() < row[1]
