"""Cloud KMS as the `KeyService` of `kapas.keys`, over its public REST interface.

REST, because the client library imports grpc, which a function that only writes rows must not.
https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/encrypt
"""

import base64
import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from kapas import log
from kapas.errors import Unavailable
from kapas.gcp.metadata import MetadataTokens
from kapas.keys import Tampered
from kapas.once import once

if TYPE_CHECKING:
    from urllib3 import PoolManager

GOOGLE_URL = "https://cloudkms.googleapis.com"

_ATTEMPTS = 2
"""How often a call is made whose answer fails its checksum: KMS asks for a limited number of retries."""

Json = dict[str, Any]


class _Corrupted(Exception):
    """What was sent or received did not arrive as it was."""


class CloudKms:
    """Wraps keys under the primary version of one symmetric KMS key. Shared by the instance's threads.

    `key_name` is `projects/P/locations/L/keyRings/R/cryptoKeys/K`. A `base_url` that is not Google's gets no token.
    """

    def __init__(self, key_name: str, base_url: str = GOOGLE_URL, *, timeout: float = 5.0) -> None:
        self._key_url = f"{base_url}/v1/{key_name}"
        self._token: Callable[[], str] | None = MetadataTokens().access_token if base_url == GOOGLE_URL else None
        self._timeout = timeout
        self._pool = once(_make_pool)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt `key` with the AAD `context`. Raises `Unavailable`."""
        return self._verified(lambda: self._encrypt(key, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `wrap` made, with whichever version made it.

        Raises:
            Tampered: if KMS says that the ciphertext, the context and the key do not belong together.
            Unavailable: if KMS does not answer or refuses for another reason, such as a disabled key version.
        """
        return self._verified(lambda: self._decrypt(wrapped, context))

    def _encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        answer = self._call(
            "encrypt",
            {
                **_checked("plaintext", plaintext),
                **_checked("additionalAuthenticatedData", context),
            },
        )
        verified = answer.get("verifiedPlaintextCrc32c"), answer.get("verifiedAdditionalAuthenticatedDataCrc32c")
        if verified != (True, True):
            raise _Corrupted
        return _field(answer, "ciphertext")

    def _decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        # Of a decryption KMS answers no verified flags: it fails the call when a request's checksum does not match.
        answer = self._call(
            "decrypt",
            {
                **_checked("ciphertext", ciphertext),
                **_checked("additionalAuthenticatedData", context),
            },
        )
        return _field(answer, "plaintext")

    def _verified(self, call: Callable[[], bytes]) -> bytes:
        for _ in range(_ATTEMPTS):
            try:
                return call()
            except _Corrupted:
                log.warning("kms_checksum_mismatch")
        raise Unavailable

    def _call(self, method: str, request: Json) -> Json:
        from urllib3.exceptions import HTTPError

        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        try:
            response = self._pool().request(
                "POST",
                f"{self._key_url}:{method}",
                body=json.dumps(request).encode(),
                headers=headers,
                timeout=self._timeout,
                redirect=False,
            )
        except HTTPError as failure:
            log.error("kms_unreachable", failure, method=method)
            raise Unavailable from failure
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if response.status == 200 and isinstance(answer, dict):
            return cast(Json, answer)
        status = _status(answer)
        log.error("kms_refused", method=method, http_status=response.status, status=status)
        if method == "decrypt" and status == "INVALID_ARGUMENT":
            raise Tampered("the key service cannot open this key in this context")
        raise Unavailable


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) checksum of `data`, as KMS computes it (RFC 3720 appendix B.4)."""
    table, crc = _crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(entry(byte) for byte in range(256))


def _make_pool() -> "PoolManager":
    from urllib3 import PoolManager, Retry

    # Encrypting or decrypting twice changes nothing, so a POST may be repeated as well.
    retries = Retry(
        total=2,
        backoff_factor=0.1,
        allowed_methods=None,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    return PoolManager(retries=retries)


def _checked(name: str, data: bytes) -> dict[str, str]:
    # Bytes travel as base64 and 64-bit integers as strings in Google's JSON.
    return {name: base64.b64encode(data).decode(), f"{name}Crc32c": str(crc32c(data))}


def _field(answer: Json, name: str) -> bytes:
    try:
        data = base64.b64decode(answer[name], validate=True)
        checksum = int(answer[f"{name}Crc32c"])
    except (KeyError, TypeError, ValueError):
        raise _Corrupted from None
    if checksum != crc32c(data):
        raise _Corrupted
    return data


def _status(answer: Any) -> str:
    match answer:
        case {"error": {"status": str(status)}}:
            return status
        case _:
            return ""
