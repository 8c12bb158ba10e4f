"""The REST face of Cloud KMS, through plain HTTP."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import google_crc32c
import pytest
import urllib3

from local_cloud.conformance.kms_server import (
    LOCATION,
    RING,
    Algorithm,
    Client,
    Purpose,
    kms_client,
    new_key,
    new_symmetric_key,
    no_network,
    verifier,
)
from local_cloud.core import Core
from local_cloud.kms import Kms
from local_cloud.kms_rest import KmsRest
from local_cloud.state import State
from tools.serving import over_http


@pytest.fixture
def served() -> Iterator[tuple[Client, Kms]]:
    with kms_client(Core(no_network), State()) as pair:
        pair[0].create_key_ring(parent=LOCATION, key_ring_id="identity", key_ring={})
        yield pair


@pytest.fixture
def client(served: tuple[Client, Kms]) -> Client:
    return served[0]


@pytest.fixture
def rest(served: tuple[Client, Kms]) -> Iterator[Callable[..., tuple[int, Any]]]:
    with over_http(KmsRest(served[1])) as url, urllib3.PoolManager() as http:

        def call(method: str, path: str, **options: Any) -> tuple[int, Any]:
            answer = http.request(method, f"{url}/v1/{path}", **options)
            return answer.status, answer.json()

        yield call


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_rest_encrypts_and_decrypts_what_grpc_does(client: Client, rest: Callable[..., tuple[int, Any]]) -> None:
    key = new_symmetric_key(client).name
    body = {
        "plaintext": _b64(b"epoch"),
        "additionalAuthenticatedData": _b64(b"2026-11"),
        "plaintextCrc32c": str(google_crc32c.value(b"epoch")),
    }
    status, sealed = rest("POST", f"{key}:encrypt", json=body)
    assert status == 200
    assert sealed["name"] == f"{key}/cryptoKeyVersions/1"
    assert sealed["verifiedPlaintextCrc32c"] is True
    assert "verifiedAdditionalAuthenticatedDataCrc32c" not in sealed
    ciphertext = base64.b64decode(sealed["ciphertext"])
    assert sealed["ciphertextCrc32c"] == str(google_crc32c.value(ciphertext))
    opened = client.decrypt(
        request={"name": key, "ciphertext": ciphertext, "additional_authenticated_data": b"2026-11"}
    )
    assert opened.plaintext == b"epoch"
    status, answer = rest(
        "POST",
        f"{key}:decrypt",
        json={"ciphertext": sealed["ciphertext"], "additionalAuthenticatedData": _b64(b"2026-11")},
    )
    assert (status, base64.b64decode(answer["plaintext"])) == (200, b"epoch")
    assert answer["protectionLevel"] == "SOFTWARE"


def test_rest_reads_signs_and_draws(client: Client, rest: Callable[..., tuple[int, Any]]) -> None:
    key = new_symmetric_key(client).name
    mac_version = new_key(client, "mac", Purpose.MAC, Algorithm.HMAC_SHA256) + "/cryptoKeyVersions/1"
    sign = new_key(client, "sign", Purpose.ASYMMETRIC_SIGN, Algorithm.EC_SIGN_P256_SHA256) + "/cryptoKeyVersions/1"
    assert rest("GET", key)[1]["primary"]["state"] == "ENABLED"
    assert rest("GET", f"{key}/cryptoKeyVersions/1")[1]["algorithm"] == "GOOGLE_SYMMETRIC_ENCRYPTION"
    assert rest("GET", RING)[1]["name"] == RING
    tag = rest("POST", f"{mac_version}:macSign", json={"data": _b64(b"x")})[1]["mac"]
    assert rest("POST", f"{mac_version}:macVerify", json={"data": _b64(b"x"), "mac": tag})[1]["success"] is True
    assert "success" not in rest("POST", f"{mac_version}:macVerify", json={"data": _b64(b"y"), "mac": tag})[1]
    public = rest("GET", f"{sign}/publicKey")[1]
    digest = {"digest": {"sha256": _b64(hashlib.sha256(b"x").digest())}}
    signature = rest("POST", f"{sign}:asymmetricSign", json=digest)[1]["signature"]
    verifier(public["pem"], Algorithm.EC_SIGN_P256_SHA256)(base64.b64decode(signature), b"x")
    drawn = rest("POST", f"{LOCATION}:generateRandomBytes", json={"lengthBytes": 16, "protectionLevel": "HSM"})[1]
    assert len(base64.b64decode(drawn["data"])) == 16


@pytest.mark.parametrize(
    ("method", "path", "options", "code", "status"),
    [
        ("POST", f"{RING}/cryptoKeys/absent:encrypt", {"json": {"plaintext": "eA=="}}, 404, "NOT_FOUND"),
        ("GET", f"{RING}/cryptoKeys/absent", {}, 404, "NOT_FOUND"),
        ("POST", f"{RING}/cryptoKeys/epoch:decrypt", {"json": {"ciphertext": "eA=="}}, 400, "INVALID_ARGUMENT"),
        ("POST", f"{RING}/cryptoKeys/epoch:encrypt", {"body": b"{"}, 400, "INVALID_ARGUMENT"),
        ("POST", f"{RING}/cryptoKeys/epoch:encrypt", {"json": {"plain": "eA=="}}, 400, "INVALID_ARGUMENT"),
        ("POST", f"{RING}/cryptoKeys/epoch:explode", {"json": {}}, 404, "NOT_FOUND"),
        ("GET", f"{RING}/cryptoKeys/epoch/cryptoKeyVersions/1/publicKey", {}, 400, "FAILED_PRECONDITION"),
    ],
)
def test_rest_errors(
    client: Client,
    rest: Callable[..., tuple[int, Any]],
    method: str,
    path: str,
    options: dict[str, Any],
    code: int,
    status: str,
) -> None:
    new_symmetric_key(client)
    answered, body = rest(method, path, **options)
    assert answered == code
    assert body["error"]["code"] == code
    assert body["error"]["status"] == status
    assert body["error"]["message"]
