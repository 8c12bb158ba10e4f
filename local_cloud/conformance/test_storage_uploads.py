"""Cloud Storage's uploads: in one request, resumable, interrupted, resumed after a restart."""

import base64
import hashlib
import io
import os
import socket
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import pytest
import requests
from google.api_core import exceptions
from google.cloud import storage

from local_cloud.conformance.storage_server import Served, no_network, serving
from local_cloud.core import Core
from local_cloud.state import State
from local_cloud.storage import multipart

GRANULE = 256 * 1024


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Core(no_network), State()) as served:
        yield served


@pytest.fixture
def bucket(served: Served) -> storage.Bucket:
    return served.client.create_bucket("kapas-exports", location="asia-south1")


def _start(served: Served, name: str = "a", *, total: int | None = None, **metadata: str) -> str:
    """Begin a resumable upload by hand; its address."""
    headers = {} if total is None else {"X-Upload-Content-Length": str(total)}
    answer = requests.post(
        f"{served.url}/upload/storage/v1/b/kapas-exports/o?uploadType=resumable&name={name}",
        json=metadata,
        headers=headers,
        timeout=60,
    )
    assert answer.status_code == 200
    return answer.headers["Location"]


def _send(address: str, data: bytes, content_range: str, **headers: str) -> requests.Response:
    return requests.put(address, data=data, headers={"Content-Range": content_range, **headers}, timeout=60)


def test_media_and_multipart_check_what_arrives(served: Served, bucket: storage.Bucket) -> None:
    address = f"{served.url}/upload/storage/v1/b/kapas-exports/o?uploadType=media&name=a"
    md5 = base64.b64encode(hashlib.md5(b"bytes").digest()).decode()
    headers = {"Content-Type": "text/csv", "Content-MD5": md5}
    made = requests.post(address, data=b"bytes", headers=headers, timeout=60)
    assert (made.status_code, made.json()["contentType"], made.json()["size"]) == (200, "text/csv", "5")
    refused = requests.post(address, data=b"other", headers=headers, timeout=60)
    assert refused.status_code == 400
    assert bucket.blob("a").download_as_bytes() == b"bytes"
    # What looks like a boundary, cut across blocks, is data.
    data = (b"\r\n--=" * 60_000)[: GRANULE + 3] + b"\r\n--\r\n"
    blob = bucket.blob("b")
    blob.crc32c = base64.b64encode(google_crc32c.Checksum(data).digest()).decode()
    blob.upload_from_file(io.BytesIO(data), size=len(data))
    assert bucket.blob("b").download_as_bytes() == data
    part = (
        b'--x\r\nContent-Type: application/json\r\n\r\n{"name": "c", "md5Hash": "AAAA"}\r\n'
        b"--x\r\nContent-Type: text/csv\r\n\r\nbytes\r\n--x--"
    )
    address = f"{served.url}/upload/storage/v1/b/kapas-exports/o?uploadType=multipart"
    kind = {"Content-Type": "multipart/related; boundary=x"}
    assert requests.post(address, data=part, headers=kind, timeout=60).status_code == 400
    assert requests.post(address, data=part[:-8], headers=kind, timeout=60).status_code == 400
    assert bucket.get_blob("c") is None


def test_a_boundary_may_arrive_in_pieces() -> None:
    data = b"a\r\n--b\r\n--boundar\r\n"
    body = (
        b"--boundary\r\nContent-Type: application/json\r\n\r\n{}\r\n"
        b"--boundary\r\nContent-Type: text/csv\r\n\r\n" + data + b"\r\n--boundary--\r\n"
    )
    for size in range(1, len(body)):
        stream = io.BytesIO(body)
        read: Any = SimpleNamespace(read=lambda _, size=size, stream=stream: stream.read(size))
        related = multipart.read("multipart/related; boundary=boundary", read)
        assert (related.metadata, related.content_type, b"".join(related.blocks)) == ({}, "text/csv", data)


