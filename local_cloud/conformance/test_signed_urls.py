"""V4 signed URLs, made by the official client and held against every change."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import storage
from google.oauth2 import service_account

from local_cloud.conformance.storage_server import Served, no_network, serving
from local_cloud.core import Core
from local_cloud.state import State

EMAIL = "files@kapas-test.example.com"

Sign = Callable[..., str]


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Core(no_network), State()) as served:
        yield served


@pytest.fixture
def bucket(served: Served) -> storage.Bucket:
    return served.client.create_bucket("kapas-exports", location="asia-south1")


@pytest.fixture
def sign(served: Served, bucket: storage.Bucket) -> Sign:
    def sign(name: str, method: str = "GET", **options: Any) -> str:
        options.setdefault("expiration", timedelta(minutes=15))
        options.setdefault("credentials", served.service.signing_credentials(EMAIL))
        return bucket.blob(name).generate_signed_url(version="v4", method=method, **options)

    return sign


def _put(url: str, data: bytes, **headers: str) -> requests.Response:
    return requests.put(url, data=data, headers=headers, timeout=60)


def _error(answer: requests.Response) -> tuple[int, str]:
    """Status and code of an error in XML."""
    assert answer.headers["Content-Type"].startswith("application/xml")
    return answer.status_code, ElementTree.fromstring(answer.content).findtext("Code") or ""


def test_reads_with_a_signed_url(bucket: storage.Bucket, sign: Sign) -> None:
    name = "folder/a b+c%2F ü~.txt"
    bucket.blob(name).upload_from_string("0123456789", content_type="text/plain")
    url = sign(name)
    answer = requests.get(url, timeout=60)
    assert (answer.status_code, answer.text) == (200, "0123456789")
    assert answer.headers["ETag"] == f'"{hashlib.md5(b"0123456789").hexdigest()}"'
    part = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=60)
    assert (part.status_code, part.text) == (206, "234")
    headed = requests.head(sign(name, "HEAD"), timeout=60)
    assert (headed.status_code, headed.headers["Content-Length"], headed.content) == (200, "10", b"")
    response = requests.get(
        sign(name, response_type="text/csv", response_disposition='attachment; filename="a b.csv"'), timeout=60
    )
    assert response.headers["Content-Type"] == "text/csv"
    assert response.headers["Content-Disposition"] == 'attachment; filename="a b.csv"'


def test_a_url_is_good_for_one_object_method_and_query(bucket: storage.Bucket, sign: Sign) -> None:
    for name in ("a", "b"):
        bucket.blob(name).upload_from_string(name)
    url = sign("a", generation=bucket.get_blob("a").generation)
    assert requests.get(url, timeout=60).text == "a"
    forged = (403, "SignatureDoesNotMatch")
    assert _error(requests.get(url.replace("/a?", "/b?"), timeout=60)) == forged
    assert _error(requests.put(url, data=b"x", timeout=60)) == forged
    assert _error(requests.delete(url, timeout=60)) == forged
    assert _error(requests.get(url + "&response-content-type=text/html", timeout=60)) == forged
    assert _error(requests.get(url.replace("X-Goog-Expires=900", "X-Goog-Expires=9000"), timeout=60)) == forged
    tail = "0" if url[-1] != "0" else "1"
    assert _error(requests.get(url[:-1] + tail, timeout=60)) == forged
    assert _error(requests.get(url.partition("?")[0], timeout=60)) == (403, "AccessDenied")
    assert _error(requests.get(url.partition("&X-Goog-Sig")[0], timeout=60)) == (400, "MalformedSecurityHeader")


def test_it_expires_by_the_clock_of_the_local_cloud(served: Served, bucket: storage.Bucket, sign: Sign) -> None:
    bucket.blob("a").upload_from_string("a")
    url = sign("a")
    served.core.clock.advance(timedelta(minutes=14))
    assert requests.get(url, timeout=60).status_code == 200
    served.core.clock.advance(timedelta(minutes=2))
    assert _error(requests.get(url, timeout=60)) == (400, "ExpiredToken")


def test_only_registered_signers_are_accepted(served: Served, bucket: storage.Bucket, sign: Sign) -> None:
    bucket.blob("a").upload_from_string("a")
    key = rsa.generate_private_key(65537, 2048)
    info = served.service.service_account_info(EMAIL) | {
        "client_email": "other@kapas-test.example.com",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    }
    url = sign("a", credentials=service_account.Credentials.from_service_account_info(info))
    assert _error(requests.get(url, timeout=60)) == (403, "SignatureDoesNotMatch")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    served.service.register_signer("other@kapas-test.example.com", public.decode())
    assert requests.get(url, timeout=60).text == "a"


def test_writes_what_was_signed(bucket: storage.Bucket, sign: Sign) -> None:
    url = sign("photo", "PUT", content_type="image/jpeg", headers={"x-goog-meta-lot": "42"})
    bound = {"Content-Type": "image/jpeg", "x-goog-meta-lot": "42"}
    answer = _put(url, b"jpeg", **bound)
    assert answer.status_code == 200
    blob = bucket.get_blob("photo")
    assert blob is not None
    assert answer.headers["x-goog-generation"] == str(blob.generation)
    assert (blob.content_type, blob.metadata, blob.download_as_bytes()) == ("image/jpeg", {"lot": "42"}, b"jpeg")
    assert _error(_put(url, b"jpeg", **bound | {"Content-Type": "image/png"})) == (403, "SignatureDoesNotMatch")
    assert _error(_put(url, b"jpeg", **bound | {"x-goog-meta-lot": "43"})) == (403, "SignatureDoesNotMatch")
    assert _error(_put(url, b"jpeg", **{"Content-Type": "image/jpeg"})) == (400, "MalformedSecurityHeader")
    assert _error(_put(url, b"jpeg", **bound | {"x-goog-acl": "public-read"})) == (400, "MalformedSecurityHeader")


def test_the_size_is_bound(bucket: storage.Bucket, sign: Sign) -> None:
    bound = {"x-goog-content-length-range": "2,4"}
    url = sign("a", "PUT", headers=dict(bound))
    assert _error(_put(url, b"1", **bound)) == (400, "EntityTooSmall")
    assert _error(_put(url, b"12345", **bound)) == (400, "EntityTooLarge")
    assert bucket.get_blob("a") is None
    assert _put(url, b"1234", **bound).status_code == 200
    assert _error(_put(url, b"1", **{"x-goog-content-length-range": "1,9"})) == (403, "SignatureDoesNotMatch")


def test_the_bytes_are_bound(bucket: storage.Bucket, sign: Sign) -> None:
    md5 = base64.b64encode(hashlib.md5(b"bytes").digest()).decode()
    url = sign("a", "PUT", content_md5=md5)
    assert _error(_put(url, b"other", **{"Content-MD5": md5})) == (400, "BadDigest")
    assert _error(_put(url, b"other")) == (400, "MalformedSecurityHeader")
    sha256 = {"x-goog-content-sha256": hashlib.sha256(b"bytes").hexdigest()}
    bound = sign("a", "PUT", headers=dict(sha256))
    assert _error(_put(bound, b"other", **sha256)) == (400, "BadDigest")
    assert bucket.get_blob("a") is None
    assert _put(url, b"bytes", **{"Content-MD5": md5}).status_code == 200
    assert _put(bound, b"bytes", **sha256).status_code == 200


def test_preconditions_holds_and_what_is_not_there(bucket: storage.Bucket, sign: Sign) -> None:
    once = {"x-goog-if-generation-match": "0"}
    url = sign("a", "PUT", headers=dict(once))
    assert _put(url, b"1", **once).status_code == 200
    assert _error(_put(url, b"2", **once)) == (412, "PreconditionFailed")
    assert _error(requests.get(sign("absent"), timeout=60)) == (404, "NoSuchKey")
    blob = bucket.get_blob("a")
    assert blob is not None
    blob.temporary_hold = True
    blob.patch()
    assert _error(requests.delete(sign("a", "DELETE"), timeout=60)) == (403, "ObjectUnderActiveHold")
    blob.temporary_hold = False
    blob.patch()
    assert requests.delete(sign("a", "DELETE"), timeout=60).status_code == 204
    assert bucket.get_blob("a") is None


def test_a_signed_post_begins_a_resumable_upload(bucket: storage.Bucket, sign: Sign) -> None:
    bound = {"x-goog-content-length-range": "1,600000"}
    url = sign("large", "RESUMABLE", content_type="image/png", headers=dict(bound))
    headers = {"x-goog-resumable": "start", "Content-Type": "image/png", **bound}
    started = requests.post(url, headers=headers, timeout=60)
    assert started.status_code == 201
    address = started.headers["Location"]
    data = bytes(300_000)
    first = _put(address, data[:262_144], **{"Content-Range": "bytes 0-262143/*"})
    assert (first.status_code, first.headers["Range"]) == (308, "bytes=0-262143")
    assert _error(_put(address, b"1", **{"Content-Range": "bytes 262144-262144/700000"}))[0] == 400
    last = _put(address, data[262_144:], **{"Content-Range": "bytes 262144-299999/300000"})
    assert last.status_code == 200
    blob = bucket.get_blob("large")
    assert blob is not None
    assert (blob.size, blob.content_type) == (300_000, "image/png")
