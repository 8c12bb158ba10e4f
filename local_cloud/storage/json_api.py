"""The JSON API (cloud.google.com/storage/docs/json_api/v1) over HTTP: which request is which operation."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from werkzeug.wrappers import Request, Response

from local_cloud.core import Core
from local_cloud.storage import downloads, errors, multipart
from local_cloud.storage.buckets import Buckets
from local_cloud.storage.copies import Copies
from local_cloud.storage.model import ObjectVersion, Preconditions, Resource, integer
from local_cloud.storage.objects import Objects, check_name, writable
from local_cloud.storage.store import Store
from local_cloud.storage.uploads import Chunk, Draft, Session, Uploads, received

JSON = "application/json; charset=UTF-8"

Handler = Callable[..., Response]


def checksums_of(headers: Mapping[str, str]) -> dict[str, str]:
    """What the bytes of a request must come to, from Content-MD5 and x-goog-hash: names as in a resource."""
    stated = {"md5Hash": headers["Content-MD5"]} if "Content-MD5" in headers else {}
    names = {"crc32c": "crc32c", "md5": "md5Hash"}
    for item in headers.get("X-Goog-Hash", "").split(","):
        kind, _, value = item.strip().partition("=")
        if kind in names:
            stated[names[kind]] = value
    return stated


def resume(uploads: Uploads, session: Session, request: Request) -> ObjectVersion | Response:
    """Take one request of a resumable upload: the object when it is complete, else the 308 that says how far it is."""
    content_range = request.headers.get("Content-Range")
    if request.content_length is None and not (content_range or "").startswith("bytes *"):
        raise errors.StorageError(411, "required", "MissingContentLength", "You must provide Content-Length.")
    chunk = Chunk.of(content_range, request.content_length or 0)
    version = uploads.receive(session, chunk, checksums_of(request.headers), request.stream)
    if version:
        return version
    persisted = uploads.persisted(session)
    response = Response(status=308)
    response.headers["X-GUploader-UploadID"] = session.id
    if persisted:
        response.headers["Range"] = f"bytes=0-{persisted - 1}"
    return response


def whole_body(request: Request) -> Iterator[bytes]:
    """A request's body, refused when the client broke off before its end."""
    size = 0
    for block in received(request.stream):
        size += len(block)
        yield block
    if request.content_length is not None and size < request.content_length:
        raise errors.invalid("The request ended before its body did.")


