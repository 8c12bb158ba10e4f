"""The tables of Cloud Storage: buckets, object versions and their bytes, written through on every change.

Everything here is called under the core's lock, `digest` excepted.
"""

import json
from collections.abc import Iterable

from local_cloud.core import Core
from local_cloud.state import State
from local_cloud.storage import errors
from local_cloud.storage.content import Contents, Digests
from local_cloud.storage.model import (
    ObjectVersion,
    Preconditions,
    Resource,
    check_removable,
    timestamp,
)

WRITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "eventBasedHold",
    "metadata",
    "storageClass",
    "temporaryHold",
)
"""What a caller may set of an object."""


class Store:
    """Buckets and objects. An object's bytes are written before its row, and deleted after."""

    def __init__(self, core: Core, state: State, contents: Contents) -> None:
        self._core = core
        self._state = state
        self.contents = contents
        self.buckets: dict[str, Resource] = {name: json.loads(raw) for name, raw in state.items("storage.bucket")}
        self._last_number = max((int(raw) for _, raw in state.items("storage.number")), default=0)
        self._objects: dict[str, dict[str, list[ObjectVersion]]] = {name: {} for name in self.buckets}
        loaded = (ObjectVersion(**json.loads(raw)) for _, raw in state.items("storage.object"))
        for version in sorted(loaded, key=lambda v: v.generation):
            self._objects[version.bucket].setdefault(version.name, []).append(version)
        for version in [v for name in self.buckets for v in self._superseded(name)]:
            self._drop(version)

    def now(self) -> str:
        return timestamp(self._core.now())

    def number(self) -> int:
        """A number larger than any before, also across restarts: a generation, or a name for new bytes."""
        self._last_number = max(self._last_number + 1, int(self._core.now().timestamp() * 1_000_000))
        self._state.put("storage.number", "last", str(self._last_number).encode())
        return self._last_number

    # Buckets

    def bucket(self, name: str) -> Resource:
        if name not in self.buckets:
            raise errors.no_bucket()
        return self.buckets[name]

    def put_bucket(self, resource: Resource) -> None:
        name = resource["name"]
        self.buckets[name] = resource
        self._objects.setdefault(name, {})
        self._state.put("storage.bucket", name, json.dumps(resource).encode())

    def delete_bucket(self, name: str) -> None:
        """Raises 409 for a bucket that is not empty."""
        if self._objects[name]:
            raise errors.StorageError(409, "conflict", "BucketNotEmpty", "The bucket you tried to delete is not empty.")
        del self.buckets[name], self._objects[name]
        self._state.delete("storage.bucket", name)

    # Objects

    def versions(self, bucket: str) -> Iterable[ObjectVersion]:
        """Every version in a bucket, by name and then by age."""
        self.bucket(bucket)
        objects = self._objects[bucket]
        return (version for name in sorted(objects) for version in objects[name])

    def live(self, bucket: str, name: str) -> ObjectVersion | None:
        """The current version of an object. Raises 404 for a bucket that does not exist."""
        self.bucket(bucket)
        versions = self._objects[bucket].get(name)
        return versions[-1] if versions and versions[-1].live else None

    def by_content(self) -> dict[str, ObjectVersion]:
        """Every version of every bucket, by the name of its bytes."""
        return {version.content: version for name in self.buckets for version in self.versions(name)}

    def find(self, bucket: str, name: str, generation: int | None = None) -> ObjectVersion:
        """The version with `generation`, or the current one. Raises 404."""
        if generation is None:
            version = self.live(bucket, name)
        else:
            self.bucket(bucket)
            versions = self._objects[bucket].get(name, [])
            version = next((v for v in versions if v.generation == generation), None)
        if version is None:
            raise errors.no_object(bucket, name)
        return version

    def replaceable(self, bucket: str, name: str, preconditions: Preconditions) -> None:
        """Raises 412, 403 or 404 unless an object of this name may be written now."""
        current = self.live(bucket, name)
        preconditions.check_object(current)
        if current:
            check_removable(self.bucket(bucket), current, self._core.now())

    def add(
        self, bucket: str, name: str, fields: Resource, content: str, digests: Digests, preconditions: Preconditions
    ) -> ObjectVersion:
        """Make `content` the current version of an object; a field that is None is left out. Raises as `replaceable`."""
        self.replaceable(bucket, name, preconditions)
        settings, replaced = self.bucket(bucket), self.live(bucket, name)
        generation, now = str(self.number()), self.now()
        resource: Resource = {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{generation}",
            "bucket": bucket,
            "name": name,
            "generation": generation,
            "metageneration": "1",
            "size": str(digests.size),
            "crc32c": digests.crc32c,
            "md5Hash": digests.md5,
            "etag": f"{generation}/1",
            "timeCreated": now,
            "timeFinalized": now,
            "updated": now,
            "timeStorageClassUpdated": now,
            "storageClass": settings["storageClass"],
        }
        if settings.get("defaultEventBasedHold"):
            resource["eventBasedHold"] = True
        key = settings.get("encryption", {}).get("defaultKmsKeyName")
        if key:
            resource["kmsKeyName"] = f"{key}/cryptoKeyVersions/1"
        resource = {field: value for field, value in (resource | fields).items() if value is not None}
        version = ObjectVersion(resource, content, now)
        self._objects[bucket].setdefault(name, []).append(version)
        self.save(version)
        if replaced:
            self._retire(replaced)
        return version

    def save(self, version: ObjectVersion) -> None:
        self._state.put("storage.object", version.key, version.dump())

    def remove(self, version: ObjectVersion, *, forever: bool) -> None:
        """Delete a version: `forever`, or making it noncurrent where the bucket keeps versions. Raises 403."""
        check_removable(self.bucket(version.bucket), version, self._core.now())
        if forever:
            self._drop(version)
        else:
            self._retire(version)

    def _retire(self, version: ObjectVersion) -> None:
        if not self.bucket(version.bucket).get("versioning", {}).get("enabled"):
            self._drop(version)
            return
        version.resource["timeDeleted"] = self.now()
        self.save(version)

    def _drop(self, version: ObjectVersion) -> None:
        versions = self._objects[version.bucket][version.name]
        versions.remove(version)
        if not versions:
            del self._objects[version.bucket][version.name]
        self._state.delete("storage.object", version.key)
        self.contents.delete(version.content)

    def _superseded(self, bucket: str) -> list[ObjectVersion]:
        """Current versions that are not the newest: a crash came between writing one and retiring the other."""
        return [v for versions in self._objects[bucket].values() for v in versions[:-1] if v.live]
