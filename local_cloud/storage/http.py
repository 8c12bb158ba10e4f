"""The HTTP face of Cloud Storage: which API a request is for, and how each of them says that it failed."""

import logging
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from werkzeug.wrappers import Request, Response

from local_cloud.storage import batch, errors
from local_cloud.storage.errors import StorageError
from local_cloud.storage.json_api import JsonApi
from local_cloud.storage.uploads import received
from local_cloud.storage.xml_api import XmlApi

_JSON_PATHS = ("/storage/v1", "/download/storage/v1", "/upload/storage/v1", "/resumable/upload/storage/v1", "/batch")


def answer(request: Request, json_api: JsonApi, xml_api: XmlApi) -> Response:
    """Answer a request of either API."""
    response = _answer(request, json_api, xml_api)
    # A client that still sends (what is refused, or known already) would see a broken connection for an answer.
    for _ in received(request.stream):
        pass
    return response


def _answer(request: Request, json_api: JsonApi, xml_api: XmlApi) -> Response:
    path = path_of(request)
    if path.startswith("/batch/storage/v1") and request.method == "POST":
        return _guarded(errors.as_json, lambda: batch.answer(request, lambda call: _json(call, json_api)))
    if path.startswith(_JSON_PATHS):
        return _json(request, json_api)
    return _guarded(errors.as_xml, lambda: xml_api.answer(request, path))


def path_of(request: Request) -> str:
    """The path as it was on the wire, below where this application is mounted; escaped slashes stay escaped."""
    target = request.environ.get("REQUEST_URI") or request.environ.get("RAW_URI")
    if not target:
        return quote(request.path, safe="/~")
    path = urlsplit(target).path if target.startswith("http") else target.partition("?")[0]
    return path.removeprefix(request.root_path.rstrip("/"))


def _json(request: Request, json_api: JsonApi) -> Response:
    return _guarded(errors.as_json, lambda: json_api.answer(request, path_of(request)))


def _guarded(render: Callable[[StorageError], Response], call: Callable[[], Response]) -> Response:
    try:
        return call()
    except StorageError as error:
        return render(error)
    except Exception as error:
        logging.exception("the local Cloud Storage failed")
        return render(StorageError(500, "internalError", "InternalError", repr(error)))
