"""What a client may be told instead of an answer: the problem types of `kapas.errors`, as OpenAPI responses."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from kapas import errors
from kapas.errors import Conflict, Problem
from tools.docs.apps import Operation
from tools.docs.failures import failures

ALWAYS: tuple[int, ...] = (400, 401, 403, 422, 431, 500, 503)
OF_CHANGES: tuple[int, ...] = (408, 409, 413, 415)
"""What changes something has a body, or may have one, and may meet another change that is under way."""

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457). `type` is stable and made for programs; `title` and `detail` are for people.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": [errors.TYPE_PREFIX + errors.Conflict.code]},
        "title": {"type": "string"},
        "status": {"type": "integer", "description": "The HTTP status"},
        "detail": {"type": "string", "description": "What is wrong with this request"},
        "instance": {"type": "string", "description": "The path of the request"},
        "errors": {
            "type": "array",
            "description": "Every fault of the request",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
    },
}

FIELD_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "One fault of a request.",
    "required": ["pointer", "code", "message"],
    "properties": {
        "pointer": {
            "type": "string",
            "description": "A JSON pointer (RFC 6901) into the body, or `header:Name`, `query:name`, `path:name`",
        },
        "code": {"type": "string", "description": "The kind of fault, made for programs"},
        "message": {"type": "string"},
    },
}


def problems() -> list[type[Problem]]:
    """Every problem type, by status."""
    return sorted(_classes(), key=lambda problem: (problem.status, problem.code))


def _classes() -> list[type[Problem]]:
    return [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Problem)]


def statuses(operation: Operation) -> list[int]:
    """The statuses of the failures that a client of this operation should be ready for."""
    found = set(ALWAYS)
    raised = failures(operation.view)
    found |= {problem.status for problem in raised} & {404, 410, 429}
    if "{" in operation.path:
        found.add(404)
    if operation.method != "GET":
        found |= {409} if operation.method == "DELETE" else {*OF_CHANGES}
    elif Conflict in raised:  # a VersionConflict is one of changes: what a read writes to the audit trail meets nothing
        found.add(409)
    if operation.needs_if_match:
        found |= {412, 428}
    return sorted(found)


def name(status: int) -> str:
    """The name of a status among the components: that of the first problem type that has it, `NotFound`."""
    first = next(problem for problem in _classes() if problem.status == status)
    return "Internal" if first is Problem else first.__name__


def responses(used: Iterable[int]) -> dict[str, Any]:
    """Name -> the OpenAPI response of a status that is used, with the problem types that it carries."""
    made: dict[str, Any] = {}
    for status in sorted(set(used)):
        lines = [f"- `{p.code}`: {p.title}" for p in problems() if p.status == status]
        headers = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-API-Version", "traceparent")}
        if status in (HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        made[name(status)] = {
            "description": "\n".join(lines),
            "headers": headers,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return made
