"""Cloud KMS on one machine: key rings, keys and versions with real cryptography, kept across restarts.

Served over gRPC (`gapic.serve({KeyManagementServiceGrpcTransport: Kms(core, state)})`) and over REST (`kms_rest.py`).
Key material lies in the state file in the clear, for a restart must not lose it: this protects nothing.
"""

import os
from typing import Any

import google_crc32c
from google.api_core import exceptions
from google.cloud.kms_v1 import types

from local_cloud import kms_material as material
from local_cloud import kms_store as store
from local_cloud.core import Core
from local_cloud.kms_material import Purpose
from local_cloud.kms_store import VERSIONS, KeyStore, VersionState, find, page
from local_cloud.state import State

MAX_PAYLOAD = 64 * 1024
"""Bytes of plaintext, of AAD and of data to sign, each (cloud.google.com/kms/docs/reference/rest, Encrypt)."""


def crc32c(data: bytes) -> int:
    """The CRC32C of `data`, as the integrity fields carry it."""
    return google_crc32c.value(data)


def _verified(field: str, data: bytes, claimed: int | None) -> bool:
    """Whether the caller gave a checksum for `data`. Raises InvalidArgument if it is wrong."""
    if claimed is not None and claimed != crc32c(data):
        raise exceptions.InvalidArgument(f"The checksum in field {field}_crc32c did not match the data in {field}.")
    return claimed is not None


def _bounded(field: str, data: bytes) -> None:
    if len(data) > MAX_PAYLOAD:
        raise exceptions.InvalidArgument(f"{field} is {len(data)} bytes, but must be at most {MAX_PAYLOAD} bytes.")


