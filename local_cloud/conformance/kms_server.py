"""Serves the local Cloud KMS to the real client, for the tests of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from google.cloud import kms_v1
from google.cloud.kms_v1 import types
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

from local_cloud import gapic
from local_cloud.core import Core, Done, Outgoing
from local_cloud.kms import Kms
from local_cloud.state import State

LOCATION = "projects/kapas-test/locations/asia-south1"
RING = f"{LOCATION}/keyRings/identity"
Algorithm = types.CryptoKeyVersion.CryptoKeyVersionAlgorithm
Purpose = types.CryptoKey.CryptoKeyPurpose
Client = kms_v1.KeyManagementServiceClient


def no_network(request: Outgoing, done: Done) -> None:
    raise AssertionError(f"KMS calls nobody, but called {request.url}")


@contextmanager
def kms_client(core: Core, state: State) -> Iterator[tuple[Client, Kms]]:
    kms = Kms(core, state)
    server, port = gapic.serve({KeyManagementServiceGrpcTransport: kms}, threads=4)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield Client(transport=KeyManagementServiceGrpcTransport(channel=channel)), kms
    finally:
        channel.close()
        server.stop(None).wait()


def new_key(client: Client, identifier: str, purpose: Purpose, algorithm: Algorithm) -> str:
    template = {"algorithm": algorithm}
    key = {"purpose": purpose, "version_template": template}
    return client.create_crypto_key(parent=RING, crypto_key_id=identifier, crypto_key=key).name


def new_symmetric_key(client: Client, identifier: str = "epoch", **fields: Any) -> types.CryptoKey:
    key = {"purpose": Purpose.ENCRYPT_DECRYPT, **fields}
    return client.create_crypto_key(parent=RING, crypto_key_id=identifier, crypto_key=key)


def verifier(pem: str, algorithm: Algorithm) -> Callable[[bytes, bytes], None]:
    key: Any = serialization.load_pem_public_key(pem.encode())
    name = algorithm.name
    digest = hashes.SHA384() if name.endswith("384") else hashes.SHA256()
    if name.startswith("EC"):
        return lambda signature, message: key.verify(signature, message, ec.ECDSA(digest))
    scheme = padding.PSS(padding.MGF1(digest), digest.digest_size) if "PSS" in name else padding.PKCS1v15()
    return lambda signature, message: key.verify(signature, message, scheme, digest)
