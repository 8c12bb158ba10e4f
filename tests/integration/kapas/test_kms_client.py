"""Keys wrapped through Google's client: what the functions without clients of their own, and tools, use."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

from kapas.errors import Unavailable
from kapas.http.function import Function
from kapas.platform.gcp.kms_client import KmsClient
from kapas.platform.ports import Tampered
from kapas.platform.settings import ApiSettings, KeySettings, TaskSettings, use
from local_cloud import gapic
from local_cloud.conformance.kms_server import LOCATION, new_symmetric_key, no_network
from local_cloud.core import Core
from local_cloud.kms import Kms
from local_cloud.state import State

KEY, CONTEXT = b"k" * 32, b"context"


@pytest.fixture
def endpoint() -> Iterator[str]:
    server, port = gapic.serve({KeyManagementServiceGrpcTransport: Kms(Core(no_network), State())}, threads=4)
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def kms(endpoint: str) -> KmsClient:
    name = f"{LOCATION}/keyRings/identity/cryptoKeys/epoch"
    kms = KmsClient(name, endpoint)
    client: Any = kms._client
    client.create_key_ring(parent=LOCATION, key_ring_id="identity", key_ring={})
    assert new_symmetric_key(client).name == name
    return kms


def test_unwraps_what_it_wrapped(kms: KmsClient) -> None:
    assert kms.unwrap(kms.wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_another_context_is_tampered(kms: KmsClient) -> None:
    with pytest.raises(Tampered):
        kms.unwrap(kms.wrap(KEY, CONTEXT), b"another")


def spoiling(method: Callable[..., Any], times: int, **changes: Any) -> Callable[..., Any]:
    """`method`, whose first `times` answers are changed."""
    left = [True] * times

    def call(**request: Any) -> Any:
        answer = method(**request)
        if left:
            left.pop()
            for name, value in changes.items():
                setattr(answer, name, value)
        return answer

    return call


@pytest.mark.parametrize(
    "changes",
    [
        {"ciphertext": b"changed"},
        {"verified_plaintext_crc32c": False},
        {"verified_additional_authenticated_data_crc32c": False},
    ],
)
def test_an_answer_that_does_not_check_is_asked_for_once_more(kms: KmsClient, changes: dict[str, Any]) -> None:
    client: Any = kms._client
    encrypt = client.encrypt
    client.encrypt = spoiling(encrypt, 1, **changes)
    assert kms.unwrap(kms.wrap(KEY, CONTEXT), CONTEXT) == KEY
    client.encrypt = spoiling(encrypt, 2, **changes)
    with pytest.raises(Unavailable):
        kms.wrap(KEY, CONTEXT)


def test_a_plaintext_that_does_not_check_is_never_used(kms: KmsClient) -> None:
    wrapped = kms.wrap(KEY, CONTEXT)
    client: Any = kms._client
    client.decrypt = spoiling(client.decrypt, 2, plaintext=b"x" * 32)
    with pytest.raises(Unavailable):
        kms.unwrap(wrapped, CONTEXT)


def test_a_missing_key_and_a_missing_service_are_unavailable(endpoint: str) -> None:
    with pytest.raises(Unavailable):
        KmsClient(f"{LOCATION}/keyRings/identity/cryptoKeys/none", endpoint).wrap(KEY, CONTEXT)
    with pytest.raises(Unavailable):
        KmsClient(f"{LOCATION}/keyRings/identity/cryptoKeys/epoch", "127.0.0.1:9", timeout=0.2).wrap(KEY, CONTEXT)


@pytest.mark.parametrize(
    ("models", "changes", "client"),
    [
        ((KeySettings, TaskSettings), {}, "KmsClient"),
        ((KeySettings, TaskSettings), {"KMS_URL": "https://cloudkms.googleapis.com", "KMS_ENDPOINT": ""}, "KmsClient"),
        ((KeySettings, TaskSettings), {"KMS_ENDPOINT": ""}, "CloudKms"),
        ((KeySettings,), {}, "CloudKms"),
        ((KeySettings, TaskSettings, ApiSettings), {}, "CloudKms"),
    ],
)
def test_a_function_that_serves_clients_does_without_grpc(
    models: tuple[Any, ...], changes: dict[str, str], client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth.default", lambda *_, **__: (AnonymousCredentials(), "p"))
    told = {
        "FUNCTION": "f", "PROJECT": "p", "KMS_KEY": "k", "KMS_URL": "http://127.0.0.1:9", "KMS_ENDPOINT": "127.0.0.1:9",
        "TASKS_CALLER": "c", "TASK_URLS": "f=u", "DATABASE_URL": "u", "DATABASE_POOL": "1",
        "TOKEN_ISSUER": "i", "TOKEN_AUDIENCE": "a", "TOKEN_JWKS_URL": "u",
    }  # fmt: skip
    with use(told | changes):
        keyring: Any = Function(*models).keyring
    assert type(keyring._kms).__name__ == client
