"""What the local Cloud KMS does with key material, as functions of an algorithm and bytes; `kms.py` has the resources.

Material is a raw secret (encryption, MAC) or a PKCS #8 DER private key (signing), drawn from the operating system.
"""

import functools
import os
import re
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud.kms_v1 import types

Algorithm = types.CryptoKeyVersion.CryptoKeyVersionAlgorithm
Purpose = types.CryptoKey.CryptoKeyPurpose

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "SHA1": hashes.SHA1,
    "SHA224": hashes.SHA224,
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}
_CURVES: dict[str, ec.EllipticCurve] = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1()}

_HEADER = re.compile(rb"\x0aK(.{4})(.{12})", re.DOTALL)
"""A ciphertext's start: a mark, the version's number and the nonce. The real service's format is opaque too."""


def purpose(algorithm: Algorithm) -> Purpose | None:
    """The purpose that `algorithm` serves, or None for one that is not offered locally."""
    if algorithm == Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION:
        return Purpose.ENCRYPT_DECRYPT
    if algorithm.name.startswith("HMAC_"):
        return Purpose.MAC
    if re.match(r"EC_SIGN_(P256|P384|ED25519)|RSA_SIGN_(PSS|PKCS1)_", algorithm.name):
        return Purpose.ASYMMETRIC_SIGN
    return None


def generate(algorithm: Algorithm) -> bytes:
    """New material for `algorithm`."""
    kind = purpose(algorithm)
    if kind == Purpose.ENCRYPT_DECRYPT:
        return os.urandom(32)
    if kind == Purpose.MAC:
        return os.urandom(_hash(algorithm).digest_size)
    parts = algorithm.name.split("_")
    key: Any
    if algorithm == Algorithm.EC_SIGN_ED25519:
        key = ed25519.Ed25519PrivateKey.generate()
    elif parts[0] == "EC":
        key = ec.generate_private_key(_CURVES[parts[2]])
    else:
        key = rsa.generate_private_key(65537, int(parts[3]))
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def encrypt(material: bytes, version: int, plaintext: bytes, aad: bytes) -> bytes:
    """AES-256-GCM under a fresh nonce, with the version's number in front and bound."""
    nonce = os.urandom(12)
    header = b"\x0aK" + version.to_bytes(4, "big")
    return header + nonce + AESGCM(material).encrypt(nonce, plaintext, header + aad)


def version_of(ciphertext: bytes) -> int | None:
    """The number of the version that made `ciphertext`; None if nothing here made it."""
    header = _HEADER.match(ciphertext)
    return int.from_bytes(header[1], "big") if header else None


def decrypt(material: bytes, ciphertext: bytes, aad: bytes) -> bytes | None:
    """What `encrypt` was given; None if the key, the ciphertext or the AAD is another."""
    try:
        return AESGCM(material).decrypt(ciphertext[6:18], ciphertext[18:], ciphertext[:6] + aad)
    except (InvalidTag, ValueError):
        return None


def mac(algorithm: Algorithm, material: bytes, data: bytes) -> bytes:
    """The HMAC tag of `data`."""
    context = hmac.HMAC(material, _hash(algorithm))
    context.update(data)
    return context.finalize()


def mac_holds(algorithm: Algorithm, material: bytes, data: bytes, tag: bytes) -> bool:
    """Whether `tag` is the HMAC tag of `data`."""
    context = hmac.HMAC(material, _hash(algorithm))
    context.update(data)
    try:
        context.verify(tag)
    except InvalidSignature:
        return False
    return True


def digest_field(algorithm: Algorithm) -> str | None:
    """Which field of `Digest` a signature takes (`sha256` ...); None where only data is signed (Ed25519)."""
    return None if algorithm == Algorithm.EC_SIGN_ED25519 else _hash(algorithm).name


def sign(algorithm: Algorithm, material: bytes, *, data: bytes, digest: bytes) -> bytes:
    """Sign `data`, or `digest` if there is no data. Raises ValueError for a digest of another length."""
    key = _private_key(material)
    if algorithm == Algorithm.EC_SIGN_ED25519:
        return key.sign(data)
    algorithm_hash = _hash(algorithm)
    message, hashed = (data, algorithm_hash) if data else (digest, utils.Prehashed(algorithm_hash))
    if algorithm.name.startswith("EC_"):
        return key.sign(message, ec.ECDSA(hashed))
    if "_PSS_" in algorithm.name:
        pss = padding.PSS(padding.MGF1(algorithm_hash), algorithm_hash.digest_size)
        return key.sign(message, pss, hashed)
    return key.sign(message, padding.PKCS1v15(), hashed)


def public_pem(material: bytes) -> str:
    """The public half, as a SubjectPublicKeyInfo in PEM."""
    public = _private_key(material).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@functools.lru_cache(maxsize=64)
def _private_key(material: bytes) -> Any:
    return serialization.load_der_private_key(material, None)


def _hash(algorithm: Algorithm) -> hashes.HashAlgorithm:
    return _HASHES[algorithm.name.rsplit("_", 1)[1]]()
