"""The REST face of the local Cloud KMS, for callers that do without gRPC: the same `Kms` as a WSGI application.

`POST /v1/{name}:{verb}`, `GET /v1/{name}` and `GET /v1/{name}/publicKey` as cloud.google.com/kms/docs/reference/rest:
JSON in camelCase, bytes in base64, 64-bit integers as strings, fields at their default left out, errors as
`{"error": {"code", "message", "status"}}`. Both directions are derived from the messages.
"""

import http
import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from google.api_core import exceptions
from google.cloud.kms_v1 import types
from google.protobuf import json_format
from werkzeug.wrappers import Request, Response

from local_cloud.kms import Kms

_LOCATION = r"projects/[^/]+/locations/[^/:]+"
_RING = rf"{_LOCATION}/keyRings/[^/:]+"
_KEY = rf"{_RING}/cryptoKeys/[^/:]+"
_VERSION = rf"{_KEY}/cryptoKeyVersions/[^/:]+"

_ROUTES = [
    (method, re.compile(f"/v1/({resource}){suffix}"), rpc, field)
    for method, resource, suffix, rpc, field in (
        ("POST", rf"{_KEY}(?:/cryptoKeyVersions/[^/:]+)?", ":encrypt", "Encrypt", "name"),
        ("POST", _KEY, ":decrypt", "Decrypt", "name"),
        ("POST", _VERSION, ":macSign", "MacSign", "name"),
        ("POST", _VERSION, ":macVerify", "MacVerify", "name"),
        ("POST", _VERSION, ":asymmetricSign", "AsymmetricSign", "name"),
        ("POST", _LOCATION, ":generateRandomBytes", "GenerateRandomBytes", "location"),
        ("GET", _RING, "", "GetKeyRing", "name"),
        ("GET", _KEY, "", "GetCryptoKey", "name"),
        ("GET", _VERSION, "", "GetCryptoKeyVersion", "name"),
        ("GET", _VERSION, "/publicKey", "GetPublicKey", "name"),
    )
]
"""HTTP method, path with the resource's name as its group, RPC, and the request's field for that name."""


class KmsRest:
    """WSGI application. Like the rest of the local cloud it asks for no credentials."""

    def __init__(self, kms: Kms) -> None:
        self._kms = kms

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        try:
            body = self._answer(request)
            response = Response(body, content_type="application/json; charset=UTF-8")
        except exceptions.GoogleAPICallError as error:
            response = _failure(error)
        except Exception as error:
            logging.exception("the local Cloud KMS failed")
            response = _failure(exceptions.InternalServerError(repr(error)))
        return response(environ, start_response)

    def _answer(self, request: Request) -> str:
        for method, path, rpc, field in _ROUTES:
            match = path.fullmatch(request.path)
            if match and method == request.method:
                message = _parse(getattr(types, f"{rpc}Request"), request.get_data() if method == "POST" else b"")
                setattr(message, field, match[1])
                answer = getattr(self._kms, rpc)(message, None)
                return type(answer).to_json(
                    answer, use_integers_for_enums=False, always_print_fields_with_no_presence=False
                )
        raise exceptions.NotFound(f"No method is served at {request.method} {request.path}.")


def _parse(message: Any, body: bytes) -> Any:
    try:
        return message.from_json(body.decode() or "{}")
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise exceptions.InvalidArgument(f"Invalid JSON payload received. {error}") from error


def _failure(error: exceptions.GoogleAPICallError) -> Response:
    code = int(error.code or http.HTTPStatus.INTERNAL_SERVER_ERROR)
    status = error.grpc_status_code.name if error.grpc_status_code else "UNKNOWN"
    body = json.dumps({"error": {"code": code, "message": error.message, "status": status}})
    return Response(body, status=code, content_type="application/json; charset=UTF-8")
