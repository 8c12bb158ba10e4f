"""Buckets: create, list, change, lock, delete."""

import re
import zlib
from collections.abc import Mapping
from typing import Any

from local_cloud.storage import errors
from local_cloud.storage.model import Preconditions, Resource, integer
from local_cloud.storage.store import Store

LONGEST_RETENTION = 3_155_760_000
"""Seconds, 100 years (cloud.google.com/storage/docs/bucket-lock)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_OUTPUT_ONLY = {"kind", "id", "name", "projectNumber", "location", "locationType", "metageneration", "timeCreated"}
_MULTI_REGIONS = {"ASIA", "EU", "US"}


class Buckets:
    """The `buckets` collection of the JSON API. Called under the core's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def insert(self, parameters: Mapping[str, str], body: Resource) -> Resource:
        name, project = body.get("name", ""), parameters.get("project")
        if not project:
            raise errors.required("project")
        if not _NAME.fullmatch(name) or name.startswith("goog"):
            raise errors.invalid(f"Invalid bucket name: '{name}'")
        if name in self._store.buckets:
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise errors.StorageError(409, "conflict", "BucketAlreadyOwnedByYou", message)
        now, location = self._store.now(), body.get("location", "US").upper()
        bucket: Resource = {
            **{field: value for field, value in body.items() if field not in _OUTPUT_ONLY},
            "kind": "storage#bucket",
            "id": name,
            "name": name,
            "projectNumber": _project_number(project),
            "location": location,
            "locationType": "multi-region" if location in _MULTI_REGIONS else "region",
            "storageClass": body.get("storageClass", "STANDARD"),
            "metageneration": "1",
            "timeCreated": now,
        }
        bucket.setdefault("iamConfiguration", {"uniformBucketLevelAccess": {"enabled": True}})
        self._settle_retention({}, bucket)
        return self._put(bucket)

    def list(self, parameters: Mapping[str, str]) -> Resource:
        if "project" not in parameters:
            raise errors.required("project")
        number, prefix = _project_number(parameters["project"]), parameters.get("prefix", "")
        after, size = parameters.get("pageToken", ""), integer(parameters, "maxResults") or 1000
        items = [
            bucket
            for name, bucket in sorted(self._store.buckets.items())
            if bucket["projectNumber"] == number and name.startswith(prefix) and name > after
        ]
        answer: Resource = {"kind": "storage#buckets", "items": items[:size]}
        if len(items) > size:
            answer["nextPageToken"] = items[size - 1]["name"]
        return answer

    def get(self, name: str, parameters: Mapping[str, str]) -> Resource:
        bucket = self._store.bucket(name)
        _check(bucket, parameters, reading=True)
        return bucket

    def patch(self, name: str, parameters: Mapping[str, str], body: Resource) -> Resource:
        """JSON merge patch (RFC 7396) of what may be changed."""
        current = self._store.bucket(name)
        _check(current, parameters)
        changes = {field: value for field, value in body.items() if field not in _OUTPUT_ONLY}
        return self._change(current, merge(current, changes))

    def update(self, name: str, parameters: Mapping[str, str], body: Resource) -> Resource:
        """Replace everything that may be changed."""
        current = self._store.bucket(name)
        _check(current, parameters)
        kept = {field: value for field, value in current.items() if field in _OUTPUT_ONLY or field == "storageClass"}
        return self._change(current, kept | {f: v for f, v in body.items() if f not in _OUTPUT_ONLY and v is not None})

    def lock_retention_policy(self, name: str, parameters: Mapping[str, str]) -> Resource:
        if "ifMetagenerationMatch" not in parameters:
            raise errors.required("ifMetagenerationMatch")
        current = self._store.bucket(name)
        _check(current, parameters)
        if "retentionPolicy" not in current:
            raise errors.invalid("The bucket has no retention policy to lock.")
        locked = current["retentionPolicy"] | {"isLocked": True}
        return self._put(_next(current | {"retentionPolicy": locked}))

    def delete(self, name: str, parameters: Mapping[str, str]) -> None:
        _check(self._store.bucket(name), parameters)
        self._store.delete_bucket(name)

    def _change(self, current: Resource, changed: Resource) -> Resource:
        self._settle_retention(current, changed)
        return self._put(_next(changed))

    def _settle_retention(self, current: Resource, changed: Resource) -> None:
        """Check the wanted policy against the current one, and complete it with what the service sets."""
        before, wanted = current.get("retentionPolicy", {}), changed.pop("retentionPolicy", None) or {}
        period = wanted.get("retentionPeriod")
        if period is not None and not 0 < int(period) <= LONGEST_RETENTION:
            raise errors.invalid(f"Retention period must be between 1 and {LONGEST_RETENTION} seconds.")
        if before.get("isLocked") and int(period or 0) < int(before["retentionPeriod"]):
            raise errors.forbidden(
                "forbidden",
                "AccessDenied",
                f"Cannot reduce retention duration of a locked Retention Policy for bucket '{changed['name']}'.",
            )
        if period is not None:
            same = str(period) == before.get("retentionPeriod")
            policy = {
                "retentionPeriod": str(period),
                "effectiveTime": before["effectiveTime"] if same else self._store.now(),
            }
            changed["retentionPolicy"] = policy | ({"isLocked": True} if before.get("isLocked") else {})

    def _put(self, bucket: Resource) -> Resource:
        bucket |= {"updated": self._store.now(), "etag": f"bucket/{bucket['metageneration']}"}
        self._store.put_bucket(bucket)
        return bucket


def merge(target: Any, patch: Any) -> Any:
    """`target` changed by a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for field, value in patch.items():
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = merge(merged.get(field), value)
    return merged


def _check(bucket: Resource, parameters: Mapping[str, str], *, reading: bool = False) -> None:
    Preconditions.of(parameters).check(0, int(bucket["metageneration"]), reading=reading)


def _next(bucket: Resource) -> Resource:
    return bucket | {"metageneration": str(int(bucket["metageneration"]) + 1)}


def _project_number(project: str) -> str:
    """Projects are not known here: their number is made of their id."""
    return str(zlib.crc32(project.encode()))
