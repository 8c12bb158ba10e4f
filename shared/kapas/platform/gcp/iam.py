"""Signatures of a service account by the IAM Credentials API: its private key never leaves Google.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob
"""

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.gcp.metadata import MetadataTokens
from kapas.platform.once import once

if TYPE_CHECKING:
    from urllib3 import PoolManager

GOOGLE_URL = "https://iamcredentials.googleapis.com"


class IamSigner:
    """Signs as the service account `email` (RSA with SHA-256). Shared by the instance's threads.

    A `base_url` that is not Google's gets no token.
    """

    def __init__(self, email: str, base_url: str = GOOGLE_URL, *, timeout: float = 5.0) -> None:
        self.email = email
        self._url = f"{base_url}/v1/projects/-/serviceAccounts/{email}:signBlob"
        self._token: Callable[[], str] | None = MetadataTokens().access_token if base_url == GOOGLE_URL else None
        self._timeout = timeout
        self._pool = once(_make_pool)

    def sign(self, data: bytes) -> bytes:
        """The signature of `data`. Raises `Unavailable` if the service gives none."""
        from urllib3.exceptions import HTTPError

        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        body = json.dumps({"payload": base64.b64encode(data).decode()}).encode()
        try:
            response = self._pool().request("POST", self._url, body=body, headers=headers, timeout=self._timeout)
            answer: Any = json.loads(response.data) if response.status == 200 else {}
            return base64.b64decode(answer["signedBlob"], validate=True)
        except HTTPError as failure:
            log.error("iam_unreachable", failure)
            raise Unavailable from failure
        except (KeyError, TypeError, ValueError) as failure:
            log.error("iam_refused", failure)
            raise Unavailable from failure


def _make_pool() -> "PoolManager":
    from urllib3 import PoolManager, Retry

    # Signing twice changes nothing, so a POST may be repeated.
    retries = Retry(
        total=2,
        backoff_factor=0.1,
        allowed_methods=None,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    return PoolManager(retries=retries)
