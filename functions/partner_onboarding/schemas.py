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
        description="Permanent Account Number. It is checked for its form, not with the Income Tax Department",
    ),
]
Phone = Annotated[str, Field(pattern=r"^\+91[6-9][0-9]{9}$", description="Indian mobile number in E.164")]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[A-Za-z0-9-]{2,}$")]


class Identifiers(Request):
    """What registers know the partner by. Spaces, hyphens and small letters are taken as well."""

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
    """Who is asked."""

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
    """Where the partner is paid. It has to be the partner's own: its bank's name for the holder is compared."""

    ifsc: Ifsc
    number: AccountNumber


class BeneficialOwner(Request):
    """A natural person who owns or controls the partner."""

    name: Name
    basis: Literal["ownership", "control", "senior_managing_official"] = Field(
        "ownership", description="Where nobody owns 10% or controls otherwise, the senior managing official is named"
    )
    share_percent: Decimal | None = Field(None, ge=10, le=100, max_digits=5, decimal_places=2)
    pan: Pan | None = None

    @model_validator(mode="after")
    def _an_owner_has_a_share(self) -> Self:
        if (self.basis == "ownership") != (self.share_percent is not None):
            raise ValueError("share_percent, from 10, goes with the basis ownership and with no other")
        return self


Owners = Annotated[list[BeneficialOwner], Field(max_length=10, description="Each owner of at least 10%")]


class PartnerProfile(Request):
    """What a partner tells of itself. What is left out is asked for in `requirements`."""

    legal_name: Name = Field(description="As on the PAN card")
    contact: Contact
    identifiers: Identifiers = Identifiers()
    address: Address | None = None
    bank_account: BankAccount | None = None
    beneficial_owners: Owners = Field(default_factory=list[BeneficialOwner])

    @model_validator(mode="after")
    def _shares_are_parts_of_a_whole(self) -> Self:
        if sum(owner.share_percent or 0 for owner in self.beneficial_owners) > 100:
            raise ValueError("the shares of the beneficial owners are more than 100% together")
        return self


class PartnerCreate(PartnerProfile):
    """A partner registers."""

    type: PartnerType
    constitution: Constitution


class ContactChange(Request):
    """Null removes the e-mail address."""

    name: Name | None = None
    phone: Phone | None = None
    email: Email | None = None


class AddressChange(Request):
    """What is left out stays, also of the line, which no answer shows."""

    line: AddressLine | None = None
    city: City | None = None
    pin: Pin | None = None
    state_code: StateCode | None = None


class BankAccountChange(Request):
    """What is left out stays."""

    ifsc: Ifsc | None = None
    number: AccountNumber | None = None


class PartnerChange(Request):
    """What changes. A member that is left out stays as it is, null removes it (RFC 7396); lists are replaced.

    Of a partner that is active or suspended, the contact and, within its state, the address.
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
    """Have the partner checked. Without a body, nothing is confirmed."""

    confirmed: list[str] = Field(
        default_factory=list[str],
        max_length=20,
        description="Fields that are asked about and hold as they are, for this submission. A document is uploaded instead",
        examples=[["identifiers.gstin"]],
    )


class RequirementError(BaseModel):
    """Something that is there and not right. `field` is a path into the partner: `identifiers.gstin`."""

    field: str
    code: str
    message: str
    how_to_mend: str


class Requirements(Resource):
    """What stands between the partner and its activation."""

    currently_due: list[str] = Field(description="Fields and documents that are asked for")
    past_due: list[str] = Field(description="Those of them that are overdue")
    pending_verification: list[str] = Field(description="Fields that are being checked")
    errors: list[RequirementError]
    due_at: AwareDatetime | None = Field(description="When what is asked for becomes overdue")
    table_version: str = Field(description="The version of the table that says what is asked for")


class PartnerWarning(BaseModel):
    """Something unusual that holds nothing up."""

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
    """Why a partner that is suspended or rejected does not trade."""

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
    identifiers: dict[str, str] = Field(description="Kind -> its end; the PAN is well-formed, which is not verified")
    address: MaskedAddress | None
    bank_account: MaskedBankAccount | None
    beneficial_owners: list[MaskedOwner]
    requirements: Requirements
    warnings: list[PartnerWarning]
    disabled: Disabled | None = Field(description="Why it does not trade, while it is suspended or rejected")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class PartnerSummary(Resource):
    """A partner without what is kept encrypted."""

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
    """Which partners to list."""

    status: PartnerStatus | None = None
    type: PartnerType | None = None
    overdue: bool = Field(False, description="Only those that have not submitted by their deadline what is asked for")


class DocumentCreate(Request):
    """A document that will be uploaded: exactly these bytes."""

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
    """A document, and where to upload it."""

    upload: Upload


class PartnerDocumentRead(PartnerDocument):
    """A document, and where to read it for a few minutes; null before it is uploaded."""

    download_url: str | None


class PartnerDocumentList(Resource):
    """The documents of one partner, newest first."""

    data: list[PartnerDocument]
