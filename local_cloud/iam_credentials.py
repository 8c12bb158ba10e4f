"""The IAM Credentials API, as far as URLs are signed with it: `signBlob` of any service account.

https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from typing import Any

from werkzeug.wrappers import Request, Response

from local_cloud.storage import Storage

_SIGN = re.compile(r"/v1/projects/-/serviceAccounts/([^/:]+@[^/:]+):signBlob")


class IamCredentials:
    """WSGI application. Like the rest of the local cloud it asks for no credentials: everybody may sign as anybody."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        match = _SIGN.fullmatch(request.path)
        if match is None or request.method != "POST":
            return _failure(404, "NOT_FOUND", "No method is served there.")
        try:
            payload = base64.b64decode(request.get_json()["payload"], validate=True)
        except (KeyError, TypeError, binascii.Error):
            return _failure(400, "INVALID_ARGUMENT", "The payload must be bytes in base64.")
        credentials: Any = self._storage.signing_credentials(match[1])
        signature = base64.b64encode(credentials.sign_bytes(payload)).decode()
        return _json({"keyId": "local", "signedBlob": signature}, 200)


def _failure(code: int, status: str, message: str) -> Response:
    return _json({"error": {"code": code, "message": message, "status": status}}, code)


def _json(body: dict[str, Any], status: int) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json; charset=UTF-8")
