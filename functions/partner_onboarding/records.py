"""What the database has of a partner, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from .review_schemas import CheckResult
from .schemas import CheckKind, Constitution, PartnerDocument, PartnerStatus, PartnerType

Document = PartnerDocument


@dataclass(frozen=True, slots=True)
class OpenClarification:
    """A field or document that the partner has to explain, correct or upload."""

    field: str
    reason_code: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """A partner without what is encrypted."""

    id: UUID
    version: int
    status: PartnerStatus
    type: PartnerType
    constitution: Constitution
    submission: int
    """How often it was submitted: a result of the checks of an earlier one changes nothing."""
    clarifications: tuple[OpenClarification, ...]
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """A partner's row: the account, and column -> ciphertext."""

    account: Account
    sealed: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one submission."""

    id: UUID
    kind: CheckKind
    submission: int
    attempts: int
    result: CheckResult | None
    explanation: tuple[str, ...]
    provider: str | None
    provider_reference: str | None
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check came to."""

    result: CheckResult
    explanation: tuple[str, ...] = ()
    """Codes; the first one of `reasons.json`, where the partner can mend it."""
    provider: str | None = None
    provider_reference: str | None = None
    evidence: Mapping[str, object] = field(default_factory=dict[str, object])
    """What the provider answered: personal data."""
