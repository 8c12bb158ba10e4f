"""Getting bytes out: whole objects, ranges, and gzip transcoding.

Source: cloud.google.com/storage/docs/json_api/v1/objects/get and /transcoding.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from local_cloud.storage import errors
from local_cloud.storage.content import blocks
from local_cloud.storage.model import ObjectVersion


def respond(request: Request, version: ObjectVersion, file: BinaryIO, etag: str) -> Response:
    """The object's bytes as this request wants them; closes `file` when they are sent. Raises 416."""
    resource = version.resource
    headers = _headers(version, etag)
    if resource.get("contentEncoding") == "gzip" and "no-transform" not in resource.get("cacheControl", ""):
        headers["Vary"] = "Accept-Encoding"
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            del headers["Content-Encoding"]
            headers["Warning"] = "214 UploadServer gunzipped"
            return _streamed(_gunzipped(file), file, 200, headers)
    start, end = 0, version.size
    status = 200
    if request.range and request.range.units == "bytes":
        bounds = request.range.range_for_length(version.size)
        if bounds is None:
            file.close()
            raise errors.StorageError(
                416, "requestedRangeNotSatisfiable", "InvalidRange", "The requested range cannot be satisfied."
            )
        start, end = bounds
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{version.size}"
    headers["Content-Length"] = str(end - start)
    file.seek(start)
    return _streamed(blocks(file, end - start), file, status, headers)


def _headers(version: ObjectVersion, etag: str) -> Headers:
    resource = version.resource
    checksums = [f"crc32c={resource['crc32c']}"]
    if "md5Hash" in resource:
        checksums.append(f"md5={resource['md5Hash']}")
    headers = Headers(
        {
            "Accept-Ranges": "bytes",
            "Cache-Control": resource.get("cacheControl", "private, max-age=0"),
            "Content-Type": resource.get("contentType", "application/octet-stream"),
            "ETag": etag,
            "X-Goog-Generation": resource["generation"],
            "X-Goog-Hash": ",".join(checksums),
            "X-Goog-Metageneration": resource["metageneration"],
            "X-Goog-Storage-Class": resource["storageClass"],
            "X-Goog-Stored-Content-Encoding": resource.get("contentEncoding", "identity"),
            "X-Goog-Stored-Content-Length": resource["size"],
        }
    )
    for field, header in (
        ("contentDisposition", "Content-Disposition"),
        ("contentEncoding", "Content-Encoding"),
        ("contentLanguage", "Content-Language"),
    ):
        if field in resource:
            headers[header] = resource[field]
    for key, value in resource.get("metadata", {}).items():
        headers[f"X-Goog-Meta-{key}"] = value
    return headers


def _streamed(body: Iterator[bytes], file: BinaryIO, status: int, headers: Headers) -> Response:
    response = Response(body, status=status, headers=headers, direct_passthrough=True)
    response.call_on_close(file.close)
    return response


def _gunzipped(file: BinaryIO) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for block in blocks(file):
        yield decompressor.decompress(block)
    yield decompressor.flush()
