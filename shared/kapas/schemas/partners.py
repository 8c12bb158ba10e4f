"""Partners as the API shows them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from kapas.schemas.common import Page, Request, Resource

PartnerType = Literal["farmer", "ginner", "trader", "broker", "spinning_mill"]
PartnerStatus = Literal["created", "active"]
Name = Annotated[str, Field(min_length=2, max_length=200)]


class PartnerCreate(Request):
    """A partner registers."""

    type: PartnerType
    legal_name: Name = Field(description="As on the PAN card")
    contact_name: Name
    phone: str = Field(pattern=r"^\+91[6-9][0-9]{9}$", description="Indian mobile number in E.164")
    pan: str = Field(
        pattern=r"^[A-Z]{3}[ABCFGHJLPTK][A-Z][0-9]{4}[A-Z]$",
        description="Permanent Account Number. It is checked for its form, not with the Income Tax Department",
    )
    state_code: str = Field(pattern=r"^[0-9]{2}$", description="GST state code of the place of business, 24 is Gujarat")


class Partner(Resource):
    """A partner. Of identifiers only the end is shown."""

    id: UUID
    version: int
    status: PartnerStatus
    type: PartnerType
    state_code: str
    legal_name: str
    contact_name: str
    phone_ending: str = Field(description="The last four digits")
    pan_ending: str = Field(description="The last four characters")
    created_at: AwareDatetime
    updated_at: AwareDatetime


class PartnerSummary(Resource):
    """A partner in a list: nothing that is kept encrypted."""

    id: UUID
    version: int
    status: PartnerStatus
    type: PartnerType
    state_code: str
    created_at: AwareDatetime


class PartnerPage(Page[PartnerSummary]):
    """Partners, newest first."""
