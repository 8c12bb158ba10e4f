"""Objects made of objects: compose, rewrite and copy."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from local_cloud.core import Core
from local_cloud.storage import errors
from local_cloud.storage.content import Digests, blocks
from local_cloud.storage.model import ObjectVersion, Preconditions, Resource, integer
from local_cloud.storage.objects import check_name, writable
from local_cloud.storage.store import Store

MAX_SOURCES = 32
"""Of one compose request (cloud.google.com/storage/docs/json_api/v1/objects/compose)."""

_NOT_COPIED = ("eventBasedHold", "temporaryHold", "storageClass")


class Copies:
    """Takes the core's lock itself, and not while bytes move."""

    def __init__(self, core: Core, store: Store) -> None:
        self._core = core
        self._store = store

    def compose(self, bucket: str, name: str, parameters: Mapping[str, str], body: Resource) -> ObjectVersion:
        """Join up to 32 objects of one bucket; the result has no MD5."""
        sources: list[dict[str, Any]] = body.get("sourceObjects", [])
        if not 0 < len(sources) <= MAX_SOURCES:
            raise errors.invalid(f"A compose request has 1 to {MAX_SOURCES} source objects, this has {len(sources)}.")
        fields = writable(body.get("destination", {})) | _encrypted(parameters.get("kmsKeyName"))
        preconditions = Preconditions.of(parameters)
        with self._core.lock:
            self._store.replaceable(bucket, check_name(name), preconditions)
            versions = [self._source(bucket, source) for source in sources]
            files = [self._store.contents.read(version.content) for version in versions]
            content = str(self._store.number())
        components = sum(version.resource.get("componentCount", 1) for version in versions)
        fields |= {"componentCount": components, "md5Hash": None}
        fields.setdefault("contentType", versions[0].resource.get("contentType"))
        try:
            with self._store.contents.write(content) as target:
                for block in _joined(files):
                    target.write(block)
            digests = self._store.contents.digest(content)
            with self._core.lock:
                return self._store.add(bucket, name, fields, content, digests, preconditions)
        except BaseException:
            self._store.contents.delete(content)
            raise

    def rewrite(
        self, source: tuple[str, str], target: tuple[str, str], parameters: Mapping[str, str], body: Resource
    ) -> ObjectVersion:
        """Copy an object, in one go whatever its size. Its metadata comes along unless the request has some."""
        preconditions, from_source = Preconditions.of(parameters), Preconditions.of(parameters, "ifSource")
        with self._core.lock:
            version = self._store.find(*source, integer(parameters, "sourceGeneration"))
            from_source.check_object(version)
            own = writable(body)
            copied = {f: v for f, v in writable(version.resource).items() if f not in _NOT_COPIED}
            fields = (own or copied) | _encrypted(parameters.get("destinationKmsKeyName"))
            if "componentCount" in version.resource:
                fields |= {"componentCount": version.resource["componentCount"], "md5Hash": None}
            self._store.replaceable(target[0], check_name(target[1]), preconditions)
            content = str(self._store.number())
            self._store.contents.link(version.content, content)
            digests = Digests(version.size, version.resource["crc32c"], version.resource.get("md5Hash", ""))
            return self._store.add(*target, fields, content, digests, preconditions)

    def _source(self, bucket: str, source: dict[str, Any]) -> ObjectVersion:
        generation = source.get("generation")
        version = self._store.find(bucket, source["name"], None if generation is None else int(generation))
        wanted = source.get("objectPreconditions", {}).get("ifGenerationMatch")
        Preconditions(generation_match=None if wanted is None else int(wanted)).check_object(version)
        return version


def _joined(files: list[BinaryIO]) -> Iterator[bytes]:
    for file in files:
        with file:
            yield from blocks(file)


def _encrypted(key: str | None) -> Resource:
    return {"kmsKeyName": f"{key}/cryptoKeyVersions/1"} if key else {}
