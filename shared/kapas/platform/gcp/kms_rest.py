"""Cloud KMS over its public REST interface: what the uses of its keys have in common.

REST, because the client library imports grpc, which a function that only writes rows must not.
https://cloud.google.com/kms/docs/reference/rest
"""

import base64
import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.gcp.metadata import MetadataTokens
from kapas.platform.once import once
from kapas.platform.settings import GOOGLE_KMS

if TYPE_CHECKING:
    from urllib3 import PoolManager

GOOGLE_URL = GOOGLE_KMS

_ATTEMPTS = 2
"""How often a call is made whose answer fails its checksum: KMS asks for a limited number of retries."""

Json = dict[str, Any]
T = TypeVar("T")


class Corrupted(Exception):
    """What was sent or received did not arrive as it was."""


class Refused(Unavailable):
    """KMS answered, and did not do it. `reason` is its canonical code, `INVALID_ARGUMENT` for example, if it gave one."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class KmsResource:
    """One key, or one version of a key, by its full name. Shared by the instance's threads.

    A `base_url` that is not Google's gets no token.
    """

    def __init__(self, name: str, base_url: str = GOOGLE_URL, *, timeout: float = 5.0) -> None:
        self._url = f"{base_url}/v1/{name}"
        self._token: Callable[[], str] | None = MetadataTokens().access_token if base_url == GOOGLE_URL else None
        self._timeout = timeout
        self._pool = once(_make_pool)

    def post(self, method: str, request: Json) -> Json:
        """The answer to `method` of the resource.

        Raises:
            Refused: KMS answered with a failure.
            Unavailable: KMS does not answer.
        """
        return self._call("POST", f":{method}", json.dumps(request).encode())

    def get(self, part: str) -> Json:
        """A part of the resource. Raises as `post`."""
        return self._call("GET", f"/{part}", None)

    def _call(self, method: str, suffix: str, body: bytes | None) -> Json:
        from urllib3.exceptions import HTTPError

        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        try:
            response = self._pool().request(
                method, self._url + suffix, body=body, headers=headers, timeout=self._timeout, redirect=False
            )
        except HTTPError as failure:
            log.error("kms_unreachable", failure, method=suffix[1:])
            raise Unavailable from failure
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if response.status == 200 and isinstance(answer, dict):
            return cast(Json, answer)
        reason = _reason(answer)
        log.error("kms_refused", method=suffix[1:], http_status=response.status, status=reason)
        raise Refused(reason)


def verified(call: Callable[[], T]) -> T:
    """What `call` answers, called again when a checksum does not match. Raises `Unavailable` if that does not help."""
    for _ in range(_ATTEMPTS):
        try:
            return call()
        except Corrupted:
            log.warning("kms_checksum_mismatch")
    raise Unavailable


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) checksum of `data`, as KMS computes it (RFC 3720 appendix B.4)."""
    table, crc = _crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def checksum(data: bytes) -> str:
    """The CRC-32C of `data` as Google's JSON carries a 64-bit integer: a string."""
    return str(crc32c(data))


def checked(name: str, data: bytes) -> dict[str, str]:
    """The bytes of the field `name` in base64, and their checksum."""
    return {name: base64.b64encode(data).decode(), f"{name}Crc32c": checksum(data)}


def field(answer: Json, name: str) -> bytes:
    """The bytes of the field `name` of an answer. Raises `Corrupted` if they are missing or not what was sent."""
    try:
        data = base64.b64decode(answer[name], validate=True)
    except (KeyError, TypeError, ValueError):
        raise Corrupted from None
    require_checksum(answer, name, data)
    return data


def require_checksum(answer: Json, name: str, data: bytes) -> None:
    """Raise `Corrupted` unless `data` has the checksum that the answer gives for the field `name`."""
    try:
        matches = int(answer[f"{name}Crc32c"]) == crc32c(data)
    except (KeyError, TypeError, ValueError):
        matches = False
    if not matches:
        raise Corrupted


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(entry(byte) for byte in range(256))


def _make_pool() -> "PoolManager":
    from urllib3 import PoolManager, Retry

    # Encrypting, decrypting or signing twice changes nothing, so a POST may be repeated as well.
    retries = Retry(
        total=2,
        backoff_factor=0.1,
        allowed_methods=None,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    return PoolManager(retries=retries)


def _reason(answer: Any) -> str:
    match answer:
        case {"error": {"status": str(status)}}:
            return status
        case _:
            return ""
