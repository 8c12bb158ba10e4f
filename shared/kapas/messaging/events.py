"""Events: CloudEvents 1.0 over Pub/Sub.

An event belongs to an aggregate (its `subject`); its `sequence` is the aggregate's version after the change, so sequences
have no gaps, and a consumer can tell a duplicate from a step it has missed.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from kapas.errors import Unavailable
from kapas.values import clock, ids

SCHEMA_PREFIX = "https://kapas.example.com/schemas/"
CONTENT_TYPE = "application/cloudevents+json"


class EventData(BaseModel):
    """The data of one event type. A change that old readers cannot take is a new class with a new type (`.v2`)."""

    # Built at its first use: a function imports every event type and publishes a few.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    type: ClassVar[str]
    """For example `trade.offered.v1`."""
    topic: ClassVar[str]
    """The Pub/Sub topic it is published to, from the catalog."""
    source: ClassVar[str]
    """The capability that says so, as a URI reference: `/trade_events`."""
    private: ClassVar[bool] = False
    """Whether it is of the platform's inside, and no partner's webhook or feed may have it."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event to publish. `partner_ids` are the partners it may be shown to: nobody else's webhook or feed gets it."""

    subject: UUID
    sequence: int
    data: EventData
    partner_ids: tuple[UUID, ...]
    id: UUID = field(default_factory=ids.uuid7)
    time: datetime = field(default_factory=clock.now)


class CloudEvent(BaseModel):
    """An event as it arrives: the attributes of CloudEvents 1.0 and this system's extensions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: str
    id: UUID
    type: str
    source: str
    subject: UUID
    time: AwareDatetime
    datacontenttype: str = "application/json"
    dataschema: str
    partitionkey: UUID
    sequence: int
    traceparent: str | None = None
    partnerids: str = ""
    """The partners it may be shown to, separated by commas (extension attributes are strings)."""
    data: dict[str, Any]

    @property
    def partner_ids(self) -> tuple[UUID, ...]:
        return tuple(UUID(value) for value in self.partnerids.split(",") if value)


def encode(
    *,
    id: str,  # noqa: A002 - the attribute's name in CloudEvents
    type: str,  # noqa: A002
    source: str,
    subject: str,
    sequence: int,
    time: str,
    data: str,
    partner_ids: str,
    traceparent: str | None,
) -> bytes:
    """A CloudEvent in structured mode (JSON format, CloudEvents 1.0 section 3.2).

    `data` is JSON already and goes in as it is; `time` is RFC 3339; `partner_ids` are separated by commas.
    """
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "type": type,
        "source": source,
        "subject": subject,
        "time": time,
        "datacontenttype": "application/json",
        "dataschema": f"{SCHEMA_PREFIX}{type}.json",
        "partitionkey": subject,
        "sequence": sequence,
        "partnerids": partner_ids,
    }
    if traceparent:
        attributes["traceparent"] = traceparent
    return f'{json.dumps(attributes, separators=(",", ":"))[:-1]},"data":{data}}}'.encode()


class SequenceGap(Unavailable):
    """An earlier event of the aggregate has not been seen yet: Pub/Sub is asked to deliver this one again."""
