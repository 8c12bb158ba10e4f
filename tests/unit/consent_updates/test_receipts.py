"""Receipts, verified by another library as a partner would verify them."""

import json
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.consent_updates import receipts
from functions.consent_updates.ledger import record
from kapas.privacy import signing
from tests.unit.consent_updates.samples import Signer, chain


def signed(signer: Signer) -> str:
    _, entries = chain(3)
    message = receipts.signing_input(entries, signing.key_id(signer.public_key()))
    return receipts.compose(message, signer.sign(message))


def test_a_receipt_is_a_jws_over_the_records() -> None:
    signer = Signer()
    receipt = signed(signer)
    key = jwt.PyJWK(signing.jwk(signer.public_key()))
    payload = json.loads(jwt.PyJWS().decode(receipt, key, algorithms=["ES256"]))
    assert payload["records"] == [record(entry) for entry in chain(3)[1]]
    assert jwt.get_unverified_header(receipt) == {"alg": "ES256", "kid": key.key_id, "typ": "consent-receipt+json"}


def test_a_receipt_holds_for_its_records_and_its_key_only() -> None:
    signer, (_, entries) = Signer(), chain(3)
    key_id = signing.key_id(signer.public_key())
    message = receipts.signing_input(entries, key_id)
    signature = signer.sign(message)
    assert signing.is_signed(message, signature, signer.public_key())
    changed = [*entries[:2], replace(entries[2], state="denied")]
    assert not signing.is_signed(receipts.signing_input(changed, key_id), signature, signer.public_key())
    assert not signing.is_signed(message, signature, Signer().public_key())
    assert not signing.is_signed(message, bytes(64), signer.public_key())


def test_a_key_s_id_is_its_thumbprint() -> None:
    # The members that RFC 7638 section 3.2 requires of an elliptic curve key, and no others.
    key = signing.jwk(Signer().public_key())
    assert key.keys() == {"crv", "kty", "x", "y", "kid", "use", "alg"}
    assert len(key["x"]) == len(key["y"]) == len(key["kid"]) == 43


def test_a_key_of_another_curve_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ValueError, match="P-256"):
        signing.key_id(pem)
