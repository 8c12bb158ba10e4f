"""Events for the audit trail alone, shown to no partner."""

from typing import ClassVar
from uuid import UUID

from kapas.messaging.events import EventData


class DataAccessed(EventData):
    """A user read personal data. The subject of the event is the access itself."""

    type: ClassVar[str] = "audit.data_accessed.v1"
    topic: ClassVar[str] = "audit-events"
    private: ClassVar[bool] = True
    source: ClassVar[str] = "/partner_onboarding"

    actor: str
    actor_role: str
    partner_id: UUID
    fields: list[str]


class ConsentsAccessed(DataAccessed):
    """The same event, for a read of a partner's consents."""

    source: ClassVar[str] = "/consent_updates"


class CounterpartyAccessed(DataAccessed):
    """The same event, of who the other side of a trade is."""

    source: ClassVar[str] = "/trade_events"
