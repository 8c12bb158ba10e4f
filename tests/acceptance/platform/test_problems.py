"""Whatever goes wrong is answered as problem+json, and tells nobody more than they need."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import jwt
import pytest
from pg8000.native import Connection

from kapas.http.identity import Role
from local_cloud.client import ANY, Answer, Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import TOKEN_AUDIENCE, TOKEN_ISSUER
from tests.journeys.partners import Partner

SECURITY_HEADERS = ("Strict-Transport-Security", "X-Content-Type-Options", "Content-Security-Policy", "Cache-Control")


def assert_problem(answer: Answer, status: int, code: str) -> None:
    """RFC 9457, the security headers, and nothing of our insides."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.body
    assert body["type"] == f"https://kapas.example.com/problems/{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["instance"].startswith("/")
    for header in SECURITY_HEADERS:
        assert header in answer.headers
    text = str(body) + str(dict(answer.headers))
    for leak in ("Traceback", 'File "', "pg8000", "postgres", "Werkzeug", "gunicorn", "Bearer", "psycopg"):
        assert leak not in text


def send(partner: Partner, data: bytes, content_type: str = "application/json") -> Answer:
    client = partner.owner
    headers = {
        "Authorization": f"Bearer {client.token}",
        "Content-Type": content_type,
        "Idempotency-Key": str(uuid4()),
    }
    return client.raw("POST", "/v1/trades", data, headers)


@pytest.mark.parametrize("data", [b"{", b"", b'{"lot": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_malformed_json(partner: Partner, data: bytes) -> None:
    answer = send(partner, data)
    # An empty body is no malformed one: its fields are missing.
    assert_problem(answer, *((422, "invalid") if data == b"" else (400, "bad-request")))


@pytest.mark.parametrize("data", [b'"{}"', b"[]", b"3", b"null"])
def test_a_body_that_is_no_object(partner: Partner, data: bytes) -> None:
    """A string is not read a second time, behind those who look at what was sent (for Aadhaar numbers, for example)."""
    answer = send(partner, data)
    assert_problem(answer, 422, "invalid")
    assert [error["pointer"] for error in answer.body["errors"]] == [""]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "latin-1"])
def test_a_body_that_is_not_utf_8(partner: Partner, encoding: str) -> None:
    """RFC 8259 section 8.1. In another encoding the escape of a character that cannot be stored is not seen."""
    body = '{"lot": {"station": "Raj\\u0000k\u00f6t"}}'.encode(encoding)
    assert_problem(send(partner, body), 400, "bad-request")


HUGE = b"1e" + b"9" * 20
"""Beyond what Decimal reads at all."""


@pytest.mark.parametrize("number", [b"1e999999999", b"-1E+31", b"1e-999999999", b"9" * 5000, HUGE, b"-" + HUGE])
def test_a_number_out_of_all_proportion(partner: Partner, number: bytes) -> None:
    """Before anybody makes an int of it: that takes a gigabyte."""
    assert_problem(send(partner, b'{"ask": {"paise": ' + number + b"}}"), 400, "bad-request")


def test_text_that_cannot_be_stored(partner: Partner) -> None:
    answer = send(partner, b'{"lot": {"station": "Raj\\u0000kot", "a/b": ["\\u0000"]}}')
    assert_problem(answer, 422, "invalid")
    assert [error["pointer"] for error in answer.body["errors"]] == ["/lot/station", "/lot/a~1b/0"]
    answer = partner.owner.get("/v1/trades?variety=%00", expect=ANY)
    assert_problem(answer, 422, "invalid")
    assert [error["pointer"] for error in answer.body["errors"]] == ["query:variety"]


def test_text_that_is_not_unicode(partner: Partner) -> None:
    assert_problem(send(partner, b'{"lot": {"station": "\\ud800"}}'), 422, "invalid")


def test_another_content_type(partner: Partner) -> None:
    assert_problem(send(partner, b"lot=1", "application/x-www-form-urlencoded"), 415, "unsupported-media-type")


def test_a_body_of_two_megabytes(partner: Partner) -> None:
    assert_problem(send(partner, b'"' + b"a" * (2 << 20) + b'"'), 413, "too-large")


def test_an_unknown_route(partner: Partner) -> None:
    assert_problem(partner.owner.get("/v1/trades/x/y/z", expect=ANY), 404, "not-found")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE"])
def test_a_wrong_method(partner: Partner, method: str) -> None:
    assert_problem(partner.owner.call(method, "/v1/trades", expect=ANY), 405, "method-not-allowed")


def test_an_unsupported_version(partner: Partner) -> None:
    headers = {"X-API-Version": "1999-01-01"}
    answer = partner.owner.call("GET", "/v1/trades", headers=headers, expect=ANY)
    assert_problem(answer, 400, "unsupported-version")


def test_the_version_is_answered(partner: Partner) -> None:
    assert partner.owner.get("/v1/trades").headers["X-API-Version"] == "2026-11-01"


