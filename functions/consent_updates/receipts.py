"""Receipts: a JWS (RFC 7515, ES256) over the records of one decision, that anybody can verify with the public key.

A receipt is composed of the records it covers, whenever it is asked for; what is kept of it is the signature. So a record
that was changed has no valid receipt any more.
"""

import base64
import functools
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .canonical import canonical, digest
from .ledger import Entry, record

ISSUER = "https://kapas.example.com/"
MEDIA_TYPE = "consent-receipt+json"


def signing_input(entries: Sequence[Entry], key_id: str) -> bytes:
    """What is signed: header and payload of the receipt over these records of one decision."""
    header = {"alg": "ES256", "kid": key_id, "typ": MEDIA_TYPE}
    payload = {
        "iss": ISSUER,
        "decision_id": str(entries[0].decision_id),
        "ledger_id": str(entries[0].ledger_id),
        "records": [record(entry) for entry in entries],
    }
    return _segment(canonical(header)) + b"." + _segment(canonical(payload))


def compose(signed: bytes, signature: bytes) -> str:
    """The receipt in compact form."""
    return (signed + b"." + _segment(signature)).decode()


def is_signed(signed: bytes, signature: bytes, public_key: str) -> bool:
    """Whether `signature` (r and s, 32 bytes each) is that of `signed` under the public key, in PEM."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        _key(public_key).verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def key_id(public_key: str) -> str:
    """The key's thumbprint (RFC 7638)."""
    return _segment(digest(_members(public_key))).decode()


def jwk(public_key: str) -> dict[str, Any]:
    """The key as a JSON Web Key (RFC 7517)."""
    return {**_members(public_key), "kid": key_id(public_key), "use": "sig", "alg": "ES256"}


def _members(public_key: str) -> dict[str, str]:
    numbers = _key(public_key).public_numbers()
    x, y = (_segment(number.to_bytes(32, "big")).decode() for number in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


@functools.lru_cache(maxsize=16)
def _key(public_key: str) -> EllipticCurvePublicKey:
    """Raises ValueError for a key of another kind."""
    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("receipts are signed with keys on P-256")
    return key


def _segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