class JsonApi:
    """Takes the core's lock itself. Raises StorageError."""

    def __init__(self, core: Core, store: Store, uploads: Uploads) -> None:
        self._core = core
        self._store = store
        self._buckets = Buckets(store)
        self._objects = Objects(store)
        self._copies = Copies(core, store)
        self._uploads = uploads
        bucket, item = "/storage/v1/b/([^/]+)", "/storage/v1/b/([^/]+)/o/([^/]+)"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(path), handler)
            for method, path, handler in (
                ("GET", "/storage/v1/b", self._list_buckets),
                ("POST", "/storage/v1/b", self._insert_bucket),
                ("GET", bucket, self._get_bucket),
                ("PATCH", bucket, self._patch_bucket),
                ("PUT", bucket, self._update_bucket),
                ("DELETE", bucket, self._delete_bucket),
                ("POST", f"{bucket}/lockRetentionPolicy", self._lock_bucket),
                ("GET", f"{bucket}/o", self._list_objects),
                ("GET", f"(?:/download)?{item}", self._get_object),
                ("PATCH", item, self._patch_object),
                ("PUT", item, self._update_object),
                ("DELETE", item, self._delete_object),
                ("POST", f"{item}/compose", self._compose),
                ("POST", f"{item}/rewriteTo/b/([^/]+)/o/([^/]+)", self._rewrite),
                ("POST", f"{item}/copyTo/b/([^/]+)/o/([^/]+)", self._copy),
                ("POST", f"(?:/resumable)?/upload{bucket}/o", self._upload),
                ("PUT", f"(?:/resumable)?/upload{bucket}/o", self._resume),
                ("DELETE", f"(?:/resumable)?/upload{bucket}/o", self._cancel),
            )
        ]

    def answer(self, request: Request, path: str) -> Response:
        """`path` is the request's as it was on the wire, so that a name may hold an escaped slash."""
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match and method == request.method:
                return handler(request, *(unquote(part) for part in match.groups()))
        raise errors.StorageError(404, "notFound", "NotFound", "Not Found")

    # Buckets

    def _list_buckets(self, request: Request) -> Response:
        with self._core.lock:
            return _json(self._buckets.list(request.args))

    def _insert_bucket(self, request: Request) -> Response:
        body = _body(request)
        with self._core.lock:
            return _json(self._buckets.insert(request.args, body))

    def _get_bucket(self, request: Request, bucket: str) -> Response:
        with self._core.lock:
            return _json(self._buckets.get(bucket, request.args))

    def _patch_bucket(self, request: Request, bucket: str) -> Response:
        body = _body(request)
        with self._core.lock:
            return _json(self._buckets.patch(bucket, request.args, body))

    def _update_bucket(self, request: Request, bucket: str) -> Response:
        body = _body(request)
        with self._core.lock:
            return _json(self._buckets.update(bucket, request.args, body))

    def _delete_bucket(self, request: Request, bucket: str) -> Response:
        with self._core.lock:
            self._buckets.delete(bucket, request.args)
        return Response(status=204)

    def _lock_bucket(self, request: Request, bucket: str) -> Response:
        with self._core.lock:
            return _json(self._buckets.lock_retention_policy(bucket, request.args))

    # Objects

    def _list_objects(self, request: Request, bucket: str) -> Response:
        with self._core.lock:
            return _json(self._objects.list(bucket, request.args, _base(request)))

    def _get_object(self, request: Request, bucket: str, name: str) -> Response:
        with self._core.lock:
            version = self._objects.find(bucket, name, request.args, reading=True)
            if request.args.get("alt") != "media" and not request.path.startswith("/download"):
                return self._object(request, version)
            file = self._store.contents.read(version.content)
        return downloads.respond(request, version, file, version.resource["etag"])

    def _patch_object(self, request: Request, bucket: str, name: str) -> Response:
        body = _body(request)
        with self._core.lock:
            return self._object(request, self._objects.patch(bucket, name, request.args, body))

    def _update_object(self, request: Request, bucket: str, name: str) -> Response:
        body = _body(request)
        with self._core.lock:
            return self._object(request, self._objects.update(bucket, name, request.args, body))

    def _delete_object(self, request: Request, bucket: str, name: str) -> Response:
        with self._core.lock:
            self._objects.delete(bucket, name, request.args)
        return Response(status=204)

    def _compose(self, request: Request, bucket: str, name: str) -> Response:
        return self._object(request, self._copies.compose(bucket, name, request.args, _body(request)))

    def _rewrite(self, request: Request, *names: str) -> Response:
        version = self._copies.rewrite((names[0], names[1]), (names[2], names[3]), request.args, _body(request))
        answer = {"kind": "storage#rewriteResponse", "done": True, "resource": self._shown(request, version)}
        size = str(version.size)
        return _json(answer | {"objectSize": size, "totalBytesRewritten": size})

    def _copy(self, request: Request, *names: str) -> Response:
        version = self._copies.rewrite((names[0], names[1]), (names[2], names[3]), request.args, _body(request))
        return self._object(request, version)

    # Uploads

    def _upload(self, request: Request, bucket: str) -> Response:
        kind = request.args.get("uploadType")
        if kind == "media":
            draft = _draft(request, bucket, {"contentType": request.headers.get("Content-Type")})
            return self._object(request, self._uploads.whole(draft, whole_body(request)))
        if kind == "multipart":
            related = multipart.read(request.headers.get("Content-Type", ""), request.stream)
            draft = _draft(request, bucket, {"contentType": related.content_type} | related.metadata)
            return self._object(request, self._uploads.whole(draft, related.blocks))
        if kind == "resumable":
            return self._start(request, bucket)
        raise errors.invalid(f"Invalid uploadType: {kind}")

    def _start(self, request: Request, bucket: str) -> Response:
        announced = {"contentType": request.headers.get("X-Upload-Content-Type")}
        total = integer(request.headers, "X-Upload-Content-Length")
        session = self._uploads.start(_draft(request, bucket, announced | _body(request)), total)
        response = Response(status=200)
        query = f"uploadType=resumable&upload_id={session.id}"
        response.headers["Location"] = f"{_base(request)}/upload/storage/v1/b/{bucket}/o?{query}"
        response.headers["X-GUploader-UploadID"] = session.id
        return response

    def _resume(self, request: Request, _: str) -> Response:
        session = self._uploads.session(request.args.get("upload_id", ""))
        result = resume(self._uploads, session, request)
        return result if isinstance(result, Response) else self._object(request, result)

    def _cancel(self, request: Request, _: str) -> Response:
        self._uploads.cancel(self._uploads.session(request.args.get("upload_id", "")))
        return Response(status=499)

    def _shown(self, request: Request, version: ObjectVersion) -> Resource:
        with self._core.lock:
            return self._objects.shown(version, _base(request))

    def _object(self, request: Request, version: ObjectVersion) -> Response:
        response = _json(self._shown(request, version))
        response.headers["ETag"] = version.resource["etag"]
        return response


def _json(resource: Resource) -> Response:
    return Response(json.dumps(resource), content_type=JSON)


def _base(request: Request) -> str:
    return request.root_url.rstrip("/")


def _body(request: Request) -> Resource:
    try:
        body: Any = json.loads(request.get_data() or b"{}")
    except ValueError as error:
        raise errors.StorageError(400, "parseError", "InvalidArgument", "Parse Error") from error
    if not isinstance(body, dict):
        raise errors.StorageError(400, "parseError", "InvalidArgument", "Parse Error")
    return body


def _draft(request: Request, bucket: str, metadata: Resource) -> Draft:
    parameters = request.args
    fields = writable(metadata)
    if "contentEncoding" in parameters:
        fields["contentEncoding"] = parameters["contentEncoding"]
    if "kmsKeyName" in parameters:
        fields["kmsKeyName"] = f"{parameters['kmsKeyName']}/cryptoKeyVersions/1"
    stated = {kind: metadata[kind] for kind in ("crc32c", "md5Hash") if metadata.get(kind)}
    return Draft(
        bucket=bucket,
        name=check_name(parameters.get("name") or metadata.get("name") or ""),
        fields=fields,
        preconditions=Preconditions.of(parameters),
        checksums=checksums_of(request.headers) | stated,
    )
