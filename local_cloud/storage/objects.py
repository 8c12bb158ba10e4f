"""Objects: read their metadata, list, change and delete them."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from local_cloud.storage import errors
from local_cloud.storage.buckets import merge
from local_cloud.storage.model import ObjectVersion, Preconditions, Resource, integer, retention_end, timestamp
from local_cloud.storage.store import WRITABLE, Store

PAGE = 1000
"""Objects and prefixes on one page of a list, at most."""

_Entry = tuple[tuple[str, int], ObjectVersion | None]
"""Where it stands in a list (a name and a generation), and the object; None for a prefix."""


def check_name(name: str) -> str:
    """`name`, if an object may be called so. Raises 400 (cloud.google.com/storage/docs/objects#naming)."""
    if not name:
        raise errors.required("name")
    if len(name.encode()) > 1024 or "\r" in name or "\n" in name or name in (".", ".."):
        raise errors.invalid(f"Invalid object name: {name!r}")
    return name


class Objects:
    """The `objects` collection of the JSON API, bytes aside. Called under the core's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def shown(self, version: ObjectVersion, base: str) -> Resource:
        """The resource with what depends on the bucket (retention) and on where it is served (links)."""
        path = f"b/{version.bucket}/o/{quote(version.name, safe='')}"
        links = {
            "selfLink": f"{base}/storage/v1/{path}",
            "mediaLink": f"{base}/download/storage/v1/{path}?generation={version.generation}&alt=media",
        }
        end = retention_end(self._store.bucket(version.bucket), version)
        retained = {"retentionExpirationTime": timestamp(end)} if end else {}
        return version.resource | retained | links

    def find(self, bucket: str, name: str, parameters: Mapping[str, str], *, reading: bool = False) -> ObjectVersion:
        """The version a request names, its preconditions checked. Raises 404, 412, and 304 for a reader."""
        generation, preconditions = integer(parameters, "generation"), Preconditions.of(parameters)
        if generation is None and self._store.live(bucket, name) is None:
            preconditions.check_object(None, reading=reading)
        version = self._store.find(bucket, name, generation)
        preconditions.check_object(version, reading=reading)
        return version

    def list(self, bucket: str, parameters: Mapping[str, str], base: str) -> Resource:
        if "matchGlob" in parameters:
            raise errors.invalid("matchGlob is not served locally.")
        size = min(integer(parameters, "maxResults") or PAGE, PAGE)
        after = _decode_token(parameters["pageToken"]) if parameters.get("pageToken") else None
        entries = [entry for entry in self._entries(bucket, parameters) if after is None or entry[0] > after]
        page = entries[:size]
        answer: Resource = {"kind": "storage#objects"}
        items = [self.shown(version, base) for _, version in page if version]
        prefixes = [name for (name, _), version in page if version is None]
        if items:
            answer["items"] = items
        if prefixes:
            answer["prefixes"] = prefixes
        if len(entries) > size:
            answer["nextPageToken"] = _encode_token(page[-1][0])
        return answer

    def _entries(self, bucket: str, parameters: Mapping[str, str]) -> Iterator[_Entry]:
        prefix, delimiter = parameters.get("prefix", ""), parameters.get("delimiter", "")
        start, end = parameters.get("startOffset", ""), parameters.get("endOffset")
        every_version = _flag(parameters, "versions")
        trailing = _flag(parameters, "includeTrailingDelimiter")
        seen = ""
        for version in self._store.versions(bucket):
            name = version.name
            if not name.startswith(prefix) or name < start or (end and name >= end):
                continue
            if not version.live and not every_version:
                continue
            head, found, tail = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folder = prefix + head + found
                if folder != seen:
                    seen = folder
                    yield (folder, 0), None
                if tail or not trailing:
                    continue
            yield (name, version.generation), version

    def patch(self, bucket: str, name: str, parameters: Mapping[str, str], body: Resource) -> ObjectVersion:
        """JSON merge patch of what may be changed."""
        version = self.find(bucket, name, parameters)
        changes = {field: value for field, value in body.items() if field in WRITABLE}
        return self._change(version, merge(version.resource, changes))

    def update(self, bucket: str, name: str, parameters: Mapping[str, str], body: Resource) -> ObjectVersion:
        """Replace everything that may be changed."""
        version = self.find(bucket, name, parameters)
        kept = {f: value for f, value in version.resource.items() if f not in WRITABLE or f == "storageClass"}
        return self._change(version, kept | {f: v for f, v in body.items() if f in WRITABLE and v is not None})

    def _change(self, version: ObjectVersion, changed: Resource) -> ObjectVersion:
        if version.resource.get("eventBasedHold") and not changed.get("eventBasedHold"):
            version.retain_from = self._store.now()
        metageneration = version.metageneration + 1
        version.resource = changed | {
            "metageneration": str(metageneration),
            "updated": self._store.now(),
            "etag": f"{version.generation}/{metageneration}",
        }
        self._store.save(version)
        return version

    def delete(self, bucket: str, name: str, parameters: Mapping[str, str]) -> None:
        """Raises 403 while a hold or the retention policy keeps the object."""
        version = self.find(bucket, name, parameters)
        self._store.remove(version, forever=integer(parameters, "generation") is not None)


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    return parameters.get(name, "").lower() == "true"


def _encode_token(position: tuple[str, int]) -> str:
    name, generation = position
    return base64.urlsafe_b64encode(f"{generation}/{name}".encode()).decode()


def _decode_token(token: str) -> tuple[str, int]:
    try:
        generation, _, name = base64.urlsafe_b64decode(token).decode().partition("/")
        return name, int(generation)
    except (binascii.Error, ValueError) as error:
        raise errors.invalid(f"Invalid page token: {token}") from error


def writable(fields: Mapping[str, Any]) -> Resource:
    """What of `fields` a caller may set of an object."""
    return {field: fields[field] for field in WRITABLE if field in fields}
