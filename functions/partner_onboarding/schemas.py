"""Partners as the API takes and shows them. Of what identifies somebody an answer shows the end only."""

from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, model_validator

from kapas.schemas.common import OptionalRequest, Page, PageQuery, Request, Resource, Sha256, StateCode, Upload
from kapas.schemas.vocabulary import PartnerStatus, PartnerType

Constitution = Literal[
    "individual",
    "proprietorship",
    "hindu_undivided_family",
    "partnership",
    "limited_liability_partnership",
    "private_limited",
    "public_limited",
    "trust",
    "society",
    "cooperative_society",
    "government",
]
DocumentKind = Literal[
    "partnership_deed",
    "trust_deed",
    "registration_certificate",
    "family_declaration",
    "address_proof",
    "bank_proof",
    "identity_proof",
]
CheckKind = Literal["gst_registry", "bank_account", "screening"]

Name = Annotated[str, Field(min_length=2, max_length=200)]


def _compact(value: object) -> object:
    """Identifiers are written with spaces or hyphens, and in small letters."""
    return "".join(value.split()).replace("-", "").upper() if isinstance(value, str) else value


Compact = BeforeValidator(_compact)
Pan = Annotated[
    str,
    Compact,
    Field(
        pattern=r"^[A-Z]{3}[ABCFGHJLPTK][A-Z][0-9]{4}[A-Z]$",
        description="Permanent Account Number. Only its form is checked, not its registration with the Income Tax Department",
    ),
]
Phone = Annotated[str, Field(pattern=r"^\+91[6-9][0-9]{9}$", description="Indian mobile number in E.164")]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[A-Za-z0-9-]{2,}$")]


class Identifiers(Request):
    """Identifiers of the partner in public registers. Spaces, hyphens and lower case are accepted."""

    pan: Pan | None = None
    gstin: Annotated[str, Compact, Field(pattern=r"^[0-9A-Z]{15}$", description="GST registration")] | None = None
    udyam: (
        Annotated[str, Compact, Field(pattern=r"^UDYAM[A-Z]{2}[0-9]{9}$", description="Udyam (MSME) registration")]
        | None
    ) = None
    cin: Annotated[str, Compact, Field(pattern=r"^[0-9A-Z]{21}$", description="Corporate Identity Number")] | None = (
        None
    )
    llpin: Annotated[str, Compact, Field(pattern=r"^[A-Z]{3}[0-9]{4}$", description="LLP's number")] | None = None
    iec: Annotated[str, Compact, Field(pattern=r"^[0-9A-Z]{10}$", description="Importer Exporter Code")] | None = None
    fssai: Annotated[str, Compact, Field(pattern=r"^[12][0-9]{13}$", description="FSSAI licence")] | None = None
    lei: Annotated[str, Compact, Field(pattern=r"^[0-9A-Z]{20}$", description="Legal Entity Identifier")] | None = None


class Contact(Request):
    """The contact person."""

    name: Name
    phone: Phone
    email: Email | None = None


AddressLine = Annotated[str, Field(min_length=3, max_length=300)]
City = Annotated[str, Field(min_length=2, max_length=100)]
Pin = Annotated[str, Field(pattern=r"^[1-9][0-9]{5}$", description="Postal index number")]


class Address(Request):
    """The principal place of business."""

    line: AddressLine
    city: City
    pin: Pin
    state_code: StateCode


Ifsc = Annotated[str, Compact, Field(pattern=r"^[A-Z]{4}0[A-Z0-9]{6}$", description="The branch")]
AccountNumber = Annotated[str, Compact, Field(pattern=r"^[0-9A-Z]{6,20}$", description="With its leading zeros")]


class BankAccount(Request):
    """The account that receives payments. It must be the partner's own: the bank's name for the holder is compared."""

    ifsc: Ifsc
    number: AccountNumber


class BeneficialOwner(Request):
    """A natural person who owns or controls the partner."""

    name: Name
    basis: Literal["ownership", "control", "senior_managing_official"] = Field(
        "ownership",
        description="If nobody owns 10% or controls the partner otherwise, name the senior managing official",
    )
    share_percent: Decimal | None = Field(None, ge=10, le=100, max_digits=5, decimal_places=2)
    pan: Pan | None = None

    @model_validator(mode="after")
    def _an_owner_has_a_share(self) -> Self:
        if (self.basis == "ownership") != (self.share_percent is not None):
            raise ValueError(
                "share_percent, at least 10, is required with the basis ownership and not allowed with another"
            )
        return self


Owners = Annotated[list[BeneficialOwner], Field(max_length=10, description="Each owner of at least 10%")]


class PartnerProfile(Request):
    """A partner's details. `requirements` lists what is still missing."""

    legal_name: Name = Field(description="As on the PAN card")
    contact: Contact
    identifiers: Identifiers = Identifiers()
    address: Address | None = None
    bank_account: BankAccount | None = None
    beneficial_owners: Owners = Field(default_factory=list[BeneficialOwner])

    @model_validator(mode="after")
    def _shares_are_parts_of_a_whole(self) -> Self:
        if sum(owner.share_percent or 0 for owner in self.beneficial_owners) > 100:
            raise ValueError("the shares of the beneficial owners add up to more than 100%")
        return self


