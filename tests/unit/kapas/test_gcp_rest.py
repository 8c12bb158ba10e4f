"""KMS and the metadata server over REST, against servers on loopback that behave as Google documents them."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import google_crc32c
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from kapas.errors import Unavailable
from kapas.platform.gcp import kms_rest
from kapas.platform.gcp.kms import CloudKms
from kapas.platform.gcp.kms_rest import crc32c
from kapas.platform.gcp.metadata import MARGIN, MetadataTokens
from kapas.platform.ports import Tampered
from kapas.values import clock
from tests.times import PATIENCE, Time, moving_time

KEY_NAME = "projects/p/locations/asia-south1/keyRings/kapas/cryptoKeys/epochs"
NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)

Answer = tuple[int, bytes]


@dataclass
class Server:
    """Answers each request by `handle(path, headers, body)` and keeps what came."""

    url: str = ""
    handle: Callable[[str, dict[str, str], bytes], Answer] = lambda *_: (404, b"")
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            state.seen.append((self.path, headers))
            status, answer = state.handle(self.path, headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}"
        yield state
        http.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(NOW) as time:
        yield time


# Cloud KMS


class FakeKms:
    """The two methods, with checksums as KMS reads and writes them."""

    def __init__(self) -> None:
        self.cipher = AESGCM(bytes(32))
        self.spoil: list[Callable[[dict[str, Any]], None]] = []

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        request = json.loads(body)
        context = base64.b64decode(request["additionalAuthenticatedData"])
        for name in ("plaintext", "ciphertext", "additionalAuthenticatedData"):
            if name in request:
                data = base64.b64decode(request[name])
                assert int(request[f"{name}Crc32c"]) == google_crc32c.value(data)
        if path == f"/v1/{KEY_NAME}:encrypt":
            nonce = bytes(12)
            ciphertext = nonce + self.cipher.encrypt(nonce, base64.b64decode(request["plaintext"]), context)
            answer = {
                "name": f"{KEY_NAME}/cryptoKeyVersions/1",
                "ciphertext": base64.b64encode(ciphertext).decode(),
                "ciphertextCrc32c": str(google_crc32c.value(ciphertext)),
                "verifiedPlaintextCrc32c": True,
                "verifiedAdditionalAuthenticatedDataCrc32c": True,
            }
        else:
            assert path == f"/v1/{KEY_NAME}:decrypt"
            ciphertext = base64.b64decode(request["ciphertext"])
            try:
                plaintext = self.cipher.decrypt(ciphertext[:12], ciphertext[12:], context)
            except InvalidTag:
                return problem(400, "INVALID_ARGUMENT")
            answer = {
                "plaintext": base64.b64encode(plaintext).decode(),
                "plaintextCrc32c": str(google_crc32c.value(plaintext)),
                "usedPrimary": True,
            }
        if self.spoil:
            self.spoil.pop(0)(answer)
        return 200, json.dumps(answer).encode()


def problem(code: int, status: str) -> Answer:
    return code, json.dumps({"error": {"code": code, "message": "no", "status": status}}).encode()


@pytest.fixture
def kms(server: Server) -> CloudKms:
    server.handle = FakeKms()
    return CloudKms(KEY_NAME, server.url)


def test_wraps_and_unwraps_without_a_token_outside_google(kms: CloudKms, server: Server) -> None:
    wrapped = kms.wrap(b"k" * 32, b"context")
    assert kms.unwrap(wrapped, b"context") == b"k" * 32
    assert all("authorization" not in headers for _, headers in server.seen)


def test_sends_the_service_account_s_token_to_google(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.handle = FakeKms()
    monkeypatch.setattr(kms_rest, "GOOGLE_URL", server.url)
    monkeypatch.setattr(MetadataTokens, "access_token", lambda _: "ya29.token")
    CloudKms(KEY_NAME, server.url).wrap(b"k" * 32, b"context")
    assert server.seen[0][1]["authorization"] == "Bearer ya29.token"


def test_another_context_is_tampered(kms: CloudKms) -> None:
    wrapped = kms.wrap(b"k" * 32, b"context")
    with pytest.raises(Tampered):
        kms.unwrap(wrapped, b"another")


SPOILED: dict[str, Callable[[dict[str, Any]], None]] = {
    "ciphertext changed": lambda answer: answer.update(ciphertext=base64.b64encode(b"changed").decode()),
    "no ciphertext checksum": lambda answer: answer.pop("ciphertextCrc32c"),
    "plaintext unverified": lambda answer: answer.update(verifiedPlaintextCrc32c=False),
    "context unverified": lambda answer: answer.pop("verifiedAdditionalAuthenticatedDataCrc32c"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_an_answer_that_does_not_check_is_asked_for_once_more(server: Server, fault: str) -> None:
    fake = server.handle = FakeKms()
    kms = CloudKms(KEY_NAME, server.url)
    fake.spoil = [SPOILED[fault]]
    assert kms.unwrap(kms.wrap(b"k" * 32, b"context"), b"context") == b"k" * 32
    assert len(server.seen) == 3
    fake.spoil = [SPOILED[fault]] * 2
    with pytest.raises(Unavailable):
        kms.wrap(b"k" * 32, b"context")


def test_a_plaintext_that_does_not_check_is_never_used(server: Server) -> None:
    fake = server.handle = FakeKms()
    kms = CloudKms(KEY_NAME, server.url)
    wrapped = kms.wrap(b"k" * 32, b"context")
    fake.spoil = [lambda answer: answer.update(plaintext=base64.b64encode(b"x" * 32).decode())] * 2
    with pytest.raises(Unavailable):
        kms.unwrap(wrapped, b"context")


@pytest.mark.parametrize(
    "answer",
    [
        problem(400, "FAILED_PRECONDITION"),
        problem(403, "PERMISSION_DENIED"),
        problem(404, "NOT_FOUND"),
        (200, b"<html>"),
        (200, b"[]"),
        (302, b""),
    ],
    ids=["disabled version", "denied", "no such key", "not JSON", "no object", "redirect"],
)
def test_every_other_refusal_is_unavailable(server: Server, answer: Answer) -> None:
    server.handle = lambda *_: answer
    kms = CloudKms(KEY_NAME, server.url)
    with pytest.raises(Unavailable):
        kms.wrap(b"k" * 32, b"context")
    with pytest.raises(Unavailable):
        kms.unwrap(b"wrapped", b"context")
    assert len(server.seen) == 2


def test_a_passing_failure_is_tried_again(server: Server) -> None:
    fake, answers = FakeKms(), [problem(503, "UNAVAILABLE"), problem(429, "RESOURCE_EXHAUSTED")]
    server.handle = lambda *request: answers.pop(0) if answers else fake(*request)
    kms = CloudKms(KEY_NAME, server.url)
    assert kms.unwrap(kms.wrap(b"k" * 32, b"context"), b"context") == b"k" * 32


def test_an_unreachable_service_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        CloudKms(KEY_NAME, "http://127.0.0.1:1", timeout=0.5).wrap(b"k" * 32, b"context")


def test_crc32c_of_the_standard_s_vectors() -> None:
    # RFC 3720 appendix B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(st.binary(max_size=200))
def test_crc32c_agrees_with_google_s(data: bytes) -> None:
    assert crc32c(data) == google_crc32c.value(data)


# The metadata server


def serve_tokens(server: Server, lifetime: timedelta = timedelta(hours=1)) -> None:
    """Numbered tokens, each for `lifetime` from the clock's time."""

    def handle(path: str, headers: dict[str, str], _: bytes) -> Answer:
        assert headers["metadata-flavor"] == "Google"
        number = len(server.seen)
        if path == "/computeMetadata/v1/instance/service-accounts/default/token":
            body = {"access_token": f"ya29.{number}", "expires_in": lifetime.total_seconds(), "token_type": "Bearer"}
            return 200, json.dumps(body).encode()
        assert path.startswith("/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2F")
        claims = json.dumps({"n": number, "exp": (clock.now() + lifetime).timestamp()}).encode()
        return 200, f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln\n".encode()

    server.handle = handle


