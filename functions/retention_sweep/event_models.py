"""Events of retention sweeps, shown to no partner."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from kapas.messaging.events import EventData


class RetentionEvent(EventData):
    topic: ClassVar[str] = "privacy-events"
    source: ClassVar[str] = "/retention_sweep"
    private: ClassVar[bool] = True

    sweep_id: UUID
    dry_run: bool
    as_of: AwareDatetime


class RetentionStarted(RetentionEvent):
    """A sweep started; `actor` is the user who started it, or `schedule`. Visible to no partner."""

    type: ClassVar[str] = "retention.started.v1"

    actor: str
    policies: list[str] | None


class RetentionSwept(RetentionEvent):
    """A sweep ended, with the numbers of due, deleted, held and failed records. Visible to no partner."""

    type: ClassVar[str] = "retention.swept.v1"

    complete: bool
    due: int
    deleted: int
    held: int
    failed: int
