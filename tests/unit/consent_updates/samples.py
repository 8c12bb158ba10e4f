"""Made-up records of a consent ledger, and a signer with a key of its own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.consent_updates.ledger import Entry, Head, genesis, hash_of
from functions.consent_updates.schemas import PURPOSES, NoticeReference

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
SUBJECT = UUID("01a283cf-8600-7b1c-a4d2-6f0e8c9a1b20")
LEDGER = UUID("01a2a6f0-1c00-7a52-9d7e-3b1f5c8e2a64")


class Signer:
    """Signs as Cloud KMS does, with a key in memory."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def public_key(self) -> str:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def chain(length: int) -> tuple[Head, list[Entry]]:
    """A whole ledger of so many records: purposes in turn, granted and withdrawn in turn."""
    entries: list[Entry] = []
    previous = genesis(LEDGER, SUBJECT)
    for sequence in range(1, length + 1):
        granted = sequence % 2 == 1
        at = START + timedelta(minutes=sequence)
        entry = Entry(
            ledger_id=LEDGER,
            subject_id=SUBJECT,
            sequence=sequence,
            id=UUID(int=sequence),
            decision_id=UUID(int=1000 + sequence),
            purpose=PURPOSES[sequence % len(PURPOSES)],
            state="granted" if granted else "withdrawn",
            notice=NoticeReference(version="2026-11-01", language="gu", sha256="0" * 64),
            terms={"recipients": ["sms-gateway"], "jurisdiction": "IN"},
            actor=b"sealed",
            comment=None,
            decided_at=at,
            valid_until=at + timedelta(days=365) if granted else None,
            previous_hash=previous,
        )
        entry = hashed(entry)
        entries.append(entry)
        previous = entry.hash
    return Head(LEDGER, SUBJECT, length, previous, START), entries


def hashed(entry: Entry) -> Entry:
    """The record with the hash that its fields have."""
    return replace(entry, hash=hash_of(entry))
