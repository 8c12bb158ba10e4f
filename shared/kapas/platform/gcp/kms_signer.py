"""Cloud KMS as a `kapas.platform.ports.Signer`: ECDSA over P-256 and SHA-256, the private key never leaves KMS.

https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions/asymmetricSign
"""

import base64
import hashlib

from kapas.platform.gcp.kms_rest import (
    GOOGLE_URL,
    Corrupted,
    Json,
    KmsResource,
    checksum,
    field,
    require_checksum,
    verified,
)
from kapas.platform.once import once

ALGORITHM = "EC_SIGN_P256_SHA256"


class WrongAlgorithm(Exception):
    """The key version that the settings name does not sign with `ALGORITHM`."""


class KmsSigner:
    """Signs with one version of one asymmetric KMS key. Shared by the instance's threads.

    `version_name` is `projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N`: an asymmetric key has no
    primary version, so rotating it is naming another one. A `base_url` that is not Google's gets no token.
    """

    def __init__(self, version_name: str, base_url: str = GOOGLE_URL, *, timeout: float = 5.0) -> None:
        self._name = version_name
        self._version = KmsResource(version_name, base_url, timeout=timeout)
        self._public_key = once(lambda: verified(self._get_public_key))

    def public_key(self) -> str:
        """The public half, a SubjectPublicKeyInfo in PEM; asked for once an instance.

        Raises:
            WrongAlgorithm: the key is of another kind.
            Unavailable: KMS does not answer, or refuses.
        """
        return self._public_key()

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`: r and s, 32 bytes each (RFC 7518 section 3.4). Raises `Unavailable`."""
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        digest = hashlib.sha256(message).digest()
        r, s = decode_dss_signature(verified(lambda: self._sign(digest)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def _sign(self, digest: bytes) -> bytes:
        request: Json = {
            "digest": {"sha256": base64.b64encode(digest).decode()},
            "digestCrc32c": checksum(digest),
        }
        answer = self._version.post("asymmetricSign", request)
        if answer.get("verifiedDigestCrc32c") is not True:
            raise Corrupted
        self._require_name(answer)
        return field(answer, "signature")

    def _get_public_key(self) -> str:
        answer = self._version.get("publicKey")
        self._require_name(answer)
        pem = answer.get("pem")
        if not isinstance(pem, str):
            raise Corrupted
        require_checksum(answer, "pem", pem.encode())
        if answer.get("algorithm") != ALGORITHM:
            raise WrongAlgorithm(f"receipts are signed with {ALGORITHM}, not with {answer.get('algorithm')}")
        return pem

    def _require_name(self, answer: Json) -> None:
        # KMS asks to check that the intended version was used.
        if answer.get("name") != self._name:
            raise Corrupted
