"""The XML API as far as signed URLs reach: GET, HEAD, PUT and DELETE of an object, and POST to begin an upload.

Source: cloud.google.com/storage/docs/xml-api/reference-headers.
"""

import base64
import re
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from local_cloud.core import Core
from local_cloud.storage import downloads, errors, signed_urls
from local_cloud.storage.json_api import checksums_of, resume, whole_body
from local_cloud.storage.model import ObjectVersion, Preconditions, integer
from local_cloud.storage.objects import check_name
from local_cloud.storage.signed_urls import Signed, Signers
from local_cloud.storage.store import Store
from local_cloud.storage.uploads import Draft, Uploads

_PATH = re.compile(r"/([a-z0-9][a-z0-9._-]+)/(.+)")
_FIELDS = {
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Encoding": "contentEncoding",
    "Content-Language": "contentLanguage",
    "Content-Type": "contentType",
    "X-Goog-Custom-Time": "customTime",
    "X-Goog-Storage-Class": "storageClass",
}
_CONDITIONS = {
    "X-Goog-If-Generation-Match": "ifGenerationMatch",
    "X-Goog-If-Metageneration-Match": "ifMetagenerationMatch",
}


class XmlApi:
    """Takes the core's lock itself. Raises StorageError."""

    def __init__(self, core: Core, store: Store, uploads: Uploads, signers: Signers) -> None:
        self._core = core
        self._store = store
        self._uploads = uploads
        self._signers = signers

    def answer(self, request: Request, path: str) -> Response:
        """`path` is the request's as it was on the wire, which is what was signed."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise errors.StorageError(404, "notFound", "NoSuchKey", "The specified key does not exist.")
        if request.method == "PUT" and "upload_id" in request.args:
            return self._resume(request)
        self._authenticate(request, path)
        bucket, name = match[1], check_name(unquote(match[2]))
        if request.method in ("GET", "HEAD"):
            return self._get(request, bucket, name)
        if request.method == "PUT":
            return self._put(request, bucket, name)
        if request.method == "DELETE":
            return self._delete(request, bucket, name)
        if request.method == "POST" and request.headers.get("X-Goog-Resumable") == "start":
            return self._start(request, bucket, name, path)
        raise errors.StorageError(405, "methodNotAllowed", "MethodNotAllowed", "The method is not allowed.")

    def _authenticate(self, request: Request, path: str) -> None:
        if not signed_urls.is_signed(request.args):
            raise errors.StorageError(
                403,
                "forbidden",
                "AccessDenied",
                "Access denied.",
                {"Details": "Anonymous caller does not have access to the Google Cloud Storage object."},
            )
        headers = {name.lower(): value for name, value in request.headers.items()}
        signed = Signed(request.method, path, request.query_string.decode(), headers)
        with self._core.lock:
            signed_urls.verify(signed, self._signers.public_key, self._core.now())

    def _get(self, request: Request, bucket: str, name: str) -> Response:
        with self._core.lock:
            version = self._store.find(bucket, name, integer(request.args, "generation"))
            _preconditions(request).check_object(version, reading=True)
            file = self._store.contents.read(version.content)
        response = downloads.respond(request, version, file, _etag(version))
        for parameter, header in (
            ("response-content-type", "Content-Type"),
            ("response-content-disposition", "Content-Disposition"),
        ):
            if parameter in request.args:
                response.headers[header] = request.args[parameter]
        if request.method == "HEAD":
            # No body is sent, so that nothing else closes the file.
            response.close()
        return response

    def _put(self, request: Request, bucket: str, name: str) -> Response:
        draft = _draft(request, bucket, name)
        if request.content_length is None:
            raise errors.StorageError(411, "required", "MissingContentLength", "You must provide Content-Length.")
        draft.check_size(request.content_length)
        return _made(self._uploads.whole(draft, whole_body(request)))

    def _delete(self, request: Request, bucket: str, name: str) -> Response:
        generation = integer(request.args, "generation")
        with self._core.lock:
            version = self._store.find(bucket, name, generation)
            _preconditions(request).check_object(version)
            self._store.remove(version, forever=generation is not None)
        return Response(status=204)

    def _start(self, request: Request, bucket: str, name: str, path: str) -> Response:
        session = self._uploads.start(_draft(request, bucket, name), None)
        response = Response(status=201)
        response.headers["Location"] = f"{request.root_url.rstrip('/')}{path}?upload_id={session.id}"
        return response

    def _resume(self, request: Request) -> Response:
        """Whoever has the address of an upload may go on with it, as with the real service."""
        result = resume(self._uploads, self._uploads.session(request.args["upload_id"]), request)
        return result if isinstance(result, Response) else _made(result)


def _draft(request: Request, bucket: str, name: str) -> Draft:
    headers = request.headers
    fields = {field: headers[header] for header, field in _FIELDS.items() if header in headers}
    prefix = "x-goog-meta-"
    metadata = {key[len(prefix) :].lower(): value for key, value in headers.items() if key.lower().startswith(prefix)}
    checksums = checksums_of(headers)
    payload = headers.get("X-Goog-Content-Sha256", "UNSIGNED-PAYLOAD")
    if payload != "UNSIGNED-PAYLOAD":
        checksums["sha256"] = payload
    smallest, largest = _length_range(headers.get("X-Goog-Content-Length-Range"))
    return Draft(
        bucket=bucket,
        name=name,
        fields=fields | ({"metadata": metadata} if metadata else {}),
        preconditions=_preconditions(request),
        checksums=checksums,
        smallest=smallest,
        largest=largest,
    )


def _length_range(value: str | None) -> tuple[int, int | None]:
    if value is None:
        return 0, None
    match = re.fullmatch(r"(\d+),(\d+)", value)
    if match is None:
        raise errors.invalid(f"Invalid x-goog-content-length-range: {value}")
    return int(match[1]), int(match[2])


def _preconditions(request: Request) -> Preconditions:
    headers = request.headers
    return Preconditions.of({name: headers[header] for header, name in _CONDITIONS.items() if header in headers})


def _etag(version: ObjectVersion) -> str:
    """The MD5 in hexadecimal, as the XML API has it; a composed object has none."""
    md5 = version.resource.get("md5Hash")
    return f'"{base64.b64decode(md5).hex()}"' if md5 else f'"{version.resource["etag"]}"'


def _made(version: ObjectVersion) -> Response:
    response = Response(status=200)
    resource = version.resource
    response.headers["ETag"] = _etag(version)
    response.headers["X-Goog-Generation"] = resource["generation"]
    response.headers["X-Goog-Metageneration"] = resource["metageneration"]
    response.headers["X-Goog-Hash"] = f"crc32c={resource['crc32c']},md5={resource['md5Hash']}"
    response.headers["X-Goog-Stored-Content-Length"] = resource["size"]
    return response