class Kms:
    """The handler of `google.cloud.kms.v1.KeyManagementService`; methods are named after the RPCs."""

    def __init__(self, core: Core, state: State) -> None:
        self._core = core
        self._keys = KeyStore(core, state)

    # Key rings

    def CreateKeyRing(self, request: types.CreateKeyRingRequest, _: Any) -> types.KeyRing:
        with self._core.lock:
            name = store.new_name(self._keys.rings, f"{request.parent}/keyRings/", request.key_ring_id)
            ring = types.KeyRing(name=name, create_time=self._core.now())
            self._keys.put_ring(ring)
            return types.KeyRing(ring)

    def GetKeyRing(self, request: types.GetKeyRingRequest, _: Any) -> types.KeyRing:
        with self._core.lock:
            return types.KeyRing(find(self._keys.rings, request.name))

    def ListKeyRings(self, request: types.ListKeyRingsRequest, _: Any) -> types.ListKeyRingsResponse:
        with self._core.lock:
            rings, token, total = page(self._keys.rings.values(), f"{request.parent}/keyRings/", request)
            return types.ListKeyRingsResponse(key_rings=rings, next_page_token=token, total_size=total)

    # Keys

    def CreateCryptoKey(self, request: types.CreateCryptoKeyRequest, _: Any) -> types.CryptoKey:
        key = types.CryptoKey(request.crypto_key)
        store.settle_template(key)
        secret = material.generate(key.version_template.algorithm)
        with self._core.lock:
            find(self._keys.rings, request.parent)
            key.name = store.new_name(self._keys.keys, f"{request.parent}/cryptoKeys/", request.crypto_key_id)
            key.create_time = self._core.now()
            key.primary = None
            store.check_rotation(key, self._core.now())
            if not request.skip_initial_version_creation:
                first = self._keys.add_version(key, secret)
                if key.purpose == Purpose.ENCRYPT_DECRYPT:
                    key.primary = types.CryptoKeyVersion(name=first.name)
            self._keys.put_key(key)
            return self._keys.shown(key)

    def GetCryptoKey(self, request: types.GetCryptoKeyRequest, _: Any) -> types.CryptoKey:
        with self._core.lock:
            return self._keys.shown(find(self._keys.keys, request.name))

    def ListCryptoKeys(self, request: types.ListCryptoKeysRequest, _: Any) -> types.ListCryptoKeysResponse:
        with self._core.lock:
            find(self._keys.rings, request.parent)
            keys, token, total = page(self._keys.keys.values(), f"{request.parent}/cryptoKeys/", request)
            shown = [self._keys.shown(key) for key in keys]
            return types.ListCryptoKeysResponse(crypto_keys=shown, next_page_token=token, total_size=total)

    def UpdateCryptoKey(self, request: types.UpdateCryptoKeyRequest, _: Any) -> types.CryptoKey:
        allowed = {"labels", "rotation_period", "next_rotation_time"}
        paths = set(request.update_mask.paths)
        if not paths or not paths <= allowed:
            raise exceptions.InvalidArgument(f"update_mask must name some of {sorted(allowed)}, got {sorted(paths)}.")
        with self._core.lock:
            key = types.CryptoKey(find(self._keys.keys, request.crypto_key.name))
            for path in paths:
                setattr(key, path, getattr(request.crypto_key, path) or None)
            if paths != {"labels"}:
                store.check_rotation(key, self._core.now())
            self._keys.put_key(key)
            return self._keys.shown(key)

    def UpdateCryptoKeyPrimaryVersion(
        self, request: types.UpdateCryptoKeyPrimaryVersionRequest, _: Any
    ) -> types.CryptoKey:
        with self._core.lock:
            key = find(self._keys.keys, request.name)
            store.require_purpose(key, Purpose.ENCRYPT_DECRYPT)
            name = f"{key.name}{VERSIONS}{request.crypto_key_version_id}"
            store.require_enabled(find(self._keys.versions, name))
            self._keys.set_primary(key, name)
            return self._keys.shown(key)

    # Versions

    def CreateCryptoKeyVersion(self, request: types.CreateCryptoKeyVersionRequest, _: Any) -> types.CryptoKeyVersion:
        with self._core.lock:
            key = find(self._keys.keys, request.parent)
        secret = material.generate(key.version_template.algorithm)
        with self._core.lock:
            return types.CryptoKeyVersion(self._keys.add_version(key, secret))

    def GetCryptoKeyVersion(self, request: types.GetCryptoKeyVersionRequest, _: Any) -> types.CryptoKeyVersion:
        with self._core.lock:
            return types.CryptoKeyVersion(find(self._keys.versions, request.name))

    def ListCryptoKeyVersions(
        self, request: types.ListCryptoKeyVersionsRequest, _: Any
    ) -> types.ListCryptoKeyVersionsResponse:
        with self._core.lock:
            find(self._keys.keys, request.parent)
            versions, token, total = page(self._keys.versions.values(), f"{request.parent}{VERSIONS}", request)
            return types.ListCryptoKeyVersionsResponse(
                crypto_key_versions=versions, next_page_token=token, total_size=total
            )

    def UpdateCryptoKeyVersion(self, request: types.UpdateCryptoKeyVersionRequest, _: Any) -> types.CryptoKeyVersion:
        switches = (VersionState.ENABLED, VersionState.DISABLED)
        wanted = request.crypto_key_version.state
        if list(request.update_mask.paths) != ["state"] or wanted not in switches:
            raise exceptions.InvalidArgument("Only state can be updated, to ENABLED or DISABLED.")
        with self._core.lock:
            return self._keys.move(request.crypto_key_version.name, switches, wanted)

    def DestroyCryptoKeyVersion(self, request: types.DestroyCryptoKeyVersionRequest, _: Any) -> types.CryptoKeyVersion:
        with self._core.lock:
            find(self._keys.versions, request.name)
            key = self._keys.keys[store.key_of(request.name)]
            return self._keys.move(
                request.name,
                (VersionState.ENABLED, VersionState.DISABLED),
                VersionState.DESTROY_SCHEDULED,
                destroy_time=self._core.now() + key.destroy_scheduled_duration,
            )

    def RestoreCryptoKeyVersion(self, request: types.RestoreCryptoKeyVersionRequest, _: Any) -> types.CryptoKeyVersion:
        with self._core.lock:
            return self._keys.move(request.name, (VersionState.DESTROY_SCHEDULED,), VersionState.DISABLED)

    # Cryptography: the material is looked up under the lock and used outside of it

    def Encrypt(self, request: types.EncryptRequest, _: Any) -> types.EncryptResponse:
        plaintext, aad = request.plaintext, request.additional_authenticated_data
        _bounded("plaintext", plaintext)
        _bounded("additional_authenticated_data", aad)
        verified = _verified("plaintext", plaintext, request.plaintext_crc32c)
        verified_aad = _verified("additional_authenticated_data", aad, request.additional_authenticated_data_crc32c)
        with self._core.lock:
            name = request.name
            if VERSIONS not in name:
                key = find(self._keys.keys, name)
                store.require_purpose(key, Purpose.ENCRYPT_DECRYPT)
                name = key.primary.name
                if not name:
                    raise exceptions.FailedPrecondition(f"{key.name} has no primary version.")
            version, secret = self._keys.usable(name, Purpose.ENCRYPT_DECRYPT)
        ciphertext = material.encrypt(secret, store.number_of(name), plaintext, aad)
        return types.EncryptResponse(
            name=name,
            ciphertext=ciphertext,
            ciphertext_crc32c=crc32c(ciphertext),
            verified_plaintext_crc32c=verified,
            verified_additional_authenticated_data_crc32c=verified_aad,
            protection_level=version.protection_level,
        )

    def Decrypt(self, request: types.DecryptRequest, _: Any) -> types.DecryptResponse:
        ciphertext, aad = request.ciphertext, request.additional_authenticated_data
        _verified("ciphertext", ciphertext, request.ciphertext_crc32c)
        _verified("additional_authenticated_data", aad, request.additional_authenticated_data_crc32c)
        with self._core.lock:
            key = find(self._keys.keys, request.name)
            store.require_purpose(key, Purpose.ENCRYPT_DECRYPT)
            name = f"{key.name}{VERSIONS}{material.version_of(ciphertext)}"
            if name not in self._keys.versions:
                raise exceptions.InvalidArgument(
                    "Decryption failed: verify that 'name' refers to the correct CryptoKey."
                )
            version, secret = self._keys.usable(name, Purpose.ENCRYPT_DECRYPT)
            used_primary = key.primary.name == name
        plaintext = material.decrypt(secret, ciphertext, aad)
        if plaintext is None:
            raise exceptions.InvalidArgument("Decryption failed: the ciphertext is invalid.")
        return types.DecryptResponse(
            plaintext=plaintext,
            plaintext_crc32c=crc32c(plaintext),
            used_primary=used_primary,
            protection_level=version.protection_level,
        )

    def MacSign(self, request: types.MacSignRequest, _: Any) -> types.MacSignResponse:
        _bounded("data", request.data)
        verified = _verified("data", request.data, request.data_crc32c)
        with self._core.lock:
            version, secret = self._keys.usable(request.name, Purpose.MAC)
        tag = material.mac(version.algorithm, secret, request.data)
        return types.MacSignResponse(
            name=request.name,
            mac=tag,
            mac_crc32c=crc32c(tag),
            verified_data_crc32c=verified,
            protection_level=version.protection_level,
        )

    def MacVerify(self, request: types.MacVerifyRequest, _: Any) -> types.MacVerifyResponse:
        _bounded("data", request.data)
        verified = _verified("data", request.data, request.data_crc32c)
        verified_mac = _verified("mac", request.mac, request.mac_crc32c)
        with self._core.lock:
            version, secret = self._keys.usable(request.name, Purpose.MAC)
        success = material.mac_holds(version.algorithm, secret, request.data, request.mac)
        return types.MacVerifyResponse(
            name=request.name,
            success=success,
            verified_data_crc32c=verified,
            verified_mac_crc32c=verified_mac,
            verified_success_integrity=success,
            protection_level=version.protection_level,
        )

    def AsymmetricSign(self, request: types.AsymmetricSignRequest, _: Any) -> types.AsymmetricSignResponse:
        _bounded("data", request.data)
        with self._core.lock:
            version, secret = self._keys.usable(request.name, Purpose.ASYMMETRIC_SIGN)
        field = material.digest_field(version.algorithm)
        digest: bytes = getattr(request.digest, field) if field else b""
        if bool(digest) == bool(request.data):
            wanted = f"digest.{field} or data" if field else "data"
            raise exceptions.InvalidArgument(f"{version.algorithm.name} signs {wanted}: give exactly one.")
        verified = _verified("data", request.data, request.data_crc32c)
        verified_digest = _verified("digest", digest, request.digest_crc32c)
        try:
            signature = material.sign(version.algorithm, secret, data=request.data, digest=digest)
        except ValueError as error:
            raise exceptions.InvalidArgument(f"digest.{field}: {error}") from error
        return types.AsymmetricSignResponse(
            name=request.name,
            signature=signature,
            signature_crc32c=crc32c(signature),
            verified_data_crc32c=verified,
            verified_digest_crc32c=verified_digest,
            protection_level=version.protection_level,
        )

    def GetPublicKey(self, request: types.GetPublicKeyRequest, _: Any) -> types.PublicKey:
        with self._core.lock:
            version, secret = self._keys.usable(request.name, Purpose.ASYMMETRIC_SIGN)
        pem = material.public_pem(secret)
        return types.PublicKey(
            name=request.name,
            pem=pem,
            pem_crc32c=crc32c(pem.encode()),
            algorithm=version.algorithm,
            protection_level=version.protection_level,
        )

    def GenerateRandomBytes(
        self, request: types.GenerateRandomBytesRequest, _: Any
    ) -> types.GenerateRandomBytesResponse:
        if not 8 <= request.length_bytes <= 1024:
            raise exceptions.InvalidArgument("length_bytes must be between 8 and 1024.")
        if request.protection_level != types.ProtectionLevel.HSM:
            raise exceptions.InvalidArgument("Random bytes are generated at protection level HSM only.")
        data = os.urandom(request.length_bytes)
        return types.GenerateRandomBytesResponse(data=data, data_crc32c=crc32c(data))
