"""Signed tokens: compact JWS (RFC 7515), RS256 or ES256, verified against an issuer's key set (RFC 7517).

Verified with `cryptography` itself: pyjwt imports X.509 and SSH support that nothing here needs, 78 ms of a cold start.
The tests hold this to tokens that pyjwt makes.
"""

import base64
import binascii
import http.client
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.values import clock

MAX_TOKEN_CHARS = 8192
MIN_RSA_BITS = 2048
"""RFC 7518 section 3.3."""

REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
"""What some of Google's services leave of a signature that they checked before they pass a call on."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

Claims = Mapping[str, Any]
Algorithm = Literal["RS256", "ES256"]
Fetch = Callable[[], bytes]
"""Answers a key set as JSON. Raises `kapas.errors.Unavailable`."""

Reason = Literal[
    "missing",
    "too_large",
    "malformed",
    "algorithm",
    "critical",
    "key_id",
    "signature",
    "signature_removed",
    "issuer",
    "audience",
    "expired",
    "not_yet_valid",
    "subject",
    "partner",
    "role",
    "tier",
    "email",
]


class InvalidToken(Exception):
    """The token is not accepted. `reason` is a stable code for logs and clients; the token itself is never repeated."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. It is of one kind, so the algorithm that a token names cannot choose another use of it."""

    jwk: Mapping[str, Any]
    algorithm: Algorithm
    verify: Callable[[bytes, bytes], bool]
    """Whether the first argument is this key's signature over the second."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a token says, and which key signed it."""

    claims: Claims
    key_id: str
    key: Key


