"""Webhook endpoints, messages and attempts as the API shows them."""

from functools import partial
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, WithJsonSchema, model_validator

from kapas.schemas.common import OptionalRequest, Page, PageQuery, Query, Request, Resource
from kapas.schemas.events import public_types

from .custom_headers import CustomHeaders
from .signatures import is_secret

EndpointStatus = Literal["enabled", "disabled"]
DisabledReason = Literal["requested", "gone", "failing"]
MessageStatus = Literal["pending", "delivered", "exhausted", "discarded"]
AttemptFailure = Literal["url_refused", "address_refused", "dns", "connection", "tls", "timeout", "internal"]

ALL_EVENTS = "*"
EVENT_TYPES = tuple(name for name in public_types() if name != "privacy.erased.v1")
"""What an endpoint may subscribe to, apart from `*`: no endpoint of a partner is left that could be told of its erasure."""
TEST_TYPE = "webhook.test"
"""What a message that a partner asks for is called. No event has this type, so nobody subscribes to it."""


def _known(event_type: str, also: str = "") -> str:
    known = [also, *EVENT_TYPES] if also else EVENT_TYPES
    if event_type not in known:
        raise ValueError(f"Must be one of {', '.join(known)}")
    return event_type


EventType = Annotated[
    str,
    AfterValidator(partial(_known, also=ALL_EVENTS)),
    WithJsonSchema({"type": "string", "enum": [ALL_EVENTS, *EVENT_TYPES]}),
]
EventExample = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": [*EVENT_TYPES]})]
MessageType = Annotated[
    str,
    AfterValidator(partial(_known, also=TEST_TYPE)),
    WithJsonSchema({"type": "string", "enum": [TEST_TYPE, *EVENT_TYPES]}),
]
EventTypes = Annotated[
    list[EventType],
    Field(min_length=1, max_length=100, description="Event types to send; * sends all, including future ones"),
]
Url = Annotated[
    str, Field(max_length=2048, description="An https address on the public internet, port 443 or 1024 and above")
]


def _own_secret(secret: str) -> str:
    if not is_secret(secret):
        raise ValueError("Must be whsec_ and the base64 of 24 to 64 random bytes (Standard Webhooks)")
    return secret


OwnSecret = Annotated[
    str,
    Field(
        max_length=100,
        description="A secret that your receiver has already; default: a new one",
    ),
    AfterValidator(_own_secret),
]


class WebhookEndpointCreate(Request):
    """A webhook endpoint to register."""

    url: Url
    event_types: EventTypes
    headers: CustomHeaders = Field(default_factory=dict[str, str])
    secret: OwnSecret | None = None


class WebhookEndpointChange(Request):
    """Changes to an endpoint; omitted members stay."""

    url: Url | None = None
    event_types: EventTypes | None = None
    status: EndpointStatus | None = None
    headers: CustomHeaders | None = Field(None, description="Replaces all custom headers; {} removes them")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.url is None and self.event_types is None and self.status is None and self.headers is None:
            raise ValueError("Name at least one of url, event_types, status, headers")
        return self


class EndpointDisablement(Resource):
    """Why an endpoint is disabled."""

    reason: DisabledReason = Field(
        description="requested: by its partner; gone: it answered 410; failing: five days of failures, and a failed probe"
    )
    since: AwareDatetime


class WebhookEndpoint(Resource):
    """A URL that receives events of a partner. Its secret is shown only once, on creation."""

    id: UUID
    version: int
    url: str
    event_types: list[str]
    status: EndpointStatus = Field(description="An endpoint that answers 410 Gone, or fails for days, becomes disabled")
    header_names: list[str] = Field(description="Names of the custom headers; their values are never shown")
    disabled: EndpointDisablement | None = Field(description="Set while the endpoint is disabled")
    failing_since: AwareDatetime | None = Field(
        description="While attempts fail: since when none has succeeded, with failures less than 36 hours apart. After five"
        " days the endpoint is probed, and disabled if the probe fails"
    )
    spared_until: AwareDatetime | None = Field(
        description="While the circuit breaker is open: nothing is sent before this time, then one probe"
    )
    created_at: AwareDatetime
    updated_at: AwareDatetime


class WebhookEndpointCreated(WebhookEndpoint):
    """A new endpoint with its signing secret."""

    secret: str = Field(description="whsec_ and base64 (Standard Webhooks). It is not shown again")


