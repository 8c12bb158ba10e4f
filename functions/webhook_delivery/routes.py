"""HTTP: endpoints, event types and messages."""

import json
from uuid import UUID

from flask import Request, Response

from kapas.http import calls
from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform.settings import (
    ApiSettings,
    KeySettings,
    TaskSettings,
)
from kapas.schemas.common import PageQuery
from kapas.schemas.common import Request as Model

from . import guard, resend, service, subscribable
from .schemas import (
    MessageQuery,
    StatsQuery,
    WebhookEndpoint,
    WebhookEndpointChange,
    WebhookEndpointCreate,
    WebhookEndpointCreated,
    WebhookEndpointPage,
    WebhookEventTypes,
    WebhookMessage,
    WebhookMessageDetail,
    WebhookMessagePage,
    WebhookRecover,
    WebhookRecovery,
    WebhookRotation,
    WebhookSecretRotated,
    WebhookStats,
    WebhookTest,
)

function = Function(ApiSettings, KeySettings, TaskSettings, guard.HostSettings)
app = App("Webhooks", function)


def allowed_hosts() -> frozenset[str]:
    return function.settings(guard.HostSettings).allowed_hosts


class EndpointPath(Model):
    endpoint_id: UUID


class MessagePath(Model):
    message_id: UUID


class EventTypePath(Model):
    event_type: str


@app.post("/v1/webhook-endpoints", responses={201: WebhookEndpointCreated})
def create_endpoint(body: WebhookEndpointCreate) -> Response:
    """Register a URL that receives events. The answer contains the signing secret, which is shown only once."""
    with app.session() as db:
        return app.commit(db, service.create(db, function.keyring, app.caller, body, allowed_hosts()), status=201)


@app.get("/v1/webhook-endpoints/<uuid:endpoint_id>", responses={200: WebhookEndpoint})
def read_endpoint(path: EndpointPath) -> Response:
    """Return one endpoint of the caller's partner."""
    with app.session() as db:
        endpoint = service.read(db, app.caller, path.endpoint_id)
        return app.answer(endpoint, version=endpoint.version)


@app.get("/v1/webhook-endpoints", responses={200: WebhookEndpointPage})
def list_endpoints(query: PageQuery) -> Response:
    """List the endpoints of the caller's partner, newest first."""
    with app.session() as db:
        return app.answer(service.list_page(db, app.caller, query))


@app.patch("/v1/webhook-endpoints/<uuid:endpoint_id>", responses={200: WebhookEndpoint})
def change_endpoint(path: EndpointPath, body: WebhookEndpointChange) -> Response:
    """Change the URL, the event types, the headers or the status; requires If-Match. Events missed while disabled can be
    recovered."""
    with app.session() as db:
        outcome = service.change(
            db, function.keyring, app.caller, path.endpoint_id, app.if_match(), body, allowed_hosts()
        )
        return app.commit(db, outcome)


@app.delete("/v1/webhook-endpoints/<uuid:endpoint_id>", responses={204: None})
def delete_endpoint(path: EndpointPath) -> Response:
    """Delete an endpoint and its secret. Its messages remain readable."""
    with app.session() as db:
        service.delete(db, app.caller, path.endpoint_id)
        app.published()
        return Response(status=204)


@app.post("/v1/webhook-endpoints/<uuid:endpoint_id>/rotate-secret", responses={200: WebhookSecretRotated})
def rotate_webhook_secret(path: EndpointPath, body: WebhookRotation) -> Response:
    """Replace the signing secret. For 24 hours every delivery carries a signature with each secret, separated by a space.

    Use `end_previous` to revoke a leaked secret at once.
    """
    with app.session() as db:
        return app.commit(db, service.rotate_secret(db, function.keyring, app.caller, path.endpoint_id, body))


@app.post("/v1/webhook-endpoints/<uuid:endpoint_id>/test", responses={202: WebhookMessage})
def send_test_webhook(path: EndpointPath, body: WebhookTest) -> Response:
    """Send a message of the type `webhook.test`, or an example of an event, regardless of subscriptions."""
    with app.session() as db:
        outcome = resend.test(db, app.caller, path.endpoint_id, body)
        answer = app.commit(db, outcome, status=202)
    resend.send(function.tasks, outcome)
    return answer


@app.post("/v1/webhook-endpoints/<uuid:endpoint_id>/recover", responses={202: WebhookRecovery})
def recover_webhook_messages(path: EndpointPath, body: WebhookRecover) -> Response:
    """Resend messages that failed or were missed in a period: exhausted, discarded, or waiting for another attempt.

    This takes a minute or two. Operations may call it, too.
    """
    with app.session() as db, db.transaction():
        return app.commit(db, resend.recover(db, app.caller, path.endpoint_id, body), status=202)


@app.get("/v1/webhook-endpoints/<uuid:endpoint_id>/stats", responses={200: WebhookStats})
def read_webhook_stats(path: EndpointPath, query: StatsQuery) -> Response:
    """How many messages of a time an endpoint took, and how its attempts went."""
    with app.session() as db:
        return app.answer(service.stats(db, app.caller, path.endpoint_id, query))


@app.get("/v1/webhook-event-types", responses={200: WebhookEventTypes})
def list_webhook_event_types() -> Response:
    """List the event types that an endpoint can subscribe to, with the JSON Schema of each."""
    return app.answer(subscribable.event_types())


@app.get("/v1/webhook-event-types/<string:event_type>/schema", responses={200: None})
def read_webhook_event_schema(path: EventTypePath) -> Response:
    """Return the JSON Schema of the webhook body for this event type, as application/schema+json."""
    schema = subscribable.event_schema(path.event_type)
    return Response(json.dumps(schema, ensure_ascii=False), content_type="application/schema+json")


@app.get("/v1/webhook-messages", responses={200: WebhookMessagePage})
def list_messages(query: MessageQuery) -> Response:
    """List messages of one endpoint or of all, newest first. Filters: endpoint, status, type and time."""
    with app.session() as db, db.snapshot():
        return app.answer(service.list_messages(db, app.caller, query))


@app.get("/v1/webhook-messages/<uuid:message_id>", responses={200: WebhookMessageDetail})
def read_message(path: MessagePath) -> Response:
    """Return one message with its body and all delivery attempts."""
    with app.session() as db, db.snapshot():
        return app.answer(service.read_message(db, app.caller, path.message_id))


@app.post("/v1/webhook-messages/<uuid:message_id>/redeliver", responses={202: WebhookMessage})
def redeliver_webhook_message(path: MessagePath) -> Response:
    """Resend a message with the same webhook-id, even if it was delivered. Operations may call it, too."""
    with app.session() as db:
        outcome = resend.redeliver(db, app.caller, path.message_id)
        answer = app.commit(db, outcome, status=202)
    resend.send(function.tasks, outcome)
    return answer


@calls.entry_point
def webhook_endpoints(request: Request) -> Response:
    return app.serve(request)
