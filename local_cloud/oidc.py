"""Tokens of the local cloud: Google's OIDC identity of a service account, and the platform's own access tokens.

Each issuer has its own RSA keys, which outlive restarts, and publishes them as a JWKS.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from local_cloud.state import State

GOOGLE = "https://accounts.google.com"
"""The issuer of Google's ID tokens: https://accounts.google.com/.well-known/openid-configuration."""

Family = Literal["google", "platform"]

_KEYS = "oidc.key"
_LIFETIME = timedelta(hours=1)
_REISSUE = timedelta(minutes=50)
"""How long one ID token serves: a service that pushes signs once for many messages, as Google's do."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    private: rsa.RSAPrivateKey

    @property
    def jwk(self) -> dict[str, Any]:
        public = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.id, "use": "sig", "alg": "RS256"}


def _key(private: rsa.RSAPrivateKey) -> _Key:
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _Key(hashlib.sha256(public).hexdigest()[:40], private)


class Issuer:
    """Signs with the newest key of each family and publishes them all. `clock` says when a token is issued."""

    def __init__(self, state: State, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._clock = clock
        self._issued: dict[tuple[str, str], tuple[str, datetime | None]] = {}
        self._keys: dict[Family, list[_Key]] = {"google": [], "platform": []}
        for name, pem in state.items(_KEYS):
            private = cast(rsa.RSAPrivateKey, serialization.load_pem_private_key(pem, None))
            self._keys["google" if name.startswith("google/") else "platform"].append(_key(private))
        for family, keys in self._keys.items():
            if not keys:
                self.rotate(family)

    def rotate(self, family: Family) -> str:
        """Sign with a new key from now on, and keep publishing the old ones; the new key's id (`kid`)."""
        key = _key(rsa.generate_private_key(65537, 2048))
        pem = key.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._state.put(_KEYS, f"{family}/{len(self._keys[family]):06}", pem)
        self._keys[family].append(key)
        self._issued.clear()
        return key.id

    def jwks(self, family: Family) -> dict[str, list[dict[str, Any]]]:
        """The public keys of a family as a JSON Web Key Set (RFC 7517 section 5), oldest first."""
        return {"keys": [key.jwk for key in self._keys[family]]}

    def token(self, email: str, audience: str) -> str:
        """An ID token as Google issues it for the service account `email`, for one hour.

        Claims: https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload.
        """
        kept, since = self._issued.get((email, audience), ("", None))
        if since is not None and timedelta(0) <= self._clock() - since < _REISSUE:
            return kept
        unique_id = str(10**20 + int(hashlib.sha256(email.encode()).hexdigest(), 16) % (9 * 10**20))
        claims = {"aud": audience, "azp": unique_id, "sub": unique_id, "email": email, "email_verified": True}
        token = self._sign("google", GOOGLE, claims, _LIFETIME)
        self._issued[email, audience] = token, self._clock()
        return token

    def user_token(
        self,
        sub: str,
        partner_id: str | None,
        role: str,
        tier: str,
        *,
        issuer: str,
        audience: str,
        lifetime: timedelta = _LIFETIME,
    ) -> str:
        """An access token of the platform's own user; without `partner_id` for staff, who belong to no partner."""
        claims = {"aud": audience, "sub": sub, "role": role, "tier": tier}
        if partner_id is not None:
            claims["partner_id"] = partner_id
        return self._sign("platform", issuer, claims, lifetime)

    def _sign(self, family: Family, issuer: str, claims: dict[str, Any], lifetime: timedelta) -> str:
        issued = int(self._clock().timestamp())
        key = self._keys[family][-1]
        payload = {"iss": issuer, **claims, "iat": issued, "exp": issued + int(lifetime.total_seconds())}
        return jwt.encode(payload, key.private, algorithm="RS256", headers={"kid": key.id})
