"""Cloud KMS through the official client over gRPC, and through plain HTTP over REST."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from cryptography.exceptions import InvalidSignature
from google.api_core import exceptions
from google.cloud.kms_v1 import types

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
from local_cloud.state import State


@pytest.fixture
def core() -> Core:
    return Core(no_network)


@pytest.fixture
def served(core: Core) -> Iterator[tuple[Client, Kms]]:
    with kms_client(core, State()) as pair:
        pair[0].create_key_ring(parent=LOCATION, key_ring_id="identity", key_ring={})
        yield pair


@pytest.fixture
def client(served: tuple[Client, Kms]) -> Client:
    return served[0]


def _move(core: Core, by: timedelta) -> None:
    core.clock.advance(by)
    while core.step():
        pass


def test_encrypts_and_decrypts_with_integrity_fields(client: Client) -> None:
    key = new_symmetric_key(client)
    assert key.primary.state == types.CryptoKeyVersion.CryptoKeyVersionState.ENABLED
    assert key.version_template.algorithm == Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION
    sealed = client.encrypt(
        request={
            "name": key.name,
            "plaintext": b"epoch key",
            "additional_authenticated_data": b"2026-11",
            "plaintext_crc32c": google_crc32c.value(b"epoch key"),
            "additional_authenticated_data_crc32c": google_crc32c.value(b"2026-11"),
        }
    )
    assert sealed.name == key.primary.name
    assert sealed.verified_plaintext_crc32c
    assert sealed.verified_additional_authenticated_data_crc32c
    assert sealed.ciphertext_crc32c == google_crc32c.value(sealed.ciphertext)
    assert b"epoch key" not in sealed.ciphertext
    opened = client.decrypt(
        request={
            "name": key.name,
            "ciphertext": sealed.ciphertext,
            "additional_authenticated_data": b"2026-11",
            "ciphertext_crc32c": sealed.ciphertext_crc32c,
        }
    )
    assert opened.plaintext == b"epoch key"
    assert opened.plaintext_crc32c == google_crc32c.value(b"epoch key")
    assert opened.used_primary


def test_a_checksum_that_does_not_match_is_refused(client: Client) -> None:
    key = new_symmetric_key(client)
    with pytest.raises(exceptions.InvalidArgument, match="plaintext_crc32c"):
        client.encrypt(request={"name": key.name, "plaintext": b"a", "plaintext_crc32c": 1})
    unchecked = client.encrypt(name=key.name, plaintext=b"a")
    assert not unchecked.verified_plaintext_crc32c
    with pytest.raises(exceptions.InvalidArgument, match="ciphertext_crc32c"):
        client.decrypt(request={"name": key.name, "ciphertext": unchecked.ciphertext, "ciphertext_crc32c": 1})


def test_decryption_fails_for_another_context_key_or_ciphertext(client: Client) -> None:
    key, other = new_symmetric_key(client), new_symmetric_key(client, "other")
    sealed = client.encrypt(
        request={"name": key.name, "plaintext": b"secret", "additional_authenticated_data": b"row 1"}
    ).ciphertext
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for name, ciphertext, aad in (
        (key.name, sealed, b"row 2"),
        (key.name, sealed, b""),
        (other.name, sealed, b"row 1"),
        (key.name, flipped, b"row 1"),
        (key.name, sealed[:10], b"row 1"),
        (key.name, b"not ours", b"row 1"),
    ):
        with pytest.raises(exceptions.InvalidArgument, match="Decryption failed"):
            client.decrypt(request={"name": name, "ciphertext": ciphertext, "additional_authenticated_data": aad})


def test_limits_names_and_duplicates(client: Client) -> None:
    key = new_symmetric_key(client)
    with pytest.raises(exceptions.InvalidArgument, match="at most 65536"):
        client.encrypt(name=key.name, plaintext=bytes(65537))
    assert client.encrypt(name=key.name, plaintext=bytes(65536)).ciphertext
    with pytest.raises(exceptions.NotFound):
        client.encrypt(name=f"{RING}/cryptoKeys/absent", plaintext=b"x")
    with pytest.raises(exceptions.AlreadyExists):
        new_symmetric_key(client)
    with pytest.raises(exceptions.AlreadyExists):
        client.create_key_ring(parent=LOCATION, key_ring_id="identity", key_ring={})
    with pytest.raises(exceptions.InvalidArgument):
        new_symmetric_key(client, "no spaces")
    with pytest.raises(exceptions.InvalidArgument):
        new_key(client, "mixed", Purpose.MAC, Algorithm.EC_SIGN_P256_SHA256)


def test_a_new_primary_encrypts_and_the_old_one_still_decrypts(client: Client) -> None:
    key = new_symmetric_key(client)
    old = client.encrypt(name=key.name, plaintext=b"old").ciphertext
    version = client.create_crypto_key_version(parent=key.name, crypto_key_version={})
    assert version.name.endswith("/2")
    assert client.get_crypto_key(name=key.name).primary.name.endswith("/1")
    rotated = client.update_crypto_key_primary_version(name=key.name, crypto_key_version_id="2")
    assert rotated.primary.name == version.name
    assert client.encrypt(name=key.name, plaintext=b"new").name == version.name
    opened = client.decrypt(name=key.name, ciphertext=old)
    assert opened.plaintext == b"old"
    assert not opened.used_primary
    assert [v.name[-2:] for v in client.list_crypto_key_versions(parent=key.name)] == ["/1", "/2"]


def test_rotates_by_itself_on_schedule(client: Client, core: Core) -> None:
    period = timedelta(days=90)
    with pytest.raises(exceptions.InvalidArgument):
        new_symmetric_key(client, rotation_period=period)
    with pytest.raises(exceptions.InvalidArgument):
        new_symmetric_key(client, rotation_period=timedelta(hours=1), next_rotation_time=core.now() + period)
    key = new_symmetric_key(client, rotation_period=period, next_rotation_time=core.now() + period)
    _move(core, timedelta(days=89))
    assert client.get_crypto_key(name=key.name).primary.name.endswith("/1")
    _move(core, timedelta(days=2))
    rotated = client.get_crypto_key(name=key.name)
    assert rotated.primary.name.endswith("/2")
    assert rotated.next_rotation_time == key.next_rotation_time + period
    client.update_crypto_key(
        crypto_key={"name": key.name, "rotation_period": None, "next_rotation_time": None},
        update_mask={"paths": ["rotation_period", "next_rotation_time"]},
    )
    _move(core, timedelta(days=365))
    assert client.get_crypto_key(name=key.name).primary.name.endswith("/2")


def test_a_disabled_version_refuses_until_enabled(client: Client) -> None:
    key = new_symmetric_key(client)
    sealed = client.encrypt(name=key.name, plaintext=b"x").ciphertext
    states = types.CryptoKeyVersion.CryptoKeyVersionState

    def switch(state: Any) -> None:
        client.update_crypto_key_version(
            crypto_key_version={"name": key.primary.name, "state": state}, update_mask={"paths": ["state"]}
        )

    switch(states.DISABLED)
    for call in (
        lambda: client.encrypt(name=key.name, plaintext=b"x"),
        lambda: client.decrypt(name=key.name, ciphertext=sealed),
    ):
        with pytest.raises(exceptions.FailedPrecondition, match="DISABLED"):
            call()
    switch(states.ENABLED)
    assert client.decrypt(name=key.name, ciphertext=sealed).plaintext == b"x"


def test_destruction_is_scheduled_can_be_undone_and_is_final(client: Client, core: Core) -> None:
    key = new_symmetric_key(client, destroy_scheduled_duration=timedelta(days=7))
    sealed = client.encrypt(name=key.name, plaintext=b"x").ciphertext
    states = types.CryptoKeyVersion.CryptoKeyVersionState
    name = key.primary.name
    scheduled = client.destroy_crypto_key_version(name=name)
    assert scheduled.state == states.DESTROY_SCHEDULED
    assert abs(scheduled.destroy_time - core.now() - timedelta(days=7)) < timedelta(minutes=1)
    with pytest.raises(exceptions.FailedPrecondition):
        client.decrypt(name=key.name, ciphertext=sealed)
    _move(core, timedelta(days=6))
    assert client.restore_crypto_key_version(name=name).state == states.DISABLED
    _move(core, timedelta(days=6))
    client.update_crypto_key_version(
        crypto_key_version={"name": name, "state": states.ENABLED}, update_mask={"paths": ["state"]}
    )
    assert client.decrypt(name=key.name, ciphertext=sealed).plaintext == b"x"
    client.destroy_crypto_key_version(name=name)
    _move(core, timedelta(days=8))
    destroyed = client.get_crypto_key_version(name=name)
    assert destroyed.state == states.DESTROYED
    assert destroyed.destroy_event_time
    for call in (
        lambda: client.restore_crypto_key_version(name=name),
        lambda: client.decrypt(name=key.name, ciphertext=sealed),
    ):
        with pytest.raises(exceptions.FailedPrecondition, match="DESTROYED"):
            call()


def test_mac(client: Client) -> None:
    key = new_key(client, "blind-index", Purpose.MAC, Algorithm.HMAC_SHA256)
    version = f"{key}/cryptoKeyVersions/1"
    signed = client.mac_sign(request={"name": version, "data": b"GSTIN", "data_crc32c": google_crc32c.value(b"GSTIN")})
    assert len(signed.mac) == 32
    assert signed.verified_data_crc32c
    assert signed.mac_crc32c == google_crc32c.value(signed.mac)
    assert client.mac_sign(name=version, data=b"GSTIN").mac == signed.mac
    assert client.mac_verify(name=version, data=b"GSTIN", mac=signed.mac).success
    refused = client.mac_verify(name=version, data=b"other", mac=signed.mac)
    assert not refused.success
    assert not refused.verified_success_integrity
    with pytest.raises(exceptions.FailedPrecondition, match="purpose"):
        client.encrypt(name=key, plaintext=b"x")


@pytest.mark.parametrize(
    ("algorithm", "digest_field"),
    [
        (Algorithm.EC_SIGN_P256_SHA256, "sha256"),
        (Algorithm.EC_SIGN_P384_SHA384, "sha384"),
        (Algorithm.RSA_SIGN_PSS_2048_SHA256, "sha256"),
        (Algorithm.RSA_SIGN_PKCS1_2048_SHA256, "sha256"),
    ],
)
def test_signatures_verify_with_the_public_key(client: Client, algorithm: Algorithm, digest_field: str) -> None:
    key = new_key(client, "signing", Purpose.ASYMMETRIC_SIGN, algorithm)
    assert not client.get_crypto_key(name=key).primary.name
    version = f"{key}/cryptoKeyVersions/1"
    message = b"a contract"
    digest = hashlib.new(digest_field, message).digest()
    public = client.get_public_key(name=version)
    assert public.algorithm == algorithm
    assert public.pem_crc32c == google_crc32c.value(public.pem.encode())
    verify = verifier(public.pem, algorithm)
    by_digest = client.asymmetric_sign(
        request={
            "name": version,
            "digest": {digest_field: digest},
            "digest_crc32c": google_crc32c.value(digest),
        }
    )
    assert by_digest.verified_digest_crc32c
    assert by_digest.signature_crc32c == google_crc32c.value(by_digest.signature)
    verify(by_digest.signature, message)
    verify(client.asymmetric_sign(request={"name": version, "data": message}).signature, message)
    with pytest.raises(InvalidSignature):
        verify(by_digest.signature, b"another contract")
    with pytest.raises(exceptions.InvalidArgument):
        client.asymmetric_sign(request={"name": version, "digest": {"sha512": hashlib.sha512(message).digest()}})
    with pytest.raises(exceptions.InvalidArgument):
        client.asymmetric_sign(request={"name": version, "digest": {digest_field: digest[:-1]}})


def test_random_bytes(client: Client) -> None:
    def draw(length: int, level: types.ProtectionLevel = types.ProtectionLevel.HSM) -> Any:
        return client.generate_random_bytes(location=LOCATION, length_bytes=length, protection_level=level)

    one, two = draw(32), draw(32)
    assert len(one.data) == 32
    assert one.data != two.data
    assert one.data_crc32c == google_crc32c.value(one.data)
    with pytest.raises(exceptions.InvalidArgument):
        draw(7)
    with pytest.raises(exceptions.InvalidArgument):
        draw(32, types.ProtectionLevel.SOFTWARE)


def test_lists_in_pages(client: Client) -> None:
    names = [new_symmetric_key(client, f"key-{i}").name for i in range(3)]
    first = next(client.list_crypto_keys(request={"parent": RING, "page_size": 2}).pages)
    assert [key.name for key in first.crypto_keys] == names[:2]
    assert first.total_size == 3
    assert [key.name for key in client.list_crypto_keys(request={"parent": RING, "page_size": 2})] == names
    assert [ring.name for ring in client.list_key_rings(parent=LOCATION)] == [RING]


def test_everything_survives_a_restart(core: Core, tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    mac_key = f"{RING}/cryptoKeys/mac/cryptoKeyVersions/1"
    signing_key = f"{RING}/cryptoKeys/sign/cryptoKeyVersions/1"
    period = timedelta(days=90)
    with kms_client(core, state := State(path)) as (client, _):
        client.create_key_ring(parent=LOCATION, key_ring_id="identity", key_ring={})
        key = new_symmetric_key(client, rotation_period=period, next_rotation_time=core.now() + period)
        new_key(client, "mac", Purpose.MAC, Algorithm.HMAC_SHA256)
        new_key(client, "sign", Purpose.ASYMMETRIC_SIGN, Algorithm.EC_SIGN_P256_SHA256)
        first = client.encrypt(name=key.name, plaintext=b"first").ciphertext
        client.create_crypto_key_version(parent=key.name, crypto_key_version={})
        client.update_crypto_key_primary_version(name=key.name, crypto_key_version_id="2")
        second = client.encrypt(name=key.name, plaintext=b"second").ciphertext
        tag = client.mac_sign(name=mac_key, data=b"x").mac
        pem = client.get_public_key(name=signing_key).pem
        client.create_crypto_key_version(parent=key.name, crypto_key_version={})
        client.destroy_crypto_key_version(name=f"{key.name}/cryptoKeyVersions/3")
        before = client.get_crypto_key(name=key.name)
    state.close()
    later = Core(no_network, clock=core.clock)
    with kms_client(later, State(path)) as (client, _):
        assert client.get_crypto_key(name=key.name) == before
        assert client.decrypt(name=key.name, ciphertext=first).plaintext == b"first"
        assert client.decrypt(name=key.name, ciphertext=second).used_primary
        assert client.mac_sign(name=mac_key, data=b"x").mac == tag
        assert client.get_public_key(name=signing_key).pem == pem
        _move(later, timedelta(days=91))
        third = client.get_crypto_key_version(name=f"{key.name}/cryptoKeyVersions/3")
        assert third.state == types.CryptoKeyVersion.CryptoKeyVersionState.DESTROYED
        assert client.get_crypto_key(name=key.name).primary.name.endswith("/4")
