"""Errors reported to callers as RFC 9457 problem details.

Raise one anywhere in a use case; `kapas.http.app` answers it as `application/problem+json`. The `detail` and the messages are
read by people outside: no personal data, no identifier, no stack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TYPE_PREFIX = "https://kapas.example.com/problems/"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of the request. `pointer` is an RFC 6901 JSON pointer into the body, or `header:Name`, `query:name`."""

    pointer: str
    code: str
    message: str


class Problem(Exception):
    """A failure with a stable `code` (the last part of the problem's type) and an HTTP status."""

    status = 500
    code = "internal"
    title = "Internal server error"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """`members` are extension members (RFC 9457 section 3.2), as JSON."""
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def to_json(self, instance: str) -> dict[str, Any]:
        """The members of RFC 9457 section 3.1, `errors`, and this problem's own."""
        body: dict[str, Any] = {
            **self.members,
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            body["errors"] = [{"pointer": e.pointer, "code": e.code, "message": e.message} for e in self.errors]
        return body


class BadRequest(Problem):
    status, code, title = 400, "bad-request", "The request cannot be read"


class UnsupportedVersion(Problem):
    status, code, title = 400, "unsupported-version", "This API version is not supported"


class Unauthenticated(Problem):
    status, code, title = 401, "unauthenticated", "The caller could not be authenticated"


class Forbidden(Problem):
    status, code, title = 403, "forbidden", "The caller is not allowed to do this"


class NotFound(Problem):
    status, code, title = 404, "not-found", "The resource does not exist, or the caller may not see it"


class MethodNotAllowed(Problem):
    status, code, title = 405, "method-not-allowed", "This resource does not support the method"


class Conflict(Problem):
    status, code, title = 409, "conflict", "The state of the resource does not allow this"


class VersionConflict(Problem):
    status, code, title = 409, "version-conflict", "Another request changed the resource first; read it again"


class StillRunning(Problem):
    status, code, title = 409, "still-running", "Another request that is still running blocks this one"

    def __init__(self) -> None:
        super().__init__("Retry the request, with the same Idempotency-Key if it had one", headers={"Retry-After": "1"})


class Erased(Problem):
    status, code, title = 410, "erased", "The requested data has been erased"


class PreconditionFailed(Problem):
    status, code, title = (
        412,
        "precondition-failed",
        "The resource has changed since the version in If-Match; read it again",
    )


class TooLarge(Problem):
    status, code, title = 413, "too-large", "The request body is too large"


class UnsupportedMediaType(Problem):
    status, code, title = 415, "unsupported-media-type", "The request body must be application/json"


class Invalid(Problem):
    status, code, title = 422, "invalid", "Some fields are not valid"


class IdempotencyKeyReused(Problem):
    status, code, title = (
        422,
        "idempotency-key-reused",
        "This Idempotency-Key was already used for a different request; use a new one",
    )


class PreconditionRequired(Problem):
    status, code, title = 428, "precondition-required", "This change requires If-Match"


class RateLimited(Problem):
    status, code, title = 429, "rate-limited", "The caller has reached its limit; retry later"

    def __init__(self, detail: str = "", *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unavailable(Problem):
    status, code, title = 503, "unavailable", "The service is temporarily unavailable; retry later"

    def __init__(self, detail: str = "", *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})
