"""Cloud Storage's buckets and objects through the official client."""

import base64
import gzip
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud import storage

from local_cloud.conformance.storage_server import Served, no_network, put, refused, serving
from local_cloud.core import Core
from local_cloud.state import State

KEY = "projects/kapas-test/locations/asia-south1/keyRings/files/cryptoKeys/exports"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Core(no_network), State()) as served:
        yield served


@pytest.fixture
def client(served: Served) -> storage.Client:
    return served.client


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    return client.create_bucket("kapas-exports", location="asia-south1")


# Buckets


def test_buckets_are_created_listed_changed_and_deleted(client: storage.Client) -> None:
    bucket = client.bucket("kapas-photos")
    bucket.labels = {"data": "photos"}
    bucket.versioning_enabled = True
    bucket.default_kms_key_name = KEY
    bucket.add_lifecycle_delete_rule(age=30)
    client.create_bucket(bucket, location="asia-south1")
    found = client.get_bucket("kapas-photos")
    assert (found.location, found.location_type) == ("ASIA-SOUTH1", "region")
    assert found.versioning_enabled
    assert found.default_kms_key_name == KEY
    assert [rule["condition"] for rule in found.lifecycle_rules] == [{"age": 30}]
    found.labels = {"data": "photos", "team": "grading"}
    found.storage_class = "NEARLINE"
    found.patch()
    assert found.metageneration == 2
    found.labels = {"team": "grading"}
    found.patch(if_metageneration_match=2)
    assert client.get_bucket("kapas-photos").labels == {"team": "grading"}
    with pytest.raises(exceptions.PreconditionFailed):
        found.patch(if_metageneration_match=2)
    found.labels = {}
    found.update()
    assert client.get_bucket("kapas-photos").labels == {}
    client.create_bucket("kapas-archive")
    assert [b.name for b in client.list_buckets()] == ["kapas-archive", "kapas-photos"]
    assert [b.name for b in client.list_buckets(prefix="kapas-p")] == ["kapas-photos"]
    assert [b.name for b in client.list_buckets(page_size=1)] == ["kapas-archive", "kapas-photos"]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("kapas-photos")
    blob = put(found, "a")
    assert blob.kms_key_name == f"{KEY}/cryptoKeyVersions/1"
    assert blob.storage_class == "NEARLINE"
    with pytest.raises(exceptions.Conflict, match="not empty"):
        found.delete()
    found.delete_blob("a", generation=blob.generation)
    found.delete()
    with pytest.raises(exceptions.NotFound):
        client.get_bucket("kapas-photos")


def test_a_bucket_needs_a_good_name(client: storage.Client) -> None:
    for name in ("Upper", "ab", "google-like"):
        with pytest.raises(exceptions.BadRequest):
            client.create_bucket(name)


# Objects


def test_an_object_has_checksums_and_generations(bucket: storage.Bucket) -> None:
    blob = bucket.blob("folder/a b+c ü.txt", chunk_size=None)
    blob.metadata = {"lot": "42"}
    blob.cache_control = "no-store"
    blob.content_disposition = "attachment"
    blob.upload_from_string("नमस्ते", content_type="text/plain; charset=utf-8", checksum="md5")
    data = "नमस्ते".encode()
    found = bucket.get_blob("folder/a b+c ü.txt")
    assert found is not None
    assert found.size == len(data)
    assert found.md5_hash == base64.b64encode(hashlib.md5(data).digest()).decode()
    assert found.crc32c == base64.b64encode(google_crc32c.Checksum(data).digest()).decode()
    assert found.content_type == "text/plain; charset=utf-8"
    assert (found.metadata, found.cache_control) == ({"lot": "42"}, "no-store")
    assert found.metageneration == 1
    assert found.download_as_bytes() == data
    found.metadata = {"lot": "42", "grade": "A"}
    found.patch()
    assert found.metageneration == 2
    found.metadata = {"grade": "A", "lot": None}
    found.patch()
    assert bucket.get_blob(found.name).metadata == {"grade": "A"}
    found.content_type = "text/html"
    found.update()
    assert bucket.get_blob(found.name).content_type == "text/html"
    first = blob.generation
    blob.upload_from_string("again")
    assert blob.generation > first
    assert blob.metageneration == 1
    assert bucket.get_blob(blob.name, generation=first) is None


