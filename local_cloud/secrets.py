"""Secret Manager on one machine: secrets, versions and payloads, kept across restarts.

Served over gRPC: `gapic.serve({SecretManagerServiceGrpcTransport: SecretManager(core, state)})`. Payloads lie in the
state file in the clear. Names keep the project as the caller wrote it, where the real service answers its number.
"""

import re
from typing import Any, TypeVar

import google_crc32c
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import types
from google.protobuf import empty_pb2

from local_cloud.core import Core
from local_cloud.state import State

VersionState = types.SecretVersion.State

MAX_PAYLOAD = 64 * 1024
"""Bytes of a payload (cloud.google.com/secret-manager/quotas)."""

_VERSIONS = "/versions/"
_UPDATABLE = {
    "annotations",
    "expire_time",
    "labels",
    "rotation",
    "topics",
    "ttl",
    "version_aliases",
    "version_destroy_ttl",
}

Resource = TypeVar("Resource", types.Secret, types.SecretVersion)


class SecretManager:
    """The handler of `google.cloud.secretmanager.v1.SecretManagerService`; methods are named after the RPCs."""

    def __init__(self, core: Core, state: State) -> None:
        self._core = core
        self._state = state
        self._secrets = {name: types.Secret.deserialize(raw) for name, raw in state.items("secret")}
        versions = {name: types.SecretVersion.deserialize(raw) for name, raw in state.items("secret.version")}
        self._versions = {n: version for n, version in versions.items() if _secret_of(n) in self._secrets}
        self._payloads = dict(state.items("secret.payload"))
        for name in list(self._payloads):
            if name not in self._versions or self._versions[name].state == VersionState.DESTROYED:
                self._drop_payload(name)
        for secret in self._secrets.values():
            self._await_expiry(secret)
        for version in self._versions.values():
            self._await_destruction(version)

    # Secrets

    def CreateSecret(self, request: types.CreateSecretRequest, _: Any) -> types.Secret:
        if not re.fullmatch(r"projects/[^/]+", request.parent):
            raise exceptions.InvalidArgument(f"Invalid parent {request.parent!r}: only projects/* is served locally.")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,255}", request.secret_id):
            raise exceptions.InvalidArgument(f"Invalid secret id {request.secret_id!r}: [a-zA-Z0-9_-]{{1,255}}.")
        secret = types.Secret(request.secret)
        replicas = secret.replication.user_managed.replicas
        if "automatic" not in secret.replication and not (replicas and all(r.location for r in replicas)):
            raise exceptions.InvalidArgument("secret.replication must be automatic, or name a location per replica.")
        with self._core.lock:
            secret.name = f"{request.parent}/secrets/{request.secret_id}"
            if secret.name in self._secrets:
                raise exceptions.AlreadyExists(f"Secret [{secret.name}] already exists.")
            secret.create_time = self._core.now()
            return self._put_secret(secret)

    def GetSecret(self, request: types.GetSecretRequest, _: Any) -> types.Secret:
        with self._core.lock:
            return types.Secret(self._secret(request.name))

    def ListSecrets(self, request: types.ListSecretsRequest, _: Any) -> types.ListSecretsResponse:
        with self._core.lock:
            inside = [s for name, s in sorted(self._secrets.items()) if name.startswith(f"{request.parent}/secrets/")]
            page, token = _page(inside, request)
            return types.ListSecretsResponse(secrets=page, next_page_token=token, total_size=len(inside))

    def UpdateSecret(self, request: types.UpdateSecretRequest, _: Any) -> types.Secret:
        paths = set(request.update_mask.paths)
        if not paths or not paths <= _UPDATABLE:
            raise exceptions.InvalidArgument(f"update_mask must name some of {sorted(_UPDATABLE)}: {sorted(paths)}.")
        with self._core.lock:
            secret = types.Secret(self._secret(request.secret.name))
            _check_etag(secret, request.secret.etag)
            for path in sorted(paths):
                setattr(secret, path, getattr(request.secret, path) or None)
            for alias, number in secret.version_aliases.items():
                if f"{secret.name}{_VERSIONS}{number}" not in self._versions:
                    raise exceptions.InvalidArgument(f"Alias {alias} names version {number}, which does not exist.")
            return self._put_secret(secret)

    def DeleteSecret(self, request: types.DeleteSecretRequest, _: Any) -> empty_pb2.Empty:
        with self._core.lock:
            secret = self._secret(request.name)
            _check_etag(secret, request.etag)
            self._forget(secret.name)
        return empty_pb2.Empty()

    # Versions

    def AddSecretVersion(self, request: types.AddSecretVersionRequest, _: Any) -> types.SecretVersion:
        data = request.payload.data
        checked = "data_crc32c" in request.payload
        if not 0 < len(data) <= MAX_PAYLOAD:
            raise exceptions.InvalidArgument(f"A payload has 1 to {MAX_PAYLOAD} bytes, this has {len(data)}.")
        if checked and request.payload.data_crc32c != google_crc32c.value(data):
            raise exceptions.InvalidArgument("The payload's data_crc32c does not match its data.")
        with self._core.lock:
            secret = self._secret(request.parent)
            latest = max((_number(v.name) for v in self._versions_of(secret.name)), default=0)
            version = types.SecretVersion(
                name=f"{secret.name}{_VERSIONS}{latest + 1}",
                create_time=self._core.now(),
                state=VersionState.ENABLED,
                replication_status=_replicated(secret.replication),
                client_specified_payload_checksum=checked,
            )
            self._payloads[version.name] = data
            self._state.put("secret.payload", version.name, data)
            return self._put_version(version)

    def GetSecretVersion(self, request: types.GetSecretVersionRequest, _: Any) -> types.SecretVersion:
        with self._core.lock:
            return types.SecretVersion(self._version(request.name))

    def ListSecretVersions(self, request: types.ListSecretVersionsRequest, _: Any) -> types.ListSecretVersionsResponse:
        with self._core.lock:
            secret = self._secret(request.parent)
            newest_first = sorted(self._versions_of(secret.name), key=lambda v: -_number(v.name))
            page, token = _page(newest_first, request)
            return types.ListSecretVersionsResponse(versions=page, next_page_token=token, total_size=len(newest_first))

    def AccessSecretVersion(
        self, request: types.AccessSecretVersionRequest, _: Any
    ) -> types.AccessSecretVersionResponse:
        with self._core.lock:
            version = self._version(request.name)
            if version.state != VersionState.ENABLED:
                raise exceptions.FailedPrecondition(
                    f"Secret Version [{version.name}] is in {version.state.name} state."
                )
            data = self._payloads[version.name]
        payload = types.SecretPayload(data=data, data_crc32c=google_crc32c.value(data))
        return types.AccessSecretVersionResponse(name=version.name, payload=payload)

    def DisableSecretVersion(self, request: types.DisableSecretVersionRequest, _: Any) -> types.SecretVersion:
        return self._switch(request, VersionState.DISABLED)

    def EnableSecretVersion(self, request: types.EnableSecretVersionRequest, _: Any) -> types.SecretVersion:
        return self._switch(request, VersionState.ENABLED)

    def DestroySecretVersion(self, request: types.DestroySecretVersionRequest, _: Any) -> types.SecretVersion:
        """At once; or disabled first and destroyed later, where the secret has a `version_destroy_ttl`."""
        with self._core.lock:
            version = self._changeable(request)
            delay = self._secrets[_secret_of(version.name)].version_destroy_ttl
            if not delay:
                return self._destroy(version)
            version.state = VersionState.DISABLED
            version.scheduled_destroy_time = self._core.now() + delay
            self._await_destruction(version)
            return self._put_version(version)

    # Under the lock

    def _secret(self, name: str) -> types.Secret:
        if name not in self._secrets:
            raise exceptions.NotFound(f"Secret [{name}] not found.")
        return self._secrets[name]

    def _versions_of(self, secret: str) -> list[types.SecretVersion]:
        return [version for name, version in self._versions.items() if _secret_of(name) == secret]

    def _version(self, name: str) -> types.SecretVersion:
        """By number, by alias, or `latest`: the most recently created one, whatever its state."""
        parent, _, wanted = name.partition(_VERSIONS)
        secret = self._secret(parent)
        if wanted == "latest":
            number = max((_number(v.name) for v in self._versions_of(parent)), default=0)
        else:
            number = secret.version_aliases.get(wanted, wanted)
        resolved = f"{parent}{_VERSIONS}{number}"
        if resolved not in self._versions:
            raise exceptions.NotFound(f"Secret Version [{name}] not found.")
        return self._versions[resolved]

    def _changeable(self, request: Any) -> types.SecretVersion:
        version = self._version(request.name)
        _check_etag(version, request.etag)
        if version.state == VersionState.DESTROYED:
            raise exceptions.FailedPrecondition(f"Secret Version [{version.name}] is in DESTROYED state.")
        return version

    def _switch(self, request: Any, to: VersionState) -> types.SecretVersion:
        with self._core.lock:
            version = self._changeable(request)
            version.state = to
            if to == VersionState.ENABLED:
                version.scheduled_destroy_time = None
            return self._put_version(version)

    def _destroy(self, version: types.SecretVersion) -> types.SecretVersion:
        version.state = VersionState.DESTROYED
        version.destroy_time = self._core.now()
        version.scheduled_destroy_time = None
        shown = self._put_version(version)
        self._drop_payload(version.name)
        return shown

    def _drop_payload(self, version: str) -> None:
        self._payloads.pop(version, None)
        self._state.delete("secret.payload", version)

    def _await_destruction(self, version: types.SecretVersion) -> None:
        def destroy() -> None:
            if self._versions.get(version.name) is version and version.scheduled_destroy_time == due:
                self._destroy(version)

        due = version.scheduled_destroy_time
        if due:
            self._core.at(due, destroy)

    def _await_expiry(self, secret: types.Secret) -> None:
        def expire() -> None:
            if self._secrets.get(secret.name) is secret:
                self._forget(secret.name)

        if secret.expire_time:
            self._core.at(secret.expire_time, expire)

    def _put_secret(self, secret: types.Secret) -> types.Secret:
        if secret.ttl:
            secret.expire_time = self._core.now() + secret.ttl
        if secret.expire_time and secret.expire_time <= self._core.now():
            raise exceptions.InvalidArgument("expire_time must be in the future.")
        secret.etag = self._new_etag()
        self._secrets[secret.name] = secret
        self._state.put("secret", secret.name, types.Secret.serialize(secret))
        self._await_expiry(secret)
        return types.Secret(secret)

    def _put_version(self, version: types.SecretVersion) -> types.SecretVersion:
        version.etag = self._new_etag()
        self._versions[version.name] = version
        self._state.put("secret.version", version.name, types.SecretVersion.serialize(version))
        return types.SecretVersion(version)

    def _forget(self, secret: str) -> None:
        for version in self._versions_of(secret):
            self._drop_payload(version.name)
            del self._versions[version.name]
            self._state.delete("secret.version", version.name)
        del self._secrets[secret]
        self._state.delete("secret", secret)

    def _new_etag(self) -> str:
        return f'"{self._core.random.getrandbits(52):013x}"'