class PartnerCreate(PartnerProfile):
    """The registration of a partner."""

    type: PartnerType
    constitution: Constitution


class ContactChange(Request):
    """Null removes the e-mail address."""

    name: Name | None = None
    phone: Phone | None = None
    email: Email | None = None


class AddressChange(Request):
    """Omitted members stay, including `line`, which no answer shows."""

    line: AddressLine | None = None
    city: City | None = None
    pin: Pin | None = None
    state_code: StateCode | None = None


class BankAccountChange(Request):
    """Omitted members stay."""

    ifsc: Ifsc | None = None
    number: AccountNumber | None = None


class PartnerChange(Request):
    """A merge patch (RFC 7396): omitted members stay, null removes a member, lists are replaced.

    An active or suspended partner can change its contact and, within its state, its address.
    """

    legal_name: Name | None = None
    contact: ContactChange | None = None
    identifiers: Identifiers | None = None
    address: AddressChange | None = None
    bank_account: BankAccountChange | None = None
    beneficial_owners: Owners | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("Name at least one member to change")
        return self


class Submit(OptionalRequest):
    """A submission for the checks. Without a body, no field is confirmed."""

    confirmed: list[str] = Field(
        default_factory=list[str],
        max_length=20,
        description="Questioned fields that are correct as they are, for this submission. For a document, upload it instead",
        examples=[["identifiers.gstin"]],
    )


class RequirementError(BaseModel):
    """A detail that is wrong. `field` is a path into the partner, such as `identifiers.gstin`."""

    field: str
    code: str
    message: str
    how_to_mend: str


class Requirements(Resource):
    """What is missing for the activation of the partner."""

    currently_due: list[str] = Field(description="Required fields and documents")
    past_due: list[str] = Field(description="Overdue ones among them")
    pending_verification: list[str] = Field(description="Fields being checked")
    errors: list[RequirementError]
    due_at: AwareDatetime | None = Field(description="When the requirements become overdue")
    table_version: str = Field(description="The version of the table of requirements")


class PartnerWarning(BaseModel):
    """Something unusual that does not block the partner."""

    field: str
    code: str
    message: str


class MaskedContact(Resource):
    name: str
    phone: str
    email: str | None


class MaskedAddress(Resource):
    city: str
    pin: str
    state_code: str


class MaskedBankAccount(Resource):
    ifsc: str
    number: str


class MaskedOwner(Resource):
    name: str
    basis: str
    share_percent: Decimal | None
    pan: str | None


class Disabled(Resource):
    """Why a suspended or rejected partner cannot trade."""

    reason_code: str
    message: str
    how_to_mend: str
    since: AwareDatetime


class Partner(Resource):
    """A partner. Identifiers are masked: `******234K`."""

    id: UUID
    version: int
    status: PartnerStatus
    type: PartnerType
    constitution: Constitution
    legal_name: str
    contact: MaskedContact
    identifiers: dict[str, str] = Field(
        description="By kind, the last characters. The PAN is well-formed but not verified"
    )
    address: MaskedAddress | None
    bank_account: MaskedBankAccount | None
    beneficial_owners: list[MaskedOwner]
    requirements: Requirements
    warnings: list[PartnerWarning]
    disabled: Disabled | None = Field(description="Why it cannot trade, while it is suspended or rejected")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class PartnerSummary(Resource):
    """A partner without its encrypted details."""

    id: UUID
    version: int
    status: PartnerStatus
    type: PartnerType
    constitution: Constitution
    created_at: AwareDatetime
    updated_at: AwareDatetime


class PartnerPage(Page[PartnerSummary]):
    """Partners, newest first."""


class PartnerQuery(PageQuery):
    """Filters for partners."""

    status: PartnerStatus | None = None
    type: PartnerType | None = None
    overdue: bool = Field(False, description="Only partners with an overdue submission")


class DocumentCreate(Request):
    """A document to be uploaded; the upload accepts exactly these bytes."""

    kind: DocumentKind
    content_type: Literal["application/pdf", "image/jpeg", "image/png"]
    size: int = Field(ge=1, le=10 * 1024 * 1024, description="Bytes, at most 10 MiB")
    sha256: Sha256


class PartnerDocument(Resource):
    """A document of a partner."""

    id: UUID
    version: int
    kind: DocumentKind
    content_type: str
    size: int
    sha256: str
    status: Literal["awaiting_upload", "uploaded"]
    created_at: AwareDatetime


class PartnerDocumentCreated(PartnerDocument):
    """A document with its upload URL."""

    upload: Upload


class PartnerDocumentRead(PartnerDocument):
    """A document with a short-lived download URL, which is null before the upload."""

    download_url: str | None


class PartnerDocumentList(Resource):
    """The documents of one partner, newest first."""

    data: list[PartnerDocument]
