"""Secret Manager through the official client."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud import secretmanager_v1
from google.cloud.secretmanager_v1 import types
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from local_cloud import gapic
from local_cloud.core import Core, Done, Outgoing
from local_cloud.secrets import SecretManager
from local_cloud.state import State

PROJECT = "projects/kapas-test"
INDIA = {"user_managed": {"replicas": [{"location": "asia-south1"}, {"location": "asia-south2"}]}}
Client = secretmanager_v1.SecretManagerServiceClient
VersionState = types.SecretVersion.State


def _no_network(request: Outgoing, done: Done) -> None:
    raise AssertionError(f"Secret Manager calls nobody, but called {request.url}")


@contextmanager
def secrets_client(core: Core, state: State) -> Iterator[Client]:
    server, port = gapic.serve({SecretManagerServiceGrpcTransport: SecretManager(core, state)}, threads=4)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield Client(transport=SecretManagerServiceGrpcTransport(channel=channel))
    finally:
        channel.close()
        server.stop(None).wait()


@pytest.fixture
def core() -> Core:
    return Core(_no_network)


@pytest.fixture
def client(core: Core) -> Iterator[Client]:
    with secrets_client(core, State()) as client:
        yield client


def _move(core: Core, by: timedelta) -> None:
    core.clock.advance(by)
    while core.step():
        pass


def _create(client: Client, identifier: str = "database-password", **fields: Any) -> types.Secret:
    return client.create_secret(parent=PROJECT, secret_id=identifier, secret={"replication": INDIA, **fields})


def _add(client: Client, secret: str, data: bytes) -> types.SecretVersion:
    return client.add_secret_version(parent=secret, payload={"data": data})


def test_versions_are_numbered_and_latest_is_the_newest(client: Client) -> None:
    secret = _create(client, labels={"team": "platform"})
    assert secret.name == f"{PROJECT}/secrets/database-password"
    assert [r.location for r in secret.replication.user_managed.replicas] == ["asia-south1", "asia-south2"]
    first, second = _add(client, secret.name, b"one"), _add(client, secret.name, b"two")
    assert second.name == f"{secret.name}/versions/2"
    assert [r.location for r in second.replication_status.user_managed.replicas] == ["asia-south1", "asia-south2"]
    latest = client.access_secret_version(name=f"{secret.name}/versions/latest")
    assert (latest.name, latest.payload.data) == (second.name, b"two")
    assert latest.payload.data_crc32c == google_crc32c.value(b"two")
    assert client.access_secret_version(name=first.name).payload.data == b"one"
    assert [v.name for v in client.list_secret_versions(parent=secret.name)] == [second.name, first.name]


def test_a_payload_is_checked(client: Client) -> None:
    secret = _create(client).name
    good = {"data": b"x", "data_crc32c": google_crc32c.value(b"x")}
    assert client.add_secret_version(parent=secret, payload=good).client_specified_payload_checksum
    for payload in ({"data": b"x", "data_crc32c": 1}, {"data": b""}, {"data": bytes(65537)}):
        with pytest.raises(exceptions.InvalidArgument):
            client.add_secret_version(parent=secret, payload=payload)
    assert len(list(client.list_secret_versions(parent=secret))) == 1


def test_disable_enable_destroy(client: Client) -> None:
    secret = _create(client).name
    older, version = _add(client, secret, b"one").name, _add(client, secret, b"two").name
    assert client.disable_secret_version(name=version).state == VersionState.DISABLED
    for name in (version, f"{secret}/versions/latest"):
        with pytest.raises(exceptions.FailedPrecondition, match="DISABLED"):
            client.access_secret_version(name=name)
    assert client.access_secret_version(name=older).payload.data == b"one"
    assert client.enable_secret_version(name=version).state == VersionState.ENABLED
    assert client.access_secret_version(name=version).payload.data == b"two"
    destroyed = client.destroy_secret_version(name=version)
    assert destroyed.state == VersionState.DESTROYED
    assert destroyed.destroy_time
    for call in (client.access_secret_version, client.enable_secret_version, client.destroy_secret_version):
        with pytest.raises(exceptions.FailedPrecondition, match="DESTROYED"):
            call(name=version)


def test_etags_guard_every_change(client: Client) -> None:
    secret = _create(client)
    version = _add(client, secret.name, b"x")
    disabled = client.disable_secret_version(request={"name": version.name, "etag": version.etag})
    assert disabled.etag != version.etag
    with pytest.raises(exceptions.FailedPrecondition):
        client.enable_secret_version(request={"name": version.name, "etag": version.etag})
    mask = {"paths": ["labels"]}
    updated = client.update_secret(
        secret={"name": secret.name, "etag": secret.etag, "labels": {"a": "b"}}, update_mask=mask
    )
    assert updated.labels == {"a": "b"}
    with pytest.raises(exceptions.FailedPrecondition):
        client.update_secret(secret={"name": secret.name, "etag": secret.etag, "labels": {}}, update_mask=mask)
    with pytest.raises(exceptions.FailedPrecondition):
        client.delete_secret(request={"name": secret.name, "etag": secret.etag})
    client.delete_secret(request={"name": secret.name, "etag": updated.etag})
    with pytest.raises(exceptions.NotFound):
        client.get_secret(name=secret.name)
    with pytest.raises(exceptions.NotFound):
        client.access_secret_version(name=version.name)


def test_aliases(client: Client) -> None:
    secret = _create(client).name
    _add(client, secret, b"one")
    _add(client, secret, b"two")
    mask = {"paths": ["version_aliases"]}
    client.update_secret(secret={"name": secret, "version_aliases": {"stable": 1}}, update_mask=mask)
    assert client.access_secret_version(name=f"{secret}/versions/stable").payload.data == b"one"
    with pytest.raises(exceptions.InvalidArgument):
        client.update_secret(secret={"name": secret, "version_aliases": {"next": 9}}, update_mask=mask)


def test_what_is_refused(client: Client) -> None:
    _create(client)
    with pytest.raises(exceptions.AlreadyExists):
        _create(client)
    with pytest.raises(exceptions.InvalidArgument):
        _create(client, "no spaces")
    with pytest.raises(exceptions.InvalidArgument, match="replication"):
        client.create_secret(parent=PROJECT, secret_id="nowhere", secret={})
    with pytest.raises(exceptions.NotFound):
        client.access_secret_version(name=f"{PROJECT}/secrets/database-password/versions/latest")
    with pytest.raises(exceptions.NotFound):
        _add(client, f"{PROJECT}/secrets/absent", b"x")


def test_lists_in_pages(client: Client) -> None:
    names = [_create(client, f"secret-{i}").name for i in range(3)]
    request = {"parent": PROJECT, "page_size": 2}
    assert [s.name for s in next(client.list_secrets(request=request).pages).secrets] == names[:2]
    assert [s.name for s in client.list_secrets(request=request)] == names


def test_time_destroys_and_expires(client: Client, core: Core) -> None:
    secret = _create(client, version_destroy_ttl=timedelta(days=2)).name
    version = _add(client, secret, b"x").name
    waiting = client.destroy_secret_version(name=version)
    assert waiting.state == VersionState.DISABLED
    assert waiting.scheduled_destroy_time
    client.enable_secret_version(name=version)
    _move(core, timedelta(days=3))
    assert client.access_secret_version(name=version).payload.data == b"x"
    client.destroy_secret_version(name=version)
    _move(core, timedelta(days=3))
    assert client.get_secret_version(name=version).state == VersionState.DESTROYED
    brief = _create(client, "brief", ttl=timedelta(hours=1)).name
    _move(core, timedelta(minutes=59))
    assert client.get_secret(name=brief).expire_time
    _move(core, timedelta(minutes=2))
    with pytest.raises(exceptions.NotFound):
        client.get_secret(name=brief)


def test_everything_survives_a_restart(core: Core, tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    with secrets_client(core, state := State(path)) as client:
        secret = _create(client, version_destroy_ttl=timedelta(days=2))
        for number in range(11):
            _add(client, secret.name, b"payload %d" % number)
        client.disable_secret_version(name=f"{secret.name}/versions/2")
        client.destroy_secret_version(name=f"{secret.name}/versions/1")
        gone = _create(client, "gone").name
        _add(client, gone, b"x")
        client.delete_secret(name=gone)
    state.close()
    later = Core(_no_network, clock=core.clock)
    with secrets_client(later, State(path)) as client:
        assert client.get_secret(name=secret.name) == secret
        assert client.access_secret_version(name=f"{secret.name}/versions/latest").payload.data == b"payload 10"
        assert client.get_secret_version(name=f"{secret.name}/versions/2").state == VersionState.DISABLED
        with pytest.raises(exceptions.NotFound):
            client.get_secret(name=gone)
        _move(later, timedelta(days=3))
        assert client.get_secret_version(name=f"{secret.name}/versions/1").state == VersionState.DESTROYED
        assert _add(client, secret.name, b"next").name.endswith("/12")