def test_keeps_an_access_token_until_shortly_before_it_expires(server: Server, time: Time) -> None:
    serve_tokens(server)
    tokens = MetadataTokens(server.url)
    assert [tokens.access_token(), tokens.access_token()] == ["ya29.1", "ya29.1"]
    time.now += timedelta(hours=1) - MARGIN - timedelta(seconds=1)
    assert tokens.access_token() == "ya29.1"
    time.now += timedelta(seconds=1)
    assert tokens.access_token() == "ya29.2"


def test_keeps_one_id_token_for_each_audience(server: Server, time: Time) -> None:
    serve_tokens(server)
    tokens = MetadataTokens(server.url)
    relay, sweep = "https://relay.example.com", "https://sweep.example.com"
    first = tokens.id_token(relay)
    assert first.startswith("e30.")
    assert first.endswith(".c2ln")
    assert tokens.id_token(sweep) != first
    assert tokens.id_token(relay) == first
    assert len(server.seen) == 2
    time.now += timedelta(hours=1) - MARGIN
    assert tokens.id_token(relay) != first


@pytest.mark.parametrize(
    "answer", [(404, b"no account"), (200, b"<html>"), (200, b"{}"), (200, b"[]"), (200, b"\xff.\xff.\xff")]
)
def test_no_token_is_unavailable(server: Server, time: Time, answer: Answer) -> None:
    server.handle = lambda *_: answer
    tokens = MetadataTokens(server.url)
    with pytest.raises(Unavailable):
        tokens.access_token()
    with pytest.raises(Unavailable):
        tokens.id_token("https://relay.example.com")


def test_no_metadata_server_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        MetadataTokens("http://127.0.0.1:1", timeout=0.2).access_token()
