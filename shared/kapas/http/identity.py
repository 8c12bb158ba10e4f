"""Who is calling: clients by access token (JWT), Google's services and other functions by Google OIDC token."""

import hashlib
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from kapas.http.jws import MAX_TOKEN_CHARS, Claims, Fetch, InvalidToken, KeySet, Reason, Signed, fetch_from, read
from kapas.values import clock

LEEWAY = 30
"""Seconds by which an issuer's clock may differ from ours."""
LONGEST_LIFE = 24 * 60 * 60
"""Seconds that a token may still be valid for. What it says of its holder, a role that was taken away among it, is believed
for so long. Identity Platform and Google issue tokens for an hour; a day leaves room for an issuer of machines' tokens."""

_SUBJECT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")
"""OpenID Connect Core, section 2: at most 255 characters; and of those, what can be stored and shown."""

GOOGLE_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
"""Google's ID tokens carry either (OpenID Connect, "Validating an ID token")."""

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class Role(StrEnum):
    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"
    INSPECTOR = "inspector"
    OPS = "ops"
    DPO = "dpo"

    @property
    def of_partner(self) -> bool:
        """Whether one holds this role for a partner: without a `partner_id` it is invalid."""
        return self in (Role.OWNER, Role.MEMBER, Role.VIEWER)

    def covers(self, other: "Role") -> bool:
        """Whether whoever has this role may do all that `other` may: of a partner the owner may do most, the viewer least."""
        if self.of_partner and other.of_partner:
            order = (Role.OWNER, Role.MEMBER, Role.VIEWER)
            return order.index(self) <= order.index(other)
        return self is other


class Tier(StrEnum):
    FREE = "free"
    BASIC = "basic"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True)
class Identity:
    """A client: `subject` is the person or machine at the issuer, `partner_id` the partner it acts for."""

    subject: str
    partner_id: UUID | None
    role: Role
    tier: Tier


class Verifier:
    """Verifies clients' access tokens. Shared by the instance's threads.

    `jwks` is the address of the issuer's key set, or a function that answers it.
    """

    def __init__(self, jwks: str | Fetch, issuer: str, audience: str) -> None:
        self._tokens = _Tokens(jwks, {issuer}, audience, _identity)

    def verify(self, token: str) -> Identity:
        """Who the token says is calling.

        Raises:
            InvalidToken: if it is not a valid, current token of this issuer for this audience, with known claims.
            kapas.errors.Unavailable: if the issuer's keys could not be had yet.
        """
        return self._tokens.verify(token)


class ServiceVerifier:
    """Verifies the Google OIDC tokens of Pub/Sub, Cloud Tasks, Cloud Scheduler and other functions.

    `audience` is the address they are told to call, `callers` the e-mail addresses of the service accounts that may.
    """

    def __init__(self, jwks: str | Fetch, audience: str, callers: Collection[str]) -> None:
        self._callers = frozenset(callers)
        self._tokens = _Tokens(jwks, GOOGLE_ISSUERS, audience, self._caller)

    def verify(self, token: str) -> str:
        """The service account that calls. Raises as `Verifier.verify`."""
        return self._tokens.verify(token)

    def _caller(self, claims: Claims) -> str:
        email = claims.get("email")
        if not isinstance(email, str) or email not in self._callers or claims.get("email_verified") is not True:
            raise InvalidToken("email")
        return email


def bearer(authorization: str | None) -> str:
    """The token of an `Authorization: Bearer` header (RFC 6750). Raises `InvalidToken("missing")`."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken("missing")
    return token.strip()


class _Tokens(Generic[T]):
    """Verifies tokens, and remembers those it accepted last by their SHA-256: a client's next request is cheap."""

    def __init__(
        self,
        jwks: str | Fetch,
        issuers: Collection[str],
        audience: str,
        accept: Callable[[Claims], T],
        capacity: int = 1024,
    ) -> None:
        self._keys = KeySet(fetch_from(jwks) if isinstance(jwks, str) else jwks)
        self._issuers = issuers
        self._audience = audience
        self._accept = accept
        self._capacity = capacity
        self._lock = threading.Lock()
        self._accepted: OrderedDict[bytes, tuple[Signed, T]] = OrderedDict()

    def verify(self, token: str) -> T:
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidToken("too_large")
        if not token.isascii():
            raise InvalidToken("malformed")
        digest = hashlib.sha256(token.encode()).digest()
        with self._lock:
            known = self._accepted.get(digest)
        # What a key signed ends with the key: a set without it ends the remembered tokens too.
        if known is not None and self._keys.get(known[0].key_id) is known[0].key:
            signed, result = known
            _check_times(signed.claims)
        else:
            signed = read(token, self._keys)
            self._check_addressed(signed.claims)
            _check_times(signed.claims)
            result = self._accept(signed.claims)
        self._remember(digest, (signed, result))
        return result

    def _check_addressed(self, claims: Claims) -> None:
        issuer, audience = claims.get("iss"), claims.get("aud")
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise InvalidToken("issuer")
        if audience != self._audience and not (isinstance(audience, list) and self._audience in audience):
            raise InvalidToken("audience")

    def _remember(self, digest: bytes, accepted: tuple[Signed, T]) -> None:
        with self._lock:
            self._accepted[digest] = accepted
            self._accepted.move_to_end(digest)
            if len(self._accepted) > self._capacity:
                self._accepted.popitem(last=False)


def _check_times(claims: Claims) -> None:
    now = clock.now().timestamp()
    if not _is_time(claims.get("exp")) or now >= claims["exp"] + LEEWAY:
        raise InvalidToken("expired")
    if claims["exp"] > now + LONGEST_LIFE + LEEWAY:
        raise InvalidToken("lifetime")
    if "nbf" in claims and (not _is_time(claims["nbf"]) or now < claims["nbf"] - LEEWAY):
        raise InvalidToken("not_yet_valid")


def _is_time(claim: Any) -> bool:
    # A NumericDate (RFC 7519 section 2). Python's JSON also reads NaN and Infinity, and true is an int.
    return type(claim) is int or (type(claim) is float and math.isfinite(claim))


def _identity(claims: Claims) -> Identity:
    subject = claims.get("sub")
    if not isinstance(subject, str) or _SUBJECT.fullmatch(subject) is None:
        raise InvalidToken("subject")
    role = _member(Role, claims.get("role"), "role")
    tier = _member(Tier, claims.get("tier"), "tier")
    partner_id = _partner_id(claims.get("partner_id"))
    if role.of_partner and partner_id is None:
        raise InvalidToken("partner")
    return Identity(subject, partner_id, role, tier)


def _member(kind: type[E], claim: Any, reason: Reason) -> E:
    try:
        return kind(claim)
    except ValueError:
        raise InvalidToken(reason) from None


def _partner_id(claim: Any) -> UUID | None:
    if claim is None:
        return None
    try:
        partner_id = UUID(claim)
    except (ValueError, TypeError, AttributeError):
        raise InvalidToken("partner") from None
    # UUID() also reads braces, URNs and missing hyphens.
    if str(partner_id) != claim.lower():
        raise InvalidToken("partner")
    return partner_id