def test_of_many_writers_one_creates_the_object(served: Served, bucket: storage.Bucket) -> None:
    def write(data: str) -> bool:
        try:
            bucket.blob("once").upload_from_string(data, if_generation_match=0)
        except exceptions.PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(write, [str(number) for number in range(8)]))
    assert outcomes.count(True) == 1
    assert bucket.blob("once").download_as_text() == str(outcomes.index(True))


def test_a_large_file_goes_in_chunks(bucket: storage.Bucket) -> None:
    data = os.urandom(3 * GRANULE + 17)
    blob = bucket.blob("large", chunk_size=GRANULE)
    blob.metadata = {"lot": "42"}
    blob.upload_from_file(io.BytesIO(data), content_type="image/jpeg", if_generation_match=0)
    assert (blob.size, blob.content_type, blob.metadata) == (len(data), "image/jpeg", {"lot": "42"})
    assert blob.download_as_bytes() == data
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_file(io.BytesIO(data), rewind=True, if_generation_match=0)
    with bucket.blob("streamed").open("wb", chunk_size=GRANULE, ignore_flush=True) as file:
        file.write(data[:100])
        file.write(data[100:])
    assert bucket.blob("streamed").download_as_bytes() == data
    bucket.blob("empty", chunk_size=GRANULE).upload_from_file(io.BytesIO(b""))
    assert bucket.blob("empty").download_as_bytes() == b""


def test_a_resumable_upload_tells_how_far_it_is(served: Served, bucket: storage.Bucket) -> None:
    data = os.urandom(2 * GRANULE + 5)
    address = _start(served, contentType="image/png")
    progress = _send(address, b"", "bytes */*")
    assert (progress.status_code, progress.headers.get("Range")) == (308, None)
    first = _send(address, data[:GRANULE], f"bytes 0-{GRANULE - 1}/*")
    assert (first.status_code, first.headers["Range"]) == (308, f"bytes=0-{GRANULE - 1}")
    assert bucket.get_blob("a") is None
    for chunk, content_range in (
        (data[:5], f"bytes {2 * GRANULE}-{2 * GRANULE + 4}/{len(data)}"),
        (data[:100], f"bytes {GRANULE}-{GRANULE + 99}/*"),
        (data[:100], f"bytes {GRANULE}-{GRANULE + 98}/{len(data)}"),
        (data[:100], "bytes what"),
    ):
        assert _send(address, chunk, content_range).status_code == 400
    assert _send(address, b"", f"bytes */{len(data)}").headers["Range"] == f"bytes=0-{GRANULE - 1}"
    # The client repeats the first chunk with the rest: what is there already is skipped.
    done = _send(address, data, f"bytes 0-{len(data) - 1}/{len(data)}")
    assert (done.status_code, done.json()["size"]) == (200, str(len(data)))
    again = _send(address, b"", "bytes */*")
    assert (again.status_code, again.json()["generation"]) == (200, done.json()["generation"])
    assert bucket.blob("a").download_as_bytes() == data


def test_a_resumable_upload_is_checked_and_can_be_cancelled(served: Served, bucket: storage.Bucket) -> None:
    wrong = {"X-Goog-Hash": "crc32c=AAAAAA=="}
    address = _start(served, total=5)
    assert _send(address, b"bytes", "bytes 0-4/6").status_code == 400
    assert _send(address, b"bytes", "bytes 0-4/5", **wrong).status_code == 400
    assert bucket.get_blob("a") is None
    right = {"X-Goog-Hash": "crc32c=" + base64.b64encode(google_crc32c.Checksum(b"bytes").digest()).decode()}
    assert _send(address, b"bytes", "bytes 0-4/5", **right).status_code == 200
    address = _start(served, "b")
    assert requests.delete(address, timeout=60).status_code == 499
    assert _send(address, b"bytes", "bytes 0-4/5").status_code == 404
    address = _start(served, "c")
    served.core.clock.advance(timedelta(days=8))
    while served.core.step():
        pass
    assert _send(address, b"bytes", "bytes 0-4/5").status_code == 404