@pytest.mark.parametrize("key", [None, "short", "x" * 300])
def test_a_missing_or_unfit_idempotency_key(partner: Partner, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = partner.owner.call("POST", "/v1/trades", {}, headers=headers, expect=ANY)
    assert_problem(answer, 400, "bad-request")
    assert answer.body["errors"][0]["pointer"] == "header:Idempotency-Key"


def test_a_change_without_if_match(client: Client, partner: Partner) -> None:
    operations = client.as_user("operations", None, "ops")
    path = f"/v1/partners/{partner.id}/activate"
    assert_problem(operations.post(path, expect=ANY), 428, "precondition-required")
    assert_problem(operations.post(path, if_match='"1"', expect=ANY), 412, "precondition-failed")
    for value in ("whatever", '""', '"-1"', "\u00b2", "9" * 5000, '"1", "2"'):
        assert_problem(operations.post(path, if_match=value, expect=ANY), 412, "precondition-failed")


def test_a_row_that_another_request_holds(sql: Connection, partner: Partner) -> None:
    path, change = f"/v1/partners/{partner.id}", {"contact": partner.body["contact"] | {"name": "Asha Example"}}
    headers = {"If-Match": partner.owner.get(path).headers["ETag"]}
    sql.run("BEGIN")
    sql.run("SELECT FROM partners WHERE id = :id FOR UPDATE", id=partner.id)
    answer = partner.owner.call("PATCH", path, change, headers=headers, expect=ANY)
    sql.run("ROLLBACK")
    assert_problem(answer, 409, "still-running")
    assert "blocks" in answer.body["title"]
    assert answer.headers["Retry-After"] == "1"


def tokens(cloud: LocalCloud) -> Iterator[tuple[str, str]]:
    """Tokens that are not accepted, each with why."""

    def issued(issuer: str = TOKEN_ISSUER, audience: str = TOKEN_AUDIENCE, role: Role = Role.OPS) -> str:
        return cloud.issuer.user_token("mallory", None, role, "free", issuer=issuer, audience=audience)

    claims = {"iss": TOKEN_ISSUER, "aud": TOKEN_AUDIENCE, "sub": "mallory", "role": "ops", "tier": "free", "exp": 4e9}
    genuine = issued()
    header = {"kid": jwt.get_unverified_header(genuine)["kid"]}
    yield "alg none", jwt.encode(claims, None, "none", header)
    yield "public key as HMAC secret", jwt.encode(claims, str(cloud.issuer.jwks("platform")), "HS256", header)
    yield "forged signature", genuine[:-8] + "AAAAAAAA"
    yield "another issuer", issued(issuer="https://evil.example.com/")
    yield "another audience", issued(audience="https://other.example.com/")
    yield "a partner's role without a partner", issued(role=Role.OWNER)
    yield "a service's token", cloud.issuer.token("ops@example.com", TOKEN_AUDIENCE)
    yield "no token at all", ""
    yield "garbage", "a.b.c"


def test_tokens_that_are_not_ours(cloud: LocalCloud) -> None:
    for why, token in tokens(cloud):
        answer = Client(cloud.url, token).get("/v1/trades", expect=ANY)
        assert_problem(answer, 401, "unauthenticated")
        assert not token or token not in str(answer.body), why


def test_an_expired_token(cloud: LocalCloud, client: Client) -> None:
    user = client.as_user("operations", None, "ops")
    user.get("/v1/partners")
    client.post("/_local/clock", {"advance": "PT2H"})
    assert_problem(user.get("/v1/partners", expect=ANY), 401, "unauthenticated")


def test_a_key_that_was_rolled_over_still_verifies(cloud: LocalCloud, client: Client) -> None:
    before = client.as_user("operations", None, "ops")
    cloud.issuer.rotate("platform")
    client.post("/_local/clock", {"advance": "PT31S"})  # the key set is asked for again at most every 30 s
    after = client.as_user("operations", None, "ops")
    before.get("/v1/partners")
    after.get("/v1/partners")


@pytest.mark.parametrize("layer", ["session", "serve"])
def test_an_unexpected_exception(
    cloud: LocalCloud, partner: Partner, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    """In a view, and outside the app, where the framework's own answer would be HTML with the exception's text."""
    secret = "what must not be told"

    def explode(*_: object) -> None:
        raise RuntimeError(secret)

    monkeypatch.setattr(cloud.functions.module("trade-events").routes.app, layer, explode)
    answer = partner.owner.get("/v1/trades", expect=ANY)
    assert_problem(answer, 500, "internal")
    assert secret not in str(answer.body)


@pytest.mark.parametrize("function", ["audit-trail", "outbox-relay", "live-feed"])
def test_functions_that_google_calls_refuse_everybody_else(cloud: LocalCloud, client: Client, function: str) -> None:
    path = f"/_functions/{function}"
    assert_problem(client.post(path, {}, expect=ANY), 401, "unauthenticated")
    stranger = cloud.issuer.token("stranger@example.com", cloud.addresses.function(function))
    assert_problem(Client(cloud.url, stranger).post(path, {}, expect=ANY), 401, "unauthenticated")
