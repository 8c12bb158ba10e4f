"""What the platform signs by its key for receipts: JWS (RFC 7515) with ES256 over canonical JSON, for anybody to verify."""

import base64
import functools
import hashlib
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kapas.platform.ports import Signer

ISSUER = "https://kapas.example.com/"
"""`iss` of whatever is signed."""


def canonical(value: Any) -> bytes:
    """The JSON Canonicalization Scheme (RFC 8785) of a value of strings, integers, booleans, null, lists and objects.

    Keys are ASCII here, so that their order by code point is the order by UTF-16 that the scheme asks for. There are no
    floats: their form in the scheme is not Python's.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> bytes:
    """The SHA-256 of the canonical bytes."""
    return hashlib.sha256(canonical(value)).digest()


def segment(data: bytes) -> str:
    """`data` as a part of a JWS: base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def header(key_id: str, kind: str) -> str:
    """The first part of a JWS of this `typ`, signed by the key of this thumbprint."""
    return segment(canonical({"alg": "ES256", "kid": key_id, "typ": kind}))


def detached(signer: Signer, content: bytes, kind: str) -> str:
    """A signature of `content` that does not repeat it (RFC 7515 appendix F): `header..signature`."""
    first, signature = _sign(signer, content, kind)
    return f"{first}..{signature}"


def compact(signer: Signer, claims: dict[str, Any], kind: str) -> str:
    """`claims` signed, in compact form: `header.payload.signature`."""
    content = canonical(claims)
    first, signature = _sign(signer, content, kind)
    return f"{first}.{segment(content)}.{signature}"


def is_signed(signed: bytes, signature: bytes, public_key: str) -> bool:
    """Whether `signature` (r and s, 32 bytes each) is that of `signed` under the public key, in PEM.

    Raises ValueError for a key that is not on P-256.
    """
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        _key(public_key).verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def key_id(public_key: str) -> str:
    """The thumbprint of a public key in PEM (RFC 7638), which names it among the platform's receipt keys.

    Raises ValueError for a key that is not on P-256.
    """
    return segment(digest(_members(public_key)))


def jwk(public_key: str) -> dict[str, Any]:
    """The key as a JSON Web Key (RFC 7517). Raises ValueError for a key that is not on P-256."""
    return {**_members(public_key), "kid": key_id(public_key), "use": "sig", "alg": "ES256"}


def _sign(signer: Signer, content: bytes, kind: str) -> tuple[str, str]:
    first = header(key_id(signer.public_key()), kind)
    return first, segment(signer.sign(f"{first}.{segment(content)}".encode()))


def _members(public_key: str) -> dict[str, str]:
    numbers = _key(public_key).public_numbers()
    x, y = (segment(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


@functools.lru_cache(maxsize=16)
def _key(public_key: str) -> EllipticCurvePublicKey:
    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("receipts are signed with keys on P-256")
    return key
