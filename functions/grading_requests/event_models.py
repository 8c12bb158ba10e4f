"""Events of gradings."""

from typing import ClassVar
from uuid import UUID

from kapas.messaging.events import EventData

from .schemas import GradingResult
from .schemas import Kind as GradingKind
from .schemas import Status as GradingStatus


class GradingEvent(EventData):
    topic: ClassVar[str] = "quality-events"
    source: ClassVar[str] = "/grading_requests"

    grading_id: UUID
    partner_id: UUID
    kind: GradingKind
    trade_id: UUID | None


class GradingRequested(GradingEvent):
    """A grading was requested: it waits for its image, or is provisional with the measurements of a phone."""

    type: ClassVar[str] = "grading.requested.v1"

    status: GradingStatus


class GradingSubmitted(GradingEvent):
    """The image of a grading was submitted and waits to be graded."""

    type: ClassVar[str] = "grading.submitted.v1"


class GradingCompleted(GradingEvent):
    """A grading completed with this result."""

    type: ClassVar[str] = "grading.completed.v1"

    result: GradingResult


class GradingRefused(GradingEvent):
    """An image could not be graded, with the reason."""

    type: ClassVar[str] = "grading.refused.v1"

    code: str
    detail: str
