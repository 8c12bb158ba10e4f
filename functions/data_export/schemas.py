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
    """A request for a partner's data."""

    partner_id: UUID | None = Field(
        None, description="The partner; only the data protection officer may name another than its own"
    )


class Export(Resource):
    """An archive of all data about a partner."""

    id: UUID
    version: int
    partner_id: UUID
    status: ExportStatus
    failure: ExportFailure | None = Field(
        description="gave_up: it could not be completed; incomplete: a count did not match; erased: the data was erased first"
    )
    record_count: int | None = Field(description="Number of records in the archive, once it is ready")
    size_bytes: int | None
    sha256: str | None = Field(description="SHA-256 of the archive, in hexadecimal")
    ready_at: AwareDatetime | None
    expires_at: AwareDatetime | None = Field(description="When the archive is deleted")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class ExportPage(Page[Export]):
    """Exports, newest first."""


class DownloadLink(Resource):
    """A link to the archive. Anyone who has it can download the archive for a few minutes."""

    url: str
    expires_at: AwareDatetime
    size_bytes: int
    sha256: str = Field(description="SHA-256 of the archive, in hexadecimal")


class ErasureCreate(Request):
    """A request for the erasure of a partner's data. It cannot be undone."""

    confirm: Literal["erase"]
    partner_id: UUID | None = Field(
        None, description="The partner; only the data protection officer may name another than its own"
    )


class Erased(Resource):
    """What was erased in one place."""

    store: str = Field(description="For example `table trades`, `collection partners`, `bucket exports/archives/`")
    title: str
    action: Done
    columns: list[str] = Field(description="The erased members of each row or document; empty if all of it was deleted")
    count: int


class Retained(Resource):
    """What stays of one place, and why."""

    store: str
    title: str
    count: int | None = Field(description="null if it is not counted")
    law: str
    article: str
    reason: str
    earliest_deletion: date = Field(description="The day from which the first of it may be deleted")
    latest_deletion: date = Field(description="The day from which all of it may be deleted")


class ErasureStatement(Resource):
    """The result of an erasure."""

    erased: list[Erased]
    retained: list[Retained]


class Erasure(Resource):
    """The erasure of a partner's data. Processing stops with the request."""

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
    """A recipient of personal data."""

    name: str
    purpose: str


class Retention(Resource):
    """A retention period and its rule."""

    law: str
    article: str
    period: str = Field(description="For example `8 years`")
    counted_from: str = Field(description="For example `fy_end`: 31 March of the record's financial year")


class Holding(Resource):
    """One kind of record that the platform holds about a partner."""

    store: str = Field(description="For example `table trades`")
    title: str
    purpose: str
    categories: list[str]
    exported: bool = Field(description="Whether archives contain it")
    because: str = Field(description="Why archives omit some or all of it, or why it is kept")
    on_erasure: list[str] = Field(description="delete, shred (made unreadable), redact (overwritten), unlink or retain")
    retention: list[Retention]
    region: str


class DataMapSummary(Resource):
    """What is held about a partner, for what purpose, who receives it, and for how long (DPDP Act s.11, GDPR art. 15)."""

    version: str
    holdings: list[Holding]
    recipients: list[Recipient]
