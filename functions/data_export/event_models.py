"""Events of data exports and erasures."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from kapas.messaging.events import EventData

from .schemas import ExportFailure


class ExportEvent(EventData):
    topic: ClassVar[str] = "privacy-events"
    source: ClassVar[str] = "/data_export"

    export_id: UUID
    partner_id: UUID


class ExportRequested(ExportEvent):
    """A partner requested its data."""

    type: ClassVar[str] = "export.requested.v1"


class ExportReady(ExportEvent):
    """An archive is ready for download."""

    type: ClassVar[str] = "export.ready.v1"

    expires_at: AwareDatetime
    size_bytes: int


class ExportFailed(ExportEvent):
    """An export failed. It can be requested again, unless the data is erased."""

    type: ClassVar[str] = "export.failed.v1"

    reason: ExportFailure


class ExportLinkIssued(ExportEvent):
    """The owner received a link to the archive."""

    type: ClassVar[str] = "export.link_issued.v1"

    actor: str


class ErasureEvent(EventData):
    topic: ClassVar[str] = "privacy-events"
    source: ClassVar[str] = "/data_export"

    erasure_id: UUID
    partner_id: UUID


class ErasureRequested(ErasureEvent):
    """A partner requested the erasure of its data, which must not be processed from now on."""

    type: ClassVar[str] = "erasure.requested.v1"


class PrivacyErased(ErasureEvent):
    """A partner's data was erased, except what a law requires to keep."""

    type: ClassVar[str] = "privacy.erased.v1"

    places_retained: int
