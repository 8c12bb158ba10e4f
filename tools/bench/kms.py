"""A local Cloud KMS over REST with the key of the catalog: functions that encrypt call it once for each epoch key."""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from google.cloud.kms_v1 import types
from werkzeug.serving import WSGIRequestHandler, make_server

from tools.catalog import Catalog
from tools.local.core import Core
from tools.local.environment import key_name
from tools.local.kms import Kms
from tools.local.kms_rest import KmsRest
from tools.local.state import State
from tools.local.transport import HttpTransport


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Nothing: the runner tells what happened."""


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
    server = make_server("127.0.0.1", 0, KmsRest(kms), threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        transport.close()
