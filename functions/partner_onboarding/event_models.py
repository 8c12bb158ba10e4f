"""Events of partner onboarding."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field

from kapas.messaging.events import EventData

from .review_schemas import Clarification, ReasonCode
from .schemas import PartnerStatus, PartnerType


class PartnerEvent(EventData):
    topic: ClassVar[str] = "partner-events"
    source: ClassVar[str] = "/partner_onboarding"

    partner_id: UUID
    partner_type: PartnerType


class PartnerCreated(PartnerEvent):
    """A partner has registered and may not trade yet."""

    type: ClassVar[str] = "partner.created.v1"


class PartnerChanged(PartnerEvent):
    """What is told of a partner changed, by itself or as operations corrected it: which fields, not what they say."""

    type: ClassVar[str] = "partner.changed.v1"

    fields: list[str]


class PartnerRequirementsDue(PartnerEvent):
    """A partner submitted itself while something that is asked for was missing or wrong."""

    type: ClassVar[str] = "partner.requirements_due.v1"

    fields: list[str]


class PartnerRequirementsOverdue(PartnerEvent):
    """A partner has not submitted by its deadline what it was asked for."""

    type: ClassVar[str] = "partner.requirements_overdue.v1"

    status: PartnerStatus
    due_at: AwareDatetime


class PartnerSubmitted(PartnerEvent):
    """A partner is complete and waits for its checks; `submission` counts how often."""

    type: ClassVar[str] = "partner.submitted.v1"

    submission: int
    confirmed: list[str] = Field(
        default_factory=list[str], description="Fields that it was asked about and said that they hold as they are"
    )


class PartnerVerifying(PartnerEvent):
    """The checks of a partner are under way."""

    type: ClassVar[str] = "partner.verifying.v1"


class PartnerNeedsClarification(PartnerEvent):
    """A partner is asked to mend something."""

    type: ClassVar[str] = "partner.needs_clarification.v1"

    clarifications: list[Clarification]


class PartnerUnderReview(PartnerEvent):
    """The checks of a partner have ended, and operations decides."""

    type: ClassVar[str] = "partner.under_review.v1"


class PartnerActivated(PartnerEvent):
    """The platform let a partner trade."""

    type: ClassVar[str] = "partner.activated.v1"


class PartnerSuspended(PartnerEvent):
    """The platform stopped a partner from trading, for the time being."""

    type: ClassVar[str] = "partner.suspended.v1"

    reason_code: ReasonCode


class PartnerRejected(PartnerEvent):
    """The platform rejected a partner."""

    type: ClassVar[str] = "partner.rejected.v1"

    reason_code: ReasonCode
