"""One OpenAPI 3.1 document for all capabilities: https://spec.openapis.org/oas/v3.1.0"""

import inspect
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from functions.webhook_delivery.schemas import EVENT_TYPES
from kapas.http.app import VERSIONS
from kapas.messaging import idempotency
from kapas.messaging.events import EventData
from kapas.schemas.common import OptionalRequest
from kapas.schemas.events import delivered
from tools.catalog import ROOT, Catalog
from tools.docs import problems
from tools.docs.apps import Api, DuplicateOperation, Model, Operation, apis
from tools.docs.event_schemas import description, envelope
from tools.docs.json_schema import DIALECT, Schema, Schemas
from tools.docs.registry import EVENTS

SERVER = "https://api.example.com"

DESCRIPTION = """\
The API of a cotton trading platform. Times are UTC, money is integer paise of Indian rupees, and a quantity of cotton
comes with its unit.

- **Versions.** `X-API-Version` asks for one and every answer names the one it is in. A deprecated version answers
  `Deprecation` (RFC 9745) and `Sunset` (RFC 8594).
- **Repeating.** Every POST carries an `Idempotency-Key`. The same key with the same request answers what the first one
  did, with `Idempotent-Replayed: true`; with another request it is refused.
- **Changing.** A resource's version is its `ETag`. Send it as `If-Match` where an operation asks for it, or as
  `expected_version` in the body.
- **Lists.** `limit` items a page, newest first; send `next` as `after` to read on.
- **Growing.** An answer or an event may gain fields within its version: ignore those that you do not know.
- **Failures** are problem details (RFC 9457), see the schema `Problem`.
"""

_REFERENCE = "#/components/schemas/{model}"

_PARAMETERS: dict[str, Any] = {
    "ApiVersion": {
        "name": "X-API-Version",
        "in": "header",
        "description": "The version of the API to be served in; without it, the newest",
        "schema": {"type": "string", "enum": list(VERSIONS)},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "Makes it safe to repeat the request: a new UUID for each thing to be done",
        "schema": {"type": "string", "minLength": idempotency.MIN_LENGTH, "maxLength": idempotency.MAX_LENGTH},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The `ETag` of the resource as last read",
        "schema": {"type": "string"},
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "The trace that this request belongs to (W3C Trace Context)",
        "schema": {"type": "string"},
    },
}

