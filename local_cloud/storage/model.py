"""What Cloud Storage keeps: buckets and object versions, as resources of the JSON API."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cloud.storage import errors

Resource = dict[str, Any]
"""A bucket or an object as the JSON API writes it, without links."""


@dataclass
class ObjectVersion:
    """One generation of an object."""

    resource: Resource
    content: str
    """The name of its bytes in `Contents`."""
    retain_from: str
    """When its retention period begins: its creation, or the release of its event-based hold."""

    @property
    def bucket(self) -> str:
        return self.resource["bucket"]

    @property
    def name(self) -> str:
        return self.resource["name"]

    @property
    def generation(self) -> int:
        return int(self.resource["generation"])

    @property
    def metageneration(self) -> int:
        return int(self.resource["metageneration"])

    @property
    def size(self) -> int:
        return int(self.resource["size"])

    @property
    def live(self) -> bool:
        return "timeDeleted" not in self.resource

    @property
    def key(self) -> str:
        """Where State keeps it: a bucket's name holds no slash, so this is unambiguous."""
        return f"{self.bucket}/{self.name}#{self.generation}"

    def dump(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The four preconditions of a request; generation 0 is an object that does not exist."""

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, str], prefix: str = "if") -> "Preconditions":
        """From `ifGenerationMatch` and the others; or from `ifSourceGenerationMatch` with prefix `ifSource`."""

        return cls(
            integer(parameters, f"{prefix}GenerationMatch"),
            integer(parameters, f"{prefix}GenerationNotMatch"),
            integer(parameters, f"{prefix}MetagenerationMatch"),
            integer(parameters, f"{prefix}MetagenerationNotMatch"),
        )

    def check(self, generation: int, metageneration: int, *, reading: bool = False) -> None:
        """Raises 412 where one does not hold; 304 where a reader has what it named."""
        for current, match, not_match in (
            (generation, self.generation_match, self.generation_not_match),
            (metageneration, self.metageneration_match, self.metageneration_not_match),
        ):
            if match is not None and match != current:
                raise errors.condition_not_met()
            if not_match is not None and not_match == current:
                raise errors.not_modified() if reading else errors.condition_not_met()

    def check_object(self, version: ObjectVersion | None, *, reading: bool = False) -> None:
        """`check` against an object, or against there being none."""
        self.check(version.generation if version else 0, version.metageneration if version else 0, reading=reading)


def integer(parameters: Mapping[str, str], name: str) -> int | None:
    """A request's parameter, if it is there. Raises 400 unless it is a natural number."""
    value = parameters.get(name)
    if value is None or value.isdecimal():
        return None if value is None else int(value)
    raise errors.invalid(f"Invalid value for {name}: {value}")


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as the API writes times."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def retention_end(bucket: Resource, version: ObjectVersion) -> datetime | None:
    """Until when the bucket's policy retains the object; None without a policy, or while an event-based hold lasts."""
    period = bucket.get("retentionPolicy", {}).get("retentionPeriod")
    if period is None or version.resource.get("eventBasedHold"):
        return None
    return datetime.fromisoformat(version.retain_from) + timedelta(seconds=int(period))


def check_removable(bucket: Resource, version: ObjectVersion, now: datetime) -> None:
    """Raises 403 while a hold or the bucket's retention policy keeps the object from being deleted or replaced.

    Source: cloud.google.com/storage/docs/bucket-lock and /object-holds.
    """
    subject = f"Object '{version.bucket}/{version.name}'"
    for hold, name in (("temporaryHold", "Temporary"), ("eventBasedHold", "Event-Based")):
        if version.resource.get(hold):
            raise errors.forbidden(
                "objectUnderActiveHold",
                "ObjectUnderActiveHold",
                f"{subject} is under active {name} hold and cannot be deleted, overwritten or archived until hold is"
                " removed.",
            )
    end = retention_end(bucket, version)
    if end and now < end:
        raise errors.forbidden(
            "retentionPolicyNotMet",
            "RetentionPolicyNotMet",
            f"{subject} is subject to bucket's retention policy or object retention and cannot be deleted or"
            f" overwritten until {timestamp(end)}",
        )
