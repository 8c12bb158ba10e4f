"""Signatures over archives and certificates: JWS (RFC 7515) with ES256, by the platform's key for receipts."""

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kapas.ports import Signer


def detached(signer: Signer, content: bytes, kind: str) -> str:
    """A signature of `content` that does not repeat it (RFC 7515 appendix F): `header..signature`."""
    header, signature = _sign(signer, content, kind)
    return f"{header}..{signature}"


def compact(signer: Signer, claims: dict[str, Any], kind: str) -> str:
    """`claims` signed, in compact form: `header.payload.signature`."""
    content = canonical(claims)
    header, signature = _sign(signer, content, kind)
    return f"{header}.{_segment(content)}.{signature}"


def canonical(value: Any) -> bytes:
    """`value` as JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def key_id(public_key: str) -> str:
    """The thumbprint of a public key in PEM (RFC 7638), which names it among the platform's receipt keys."""
    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("receipts are signed with keys on P-256")
    numbers = key.public_numbers()
    x, y = (_segment(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return _segment(hashlib.sha256(canonical({"crv": "P-256", "kty": "EC", "x": x, "y": y})).digest())


def _sign(signer: Signer, content: bytes, kind: str) -> tuple[str, str]:
    header = _segment(canonical({"alg": "ES256", "kid": key_id(signer.public_key()), "typ": kind}))
    return header, _segment(signer.sign(f"{header}.{_segment(content)}".encode()))


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
