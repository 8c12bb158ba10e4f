"""Receipts: a JWS (RFC 7515, ES256) over the records of one decision, that anybody can verify with the public key.

A receipt is composed of the records it covers, whenever it is asked for; what is kept of it is the signature. So a record
that was changed has no valid receipt any more.
"""

from collections.abc import Sequence

from kapas.privacy.signing import ISSUER, canonical, header, segment

from .ledger import Entry, record

MEDIA_TYPE = "consent-receipt+json"


def signing_input(entries: Sequence[Entry], key_id: str) -> bytes:
    """What is signed: header and payload of the receipt over these records of one decision."""
    payload = {
        "iss": ISSUER,
        "decision_id": str(entries[0].decision_id),
        "ledger_id": str(entries[0].ledger_id),
        "records": [record(entry) for entry in entries],
    }
    return f"{header(key_id, MEDIA_TYPE)}.{segment(canonical(payload))}".encode()


def compose(signed: bytes, signature: bytes) -> str:
    """The receipt in compact form."""
    return f"{signed.decode()}.{segment(signature)}"
