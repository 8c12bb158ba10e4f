"""Cloud Storage: signed URLs without Google's client, everything else through it.

The client is imported at the first use of what needs it: it brings grpc, which a function that serves clients must not pay
for at its start.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import quote

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.gcp import signed_urls
from kapas.platform.gcp.iam import IamSigner
from kapas.platform.once import once
from kapas.platform.ports import SignedUpload, StoredFile
from kapas.platform.settings import FileSettings
from kapas.values import clock

GOOGLE_URL = "https://storage.googleapis.com"

TIMEOUT = 10.0
"""Seconds to wait for an answer, and for the retries of a call together."""
CHUNK = 1 << 20
"""Bytes read or written at once; a multiple of 256 KiB, which resumable uploads ask for."""


class CloudStorage:
    """A `kapas.platform.ports.Files` over the bucket `bucket`. A storage address that is not Google's gets no credentials."""

    def __init__(self, bucket: str, settings: FileSettings) -> None:
        self._name = bucket
        self._url = settings.storage_url
        self._signer = IamSigner(settings.file_signer, settings.iam_url)
        self._bucket = once(lambda: _make_client(settings).bucket(bucket))

    def upload_url(self, path: str, *, content_type: str, size: int, sha256: str, lifetime: timedelta) -> SignedUpload:
        headers = {
            "content-type": content_type,
            "x-goog-content-length-range": f"{size},{size}",
            "x-goog-content-sha256": sha256,
            "x-goog-if-generation-match": "0",
        }
        expires_at = clock.now() + lifetime
        url = signed_urls.sign(
            self._signer, "PUT", self._url, f"/{self._name}/{path}", lifetime=lifetime, headers=headers
        )
        return SignedUpload("PUT", url, headers, expires_at)

    def download_url(self, path: str, *, lifetime: timedelta, filename: str | None = None) -> str:
        query: dict[str, str] = {}
        if filename is not None:
            # RFC 6266 section 4.3: percent-encoded UTF-8, so that no name breaks out of the header.
            query["response-content-disposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        return signed_urls.sign(self._signer, "GET", self._url, f"/{self._name}/{path}", lifetime=lifetime, query=query)

    def stat(self, path: str) -> StoredFile | None:
        with _answered():
            blob = self._bucket().get_blob(path, timeout=TIMEOUT, retry=_retry())
        return None if blob is None else StoredFile(path, blob.size, blob.content_type, blob.time_created)

    @contextmanager
    def open(self, path: str) -> Generator[BinaryIO]:
        with _answered():
            blob = self._bucket().get_blob(path, timeout=TIMEOUT, retry=_retry())
            if blob is None:
                raise FileNotFoundError(path)
            # Of this generation, so that all pieces are of one file.
            pinned = self._bucket().blob(path, generation=blob.generation)
            with pinned.open("rb", chunk_size=CHUNK, timeout=TIMEOUT, retry=_retry()) as stream:
                yield stream

    @contextmanager
    def create(self, path: str, content_type: str) -> Generator[BinaryIO]:
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket().blob(path)
        try:
            with _answered(), _writing(blob, content_type) as stream:
                yield stream
        except PreconditionFailed:
            raise FileExistsError(path) from None

    def write(self, path: str, data: bytes, content_type: str) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket().blob(path)
        try:
            with _answered():
                blob.upload_from_string(
                    data, content_type=content_type, if_generation_match=0, timeout=TIMEOUT, retry=_retry()
                )
        except PreconditionFailed:
            return False
        return True

    def delete(self, path: str) -> bool:
        from google.api_core.exceptions import NotFound

        try:
            with _answered():
                self._bucket().delete_blob(path, timeout=TIMEOUT, retry=_retry())
        except NotFound:
            return False
        return True


def _make_client(settings: FileSettings) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    if settings.storage_url == GOOGLE_URL:
        return storage.Client(project=settings.project)
    options = {"api_endpoint": settings.storage_url}
    return storage.Client(project=settings.project, credentials=AnonymousCredentials(), client_options=options)


@contextmanager
def _writing(blob: Any, content_type: str) -> Generator[BinaryIO]:
    stream = blob.open("wb", chunk_size=CHUNK, content_type=content_type, if_generation_match=0)
    try:
        yield stream
        stream.close()
    except BaseException:
        # A writer that is still open when it is collected uploads what it holds: half a file, or one deleted since.
        with suppress(Exception):
            stream.terminate()
        stream._buffer.close()
        raise


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(TIMEOUT)


@contextmanager
def _answered() -> Generator[None]:
    """Turn what Cloud Storage does not answer, or refuses without a reason of ours, into `Unavailable`."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed, RetryError
    from google.cloud.storage.exceptions import InvalidResponse

    try:
        yield
    except (NotFound, PreconditionFailed):
        raise
    except (GoogleAPICallError, RetryError, InvalidResponse, requests.RequestException) as failure:
        # What writes piece by piece tells of a refusal in a way of its own.
        if isinstance(failure, InvalidResponse) and failure.response.status_code == HTTPStatus.PRECONDITION_FAILED:
            raise PreconditionFailed("there is a file already") from None
        log.error("storage_failed", failure)
        raise Unavailable("Cloud Storage does not answer") from failure
