"""Tokens made by pyjwt, as a signer independent of what verifies them, and the issuer's key set."""

import base64
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from kapas.errors import Unavailable
from kapas.http.identity import InvalidToken, ServiceVerifier, Verifier

ISSUER, AUDIENCE = "https://id.example.com", "https://api.example.com"
NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
PARTNER = uuid.UUID("0193a1b2-0000-7000-8000-00000000000a")
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = rsa.generate_private_key(65537, 2048)


def public_jwk(private: Any, kid: str, **members: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
    return {**algorithm.to_jwk(private.public_key(), as_dict=True), "kid": kid, **members}


class Issuer:
    """A key set that changes and fails on request, and counts how often it was fetched."""

    def __init__(self) -> None:
        self.keys: list[Any] = [public_jwk(RSA_KEY, "rsa", use="sig", alg="RS256"), public_jwk(EC_KEY, "ec")]
        self.fetches = 0
        self.down = False

    def fetch(self) -> bytes:
        self.fetches += 1
        if self.down:
            raise Unavailable
        return json.dumps({"keys": self.keys}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; None leaves one out."""
    every = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "exp": int(NOW.timestamp()) + 900,
        "partner_id": str(PARTNER),
        "role": "owner",
        "tier": "premium",
    }
    return {name: value for name, value in (every | changes).items() if value is not None}


def token(key: Any = RSA_KEY, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    kid = "ec" if isinstance(key, ec.EllipticCurvePrivateKey) else "rsa"
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid} if headers is None else headers)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def raw(header: bytes, payload: bytes, signature: bytes = b"x" * 256) -> str:
    return ".".join(map(b64, (header, payload, signature)))


def signed(payload: bytes) -> str:
    """A good signature over any payload, JSON or not."""
    return jwt.PyJWS().encode(payload, RSA_KEY, "RS256", headers={"kid": "rsa"})


def refusal(verifier: Verifier | ServiceVerifier, presented: str) -> str:
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(presented)
    assert str(refused.value) == refused.value.reason
    return refused.value.reason
