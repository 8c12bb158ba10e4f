"""Our V4 signatures are those of Google's client."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from google.auth import credentials
from google.cloud.storage import _signing  # the client offers no public way to date a signature

from kapas.platform.gcp import signed_urls
from kapas.values import clock

NOW = datetime(2026, 11, 24, 6, 30, 5, tzinfo=UTC)
URL = "https://storage.googleapis.com"


class Echo(credentials.Signing, credentials.AnonymousCredentials):
    """Signs with the text itself, so that a difference can be read."""

    email = signer_email = "files@example.com"

    @property
    def signer(self) -> Any:
        # Abstract in `Signing`; what signs is `sign_bytes`.
        raise AssertionError("neither signature asks for the signer")

    def sign_bytes(self, message: bytes) -> bytes:
        return message

    sign = sign_bytes


@pytest.mark.parametrize("resource", ["/bucket/a", "/bucket/folder/a b+c~ü%"])
@pytest.mark.parametrize("headers", [{}, {"content-type": "image/png", "x-goog-content-sha256": "ab" * 32}])
@pytest.mark.parametrize("query", [{}, {"response-content-disposition": "attachment; filename*=UTF-8''a%20b"}])
def test_the_url_is_the_one_that_google_s_client_makes(
    resource: str, headers: dict[str, str], query: dict[str, str]
) -> None:
    with clock.use(lambda: NOW):
        ours = signed_urls.sign(
            Echo(), "PUT", URL, resource, lifetime=timedelta(minutes=15), headers=headers, query=query
        )
    theirs = _signing.generate_signed_url_v4(
        Echo(),
        resource=quote(resource, safe="/~"),
        expiration=timedelta(minutes=15),
        api_access_endpoint=URL,
        method="PUT",
        headers=dict(headers),
        query_parameters=dict(query),
        _request_timestamp=f"{NOW:%Y%m%dT%H%M%SZ}",
    )
    assert ours == theirs