def test_a_broken_connection_keeps_whole_granules(served: Served, bucket: storage.Bucket) -> None:
    data = os.urandom(3 * GRANULE)
    address = _start(served)
    url = urlsplit(address)
    with socket.create_connection((url.hostname or "", url.port or 0)) as broken:
        broken.sendall(
            f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(data)}\r\n"
            f"Content-Range: bytes 0-{len(data) - 1}/{len(data)}\r\n\r\n".encode()
            + data[: 2 * GRANULE - 7]
        )
    progress = _send(address, b"", "bytes */*")
    for _ in range(1000):
        if progress.headers.get("Range"):
            break
        progress = _send(address, b"", "bytes */*")
    assert progress.headers["Range"] == f"bytes=0-{GRANULE - 1}"
    rest = _send(address, data[GRANULE:], f"bytes {GRANULE}-{len(data) - 1}/{len(data)}")
    assert rest.status_code == 200
    assert bucket.blob("a").download_as_bytes() == data


def test_a_broken_media_upload_makes_no_object(served: Served, bucket: storage.Bucket) -> None:
    url = urlsplit(served.url)
    with socket.create_connection((url.hostname or "", url.port or 0)) as broken:
        broken.sendall(
            f"POST /upload/storage/v1/b/kapas-exports/o?uploadType=media&name=a HTTP/1.1\r\nHost: {url.netloc}\r\n"
            "Content-Length: 1000\r\n\r\nonly this".encode()
        )
        broken.shutdown(socket.SHUT_WR)
        assert b" 400 " in broken.recv(4096).split(b"\r\n")[0]
    assert bucket.get_blob("a") is None


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    path, folder = tmp_path / "state.sqlite3", tmp_path / "objects"
    data = os.urandom(GRANULE + 9)
    with serving(Core(no_network), state := State(path), folder) as served:
        served.client.create_bucket("kapas-exports")
        done, half = _start(served, "done"), _start(served, "half", contentType="image/png")
        made = _send(done, b"bytes", "bytes 0-4/5").json()
        assert _send(half, data[:GRANULE], f"bytes 0-{GRANULE - 1}/{len(data)}").status_code == 308
    state.close()
    with serving(Core(no_network), State(path), folder) as served:

        def moved(address: str) -> str:
            return served.url + address[address.index("/upload") :]

        progress = _send(moved(half), b"", "bytes */*")
        assert progress.headers["Range"] == f"bytes=0-{GRANULE - 1}"
        rest = _send(moved(half), data[GRANULE:], f"bytes {GRANULE}-{len(data) - 1}/{len(data)}")
        assert rest.json()["contentType"] == "image/png"
        assert served.client.bucket("kapas-exports").blob("half").download_as_bytes() == data
        assert _send(moved(done), b"", "bytes */*").json()["generation"] == made["generation"]


def test_bytes_pass_through_in_blocks(served: Served, bucket: storage.Bucket) -> None:
    size = 48 << 20
    address = f"{served.url}/upload/storage/v1/b/kapas-exports/o?uploadType=media&name=large"
    tracemalloc.start()
    try:
        with open("/dev/zero", "rb") as zeros:
            body = _Bounded(zeros, size)
            assert requests.post(address, data=body, timeout=60).json()["size"] == str(size)
        received = 0
        download = f"{served.url}/storage/v1/b/kapas-exports/o/large?alt=media"
        with requests.get(download, stream=True, timeout=60) as answer:
            for block in answer.iter_content(1 << 20):
                received += len(block)
        assert received == size
        assert tracemalloc.get_traced_memory()[1] < size / 4
    finally:
        tracemalloc.stop()


class _Bounded:
    """The first `size` bytes of a file, for a request's body."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file = file
        self._left = size

    def __len__(self) -> int:
        return self._left

    def read(self, count: int = -1) -> bytes:
        block = self._file.read(min(self._left, count if count >= 0 else self._left))
        self._left -= len(block)
        return block