class KeySet:
    """An issuer's public keys by key id, parsed once, fetched when needed. Shared by the instance's threads.

    The set is fetched again when it is older than `lifetime`, and for an unknown key id (a rollover), at most every
    `cooldown`. While fetches fail the old set stays in use.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        lifetime: timedelta = timedelta(hours=1),
        cooldown: timedelta = timedelta(seconds=30),
    ) -> None:
        self._fetch = fetch
        self._lifetime = lifetime
        self._cooldown = cooldown
        self._fetching = threading.Lock()
        self._keys: Mapping[str, Key] | None = None
        self._fetched = self._tried = clock.now() - lifetime
        self._tries = 0

    def get(self, key_id: str) -> Key | None:
        """The key of that id, or None. Raises `Unavailable` if no set could be had yet."""
        keys, tries = self._keys, self._tries
        fresh = timedelta(0) <= clock.now() - self._fetched < self._lifetime
        if keys is not None and key_id in keys and fresh:
            return keys[key_id]
        if keys is not None and key_id in keys:
            # Whoever can go on with the old set does not wait for the new one.
            if self._fetching.acquire(blocking=False):
                try:
                    self._refresh(tries)
                finally:
                    self._fetching.release()
        else:
            with self._fetching:
                self._refresh(tries)
        if self._keys is None:
            raise Unavailable
        return self._keys.get(key_id)

    def _refresh(self, tries: int) -> None:
        """Fetch the set, unless another thread did since `tries` was read, or it was tried just now."""
        now = clock.now()
        if tries != self._tries or (self._keys is not None and timedelta(0) <= now - self._tried < self._cooldown):
            return
        try:
            self._keys = _parse(self._fetch(), self._keys or {})
            self._fetched = now
        except (Unavailable, ValueError, TypeError, KeyError, AttributeError) as failure:
            log.error("key_set_unavailable", failure)
        self._tried = now
        self._tries += 1


def fetch_from(url: str, *, timeout: float = 3.0) -> Fetch:
    """Fetches a key set from `url`, once more if the first try fails. Once an hour: no connection is kept for it."""
    address = urlsplit(url)
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection

    def fetch() -> bytes:
        for last in (False, True):
            connection = kind(address.netloc, timeout=timeout)
            try:
                connection.request("GET", target)
                answer = connection.getresponse()
                if answer.status == 200:
                    return answer.read()
            except (OSError, http.client.HTTPException) as failure:
                if last:
                    raise Unavailable from failure
            finally:
                connection.close()
        raise Unavailable

    return fetch


def read(token: str, keys: KeySet) -> Signed:
    """The claims of a token whose signature is good. Whom it is for and until when is for the caller to check.

    Raises:
        InvalidToken: `malformed`, `algorithm`, `critical`, `key_id` (missing or unknown), `signature`, or
            `signature_removed` if it did not get here.
        Unavailable: as `KeySet.get`.
    """
    if _COMPACT.fullmatch(token) is None:
        raise InvalidToken("malformed")
    signed, _, signature = token.rpartition(".")
    if signature == REMOVED:
        raise InvalidToken("signature_removed")
    header, _, payload = signed.partition(".")
    fields = _json_object(header)
    if fields.get("alg") not in ("RS256", "ES256"):
        raise InvalidToken("algorithm")
    if "crit" in fields:
        raise InvalidToken("critical")
    key_id = fields.get("kid")
    key = keys.get(key_id) if isinstance(key_id, str) else None
    if not isinstance(key_id, str) or key is None:
        raise InvalidToken("key_id")
    if key.algorithm != fields["alg"]:
        raise InvalidToken("algorithm")
    if not key.verify(_base64url(signature), signed.encode()):
        raise InvalidToken("signature")
    return Signed(_json_object(payload), key_id, key)


def _json_object(segment: str) -> dict[str, Any]:
    try:
        value = json.loads(_base64url(segment))
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if not isinstance(value, dict):
        raise InvalidToken("malformed")
    return cast(dict[str, Any], value)


def _base64url(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "==")
    except binascii.Error:
        raise InvalidToken("malformed") from None


def _parse(document: bytes, known: Mapping[str, Key]) -> dict[str, Key]:
    """The usable keys of a key set; those that did not change stay the same objects."""
    keys: dict[str, Key] = {}
    for jwk in json.loads(document)["keys"]:
        key_id = jwk.get("kid")
        if not isinstance(key_id, str):
            continue
        old = known.get(key_id)
        key = old if old is not None and old.jwk == jwk else _parse_key(jwk)
        if key is not None:
            keys[key_id] = key
    return keys


def _parse_key(jwk: dict[str, Any]) -> Key | None:
    """The key, or None for one of another kind or use, or out of range: those are ignored (RFC 7517 section 5)."""
    if jwk.get("use", "sig") != "sig":
        return None
    try:
        match jwk:
            case {"kty": "RSA", "n": str(n), "e": str(e)} if jwk.get("alg", "RS256") == "RS256":
                return Key(jwk, "RS256", _rs256(_number(n), _number(e)))
            case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y)} if jwk.get("alg", "ES256") == "ES256":
                return Key(jwk, "ES256", _es256(_number(x), _number(y)))
            case _:
                return None
    except ValueError:
        return None


def _rs256(n: int, e: int) -> Callable[[bytes, bytes], bool]:
    """RFC 7518 section 3.3. Raises `ValueError` for a key that is too short or none."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.hashes import SHA256

    if n.bit_length() < MIN_RSA_BITS:
        raise ValueError("the RSA key is too short")
    key, padding, digest = RSAPublicNumbers(e, n).public_key(), PKCS1v15(), SHA256()

    def verify(signature: bytes, signed: bytes) -> bool:
        try:
            key.verify(signature, signed, padding, digest)
        except InvalidSignature:
            return False
        return True

    return verify


def _es256(x: int, y: int) -> Callable[[bytes, bytes], bool]:
    """RFC 7518 section 3.4: the signature is r and s, 32 bytes each. Raises `ValueError` off the curve."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    key, ecdsa = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key(), ECDSA(SHA256())

    def verify(signature: bytes, signed: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            key.verify(encode_dss_signature(r, s), signed, ecdsa)
        except InvalidSignature:
            return False
        return True

    return verify


def _number(segment: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(segment + "=="), "big")
