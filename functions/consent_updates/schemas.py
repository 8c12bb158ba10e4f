"""Consents, their notices, receipts and dispatches as the API shows them.

The fields of a record are those of ISO/IEC TS 27560:2023 (consent record information structure).
"""

from typing import Annotated, Any, Literal, Self, get_args
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from kapas.privacy.consents import PURPOSES, Purpose
from kapas.schemas.common import Page, PageQuery, Query, Request, Resource, Sha256

# fmt: off
Language = Literal["en", "as", "bn", "brx", "doi", "gu", "hi", "kn", "kok", "ks", "mai", "ml", "mni", "mr", "ne", "or", "pa",
                   "sa", "sat", "sd", "ta", "te", "ur"]
# fmt: on
"""English and the languages of the Eighth Schedule to the Constitution (DPDP Act s.5(3)), by ISO 639. A notice is in some."""
LANGUAGES: tuple[Language, ...] = get_args(Language)
Decision = Literal["granted", "denied", "withdrawn"]
Refusal = Literal["notice_unknown", "notice_mismatch", "notice_superseded", "purpose_unknown", "not_granted"]
DispatchStatus = Literal["open", "acknowledged", "superseded"]
EndReason = Literal["decision", "expiry", "erasure"]

NamedPartner = Annotated[
    UUID | None, Field(description="The partner; only the data protection officer may name another than its own")
]

# Notices