def _secret_of(version: str) -> str:
    return version.partition(_VERSIONS)[0]


def _number(version: str) -> int:
    return int(version.rpartition("/")[2])


def _check_etag(resource: Resource, given: str) -> None:
    """Raises FailedPrecondition for another etag (cloud.google.com/secret-manager/docs/etags)."""
    if given and given != resource.etag:
        raise exceptions.FailedPrecondition(f"The etag of [{resource.name}] is not {given}: it was changed since.")


def _replicated(replication: types.Replication) -> types.ReplicationStatus:
    if "automatic" in replication:
        return types.ReplicationStatus(automatic=types.ReplicationStatus.AutomaticStatus())
    status = types.ReplicationStatus.UserManagedStatus
    replicas = [status.ReplicaStatus(location=r.location) for r in replication.user_managed.replicas]
    return types.ReplicationStatus(user_managed=status(replicas=replicas))


def _page(ordered: list[Resource], request: Any) -> tuple[list[Resource], str]:
    """One page, as copies, and the token of the next: the name that this page ends with."""
    if request.filter:
        raise exceptions.MethodNotImplemented("Lists take no filter locally.")
    names = [resource.name for resource in ordered]
    start = names.index(request.page_token) + 1 if request.page_token in names else 0
    end = start + min(request.page_size or 25_000, 25_000)
    return [type(r)(r) for r in ordered[start:end]], names[end - 1] if end < len(names) else ""
