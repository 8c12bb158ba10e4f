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

NamedPartner = Annotated[UUID | None, Field(description="Whose: only the data protection officer names another's")]

# Notices


class NoticeReference(BaseModel):
    """The notice that was shown, as `GET /v1/consent-notices` gave it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$", description="For example 2026-11-01")
    language: Language
    sha256: Sha256


class PurposeNotice(Resource):
    """What a notice says of one purpose (DPDP Act s.5(1)(i), Rules r.3(b))."""

    purpose: Purpose
    title: str
    personal_data: list[str] = Field(description="Itemised")
    why: str
    service: str = Field(description="The goods or service that it makes possible")
    shared_with: str
    if_refused: str = Field(description="What happens without this consent")


class NoticeLink(Resource):
    """How to do something, and where."""

    text: str
    url: str


class NoticeContent(Resource):
    """The text of a notice, standing on its own (Rules r.3(a))."""

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
    """A notice in one language. Show `content` as a whole, and send the rest back with each decision."""

    version: str
    language: Language
    sha256: Sha256 = Field(description="Of `content` as canonical JSON (RFC 8785), in hexadecimal")
    effective_from: AwareDatetime
    content: NoticeContent


class NoticeQuery(Query):
    """In which language."""

    language: Language = Field("en", description="Published so far: en English, hi Hindi, gu Gujarati")


# Decisions


class ConsentDecide(Request):
    """What was decided of one purpose."""

    purpose: Purpose
    decision: Decision
    notice: NoticeReference
    comment: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="In the person's own words; of the data protection officer, how the partner said it",
    )


class ConsentsDecide(Request):
    """Decisions on some purposes, each on its own. A purpose that is left out stays as it is."""

    partner_id: NamedPartner = None
    decisions: list[ConsentDecide] = Field(min_length=1, max_length=len(PURPOSES))

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({decide.purpose for decide in self.decisions}) < len(self.decisions):
            raise ValueError("Decide each purpose once")
        return self


class ConsentOutcome(Resource):
    """What became of one decision."""

    purpose: Purpose
    decision: Decision
    outcome: Literal["recorded", "refused"]
    record_id: UUID | None = Field(None, description="Where recorded")
    sequence: int | None = Field(None, description="Where recorded: its place in the ledger")
    code: Refusal | None = Field(None, description="Where refused")
    message: str | None = Field(None, description="Where refused: what to do instead")


class ConsentsDecided(Resource):
    """What became of each decision. Those that were recorded are recorded together, and signed in one receipt."""

    decision_id: UUID
    version: int = Field(description="Of the ledger after this: the sequence of its last record")
    decided_at: AwareDatetime
    outcomes: list[ConsentOutcome] = Field(description="In the order of the request")
    receipt: str = Field(description="JWS in compact form (RFC 7515, ES256) over the records")


# What was decided


class ConsentState(Resource):
    """Where one purpose stands."""

    purpose: Purpose
    state: Decision | Literal["not_decided"] = Field(description="The last decision; nothing is granted by default")
    in_force: bool = Field(
        description="Whether processing may rest on it: granted, not expired, and no erasure asked for"
    )
    record_id: UUID | None
    sequence: int | None
    notice: NoticeReference | None
    decided_at: AwareDatetime | None
    valid_until: AwareDatetime | None = Field(description="Of a grant")


class ConsentStates(Resource):
    """Where every purpose stands at a moment."""

    version: int = Field(description="The sequence of the last record up to then; 0 before the first")
    at: AwareDatetime
    data: list[ConsentState]


class ConsentQuery(Query):
    """Whose consents."""

    partner_id: NamedPartner = None


class HistoryQuery(PageQuery):
    """A page of whose records."""

    partner_id: NamedPartner = None


class AsOfQuery(ConsentQuery):
    """A moment in the past."""

    at: AwareDatetime = Field(description="RFC 3339, for example 2026-11-24T06:30:00Z")


class ConsentRecord(Resource):
    """One record of the ledger. What identifies a person is shown to the principal and kept encrypted."""

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
    """Which dispatches to list."""

    status: DispatchStatus = "open"
    overdue: bool = Field(False, description="Only those that should have been acknowledged by now")
    processor: str | None = Field(None, max_length=100, description="Only those of this processor")


class ConsentDispatch(Resource):
    """A processor has to be told that a consent ended, and to say that it stopped (DPDP Act s.6(6), s.8(7)(b))."""

    id: UUID
    version: int
    principal_id: UUID
    record_id: UUID = Field(description="The decision that ended it, or else the grant that has ended")
    purpose: Purpose
    reason: EndReason = Field(description="What ended it: a decision, its year, or that the partner is being erased")
    processor: str
    status: DispatchStatus = Field(description="superseded: the partner consented again before it was acknowledged")
    due_at: AwareDatetime = Field(description="By when it should have acknowledged")
    created_at: AwareDatetime
    acknowledged_at: AwareDatetime | None
    acknowledged_by: str | None = Field(description="Who of the platform's staff recorded the acknowledgement")
    superseded_at: AwareDatetime | None


class ConsentDispatchPage(Page[ConsentDispatch]):
    """Dispatches, the earliest due first."""