_HEADERS: dict[str, Any] = {
    "ETag": {"description": "The resource's version", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` when this is the answer that an earlier request with the same key got",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {"description": "Seconds to wait before trying again", "schema": {"type": "integer"}},
    "X-API-Version": {"description": "The version of the API this is in", "schema": {"type": "string"}},
    "traceparent": {"description": "Where this request is in its trace", "schema": {"type": "string"}},
}

_WEBHOOK_HEADERS = {
    "webhook-id": "The message: the same in every attempt",
    "webhook-timestamp": "When this attempt was made, in seconds since 1970",
    "webhook-signature": "`v1,` and a signature in base64, as Standard Webhooks says; several while a secret is rotated",
}


def document(described: Catalog | None = None, folder: Path = ROOT / "functions") -> dict[str, Any]:
    """The OpenAPI document of every HTTP capability of the catalog.

    Raises:
        DuplicateOperation: two views have the same name.
        Undocumented: a capability has no README.
    """
    found = apis(described, folder)
    operations = [operation for api in found for operation in api.operations]
    check_names(operations)
    references, schemas = _schemas(operations)
    paths: dict[str, Any] = {}
    for api in found:
        for operation in api.operations:
            paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(api, operation, references)
    components = {
        "schemas": {
            **dict(sorted(schemas.items())),
            "Problem": problems.PROBLEM,
            "FieldError": problems.FIELD_ERROR,
        },
        "parameters": _PARAMETERS,
        "headers": _HEADERS,
        "responses": problems.responses(),
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An access token (RS256 or ES256) with the claims `sub`, `partner_id`, `role` and `tier`",
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kapas", "version": next(reversed(VERSIONS)), "description": DESCRIPTION},
        "jsonSchemaDialect": DIALECT,
        "servers": [{"url": SERVER}],
        "security": [{"bearer": []}],
        "tags": [{"name": api.title, "description": api.description} for api in found],
        "paths": paths,
        "webhooks": {type_: {"post": _delivery(EVENTS[type_], references)} for type_ in EVENT_TYPES},
        "components": components,
    }


References = dict[Any, Schema]
"""(model, mode) -> a reference to its schema among the components."""


def _schemas(operations: list[Operation]) -> tuple[References, dict[str, Schema]]:
    """What is sent, answered and published: a reference for each model, and the components they refer to."""
    sent: list[tuple[Model, JsonSchemaMode]] = [(m, "validation") for o in operations if (m := o.model("body"))]
    answered: list[tuple[Model, JsonSchemaMode]] = [
        (m, "serialization") for o in operations for m in o.answers.values() if m
    ]
    published: list[tuple[Model, JsonSchemaMode]] = [(EVENTS[type_], "serialization") for type_ in EVENT_TYPES]
    models = list(dict.fromkeys(sent + answered + published))
    references, made = models_json_schema(models, ref_template=_REFERENCE, schema_generator=Schemas)
    return references, made.get("$defs", {})


def _operation(api: Api, operation: Operation, references: References) -> dict[str, Any]:
    summary, more = described(operation.view)
    made: dict[str, Any] = {"tags": [api.title], "summary": summary}
    if more:
        made["description"] = more
    made["operationId"] = operation.name
    made["parameters"] = _parameters(operation)
    body = operation.model("body")
    if body:
        content = {"application/json": {"schema": references[body, "validation"]}}
        made["requestBody"] = {"required": not issubclass(body, OptionalRequest), "content": content}
    answers = {status: _answer(operation, status, model, references) for status, model in operation.answers.items()}
    failures = {
        str(status): {"$ref": f"#/components/responses/{problems.name(status)}"}
        for status in problems.statuses(operation)
    }
    made["responses"] = answers | failures
    return made


def described(view: Any) -> tuple[str, str]:
    """The first sentence of a docstring, and what follows it, in one line."""
    text = " ".join((inspect.getdoc(view) or view.__name__).split())
    summary, _, more = text.partition(". ")
    return summary.removesuffix("."), more


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = ["ApiVersion", "Traceparent"]
    if operation.method == "POST":
        names.insert(0, "IdempotencyKey")
    if operation.needs_if_match:
        names.insert(0, "IfMatch")
    references = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    return [*_fields(operation.model("path"), "path"), *_fields(operation.model("query"), "query"), *references]


def _fields(model: Model | None, place: str) -> list[dict[str, Any]]:
    """A parameter for each field of `model`."""
    if model is None:
        return []
    made = model.model_json_schema(schema_generator=Schemas)
    parameters: list[dict[str, Any]] = []
    for name, schema in made["properties"].items():
        parameter: dict[str, Any] = {"name": name, "in": place}
        if name in made.get("required", []):
            parameter["required"] = True
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        parameter["schema"] = _sendable(schema)
        parameters.append(parameter)
    return parameters


def _sendable(schema: Schema) -> Schema:
    """A parameter's schema without null, which is said by leaving it out."""
    others = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    return others[0] if len(others) == 1 else schema


def _answer(operation: Operation, status: str, model: Model | None, references: References) -> dict[str, Any]:
    names = ["X-API-Version", "traceparent"]
    if operation.method == "POST":
        names.insert(0, "Idempotent-Replayed")
    # What has a version answers it as its ETag.
    if model is not None and "version" in model.model_fields:
        names.insert(0, "ETag")
    made: dict[str, Any] = {
        "description": HTTPStatus(int(status)).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if model is not None:
        made["content"] = {"application/json": {"schema": references[model, "serialization"]}}
    return made


def _delivery(model: type[EventData], references: References) -> dict[str, Any]:
    """An event as it is sent to a webhook."""
    schema = delivered(envelope(model, references[model, "serialization"]))
    return {
        "tags": [model.topic],
        "summary": description(model),
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in _WEBHOOK_HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"description": "Taken. After any other answer, or none, it is sent again"}},
    }


def check_names(operations: list[Operation]) -> None:
    """Raise `DuplicateOperation` if two of the views have the same name."""
    seen: dict[str, Operation] = {}
    for operation in operations:
        other = seen.setdefault(operation.name, operation)
        if other is not operation:
            routes = f"{other.method} {other.path} and {operation.method} {operation.path}"
            raise DuplicateOperation(f"{routes} are both named {operation.name}: rename one of the views")
