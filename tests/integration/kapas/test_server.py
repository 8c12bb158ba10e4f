"""The server that functions are deployed with (functions-framework's gunicorn), and clients that send slowly or wrongly."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from uuid import uuid4

import pytest

from kapas.http.app import MAX_BODY
from kapas.http.server import MAX_HEADERS
from local_cloud.environment import TOKEN_AUDIENCE, TOKEN_ISSUER, Addresses, environment
from local_cloud.oidc import Issuer
from local_cloud.state import State
from tests.times import PATIENCE
from tools.bench import processes, served
from tools.catalog import catalog

CATALOG = catalog()
HTTP = [name for name, function in CATALOG.functions.items() if function.trigger.kind == "http"]
READ = {
    "consent-updates": "/v1/consents/receipt-keys",
    "data-export": "/v1/exports",
    "grading-requests": "/v1/gradings",
    "partner-onboarding": "/v1/partners",
    "retention-sweep": "/v1/legal-holds",
    "trade-events": "/v1/trades",
    "webhook-endpoints": "/v1/webhook-endpoints",
}
"""What each function is asked for, by whom: operations, the data protection officer or an owner."""
STAFF = {"partner-onboarding": "ops", "retention-sweep": "dpo"}

Serve = Callable[[str], "Served"]


@dataclass(frozen=True)
class Served:
    """A function that is served, and a token that may read from it."""

    name: str
    port: int
    token: str

    @property
    def threads(self) -> int:
        return CATALOG.functions[self.name].concurrency

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own: status and JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with closing(connection):
            connection.request(method, path, body, self.authorized | headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    @property
    def authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def answer_on(sent: socket.socket) -> tuple[int, dict[str, Any]]:
    answer = HTTPResponse(sent)
    answer.begin()
    return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Serve a function of the catalog, as many threads as it has when deployed, with a database."""
    issuer = Issuer(State(), lambda: datetime.now(UTC))
    with ExitStack() as stack:
        postgres = stack.enter_context(served.database())
        keys = {f"/_local/jwks/{family}": issuer.jwks(family) for family in ("platform", "google")}
        at = Addresses(stack.enter_context(processes.stand_in(keys)), "", postgres)
        running: dict[str, Served] = {}

        def get(name: str) -> Served:
            if name not in running:
                role = STAFF.get(name, "owner")
                partner_id = None if name in STAFF else str(uuid4())
                token = issuer.user_token(
                    "user", partner_id, role, "basic", issuer=TOKEN_ISSUER, audience=TOKEN_AUDIENCE
                )
                server = served.function(stack, name, environment(CATALOG, name, at))
                running[name] = Served(name, server.port, token)
            return running[name]

        yield get


UNAUTHENTICATED = "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
HEADERS = "POST {path} HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.mark.parametrize(
    "beginning", [UNAUTHENTICATED, HEADERS, "", "\r\n\r\n"], ids=["body", "headers", "nothing", "empty"]
)
@pytest.mark.parametrize("name", HTTP)
def test_slow_strangers_hold_no_thread(serve: Serve, name: str, beginning: str) -> None:
    """As many sockets as the function has threads, and one byte at a time on each; meanwhile somebody else reads."""
    function = serve(name)
    path = READ[name]
    with ExitStack() as stack:
        sockets = [stack.enter_context(function.open()) for _ in range(function.threads)]
        for slow in sockets:
            slow.sendall(beginning.format(path=path).encode())
        for slow in sockets:
            slow.sendall(b"x")
        status, _ = function.send("GET", path)
        assert status == 200
        for slow in sockets:
            slow.sendall(b"x")  # each is open still


