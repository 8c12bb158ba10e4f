"""Signatures and key sets: every way in which a token must not be accepted."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given
from hypothesis import strategies as st

from kapas.errors import Unavailable
from kapas.http.identity import InvalidToken, Verifier
from kapas.http.jws import KeySet, fetch_from
from tests.times import Time, eventually, moving_time
from tests.unit.kapas.signed_tokens import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    NOW,
    OTHER_KEY,
    RSA_KEY,
    Issuer,
    b64,
    claims,
    public_jwk,
    raw,
    refusal,
    signed,
    token,
)


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(NOW) as time:
        yield time


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def verifier(issuer: Issuer, time: Time) -> Verifier:
    return Verifier(issuer.fetch, ISSUER, AUDIENCE)


GOOD = token()
FORGED: dict[str, tuple[str, str]] = {
    "empty": ("", "malformed"),
    "one part": ("abc", "malformed"),
    "two parts": ("a.b", "malformed"),
    "four parts": ("a.b.c.d", "malformed"),
    "padded": (GOOD + "=", "malformed"),
    "newline": (GOOD + "\n", "malformed"),
    "space": (" " + GOOD, "malformed"),
    "not ASCII": ("ä.b.c", "malformed"),
    "not base64": ("a.b.c", "malformed"),
    "header cut": (raw(b"{", b"{}"), "malformed"),
    "header a list": (raw(b"[]", b"{}"), "malformed"),
    "header not UTF-8": (raw(b"\xff", b"{}"), "malformed"),
    "header nested deep": (raw(b"[" * 5000, b"{}"), "malformed"),
    "claims a list": (signed(b"[]"), "malformed"),
    "claims not JSON": (signed(b"not json"), "malformed"),
    "claims with a giant number": (signed(b'{"exp":' + b"9" * 5000 + b"}"), "malformed"),
    "too large": ("x" * 8193, "too_large"),
    "no algorithm": (raw(b'{"kid":"rsa"}', b"{}"), "algorithm"),
    "a list of algorithms": (raw(b'{"alg":["RS256"],"kid":"rsa"}', b"{}"), "algorithm"),
    "none, unsigned": (jwt.encode(claims(), None, "none", headers={"kid": "rsa"}), "malformed"),
    "none, with a signature": (jwt.encode(claims(), None, "none", headers={"kid": "rsa"}) + "abcd", "algorithm"),
    "RS512": (token(algorithm="RS512"), "algorithm"),
    "PS256": (token(algorithm="PS256"), "algorithm"),
    "ES256 naming an RSA key": (token(EC_KEY, "ES256", {"kid": "rsa"}), "algorithm"),
    "RS256 naming an EC key": (token(RSA_KEY, "RS256", {"kid": "ec"}), "algorithm"),
    "critical header": (token(headers={"kid": "rsa", "crit": ["b64"], "b64": True}), "critical"),
    "no key id": (token(headers={}), "key_id"),
    "unknown key id": (token(headers={"kid": "gone"}), "key_id"),
    "key id a number": (raw(b'{"alg":"RS256","kid":7}', b"{}"), "key_id"),
    "another key": (token(OTHER_KEY), "signature"),
    "signature removed": (GOOD.rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE", "signature_removed"),
    "RS256 made up": (raw(b'{"alg":"RS256","kid":"rsa"}', json.dumps(claims()).encode()), "signature"),
    "ES256 made up": (raw(b'{"alg":"ES256","kid":"ec"}', json.dumps(claims()).encode(), b"x" * 64), "signature"),
    "ES256 of zeros": (raw(b'{"alg":"ES256","kid":"ec"}', json.dumps(claims()).encode(), b"\0" * 64), "signature"),
    "ES256 too long": (raw(b'{"alg":"ES256","kid":"ec"}', json.dumps(claims()).encode(), b"x" * 70), "signature"),
}


@pytest.mark.parametrize("case", FORGED)
def test_refuses_tokens(verifier: Verifier, case: str) -> None:
    presented, reason = FORGED[case]
    assert refusal(verifier, presented) == reason


def test_a_public_key_is_no_hmac_secret(verifier: Verifier) -> None:
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    start = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'rsa'}).encode())}.{b64(json.dumps(claims()).encode())}"
    assert refusal(verifier, f"{start}.{b64(hmac.digest(pem, start.encode(), hashlib.sha256))}") == "algorithm"


@given(at=st.integers(0, len(GOOD) - 1), letter=st.sampled_from("AQgw_-09az"))
def test_no_character_of_a_token_can_be_changed(at: int, letter: str) -> None:
    # The last character has bits that mean nothing, so it is left alone.
    changed = GOOD[:at] + letter + GOOD[at + 1 :]
    assume(changed[:-1] != GOOD[:-1])
    with moving_time(NOW), pytest.raises(InvalidToken):
        Verifier(Issuer().fetch, ISSUER, AUDIENCE).verify(changed)


# The key set


def test_the_set_is_fetched_once_and_again_after_an_hour(verifier: Verifier, issuer: Issuer, time: Time) -> None:
    for number in range(3):
        verifier.verify(token(sub=f"user-{number}"))
    assert issuer.fetches == 1
    time.advance(minutes=59, seconds=59)
    late = token(exp=NOW.timestamp() + 7200)
    verifier.verify(late)
    assert issuer.fetches == 1
    time.advance(seconds=1)
    verifier.verify(late)
    assert issuer.fetches == 2


def test_an_unknown_key_id_fetches_at_most_every_half_minute(verifier: Verifier, issuer: Issuer, time: Time) -> None:
    verifier.verify(token())
    rolled = token(OTHER_KEY, headers={"kid": "new"})
    issuer.keys.append(public_jwk(OTHER_KEY, "new"))
    assert refusal(verifier, rolled) == "key_id"
    time.advance(seconds=30)
    assert verifier.verify(rolled).subject == "user-1"
    assert issuer.fetches == 2
    for number in range(5):
        assert refusal(verifier, token(headers={"kid": f"guess-{number}"})) == "key_id"
    assert issuer.fetches == 2


def test_the_old_set_serves_while_the_issuer_is_down(verifier: Verifier, issuer: Issuer, time: Time) -> None:
    late = token(exp=NOW.timestamp() + 90_000)
    verifier.verify(late)
    issuer.down = True
    time.advance(hours=2)
    for _ in range(3):
        assert verifier.verify(late).subject == "user-1"
    assert issuer.fetches == 2, "a failed fetch is not repeated at once"
    issuer.down, issuer.keys = False, []
    time.advance(seconds=30)
    assert refusal(verifier, late) == "key_id"


@pytest.mark.parametrize("answer", [b"", b"not json", b"[]", b"{}", b'{"keys": 7}', b'{"keys": [7]}'])
def test_an_unreadable_set_is_as_one_that_is_down(time: Time, answer: bytes) -> None:
    answers = [json.dumps({"keys": Issuer().keys}).encode(), answer]
    verifier = Verifier(lambda: answers.pop(0), ISSUER, AUDIENCE)
    late = token(exp=NOW.timestamp() + 90_000)
    verifier.verify(late)
    time.advance(hours=1)
    assert verifier.verify(late).subject == "user-1"
    assert not answers


def test_without_any_set_it_is_unavailable_not_the_token_s_fault(verifier: Verifier, issuer: Issuer) -> None:
    issuer.down = True
    with pytest.raises(Unavailable):
        verifier.verify(token())
    issuer.down = False
    assert verifier.verify(token()).subject == "user-1"


def test_a_withdrawn_key_ends_the_tokens_it_signed(verifier: Verifier, issuer: Issuer, time: Time) -> None:
    late = token(exp=NOW.timestamp() + 90_000)
    verifier.verify(late)
    issuer.keys = [public_jwk(OTHER_KEY, "rsa")]
    time.advance(hours=1)
    assert refusal(verifier, late) == "signature"


def test_keys_of_other_kinds_and_uses_are_ignored(time: Time) -> None:
    good = public_jwk(RSA_KEY, "rsa")
    off_curve = public_jwk(EC_KEY, "off") | {"y": b64(b"\1" * 32)}
    others = [
        {"kty": "oct", "kid": "oct", "k": b64(b"secret" * 8)},
        public_jwk(RSA_KEY, "enc", use="enc"),
        public_jwk(RSA_KEY, "pss", alg="PS256"),
        public_jwk(rsa.generate_private_key(65537, 1024), "short"),
        public_jwk(ec.generate_private_key(ec.SECP384R1()), "p384"),
        {"kty": "RSA", "kid": "bare"},
        {name: value for name, value in good.items() if name != "kid"},
        off_curve,
    ]
    keys = KeySet(lambda: json.dumps({"keys": [*others, good]}).encode())
    assert keys.get("rsa") is not None
    assert [keys.get(kid) for kid in ("oct", "enc", "pss", "short", "p384", "bare", "off")] == [None] * 7


def test_keys_that_did_not_change_are_not_parsed_again(issuer: Issuer, time: Time) -> None:
    keys = KeySet(issuer.fetch)
    before = keys.get("rsa")
    time.advance(hours=1)
    assert keys.get("rsa") is before
    assert issuer.fetches == 2


@pytest.mark.parametrize("down", [False, True])
def test_a_stampede_fetches_the_set_once(issuer: Issuer, time: Time, down: bool) -> None:
    issuer.down = down

    class CountingLock:
        """The lock of whoever fetches, and how many threads came to it."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.arrived = 0

        def __enter__(self) -> None:
            self.arrived += 1
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()

    def fetch() -> bytes:
        eventually(lambda: lock.arrived == 8, "the arrival of all threads")
        return issuer.fetch()

    keys, lock = KeySet(fetch), CountingLock()
    keys._fetching = lock

    def get(_: int) -> bool:
        try:
            return keys.get("rsa") is not None
        except Unavailable:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(get, range(8))) == [not down] * 8
    assert issuer.fetches == 1


def test_fetches_over_http_and_tells_any_failure_as_unavailable() -> None:
    document = json.dumps({"keys": []}).encode()

    targets: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            targets.append(self.path)
            moved = self.path == "/moved"
            self.send_response(302 if moved else 500 if self.path == "/broken" else 200)
            self.send_header("Content-Length", str(len(document)))
            if moved:
                self.send_header("Location", "/keys")
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        for target in ("/keys", "/keys?p=sign-in&v=2", "/"):
            assert fetch_from(base + target)() == document
        assert fetch_from(base)() == document
        assert targets == ["/keys", "/keys?p=sign-in&v=2", "/", "/"]
        for path in ("/moved", "/broken"):
            with pytest.raises(Unavailable):
                fetch_from(base + path)()
        server.shutdown()
    with pytest.raises(Unavailable):
        fetch_from(base + "/keys", timeout=0.5)()
