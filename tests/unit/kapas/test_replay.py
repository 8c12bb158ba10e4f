"""A repeated request gets the stored answer only in a role that may still do what was done."""

from typing import Any, cast
from uuid import uuid4

import pytest
from flask import Response

from kapas.errors import Conflict
from kapas.http import app as http_app
from kapas.http.app import App
from kapas.http.function import Function
from kapas.http.identity import Role
from kapas.messaging.idempotency import Answer
from tests.unit.kapas.in_process import Anyone, InProcess, ask


@pytest.mark.parametrize(
    ("then", "now", "again"),
    [
        (Role.OWNER, Role.OWNER, True),
        (Role.MEMBER, Role.OWNER, True),
        (Role.OWNER, Role.MEMBER, False),
        (Role.MEMBER, Role.VIEWER, False),
        (Role.DPO, Role.OPS, False),
        (Role.OPS, Role.DPO, False),
        (Role.OPS, Role.OPS, True),
    ],
)
def test_a_stored_answer(monkeypatch: pytest.MonkeyPatch, then: Role, now: Role, again: bool) -> None:
    secret = Answer(201, '{"secret": "whsec_x"}', {"ETag": '"1"'}, then)
    monkeypatch.setattr(http_app, "recall", lambda *_: secret)
    app = App("Example", cast(Function, InProcess(Conflict())))
    app.verifier = lambda: cast(Any, Anyone(now, uuid4()))

    def view() -> Response:
        raise Conflict("It is there already")

    app.add_url_rule("/v1/examples", view_func=view, methods=["POST"])
    status, body, headers = ask(app, "POST", "/v1/examples", {})
    assert (status, "Idempotent-Replayed" in headers) == ((201, True) if again else (403, False))
    assert ("secret" in body) == again
