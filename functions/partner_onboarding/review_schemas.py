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
    """Let the partner trade. A check that is not `clear` holds it up, unless the decision names it and says why.

    Without a body, nothing is accepted.
    """

    accepted_checks: list[CheckKind] = Field(default_factory=list[CheckKind])
    reason_code: ReasonCode | None = Field(None, description="Why they are accepted")


class Reason(Request):
    """Why, as the partner reads it in `disabled`: never what the screening found, for which there is `platform_decision`."""

    reason_code: ReasonCode


class Reclassify(Request):
    """What kind of partner it is. What is left out stays."""

    type: PartnerType | None = None
    constitution: Constitution | None = None

    @model_validator(mode="after")
    def _something_is_corrected(self) -> Self:
        if self.type is None and self.constitution is None:
            raise ValueError("name the type, the constitution or both")
        return self


class Clarification(BaseModel):
    """A field or document that is asked about, and why."""

    field: str = Field(pattern=r"^[a-z_]{1,40}(\.[a-z_]{1,40})?$", examples=["documents.address_proof"])
    reason_code: ReasonCode


class ClarificationRequest(Request):
    """What the partner is asked to mend."""

    clarifications: list[Clarification] = Field(min_length=1, max_length=20)


class ScreeningHit(Resource):
    """Somebody listed who is like the partner or one of its owners; `score` from 0 to 1."""

    name: str
    score: float
    features: dict[str, float] = Field(description="What is alike, and how much")


class CheckEvidence(Resource):
    """What the provider of a check answered: of a registry and a bank the first two, of a screening the others."""

    status: str | None = Field(
        default=None, description="Of the registration or the penny drop, in the provider's word"
    )
    registered_name: str | None = Field(default=None, description="Whom the provider names as the holder")
    hits: list[ScreeningHit] = Field(default_factory=list[ScreeningHit])
    list_version: str | None = None
    list_published_at: AwareDatetime | None = None


class PartnerCheck(Resource):
    """One check of one submission. `result` is null while it is under way; `unavailable` is never `clear`."""

    kind: CheckKind
    submission: int
    result: CheckResult | None
    explanation: list[str] = Field(description="Codes that say why")
    evidence: CheckEvidence | None = Field(description="For operations and the data protection officer, else null")
    provider: str | None
    provider_reference: str | None
    attempts: int
    created_at: AwareDatetime
    completed_at: AwareDatetime | None


class RiskFactor(BaseModel):
    name: str
    points: int


class Risk(BaseModel):
    """How closely to look. The factors add up to the score."""

    score: int
    level: Literal["low", "medium", "high"]
    factors: list[RiskFactor]
    policy_version: str


class PartnerDecision(Resource):
    """What somebody of operations decided, with the risk as it stood."""

    id: UUID
    action: DecisionAction
    reason_code: str | None
    accepted_checks: list[CheckKind]
    clarifications: list[Clarification]
    type: PartnerType | None = Field(description="What it was corrected to, as the constitution")
    constitution: Constitution | None
    risk: Risk
    decided_by: str
    decided_at: AwareDatetime


class RejectedAlike(Resource):
    """Another partner, which was rejected, with the same details."""

    partner_id: UUID
    same: list[Literal["identifiers.pan", "identifiers.gstin", "bank_account"]]


class PartnerReview(Resource):
    """What operations decide on: checks are evidence, the decision is a person's."""

    partner_id: UUID
    version: int
    status: PartnerStatus
    submission: int
    checks: list[PartnerCheck] = Field(description="Of the current submission")
    risk: Risk
    rejected_alike: list[RejectedAlike] = Field(description="Who was rejected with the same PAN, GSTIN or account")
    decisions: list[PartnerDecision] = Field(description="Newest first")