class WebhookEndpointPage(Page[WebhookEndpoint]):
    """Endpoints, newest first."""


class WebhookRotation(OptionalRequest):
    """Options of a rotation. No body counts as an empty one."""

    end_previous: bool = Field(
        False,
        description="For a leaked secret: sign with the new secret only, at once, even within 24 hours of a rotation",
    )
    secret: OwnSecret | None = None


class WebhookSecretRotated(Resource):
    """The new secret of an endpoint. Until `previous_until` every delivery carries the signature of both."""

    id: UUID = Field(description="The endpoint")
    version: int
    secret: str = Field(description="whsec_ and base64 (Standard Webhooks). It is not shown again")
    previous_until: AwareDatetime = Field(description="When the previous secret stops signing")


class WebhookTest(OptionalRequest):
    """Options of a test message. No body counts as an empty one."""

    event_type: EventExample | None = Field(
        None,
        description="Send an example of this type, with `test` true in its body; default: a message of the type webhook.test",
    )


class WebhookRecover(Request):
    """The messages to resend."""

    since: AwareDatetime = Field(description="Messages created at this time or later")
    until: AwareDatetime | None = Field(None, description="Messages created before this time; default: now")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until is not None and self.until <= self.since:
            raise ValueError("until must be later than since")
        return self


class WebhookRecovery(Resource):
    """The number of messages that will be resent."""

    messages: int
    has_more: bool = Field(description="Whether there are more; if so, call again with another Idempotency-Key")


class WebhookEventType(Resource):
    """A type of event that an endpoint can subscribe to."""

    type: str
    json_schema: str = Field(description="Path of the JSON Schema of the webhook body, in this API")


class WebhookEventTypes(Page[WebhookEventType]):
    """All event types on one page, sorted by name."""


class MessageQuery(PageQuery):
    """Filters for messages, of one endpoint or of all."""

    endpoint_id: UUID | None = Field(None, description="Default: all endpoints, including deleted ones")
    status: MessageStatus | None = None
    event_type: MessageType | None = None
    since: AwareDatetime | None = Field(None, description="Messages created at this time or later")
    until: AwareDatetime | None = Field(None, description="Messages created before this time")


class StatsQuery(Query):
    """The period to count: by default the last 24 hours, at most 31 days."""

    since: AwareDatetime | None = Field(None, description="Messages created at this time or later")
    until: AwareDatetime | None = Field(None, description="Messages created before this time")


class WebhookMessageCounts(Resource):
    """Messages by status."""

    pending: int
    delivered: int
    exhausted: int
    discarded: int


class WebhookAttemptCounts(Resource):
    """Attempts of these messages."""

    made: int
    failed: int = Field(description="Attempts without an answer of 200 to 299")
    timed_out: int
    median_milliseconds: int | None = Field(description="Of the attempts with a complete answer; null if there is none")
    slowest_milliseconds: int | None


class WebhookStats(Resource):
    """Messages of an endpoint created in a period, and their attempts so far."""

    endpoint_id: UUID
    since: AwareDatetime
    until: AwareDatetime
    messages: WebhookMessageCounts
    attempts: WebhookAttemptCounts


class WebhookMessage(Resource):
    """One event for one endpoint."""

    id: UUID = Field(description="The webhook-id header of every attempt")
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    status: MessageStatus = Field(
        description="exhausted: ten attempts failed; discarded: the endpoint was gone, disabled or deleted"
    )
    attempt_count: int
    next_attempt_at: AwareDatetime | None = Field(
        description="While pending; may be later if the circuit breaker is open"
    )
    last_status_code: int | None = Field(description="Status of the endpoint's answer to the last attempt, if any")
    last_failure: AttemptFailure | None = Field(description="Why the last attempt has no complete answer")
    created_at: AwareDatetime


class WebhookMessagePage(Page[WebhookMessage]):
    """Messages, newest first."""


class WebhookAttempt(Resource):
    """One delivery of a message."""

    number: int
    started_at: AwareDatetime
    milliseconds: int
    status_code: int | None = Field(description="Status of the endpoint's answer; 200 to 299 is success")
    failure: AttemptFailure | None = Field(description="Why there is no complete answer")
    response: str = Field(description="The beginning of the answer's body, at most 16 KiB")


class WebhookMessageDetail(WebhookMessage):
    """A message with its body and attempts."""

    payload: str = Field(description="The body of every attempt, as it is signed")
    attempts: list[WebhookAttempt] = Field(description="Oldest first")
