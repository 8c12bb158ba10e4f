"""An app of a capability in this process, without a server and without a database."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID, uuid4

from flask import Request

from kapas.http.app import App
from kapas.http.identity import Identity, Role, Tier
from kapas.platform.settings import ApiSettings

SETTINGS = ApiSettings(
    function="a-function",
    project="a-project",
    database_url="",
    database_pool=1,
    token_issuer="",
    token_audience="",
    token_jwks_url="",
)


class Anyone:
    """Verifies every token: the caller is who it was made with."""

    def __init__(self, role: Role = Role.OWNER, partner_id: UUID | None = None) -> None:
        self.caller = Identity("user", partner_id or uuid4(), role, Tier.BASIC)

    def verify(self, token: str) -> Identity:
        return self.caller


class InProcess:
    """What an app uses of its function: settings, and a database whose every statement ends in `failure`."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    @property
    def database(self) -> "InProcess":
        return self

    def settings(self, _: type[Any]) -> ApiSettings:
        return SETTINGS

    @contextmanager
    def session(self, _: Any) -> Generator[Any]:
        yield self

    def one(self, *_: Any, **__: Any) -> None:
        raise self.failure


def ask(
    app: App, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """Have `app` answer as it answers functions-framework: status, JSON, headers. Bytes are sent as they are."""
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    given = {"Authorization": "Bearer x", "Idempotency-Key": str(uuid4())} | (headers or {})
    context = app.test_request_context(path, method=method, data=sent, headers=given, content_type="application/json")
    answer = app.serve(cast(Request, context.request))
    return answer.status_code, json.loads(answer.get_data() or b"null"), dict(answer.headers)