@pytest.mark.parametrize("name", ["outbox-relay", "trade-deadline", "webhook-fan-out"])
def test_a_function_that_google_calls_reads_no_body_of_a_stranger(serve: Serve, name: str) -> None:
    function = CATALOG.functions[name]
    with ExitStack() as stack:
        variables = environment(CATALOG, name, Addresses("http://127.0.0.1:9", "127.0.0.1:9", 9))
        command = processes.function_command(
            served.ROOT / "functions" / function.capability / "main.py", function.entry_point
        )
        port = processes.free_port()
        environ = processes.function_environment(port, function.concurrency, variables)
        process = stack.enter_context(processes.running(command, environ))
        processes.accepting(process, port)
        sent = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        sent.sendall(UNAUTHENTICATED.format(path="/").encode())
        status, problem = answer_on(sent)
    assert (status, problem["type"].rpartition("/")[2]) == (401, "unauthenticated")


def test_a_body_that_trickles_is_ended(serve: Serve) -> None:
    """Also one whose sender is known: 408, and its connection is used no more."""
    function = serve("trade-events")
    with function.open() as sent:
        head = UNAUTHENTICATED.format(path="/v1/trades").partition("\r\n\r\n")[0]
        sent.sendall(f"{head}\r\nAuthorization: Bearer {function.token}\r\n\r\n{{".encode())
        status, problem = answer_on(sent)
        assert (status, problem["type"].rpartition("/")[2]) == (408, "request-timeout")
        assert sent.recv(1) == b""


def test_headers_that_trickle_are_ended(serve: Serve) -> None:
    with serve("trade-events").open() as sent:
        sent.sendall(HEADERS.format(path="/v1/trades").encode())
        assert sent.recv(1) == b""


@pytest.mark.parametrize("fields", [1, 20])
def test_headers_that_are_too_large_are_refused(serve: Serve, fields: int) -> None:
    """One that is, or all together."""
    with serve("trade-events").open() as sent:
        sent.sendall(HEADERS.format(path="/v1/trades").encode() + b"x" * (8191 if fields == 1 else 1) + b"\r\n")
        for n in range(fields if fields > 1 else 0):
            sent.sendall(f"X-{n}: {'x' * (MAX_HEADERS // 16)}\r\n".encode())
        sent.sendall(b"\r\n")
        status, problem = answer_on(sent)
    assert (status, problem["type"].rpartition("/")[2]) == (431, "headers-too-large")


def test_what_is_no_http_is_refused(serve: Serve) -> None:
    with serve("trade-events").open() as sent:
        sent.sendall(b"nonsense\r\n\r\n")
        status, problem = answer_on(sent)
    assert (status, problem["type"].rpartition("/")[2]) == (400, "bad-request")


def test_a_stranger_who_sends_a_large_body_reads_the_answer(serve: Serve) -> None:
    function = serve("trade-events")
    assert function.send("POST", "/v1/trades", b"x" * MAX_BODY, Authorization="Bearer none")[0] == 401


def test_a_body_that_is_too_large_is_refused(serve: Serve) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
    function = serve("trade-events")
    assert function.send("POST", "/v1/trades", b"x" * (MAX_BODY + 1), **headers)[0] == 413
    chunks = (b"x" * 65_536 for _ in range(17))  # without Content-Length
    assert function.send("POST", "/v1/trades", chunks, **headers)[0] == 413


def test_a_connection_is_used_again(serve: Serve) -> None:
    """One after the other, and several requests at once."""
    function = serve("trade-events")
    headers = function.authorized | {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
    connection = HTTPConnection("127.0.0.1", function.port, timeout=PATIENCE)
    with closing(connection):
        kept = None
        for method, body, expected in (("GET", None, 200), ("POST", b"{}", 422), ("GET", None, 200)):
            connection.request(method, "/v1/trades", body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == expected
            assert connection.sock is not None
            kept = kept or connection.sock.getsockname()
            assert connection.sock.getsockname() == kept
    request = f"GET /v1/trades HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {function.token}\r\n\r\n".encode()
    with function.open() as sent:
        sent.sendall(request * 3)
        answers = b""
        while answers.count(b"HTTP/1.1 200 OK") < 3:
            received = sent.recv(65_536)
            assert received
            answers += received
