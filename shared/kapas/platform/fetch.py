"""One GET, for what is needed once an hour: an issuer's key set, a token of the metadata server.

By the standard library's client: importing urllib3 costs 13 ms of CPU at a cold start, and its pools would keep a connection
that nobody uses again.
"""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

from kapas.errors import Unavailable

TRIES = 2


class Refused(Exception):
    """The server answered with another status than 200."""


def get(url: str, headers: Mapping[str, str] | None = None, *, timeout: float = 3.0) -> bytes:
    """The body that `url` answers with, asked again at once if the first try fails. `timeout` is in seconds, for one try.

    Raises `kapas.errors.Unavailable`, whose cause says why: `Refused`, OSError or `http.client.HTTPException`.
    """
    address = urlsplit(url)
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    cause: Exception | None = None
    for _ in range(TRIES):
        connection = kind(address.netloc, timeout=timeout)
        try:
            connection.request("GET", target, headers=dict(headers or {}))
            answer = connection.getresponse()
            if answer.status == 200:
                return answer.read()
            cause = Refused(f"status {answer.status}")
        except (OSError, http.client.HTTPException) as failure:
            cause = failure
        finally:
            connection.close()
    raise Unavailable from cause
