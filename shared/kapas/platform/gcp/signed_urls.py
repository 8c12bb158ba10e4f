"""V4 signed URLs of Cloud Storage, dated by `kapas.values.clock`.

The client library signs too, but dates by the system's clock, and importing it costs a function that only hands out URLs
300 ms. A test compares both.
https://cloud.google.com/storage/docs/authentication/canonical-requests
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Protocol
from urllib.parse import quote, urlsplit

from kapas.values import clock

ALGORITHM = "GOOG4-RSA-SHA256"
LONGEST = timedelta(days=7)
"""How long a V4 signature may be valid."""


class Signer(Protocol):
    """A service account that signs."""

    email: str

    def sign(self, data: bytes) -> bytes: ...


def sign(
    signer: Signer,
    method: str,
    base_url: str,
    resource: str,
    *,
    lifetime: timedelta,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> str:
    """A URL with which anybody may send `method` with exactly these `headers` to `resource` (`/bucket/path`).

    `query` are further parameters. Raises ValueError for a lifetime that Cloud Storage does not take.
    """
    if not timedelta(0) < lifetime <= LONGEST:
        raise ValueError(f"a signed URL is valid for at most {LONGEST}")
    now = clock.now().astimezone(UTC)
    bound = {"host": urlsplit(base_url).netloc, **{name.lower(): value for name, value in (headers or {}).items()}}
    names = ";".join(sorted(bound))
    scope = f"{now:%Y%m%d}/auto/storage/goog4_request"
    parameters = {
        **(query or {}),
        "X-Goog-Algorithm": ALGORITHM,
        "X-Goog-Credential": f"{signer.email}/{scope}",
        "X-Goog-Date": f"{now:%Y%m%dT%H%M%SZ}",
        "X-Goog-Expires": str(int(lifetime.total_seconds())),
        "X-Goog-SignedHeaders": names,
    }
    canonical_query = "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(parameters.items()))
    path = quote(resource, safe="/~")
    canonical_request = "\n".join(
        (
            method,
            path,
            canonical_query,
            "".join(f"{name}:{' '.join(bound[name].split())}\n" for name in sorted(bound)),
            names,
            bound.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD"),
        )
    )
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    to_sign = "\n".join((ALGORITHM, parameters["X-Goog-Date"], scope, digest))
    signature = signer.sign(to_sign.encode()).hex()
    return f"{base_url}{path}?{canonical_query}&X-Goog-Signature={signature}"


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")