def test_preconditions(served: Served, bucket: storage.Bucket) -> None:
    blob = bucket.blob("a")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("1", if_generation_match=7)
    blob.upload_from_string("1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("2", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("a").upload_from_string("2", if_generation_not_match=blob.generation)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("a").upload_from_string("2", if_metageneration_match=2)
    # The client misspells this one (ifMetaGenerationNotMatch), so it goes without it.
    query = "uploadType=media&name=a&ifMetagenerationNotMatch=1"
    assert (
        served.client._http.post(f"{served.url}/upload/storage/v1{bucket.path}/o?{query}", data="2").status_code == 412
    )
    assert blob.download_as_bytes(if_generation_match=blob.generation, if_metageneration_match=1) == b"1"
    with pytest.raises(exceptions.PreconditionFailed):
        blob.download_as_bytes(if_generation_match=1)
    with pytest.raises(exceptions.NotModified):
        blob.reload(if_generation_not_match=blob.generation)
    with pytest.raises(exceptions.NotModified):
        blob.reload(if_metageneration_not_match=1)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=5)
    for options in ({"if_generation_match": 1}, {"if_metageneration_match": 5}):
        with pytest.raises(exceptions.PreconditionFailed):
            blob.delete(**options)
    blob.delete(if_generation_match=blob.generation, if_metageneration_match=1)
    with pytest.raises(exceptions.NotFound):
        blob.delete()
    with pytest.raises(exceptions.NotFound):
        blob.download_as_bytes()


def test_ranges(bucket: storage.Bucket) -> None:
    blob = put(bucket, "digits", b"0123456789")
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    assert blob.download_as_bytes(start=7) == b"789"
    assert blob.download_as_bytes(start=-3) == b"789"
    assert blob.download_as_bytes(start=8, end=99) == b"89"
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=10)
    with blob.open("rb", chunk_size=4) as file:
        assert file.read(3) + file.read() == b"0123456789"


def test_gzip_is_decompressed_for_who_does_not_take_it(bucket: storage.Bucket, served: Served) -> None:
    text = b"cotton " * 1000
    packed = gzip.compress(text)
    blob = bucket.blob("report.txt")
    blob.content_encoding = "gzip"
    blob.upload_from_string(packed, content_type="text/plain")
    assert blob.size == len(packed)
    assert blob.download_as_bytes() == text
    assert blob.download_as_bytes(raw_download=True) == packed
    http = served.client._http
    plain = http.get(blob.media_link, headers={"Accept-Encoding": "identity"})
    assert plain.content == text
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["X-Goog-Stored-Content-Encoding"] == "gzip"


def test_lists(bucket: storage.Bucket, client: storage.Client) -> None:
    for name in ("a", "b/1", "b/2", "b/c/3", "d/4", "e"):
        put(bucket, name)

    def names(**options: object) -> list[str]:
        return [blob.name for blob in client.list_blobs(bucket, **options)]

    assert names() == ["a", "b/1", "b/2", "b/c/3", "d/4", "e"]
    assert names(prefix="b/") == ["b/1", "b/2", "b/c/3"]
    assert names(start_offset="b/2", end_offset="e") == ["b/2", "b/c/3", "d/4"]
    assert names(page_size=2) == names()
    assert names(max_results=3) == ["a", "b/1", "b/2"]
    top = client.list_blobs(bucket, delimiter="/", page_size=1)
    assert [blob.name for blob in top] == ["a", "e"]
    assert top.prefixes == {"b/", "d/"}
    inside = client.list_blobs(bucket, prefix="b/", delimiter="/")
    assert ([blob.name for blob in inside], inside.prefixes) == (["b/1", "b/2"], {"b/c/"})
    with pytest.raises(exceptions.NotFound):
        list(client.list_blobs("absent-bucket"))


def test_versions_are_kept_read_and_removed(client: storage.Client, bucket: storage.Bucket) -> None:
    bucket.versioning_enabled = True
    bucket.patch()
    first = put(bucket, "a", b"1").generation
    second = put(bucket, "a", b"2").generation
    assert bucket.blob("a", generation=first).download_as_bytes() == b"1"
    assert [b.generation for b in client.list_blobs(bucket, versions=True, page_size=1)] == [first, second]
    bucket.blob("a").delete()
    assert bucket.get_blob("a") is None
    old = bucket.get_blob("a", generation=second)
    assert old is not None
    assert old.time_deleted
    assert list(client.list_blobs(bucket)) == []
    bucket.copy_blob(old, bucket, source_generation=second)
    assert bucket.blob("a").download_as_bytes() == b"2"
    bucket.delete_blob("a", generation=first)
    with pytest.raises(exceptions.NotFound):
        bucket.blob("a", generation=first).reload()


