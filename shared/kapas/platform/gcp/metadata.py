"""Tokens of the function's own service account, from the metadata server.

Plain HTTP over urllib3, which costs a function less at its cold start than google.auth.
https://cloud.google.com/docs/authentication/get-id-token#metadata-server
"""

import base64
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.once import once
from kapas.values import clock

if TYPE_CHECKING:
    from urllib3 import PoolManager

METADATA_URL = "http://metadata.google.internal"

MARGIN = timedelta(minutes=3, seconds=45)
"""How long before its expiry a token is replaced.

The metadata server itself hands out one token until 4 minutes before its expiry (google.auth's `REFRESH_THRESHOLD`);
asking earlier would only bring the same one again.
"""

SQL_LOGIN = "https://www.googleapis.com/auth/sqlservice.login"
"""The scope of a token that logs in to Cloud SQL and does nothing else."""

_ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"


class MetadataTokens:
    """Access and ID tokens, each kept until `MARGIN` before it expires; shared by the instance's threads."""

    def __init__(self, base_url: str = METADATA_URL, *, timeout: float = 3.0) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._pool = once(_make_pool)
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[str, datetime]] = {}

    def access_token(self) -> str:
        """An OAuth 2.0 access token for Google's APIs. Raises `Unavailable` if the metadata server gives none."""
        return self._cached(f"{_ACCOUNT}/token", _access_token)

    def login_token(self) -> str:
        """An access token that serves as this account's password at Cloud SQL. Raises `Unavailable`."""
        return self._cached(f"{_ACCOUNT}/token?{urlencode({'scopes': SQL_LOGIN})}", _access_token)

    def id_token(self, audience: str) -> str:
        """An OIDC token for calling another function; `audience` is its address. Raises `Unavailable`."""
        return self._cached(f"{_ACCOUNT}/identity?{urlencode({'audience': audience, 'format': 'full'})}", _id_token)

    def _cached(self, path: str, parse: Callable[[bytes], tuple[str, datetime]]) -> str:
        with self._lock:
            token, expires = self._tokens.get(path, ("", clock.now()))
        if expires - clock.now() > MARGIN:
            return token
        # Threads that come here together ask more than once; the metadata server is made for that.
        try:
            token, expires = parse(self._get(path))
        except (ValueError, KeyError, TypeError) as failure:
            log.error("metadata_answer_unreadable", failure)
            raise Unavailable from failure
        with self._lock:
            self._tokens[path] = (token, expires)
        return token

    def _get(self, path: str) -> bytes:
        from urllib3.exceptions import HTTPError

        try:
            answer = self._pool().request(
                "GET", self._base_url + path, headers={"Metadata-Flavor": "Google"}, timeout=self._timeout
            )
        except HTTPError as failure:
            log.error("metadata_unreachable", failure)
            raise Unavailable from failure
        if answer.status != 200:
            log.error("metadata_refused", status=answer.status)
            raise Unavailable
        return answer.data


def _make_pool() -> "PoolManager":
    from urllib3 import PoolManager, Retry

    return PoolManager(
        retries=Retry(total=2, backoff_factor=0.1, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
    )


def _access_token(answer: bytes) -> tuple[str, datetime]:
    body = json.loads(answer)
    return body["access_token"], clock.now() + timedelta(seconds=body["expires_in"])


def _id_token(answer: bytes) -> tuple[str, datetime]:
    token = answer.decode("ascii").strip()
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return token, datetime.fromtimestamp(claims["exp"], UTC)
