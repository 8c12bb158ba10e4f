"""What the platform's operations sees of partners and decides on them."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from kapas.schemas.common import OptionalRequest, Request, Resource

from .schemas import CheckKind, Constitution, PartnerStatus, PartnerType

CheckResult = Literal["clear", "review", "mismatch", "unavailable"]
DecisionAction = Literal["activate", "reject", "request_clarification", "suspend", "reinstate", "recheck", "reclassify"]
ReasonCode = Annotated[str, Field(pattern=r"^[a-z][a-z_]{2,49}$", examples=["illegible_document"])]


class Activate(OptionalRequest):
    """An activation. It must name each check that is not `clear`, with a reason for accepting it.

    Without a body, no such check is accepted.
    """

    accepted_checks: list[CheckKind] = Field(default_factory=list[CheckKind])
    reason_code: ReasonCode | None = Field(None, description="Why they are accepted")


class Reason(Request):
    """The reason that the partner reads in `disabled`. Never a screening result: use `platform_decision` for that."""

    reason_code: ReasonCode


class Reclassify(Request):
    """The corrected type or constitution. Omitted members stay."""

    type: PartnerType | None = None
    constitution: Constitution | None = None

    @model_validator(mode="after")
    def _something_is_corrected(self) -> Self:
        if self.type is None and self.constitution is None:
            raise ValueError("name the type, the constitution or both")
        return self


class Clarification(BaseModel):
    """A questioned field or document, and the reason."""

    field: str = Field(pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40})?$", examples=["documents.address_proof"])
    reason_code: ReasonCode


class ClarificationRequest(Request):
    """The corrections requested from the partner."""

    clarifications: list[Clarification] = Field(min_length=1, max_length=20)


class ScreeningHit(Resource):
    """A listed person or entity similar to the partner or one of its owners; `score` from 0 to 1."""

    name: str
    score: float
    features: dict[str, float] = Field(description="What matches, and how closely")


class CheckEvidence(Resource):
    """The provider's answer to a check: a registry or bank fills the first two members, a screening the others."""

    status: str | None = Field(
        default=None, description="Status of the registration or the penny drop, as the provider reports it"
    )
    registered_name: str | None = Field(default=None, description="The holder's name at the provider")
    hits: list[ScreeningHit] = Field(default_factory=list[ScreeningHit])
    list_version: str | None = None
    list_published_at: AwareDatetime | None = None


class PartnerCheck(Resource):
    """One check of one submission. `result` is null while it is running; `unavailable` is never `clear`."""

    kind: CheckKind
    submission: int
    result: CheckResult | None
    explanation: list[str] = Field(description="Reason codes")
    evidence: CheckEvidence | None = Field(description="For operations and the data protection officer; otherwise null")
    provider: str | None
    provider_reference: str | None
    attempts: int
    created_at: AwareDatetime
    completed_at: AwareDatetime | None


class RiskFactor(BaseModel):
    name: str
    points: int


class Risk(BaseModel):
    """The risk rating. The factors add up to the score."""

    score: int
    level: Literal["low", "medium", "high"]
    factors: list[RiskFactor]
    policy_version: str


class PartnerDecision(Resource):
    """A decision by operations, with the risk at that time."""

    id: UUID
    action: DecisionAction
    reason_code: str | None
    accepted_checks: list[CheckKind]
    clarifications: list[Clarification]
    type: PartnerType | None = Field(description="The corrected value, for example the constitution")
    constitution: Constitution | None
    risk: Risk
    decided_by: str
    decided_at: AwareDatetime


class RejectedAlike(Resource):
    """A rejected partner with the same details."""

    partner_id: UUID
    same: list[Literal["identifiers.pan", "identifiers.gstin", "bank_account"]]


class PartnerReview(Resource):
    """The basis for a decision: checks are evidence, a person decides."""

    partner_id: UUID
    version: int
    status: PartnerStatus
    submission: int
    checks: list[PartnerCheck] = Field(description="Of the current submission")
    risk: Risk
    rejected_alike: list[RejectedAlike] = Field(description="Rejected partners with the same PAN, GSTIN or account")
    decisions: list[PartnerDecision] = Field(description="Newest first")
