"""The port for files over its adapter: the real client, URLs signed by the local IAM Credentials."""

import gc
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from kapas.errors import Unavailable
from kapas.platform.gcp.storage import CHUNK, CloudStorage
from kapas.platform.settings import FileSettings
from kapas.values import clock
from local_cloud.conformance.storage_server import PROJECT, Served, no_network, serving
from local_cloud.core import Core
from local_cloud.iam_credentials import IamCredentials
from local_cloud.state import State
from tools.serving import over_http

BUCKET = "kapas-test-uploads"
SIGNER = "files@kapas-test.iam.gserviceaccount.com"
SHORT = timedelta(minutes=15)
PHOTO = b"\xff\xd8 a photo of lint"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Core(no_network), State()) as served:
        served.client.create_bucket(BUCKET, location="asia-south1")
        with clock.use(served.core.now):
            yield served


@pytest.fixture
def iam(served: Served) -> Iterator[str]:
    with over_http(IamCredentials(served.service)) as url:
        yield url


@pytest.fixture
def files(served: Served, iam: str) -> CloudStorage:
    return CloudStorage(BUCKET, settings(served.url, iam))


def settings(storage_url: str, iam_url: str) -> FileSettings:
    return FileSettings(function="test", project=PROJECT, file_signer=SIGNER, storage_url=storage_url, iam_url=iam_url)


def put(files: CloudStorage, path: str, **changes: Any) -> Callable[[bytes], requests.Response]:
    signed = files.upload_url(
        path, content_type="image/jpeg", size=len(PHOTO), sha256=hashlib.sha256(PHOTO).hexdigest(), lifetime=SHORT
    )
    headers = {**signed.headers, **changes}
    return lambda data: requests.request(signed.method, signed.url, data=data, headers=headers, timeout=60)


def test_an_upload_takes_the_declared_bytes_once(files: CloudStorage) -> None:
    upload = put(files, "gradings/a b")
    assert upload(PHOTO).status_code == 200
    stored = files.stat("gradings/a b")
    assert stored is not None
    assert (stored.size, stored.content_type) == (len(PHOTO), "image/jpeg")
    assert upload(PHOTO).status_code == 412


@pytest.mark.parametrize(
    ("data", "changes", "status"),
    [
        (PHOTO + b"!", {}, 400),
        (PHOTO[:-1], {}, 400),
        (PHOTO[:-1] + b"!", {}, 400),
        (PHOTO, {"content-type": "text/html"}, 403),
        (PHOTO, {"x-goog-content-sha256": "0" * 64}, 403),
        (PHOTO, {"x-goog-if-generation-match": None}, 400),
    ],
    ids=["longer", "shorter", "other bytes", "another type", "another hash", "may overwrite"],
)
def test_an_upload_takes_nothing_else(files: CloudStorage, data: bytes, changes: Any, status: int) -> None:
    assert put(files, "a", **changes)(data).status_code == status
    assert files.stat("a") is None


def test_signed_urls_expire_by_the_clock_of_kapas(served: Served, files: CloudStorage) -> None:
    served.core.clock.advance(timedelta(days=3))
    upload = put(files, "a")
    assert upload(PHOTO).status_code == 200
    url = files.download_url("a", lifetime=SHORT, filename='lint "1".jpg')
    answer = requests.get(url, timeout=60)
    assert answer.content == PHOTO
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''lint%20%221%22.jpg"
    served.core.clock.advance(SHORT + timedelta(seconds=1))
    assert requests.get(url, timeout=60).status_code == 400
    with pytest.raises(ValueError, match="at most 7 days"):
        files.download_url("a", lifetime=timedelta(days=8))


def test_a_path_is_written_once_and_read_in_pieces(files: CloudStorage) -> None:
    data = bytes(range(256)) * (CHUNK // 100)
    with files.create("big", "application/zip") as stream:
        stream.write(data[:1000])
        stream.write(data[1000:])
    with files.open("big") as stream:
        assert stream.read(10) == data[:10]
        assert stream.read() == data[10:]
    assert files.write("small", b"1", "text/plain")
    assert not files.write("small", b"2", "text/plain")
    with pytest.raises(FileExistsError), files.create("small", "text/plain") as stream:
        stream.write(b"3")
    with files.open("small") as stream:
        assert stream.read() == b"1"
    assert files.delete("small")
    assert not files.delete("small")
    gc.collect()  # the refused writer must not write after all
    with pytest.raises(FileNotFoundError), files.open("small"):
        pass


def test_what_fails_midway_is_not_there(files: CloudStorage) -> None:
    def die_midway() -> None:
        with files.create("half", "text/plain") as stream:
            stream.write(b"x" * (2 * CHUNK + 1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die_midway()
    gc.collect()
    assert files.stat("half") is None


def test_a_service_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("kapas.platform.gcp.storage.TIMEOUT", 0.2)
    nowhere = "http://127.0.0.1:9"
    files = CloudStorage(BUCKET, settings(nowhere, nowhere))
    for call in (lambda: files.stat("a"), lambda: files.download_url("a", lifetime=SHORT)):
        with pytest.raises(Unavailable):
            call()
