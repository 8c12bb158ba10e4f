"""Exports and erasures of a partner's data, and the data map, as the API shows them."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from kapas.schemas.common import Page, Request, Resource

ExportStatus = Literal["preparing", "ready", "failed", "expired"]
ExportFailure = Literal["gave_up", "incomplete", "erased"]
ErasureStatus = Literal["in_progress", "completed"]
Done = Literal["deleted", "made_unreadable", "overwritten"]


class ExportCreate(Request):
    """A partner asks for its data."""

    partner_id: UUID | None = Field(None, description="Whose data: only the data protection officer names another's")


class Export(Resource):
    """An archive of everything that is held of a partner."""

    id: UUID
    version: int
    partner_id: UUID
    status: ExportStatus
    failure: ExportFailure | None = Field(
        description="gave_up: it could not be made in time; incomplete: a count did not match; erased: the data went first"
    )
    record_count: int | None = Field(description="Records in the archive, once it is ready")
    size_bytes: int | None
    sha256: str | None = Field(description="Of the archive, in hex")
    ready_at: AwareDatetime | None
    expires_at: AwareDatetime | None = Field(description="When the archive is deleted")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class ExportPage(Page[Export]):
    """Exports, newest first."""


class DownloadLink(Resource):
    """Where the archive can be downloaded, for a few minutes, by whoever has the link."""

    url: str
    expires_at: AwareDatetime
    size_bytes: int
    sha256: str = Field(description="Of the archive, in hex")


class ErasureCreate(Request):
    """A partner asks for the end of its data. It cannot be undone."""

    confirm: Literal["erase"]
    partner_id: UUID | None = Field(None, description="Whose data: only the data protection officer names another's")


class Erased(Resource):
    """What was erased of one place."""

    store: str = Field(description="For example `table trades`, `collection partners`, `bucket exports/archives/`")
    title: str
    action: Done
    columns: list[str] = Field(description="Of each row or document; empty where all of it went")
    count: int


class Retained(Resource):
    """What stays of one place, and why."""

    store: str
    title: str
    count: int | None = Field(description="null where it is not counted")
    law: str
    article: str
    reason: str
    earliest_deletion: date = Field(description="The first day on which the first of it may be deleted")
    latest_deletion: date = Field(description="The first day on which all of it may be deleted")


class ErasureStatement(Resource):
    """What came of an erasure."""

    erased: list[Erased]
    retained: list[Retained]


class Erasure(Resource):
    """The erasure of a partner's data. From the request on nothing of it is processed any more."""

    id: UUID
    version: int
    partner_id: UUID
    status: ErasureStatus
    statement: ErasureStatement | None = Field(description="Once it is completed")
    certificate: str | None = Field(description="The signed statement: a JWS (RFC 7515) in compact form, ES256")
    created_at: AwareDatetime
    updated_at: AwareDatetime
    completed_at: AwareDatetime | None


class ErasurePage(Page[Erasure]):
    """Erasures, newest first."""


class Recipient(Resource):
    """Who else gets personal data."""

    name: str
    purpose: str


class Retention(Resource):
    """How long something is kept, and by which rule."""

    law: str
    article: str
    period: str = Field(description="For example `8 years`")
    counted_from: str = Field(description="For example `fy_end`: 31 March of the record's financial year")


class Holding(Resource):
    """One kind of record that the platform holds of a partner."""

    store: str = Field(description="For example `table trades`")
    title: str
    purpose: str
    categories: list[str]
    exported: bool = Field(description="Whether it is in an archive")
    because: str = Field(description="Why not, or not all of it, or why it is kept")
    on_erasure: list[str] = Field(description="delete, shred (made unreadable), redact (overwritten), unlink or retain")
    retention: list[Retention]
    region: str


class DataMapSummary(Resource):
    """What is held of a partner, what for, who else gets it, and for how long (DPDP Act s.11, GDPR art. 15)."""

    version: str
    holdings: list[Holding]
    recipients: list[Recipient]
