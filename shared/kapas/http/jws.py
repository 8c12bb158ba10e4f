"""Signed tokens: compact JWS (RFC 7515), RS256 or ES256, verified against an issuer's key set (RFC 7517).

PyJWT reads and verifies; it is imported at the first token. The key set is our own: PyJWT's client has no bound on fetches
for unknown key ids, drops its keys while the issuer is down, and follows the system's clock.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from kapas.errors import Unavailable
from kapas.platform import fetch, log
from kapas.values import clock

if TYPE_CHECKING:
    from jwt import PyJWK

MAX_TOKEN_CHARS = 8192
ALGORITHMS = ("RS256", "ES256")
MIN_RSA_BITS = 2048
"""RFC 7518 section 3.3."""

REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
"""What some of Google's services leave of a signature that they checked before they pass a call on."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

Claims = Mapping[str, Any]
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
    public: "PyJWK"


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
    """Fetches a key set from `url`."""
    return lambda: fetch.get(url, timeout=timeout)


def read(token: str, keys: KeySet) -> Signed:
    """The claims of a token whose signature is good. The audience, issuer and times are for the caller to check.

    Raises:
        InvalidToken: `malformed`, `algorithm`, `critical`, `key_id` (missing or unknown), `signature`, or
            `signature_removed` if a service of Google's took it off.
        Unavailable: as `KeySet.get`.
    """
    import jwt

    if _COMPACT.fullmatch(token) is None:  # PyJWT lets padding pass, which RFC 7515 does not
        raise InvalidToken("malformed")
    if token.endswith(f".{REMOVED}"):
        raise InvalidToken("signature_removed")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.DecodeError:
        raise InvalidToken("malformed") from None
    except jwt.InvalidTokenError as fault:
        raise InvalidToken("key_id" if "Key ID" in str(fault) else "critical") from None
    if header.get("alg") not in ALGORITHMS:
        raise InvalidToken("algorithm")
    if "crit" in header:  # whatever it is: no extension is in use here
        raise InvalidToken("critical")
    key_id = header.get("kid")
    key = keys.get(key_id) if isinstance(key_id, str) else None
    if not isinstance(key_id, str) or key is None:
        raise InvalidToken("key_id")
    try:
        payload: bytes = jwt.PyJWS().decode(token, key.public, algorithms=ALGORITHMS)
    except jwt.InvalidAlgorithmError:
        raise InvalidToken("algorithm") from None
    except jwt.InvalidTokenError:
        raise InvalidToken("signature") from None
    return Signed(_claims(payload), key_id, key)


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if not isinstance(value, dict):
        raise InvalidToken("malformed")
    return cast(dict[str, Any], value)


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
    from jwt import PyJWK, PyJWTError

    if jwk.get("use", "sig") != "sig":
        return None
    try:
        public = PyJWK(jwk)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    if public.algorithm_name not in ALGORITHMS or (jwk["kty"] == "RSA" and public.key.key_size < MIN_RSA_BITS):
        return None
    return Key(jwk, public)
