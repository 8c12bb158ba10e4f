"""Tokens of the function's own service account, from the metadata server.

Two requests of plain HTTP. google.auth does the same after 56 ms of CPU at a cold start (docs/decisions/0025).
https://cloud.google.com/docs/authentication/get-id-token#metadata-server
"""

import base64
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from kapas.errors import Unavailable
from kapas.platform import fetch, log
from kapas.values import clock

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
            answer = fetch.get(self._base_url + path, {"Metadata-Flavor": "Google"}, timeout=self._timeout)
            token, expires = parse(answer)
        except Unavailable as failure:
            log.error("metadata_unavailable", failure.__cause__)
            raise
        except (ValueError, KeyError, TypeError) as failure:
            log.error("metadata_answer_unreadable", failure)
            raise Unavailable from failure
        with self._lock:
            self._tokens[path] = (token, expires)
        return token


def _access_token(answer: bytes) -> tuple[str, datetime]:
    body = json.loads(answer)
    return body["access_token"], clock.now() + timedelta(seconds=body["expires_in"])


def _id_token(answer: bytes) -> tuple[str, datetime]:
    token = answer.decode("ascii").strip()
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return token, datetime.fromtimestamp(claims["exp"], UTC)
