"""Retention sweeps, their reports and legal holds as the API shows them."""

from datetime import date
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from kapas.schemas.common import Page, Request, Resource

SweepStatus = Literal["running", "completed"]
Action = Literal["delete", "report"]

MAX_LIMIT = 1_000_000


class RetentionSweepCreate(Request):
    """The scope of a sweep. Without fields: a real sweep of everything due now."""

    dry_run: bool = Field(False, description="Only report what a sweep would do; nothing is deleted")
    as_of: AwareDatetime | None = Field(
        None, description="Sweep as of this time; default: now. Only a dry run may use a future time"
    )
    policies: list[Annotated[str, Field(max_length=100)]] | None = Field(
        None, min_length=1, max_length=100, description="Only places under these policies; default: all"
    )
    limit: int | None = Field(None, ge=1, le=MAX_LIMIT, description="Maximum number of due records to examine")


class RetentionLine(Resource):
    """What a sweep found in one place under one policy, so far."""

    place: str = Field(description="A table, or a prefix of a bucket: `table audit_log`, `bucket exports/archives/`")
    policy: str
    law: str
    article: str
    due_until: date = Field(description="The last day, in India, whose records the policy no longer keeps")
    action: Action = Field(description="report: due records are only reported, and a person decides")
    due: int = Field(description="Records whose period has ended")
    deleted: int = Field(
        description="Records deleted with everything that belongs to them; in a dry run, records that would be deleted"
    )
    held: int = Field(description="Due records that a legal hold keeps")
    failed: int = Field(description="Due records that could not be deleted; the next sweep retries")


class RetentionSweep(Resource):
    """One sweep and its report, which grows while it runs."""

    id: UUID
    version: int
    status: SweepStatus
    dry_run: bool
    as_of: AwareDatetime
    policies: list[str] | None
    limit: int | None
    started_by: str = Field(description="The user who started it, or `schedule`")
    complete: bool = Field(description="Whether it examined everything due; false while running or limited")
    created_at: AwareDatetime
    finished_at: AwareDatetime | None
    lines: list[RetentionLine]


class RetentionSweepPage(Page[RetentionSweep]):
    """Sweeps, newest first."""


class HeldRow(Request):
    """One row of a table."""

    table: str = Field(max_length=63, description="A table that is swept, for example `trades`")
    id: str = Field(
        min_length=1,
        max_length=200,
        description="The value of its key, in any spelling; for a composite key, the columns joined by `/`",
    )


class LegalHoldCreate(Request):
    """What to keep regardless of its period: all records of a partner, or one row with everything that belongs to it."""

    subject_id: UUID | None = Field(None, description="The partner whose records are kept")
    row: HeldRow | None = None
    reason: str = Field(
        min_length=1, max_length=500, description="A reference, for example a case number. Do not name a person"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.subject_id is None) == (self.row is None):
            raise ValueError("Name either subject_id or row")
        return self


class LegalHold(Resource):
    """What is or was held, by whom, from when until when."""

    id: UUID
    subject_id: UUID | None
    row: HeldRow | None
    reason: str
    placed_by: str
    held_from: AwareDatetime
    released_by: str | None
    released_at: AwareDatetime | None


class LegalHoldPage(Page[LegalHold]):
    """Legal holds, newest first."""
