"""The key rings, keys and versions of the local Cloud KMS: where they are kept, and how they age.

Everything here is called under the core's lock.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.api_core import exceptions
from google.cloud.kms_v1 import types

from local_cloud import kms_material as material
from local_cloud.core import Core
from local_cloud.kms_material import Algorithm, Purpose
from local_cloud.state import State

VersionState = types.CryptoKeyVersion.CryptoKeyVersionState

VERSIONS = "/cryptoKeyVersions/"
DESTROY_AFTER = timedelta(days=30)
"""How long a version stays restorable unless its key says otherwise."""
DESTROY_BOUNDS = timedelta(hours=24), timedelta(days=120)
ROTATION_BOUNDS = timedelta(hours=24), timedelta(hours=876_000)

Resource = TypeVar("Resource", types.KeyRing, types.CryptoKey, types.CryptoKeyVersion)


def key_of(version: str) -> str:
    """The key's name in a version's name; a key's name is itself."""
    return version.partition(VERSIONS)[0]


def number_of(version: str) -> int:
    """The number at the end of a version's name."""
    return int(version.rpartition("/")[2])


def find(table: Mapping[str, Resource], name: str) -> Resource:
    """The resource called `name`. Raises NotFound."""
    if name not in table:
        raise exceptions.NotFound(f"{name} not found.")
    return table[name]


def new_name(table: Mapping[str, Any], collection: str, identifier: str) -> str:
    """A free name in `collection`. Raises InvalidArgument for a malformed id, AlreadyExists for a taken one."""
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,63}", identifier):
        raise exceptions.InvalidArgument(f"Invalid resource id {identifier!r}: it must match [a-zA-Z0-9_-]{{1,63}}.")
    name = f"{collection}{identifier}"
    if name in table:
        raise exceptions.AlreadyExists(f"{name} already exists.")
    return name


def page(resources: Iterable[Resource], collection: str, request: Any) -> tuple[list[Resource], str, int]:
    """One page of a collection, as copies: (page, next token, total). The token is the last name given out."""
    if request.filter or request.order_by:
        raise exceptions.MethodNotImplemented("Lists take neither filter nor order_by locally.")
    collected = sorted((r for r in resources if r.name.startswith(collection)), key=lambda r: _order(r.name))
    rest = [r for r in collected if _order(r.name) > _order(request.page_token)]
    size = min(request.page_size or 100, 1000)
    token = rest[size - 1].name if len(rest) > size else ""
    return [type(r)(r) for r in rest[:size]], token, len(collected)


def _order(name: str) -> tuple[int, str]:
    """By length first, so that version 10 comes after version 9."""
    return len(name), name


def settle_template(key: types.CryptoKey) -> None:
    """Fill in what a new key leaves to the defaults. Raises InvalidArgument for what does not go together."""
    template = key.version_template
    if key.purpose == Purpose.ENCRYPT_DECRYPT and not template.algorithm:
        template.algorithm = Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION
    if not key.purpose or material.purpose(template.algorithm) != key.purpose:
        raise exceptions.InvalidArgument(
            f"Algorithm {template.algorithm.name} is not available for purpose {key.purpose.name}."
        )
    template.protection_level = template.protection_level or types.ProtectionLevel.SOFTWARE
    key.destroy_scheduled_duration = key.destroy_scheduled_duration or DESTROY_AFTER
    shortest, longest = DESTROY_BOUNDS
    if not shortest <= key.destroy_scheduled_duration <= longest:
        raise exceptions.InvalidArgument("destroy_scheduled_duration must be between 24 hours and 120 days.")


def check_rotation(key: types.CryptoKey, now: datetime) -> None:
    """Raises InvalidArgument unless the key's rotation period and next rotation time make a schedule."""
    if not key.rotation_period and not key.next_rotation_time:
        return
    if key.purpose != Purpose.ENCRYPT_DECRYPT:
        raise exceptions.InvalidArgument("Only keys with purpose ENCRYPT_DECRYPT rotate automatically.")
    if not key.next_rotation_time or key.next_rotation_time <= now:
        raise exceptions.InvalidArgument("next_rotation_time must be set with rotation_period, and be in the future.")
    shortest, longest = ROTATION_BOUNDS
    if key.rotation_period and not shortest <= key.rotation_period <= longest:
        raise exceptions.InvalidArgument("rotation_period must be between 24 hours and 876,000 hours.")