def test_compose(bucket: storage.Bucket) -> None:
    parts = [put(bucket, f"part-{i}", b"%d" % i) for i in range(3)]
    whole = bucket.blob("whole")
    whole.content_type = "text/csv"
    whole.compose(parts, if_generation_match=0)
    assert whole.download_as_bytes() == b"012"
    assert (whole.component_count, whole.md5_hash, whole.content_type) == (3, None, "text/csv")
    assert whole.crc32c == base64.b64encode(google_crc32c.Checksum(b"012").digest()).decode()
    whole.compose([whole, parts[0]], if_source_generation_match=[whole.generation, parts[0].generation])
    assert whole.download_as_bytes() == b"0120"
    assert whole.component_count == 4
    with pytest.raises(exceptions.PreconditionFailed):
        whole.compose(parts, if_source_generation_match=[1, 1, 1])
    with pytest.raises(exceptions.BadRequest):
        whole.compose([parts[0]] * 33)
    with pytest.raises(exceptions.NotFound):
        whole.compose([bucket.blob("absent")])


def test_rewrite_and_copy(client: storage.Client, bucket: storage.Bucket) -> None:
    source = bucket.blob("source")
    source.metadata = {"lot": "42"}
    source.upload_from_string("bytes", content_type="text/csv")
    other = client.create_bucket("kapas-archive")
    copy = bucket.copy_blob(source, other, "copy")
    assert (copy.metadata, copy.content_type) == ({"lot": "42"}, "text/csv")
    assert copy.download_as_bytes() == b"bytes"
    target = other.blob("copy", kms_key_name=KEY)
    token, done, total = target.rewrite(source, if_source_generation_match=source.generation)
    assert (token, done, total) == (None, 5, 5)
    assert target.kms_key_name == f"{KEY}/cryptoKeyVersions/1"
    for options in ({"if_source_generation_match": 1}, {"if_generation_match": 0}):
        with pytest.raises(exceptions.PreconditionFailed):
            target.rewrite(source, **options)
    target.update_storage_class("NEARLINE")
    assert other.get_blob("copy").storage_class == "NEARLINE"
    source.delete()
    assert target.download_as_bytes() == b"bytes"


def test_batch(client: storage.Client, bucket: storage.Bucket) -> None:
    blobs = [put(bucket, f"slash/{i} ü") for i in range(3)]
    with client.batch():
        for blob in blobs[:2]:
            blob.metadata = {"seen": "yes"}
            blob.patch()
    assert bucket.get_blob("slash/0 ü").metadata == {"seen": "yes"}
    assert blobs[1].metageneration == 2
    with client.batch(raise_exception=False) as batch:
        bucket.blob("absent").delete()
        blobs[0].delete()
    assert [response.status_code for response in batch._responses] == [404, 204]
    bucket.delete_blobs(blobs[1:])
    assert list(client.list_blobs(bucket)) == []


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    path, folder = tmp_path / "state.sqlite3", tmp_path / "objects"
    core = Core(no_network)
    with serving(core, state := State(path), folder) as served:
        bucket = served.client.create_bucket("kapas-exports", location="asia-south1")
        bucket.versioning_enabled = True
        bucket.retention_period = 3600
        bucket.patch()
        first = put(bucket, "other", b"1")
        core.clock.advance(timedelta(hours=2))
        second = put(bucket, "other", b"2")
        kept = put(bucket, "kept", b"bytes")
        info = served.service.service_account_info("files@example.com")
    state.close()
    (folder / "cut-off").write_bytes(b"left by a crash")
    with serving(Core(no_network), State(path), folder) as served:
        bucket = served.client.get_bucket("kapas-exports")
        assert bucket.retention_period == 3600
        found = bucket.get_blob("kept")
        assert found is not None
        assert (found.generation, found.md5_hash) == (kept.generation, kept.md5_hash)
        assert found.download_as_bytes() == b"bytes"
        assert bucket.blob("other", generation=first.generation).download_as_bytes() == b"1"
        assert bucket.blob("other").download_as_bytes() == b"2"
        refused(lambda: put(bucket, "kept"), "retentionPolicyNotMet")
        assert put(bucket, "new").generation > second.generation
        assert served.service.service_account_info("files@example.com") == info
        assert not (folder / "cut-off").exists()


def test_a_crash_between_writing_and_replacing_leaves_the_new_object(tmp_path: Path) -> None:
    path, folder = tmp_path / "state.sqlite3", tmp_path / "objects"
    with serving(Core(no_network), state := State(path), folder) as served:
        bucket = served.client.create_bucket("kapas-exports")
        put(bucket, "a", b"1")
        before = dict(state.items("storage.object"))
        put(bucket, "a", b"2")
    for key, row in before.items():
        state.put("storage.object", key, row)
    state.close()
    with serving(Core(no_network), State(path), folder) as served:
        bucket = served.client.bucket("kapas-exports")
        assert bucket.blob("a").download_as_bytes() == b"2"
        assert len(list(served.client.list_blobs(bucket, versions=True))) == 1
