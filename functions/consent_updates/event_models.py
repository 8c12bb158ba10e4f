"""Events of consent decisions."""

from typing import ClassVar
from uuid import UUID

from pydantic import AwareDatetime

from kapas.messaging.events import EventData

from .schemas import NoticeReference, Purpose, Sha256


class ConsentEvent(EventData):
    topic: ClassVar[str] = "privacy-events"
    source: ClassVar[str] = "/consent_updates"

    partner_id: UUID
    record_id: UUID
    purpose: Purpose
    notice: NoticeReference
    record_hash: Sha256


class ConsentGranted(ConsentEvent):
    """A partner consented to a purpose, until it withdraws or the consent expires. The subject is its ledger."""

    type: ClassVar[str] = "consent.granted.v1"

    valid_until: AwareDatetime


class ConsentDenied(ConsentEvent):
    """A partner denied a purpose; processors for it must stop. The subject is its ledger."""

    type: ClassVar[str] = "consent.denied.v1"


class ConsentWithdrawn(ConsentEvent):
    """A partner withdrew its consent to a purpose; processors for it must stop. The subject is its ledger."""

    type: ClassVar[str] = "consent.withdrawn.v1"


class ConsentExpired(ConsentEvent):
    """A consent expired after a year; processors for its purpose must stop. The subject is the grant's record."""

    type: ClassVar[str] = "consent.expired.v1"

    valid_until: AwareDatetime