class KeyStore:
    """All keys of all projects. A version is written after its material, and before its key refers to it."""

    def __init__(self, core: Core, state: State) -> None:
        self._core = core
        self._state = state
        self.rings = {name: types.KeyRing.deserialize(raw) for name, raw in state.items("kms.ring")}
        self.keys = {name: types.CryptoKey.deserialize(raw) for name, raw in state.items("kms.key")}
        versions = {name: types.CryptoKeyVersion.deserialize(raw) for name, raw in state.items("kms.version")}
        self.versions = {name: version for name, version in versions.items() if key_of(name) in self.keys}
        self._material = dict(state.items("kms.material"))
        for key in self.keys.values():
            self._await_rotation(key)
        for version in self.versions.values():
            if version.state == VersionState.DESTROY_SCHEDULED:
                self._await_destruction(version)

    def put_ring(self, ring: types.KeyRing) -> None:
        self.rings[ring.name] = ring
        self._state.put("kms.ring", ring.name, types.KeyRing.serialize(ring))

    def put_key(self, key: types.CryptoKey) -> None:
        """Keep the key and its schedule. Its primary is kept by name only."""
        self.keys[key.name] = key
        self._state.put("kms.key", key.name, types.CryptoKey.serialize(key))
        self._await_rotation(key)

    def set_primary(self, key: types.CryptoKey, version: str) -> None:
        key.primary = types.CryptoKeyVersion(name=version)
        self._state.put("kms.key", key.name, types.CryptoKey.serialize(key))

    def shown(self, key: types.CryptoKey) -> types.CryptoKey:
        """A copy of the key as callers see it, its primary version in full."""
        copy = types.CryptoKey(key)
        if key.primary.name:
            copy.primary = self.versions[key.primary.name]
        return copy

    def add_version(self, key: types.CryptoKey, secret: bytes) -> types.CryptoKeyVersion:
        """The key's next version, enabled, with `secret` as its material."""
        numbers = [number_of(name) for name in self.versions if key_of(name) == key.name]
        now = self._core.now()
        version = types.CryptoKeyVersion(
            name=f"{key.name}{VERSIONS}{max(numbers, default=0) + 1}",
            state=VersionState.ENABLED,
            algorithm=key.version_template.algorithm,
            protection_level=key.version_template.protection_level,
            create_time=now,
            generate_time=now,
        )
        self._material[version.name] = secret
        self._state.put("kms.material", version.name, secret)
        self._put_version(version)
        return version

    def move(
        self, name: str, allowed: Collection[VersionState], to: VersionState, destroy_time: datetime | None = None
    ) -> types.CryptoKeyVersion:
        """Take a version to another state; a copy of it. Raises FailedPrecondition from a state not `allowed`."""
        version = find(self.versions, name)
        if version.state not in allowed:
            raise exceptions.FailedPrecondition(f"{name} cannot become {to.name}: it is {version.state.name}.")
        version.state = to
        version.destroy_time = destroy_time
        self._put_version(version)
        if to == VersionState.DESTROY_SCHEDULED:
            self._await_destruction(version)
        return types.CryptoKeyVersion(version)

    def usable(self, name: str, purpose: Purpose) -> tuple[types.CryptoKeyVersion, bytes]:
        """An enabled version of a key with `purpose`, and its material.

        Raises NotFound, FailedPrecondition (another purpose, not enabled).
        """
        version = find(self.versions, name)
        require_purpose(self.keys[key_of(name)], purpose)
        require_enabled(version)
        return version, self._material[name]

    def _put_version(self, version: types.CryptoKeyVersion) -> None:
        self.versions[version.name] = version
        self._state.put("kms.version", version.name, types.CryptoKeyVersion.serialize(version))

    def _await_rotation(self, key: types.CryptoKey) -> None:
        due = key.next_rotation_time
        if due:
            self._core.at(due, lambda: self._rotate(key.name, due), recurring=True)

    def _rotate(self, name: str, due: datetime) -> None:
        key = self.keys[name]
        if key.next_rotation_time != due:
            return
        rotated = types.CryptoKey(key)
        rotated.primary = types.CryptoKeyVersion(
            name=self.add_version(key, material.generate(key.version_template.algorithm)).name
        )
        rotated.next_rotation_time = _following(due, key.rotation_period, self._core.now())
        self.put_key(rotated)

    def _await_destruction(self, version: types.CryptoKeyVersion) -> None:
        due = version.destroy_time
        if due:
            self._core.at(due, lambda: self._destroy(version.name, due))

    def _destroy(self, name: str, due: datetime) -> None:
        version = self.versions[name]
        if version.state != VersionState.DESTROY_SCHEDULED or version.destroy_time != due:
            return
        self._material.pop(name, None)
        self._state.delete("kms.material", name)
        version.state = VersionState.DESTROYED
        version.destroy_time = None
        version.destroy_event_time = self._core.now()
        self._put_version(version)


def require_purpose(key: types.CryptoKey, purpose: Purpose) -> None:
    """Raises FailedPrecondition if the key serves another purpose."""
    if key.purpose != purpose:
        raise exceptions.FailedPrecondition(
            f"{key.name} has purpose {key.purpose.name}, but the operation needs {purpose.name}."
        )


def require_enabled(version: types.CryptoKeyVersion) -> None:
    """Raises FailedPrecondition unless the version is enabled."""
    if version.state != VersionState.ENABLED:
        raise exceptions.FailedPrecondition(f"{version.name} is not enabled, current state is: {version.state.name}.")


def _following(due: datetime, period: timedelta, now: datetime) -> datetime | None:
    """The first rotation after `now` on the schedule; None where a key rotates once."""
    if not period:
        return None
    missed = max(0, (now - due) // period)
    return due + period * (missed + 1)
