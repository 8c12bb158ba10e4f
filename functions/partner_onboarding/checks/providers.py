"""Who is asked about a partner: the GST registry, a bank by penny drop, a screening list. `provider_clients` asks them.

A provider that does not answer, answers nonsense, or has no current list is `Unavailable`, which is never a clear
result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Protocol
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, FiniteFloat

from kapas.errors import Unavailable
from kapas.platform.settings import Settings

MAX_LIST_AGE = timedelta(days=7)
"""How old a screening list may be."""
MAX_AHEAD = timedelta(days=1)
"""How far its date may be ahead of the clock: a list dated years ahead would count as current for years."""


class ProviderSettings(Settings):
    """Where the providers are."""

    gst_registry_url: str
    bank_verification_url: str
    screening_url: str
    provider_key: str = ""
    """What the providers know this platform by, sent as a bearer token."""
    provider_timeout: float = 5.0
    """Seconds for one answer, all in all."""


Text = Annotated[str, Field(max_length=1000, pattern=r"\A[^\x00]*\z")]
"""Text that PostgreSQL can store: no NUL, and bounded."""


class GstRecord(BaseModel):
    """What the registry has of a GSTIN; `found` is false where it has nothing."""

    reference: Text
    found: bool
    status: Text = ""
    legal_name: Text = ""


class BankRecord(BaseModel):
    """How a penny drop went, and whom the bank names as the holder."""

    reference: Text
    status: Text
    """`credited`, `closed` or `unknown`."""
    registered_name: Text = ""


class ScreeningList(BaseModel):
    version: Text
    published_at: AwareDatetime


class Hit(BaseModel):
    """Somebody listed who is like one of those asked about; `score` from 0 to 1."""

    name: Text
    score: float = Field(ge=0, le=1)
    features: dict[Text, FiniteFloat] = {}


class ScreeningRecord(BaseModel):
    reference: Text
    list: ScreeningList | None
    hits: "Sequence[Hit]"


class GstRegistry(Protocol):
    def lookup(self, gstin: str, name: str, check_id: UUID) -> GstRecord:
        """What is registered under `gstin`. Raises `Unavailable`."""
        ...


class BankVerification(Protocol):
    def penny_drop(self, ifsc: str, number: str, name: str, check_id: UUID) -> BankRecord:
        """Credit one rupee to the account and see whose it is. Raises `Unavailable`."""
        ...


class Screening(Protocol):
    def search(self, names: Sequence[str], check_id: UUID) -> ScreeningRecord:
        """Who on the list is like one of `names`. Raises `Unavailable`, also where the list is missing or stale."""
        ...


@dataclass(frozen=True, slots=True)
class Providers:
    gst_registry: GstRegistry
    bank: BankVerification
    screening: Screening


def check_list(found: ScreeningRecord, now: datetime) -> None:
    """Raise `Unavailable` unless a current list was searched."""
    if found.list is None:
        raise Unavailable("The screening has no list")
    if now - found.list.published_at > MAX_LIST_AGE:
        raise Unavailable("The screening list is stale")
    if found.list.published_at - now > MAX_AHEAD:
        raise Unavailable("The screening list has a date in the future")
