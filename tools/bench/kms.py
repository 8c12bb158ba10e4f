"""A local Cloud KMS over REST with the key of the catalog: functions that encrypt call it once for each epoch key."""

from collections.abc import Generator
from contextlib import contextmanager

from google.cloud.kms_v1 import types

from local_cloud.core import Core
from local_cloud.environment import key_name
from local_cloud.kms import Kms
from local_cloud.kms_rest import KmsRest
from local_cloud.state import State
from local_cloud.transport import HttpTransport
from tools.catalog import Catalog
from tools.serving import over_http


@contextmanager
def running(described: Catalog) -> Generator[str]:
    """Its address, for `KMS_URL`. On a thread of this process."""
    transport = HttpTransport(1)
    kms = Kms(Core(transport), State())
    ring, _, key = key_name(described).rpartition("/cryptoKeys/")
    parent, _, ring_id = ring.rpartition("/keyRings/")
    kms.CreateKeyRing(types.CreateKeyRingRequest(parent=parent, key_ring_id=ring_id, key_ring={}), None)
    purpose = types.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT
    kms.CreateCryptoKey(
        types.CreateCryptoKeyRequest(parent=ring, crypto_key_id=key, crypto_key={"purpose": purpose}), None
    )
    try:
        with over_http(KmsRest(kms)) as address:
            yield address
    finally:
        transport.close()
