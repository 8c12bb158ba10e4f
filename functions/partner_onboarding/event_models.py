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
    """A partner registered. It cannot trade yet."""

    type: ClassVar[str] = "partner.created.v1"


class PartnerChanged(PartnerEvent):
    """Details of a partner changed, by itself or by operations. The event names the fields, not their values."""

    type: ClassVar[str] = "partner.changed.v1"

    fields: list[str]


class PartnerRequirementsDue(PartnerEvent):
    """A partner submitted, but requirements were missing or wrong."""

    type: ClassVar[str] = "partner.requirements_due.v1"

    fields: list[str]


class PartnerRequirementsOverdue(PartnerEvent):
    """A partner did not submit the required details by its deadline."""

    type: ClassVar[str] = "partner.requirements_overdue.v1"

    status: PartnerStatus
    due_at: AwareDatetime


class PartnerSubmitted(PartnerEvent):
    """A complete partner submitted and waits for its checks; `submission` counts its submissions."""

    type: ClassVar[str] = "partner.submitted.v1"

    submission: int
    confirmed: list[str] = Field(
        default_factory=list[str], description="Questioned fields that it confirmed as correct"
    )


class PartnerVerifying(PartnerEvent):
    """The checks of a partner have started."""

    type: ClassVar[str] = "partner.verifying.v1"


class PartnerNeedsClarification(PartnerEvent):
    """A partner was asked for corrections."""

    type: ClassVar[str] = "partner.needs_clarification.v1"

    clarifications: list[Clarification]


class PartnerUnderReview(PartnerEvent):
    """The checks of a partner ended. Operations decides next."""

    type: ClassVar[str] = "partner.under_review.v1"


class PartnerActivated(PartnerEvent):
    """The platform activated a partner, which can trade now."""

    type: ClassVar[str] = "partner.activated.v1"


class PartnerSuspended(PartnerEvent):
    """The platform suspended a partner from trading."""

    type: ClassVar[str] = "partner.suspended.v1"

    reason_code: ReasonCode


class PartnerRejected(PartnerEvent):
    """The platform rejected a partner."""

    type: ClassVar[str] = "partner.rejected.v1"

    reason_code: ReasonCode
