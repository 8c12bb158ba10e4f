"""The signer of receipts, over REST to the local Cloud KMS: what it answers is checked before it is used."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kapas.errors import Unavailable
from kapas.platform.gcp.kms_rest import KmsResource
from kapas.platform.gcp.kms_signer import KmsSigner, WrongAlgorithm
from kapas.privacy import signing
from local_cloud.conformance.kms_server import LOCATION, Algorithm, Client, Purpose, kms_client, new_key, no_network
from local_cloud.core import Core
from local_cloud.kms_rest import KmsRest
from local_cloud.state import State
from tools.serving import over_http

Json = dict[str, Any]


@pytest.fixture
def served() -> Iterator[tuple[Client, str]]:
    """A client of the local KMS, and its address over REST."""
    with kms_client(Core(no_network), State()) as (client, kms):
        client.create_key_ring(parent=LOCATION, key_ring_id="identity", key_ring={})
        with over_http(KmsRest(kms)) as url:
            yield client, url


def version(client: Client, algorithm: Algorithm = Algorithm.EC_SIGN_P256_SHA256, name: str = "receipts") -> str:
    return f"{new_key(client, name, Purpose.ASYMMETRIC_SIGN, algorithm)}/cryptoKeyVersions/1"


@pytest.fixture
def signer(served: tuple[Client, str]) -> KmsSigner:
    client, url = served
    return KmsSigner(version(client), url)


def test_signs_what_the_public_key_verifies(signer: KmsSigner) -> None:
    signature = signer.sign(b"a receipt")
    assert len(signature) == 64
    assert signing.is_signed(b"a receipt", signature, signer.public_key())
    assert not signing.is_signed(b"another", signature, signer.public_key())


def test_the_public_key_is_asked_for_once(signer: KmsSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    key = signer.public_key()
    monkeypatch.setattr(KmsResource, "get", lambda *_: pytest.fail("asked again"))
    assert signer.public_key() == key


SPOILED: dict[str, Callable[[Json], object]] = {
    "signature changed": lambda answer: answer.update(signature=base64.b64encode(b"changed").decode()),
    "no signature checksum": lambda answer: answer.pop("signatureCrc32c"),
    "digest unverified": lambda answer: answer.update(verifiedDigestCrc32c=False),
    "another version": lambda answer: answer.update(name=answer["name"] + "1"),
}
SPOILED_KEY: dict[str, Callable[[Json], object]] = {
    "key changed": lambda answer: answer.update(pem=answer["pem"].replace("A", "B")),
    "no key": lambda answer: answer.pop("pem"),
    "no key checksum": lambda answer: answer.pop("pemCrc32c"),
    "another version": lambda answer: answer.update(name=answer["name"] + "1"),
}


def spoil(monkeypatch: pytest.MonkeyPatch, method: str, change: Callable[[Json], object], times: int) -> list[Json]:
    """Change the next `times` answers; the list of those given."""
    genuine, given = getattr(KmsResource, method), list[Json]()

    def answer(*arguments: Any) -> Json:
        given.append(genuine(*arguments))
        if len(given) <= times:
            change(given[-1])
        return given[-1]

    monkeypatch.setattr(KmsResource, method, answer)
    return given


@pytest.mark.parametrize("fault", SPOILED)
def test_a_spoiled_signature_is_asked_for_once_more(
    signer: KmsSigner, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    with monkeypatch.context() as patched:
        given = spoil(patched, "post", SPOILED[fault], 1)
        assert signing.is_signed(b"x", signer.sign(b"x"), signer.public_key())
        assert len(given) == 2
    spoil(monkeypatch, "post", SPOILED[fault], 9)
    with pytest.raises(Unavailable):
        signer.sign(b"x")


@pytest.mark.parametrize("fault", SPOILED_KEY)
def test_a_spoiled_public_key_is_never_used(signer: KmsSigner, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    with monkeypatch.context() as patched:
        spoil(patched, "get", SPOILED_KEY[fault], 9)
        with pytest.raises(Unavailable):
            signer.public_key()
    assert signer.public_key().startswith("-----BEGIN PUBLIC KEY-----")


def test_a_key_of_another_kind_is_refused(served: tuple[Client, str]) -> None:
    client, url = served
    with pytest.raises(WrongAlgorithm):
        KmsSigner(version(client, Algorithm.EC_SIGN_P384_SHA384, "other"), url).public_key()


def test_no_key_and_no_service_are_unavailable(served: tuple[Client, str]) -> None:
    _, url = served
    name = f"{LOCATION}/keyRings/identity/cryptoKeys/absent/cryptoKeyVersions/1"
    for where in (url, "http://127.0.0.1:1"):
        signer = KmsSigner(name, where, timeout=0.5)
        with pytest.raises(Unavailable):
            signer.sign(b"x")
        with pytest.raises(Unavailable):
            signer.public_key()