class NoticeReference(BaseModel):
    """The notice that was shown, as returned by `GET /v1/consent-notices`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$", description="For example 2026-11-01")
    language: Language
    sha256: Sha256


class PurposeNotice(Resource):
    """What a notice says about one purpose (DPDP Act s.5(1)(i), Rules r.3(b))."""

    purpose: Purpose
    title: str
    personal_data: list[str] = Field(description="Itemised")
    why: str
    service: str = Field(description="The goods or service that the purpose enables")
    shared_with: str
    if_refused: str = Field(description="What happens without this consent")


class NoticeLink(Resource):
    """Instructions with a link."""

    text: str
    url: str


class NoticeContent(Resource):
    """The self-contained text of a notice (Rules r.3(a))."""

    title: str
    fiduciary: str
    introduction: str
    purposes: list[PurposeNotice]
    validity: str
    withdraw: NoticeLink
    rights: NoticeLink
    complaint: NoticeLink
    contact: str


class ConsentNotice(Resource):
    """A notice in one language. Show the whole `content`, and send the other members back with each decision."""

    version: str
    language: Language
    sha256: Sha256 = Field(description="SHA-256 of `content` as canonical JSON (RFC 8785), in hexadecimal")
    effective_from: AwareDatetime
    content: NoticeContent


class NoticeQuery(Query):
    """The language of the notice."""

    language: Language = Field("en", description="Published so far: en English, hi Hindi, gu Gujarati")


# Decisions


class ConsentDecide(Request):
    """A decision on one purpose."""

    purpose: Purpose
    decision: Decision
    notice: NoticeReference
    comment: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="In the person's own words; from the data protection officer, how the partner communicated it",
    )


class ConsentsDecide(Request):
    """Decisions on one or more purposes, each judged on its own. Omitted purposes do not change."""

    partner_id: NamedPartner = None
    decisions: list[ConsentDecide] = Field(min_length=1, max_length=len(PURPOSES))

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({decide.purpose for decide in self.decisions}) < len(self.decisions):
            raise ValueError("Decide each purpose once")
        return self


class ConsentOutcome(Resource):
    """The outcome of one decision."""

    purpose: Purpose
    decision: Decision
    outcome: Literal["recorded", "refused"]
    record_id: UUID | None = Field(None, description="If recorded")
    sequence: int | None = Field(None, description="If recorded: its position in the ledger")
    code: Refusal | None = Field(None, description="If refused")
    message: str | None = Field(None, description="If refused: what to do instead")


class ConsentsDecided(Resource):
    """The outcome of each decision. The recorded ones are recorded together and signed in one receipt."""

    decision_id: UUID
    version: int = Field(description="Version of the ledger: the sequence of its last record")
    decided_at: AwareDatetime
    outcomes: list[ConsentOutcome] = Field(description="In the order of the request")
    receipt: str = Field(description="JWS in compact form (RFC 7515, ES256) over the records")


# What was decided


class ConsentState(Resource):
    """The state of one purpose."""

    purpose: Purpose
    state: Decision | Literal["not_decided"] = Field(description="The last decision; nothing is granted by default")
    in_force: bool = Field(description="Whether processing is allowed: granted, not expired, and no erasure requested")
    record_id: UUID | None
    sequence: int | None
    notice: NoticeReference | None
    decided_at: AwareDatetime | None
    valid_until: AwareDatetime | None = Field(description="Of a grant")


class ConsentStates(Resource):
    """The state of every purpose at one time."""

    version: int = Field(description="Sequence of the last record at that time; 0 before the first")
    at: AwareDatetime
    data: list[ConsentState]


class ConsentQuery(Query):
    """The partner whose consents to read."""

    partner_id: NamedPartner = None


class HistoryQuery(PageQuery):
    """A page of the records of a partner."""

    partner_id: NamedPartner = None


class AsOfQuery(ConsentQuery):
    """A past time."""

    at: AwareDatetime = Field(description="RFC 3339, for example 2026-11-24T06:30:00Z")


class ConsentRecord(Resource):
    """One record of the ledger. Members that identify a person are shown to the principal and stored encrypted."""

    schema_version: str
    record_id: UUID
    principal_id: UUID
    sequence: int
    decision_id: UUID
    notice: NoticeReference
    purpose: Purpose
    pii_information: list[str]
    controllers: list[dict[str, str]]
    storage_locations: list[str]
    retention: str = Field(description="ISO 8601 duration")
    jurisdiction: str
    recipients: list[str]
    withdrawal_method: str
    event_time: AwareDatetime
    valid_until: AwareDatetime | None
    entity: str | None = Field(
        description="Who decided: the subject of the access token, or `dpo:` and that of the data protection officer who "
        "recorded what the partner said elsewhere; null once erased"
    )
    comment: str | None
    type: str = Field(description="Kind of consent")
    state: Decision
    previous_hash: Sha256
    hash: Sha256


class ConsentHistory(Page[ConsentRecord]):
    """Records, newest first."""


# Receipts


class ConsentReceipt(Resource):
    """The signed receipt of one decision."""

    decision_id: UUID
    receipt: str = Field(description="JWS in compact form (RFC 7515, ES256) over the records")


class ReceiptKeys(Resource):
    """The public keys that receipts are signed with, as a JSON Web Key Set (RFC 7517)."""

    keys: list[dict[str, Any]]


# Dispatches


class DispatchQuery(PageQuery):
    """Filters for dispatches."""

    status: DispatchStatus = "open"
    overdue: bool = Field(False, description="Only overdue ones")
    processor: str | None = Field(None, max_length=100, description="Only dispatches to this processor")


class ConsentDispatch(Resource):
    """A processor must be notified that a consent ended, and must confirm that it stopped (DPDP Act s.6(6), s.8(7)(b))."""

    id: UUID
    version: int
    principal_id: UUID
    record_id: UUID = Field(description="The decision that ended the consent, or the grant that ended without one")
    purpose: Purpose
    reason: EndReason = Field(description="What ended the consent: a decision, the end of its year, or an erasure")
    processor: str
    status: DispatchStatus = Field(description="superseded: the partner consented again before it was acknowledged")
    due_at: AwareDatetime = Field(description="Deadline for the acknowledgement")
    created_at: AwareDatetime
    acknowledged_at: AwareDatetime | None
    acknowledged_by: str | None = Field(description="The staff member who recorded the acknowledgement")
    superseded_at: AwareDatetime | None


class ConsentDispatchPage(Page[ConsentDispatch]):
    """Dispatches, the earliest due first."""
