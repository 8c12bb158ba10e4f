"""Cloud KMS through Google's client, as the `KeyService` of `kapas.privacy.keys`.

For tools, and for functions that import grpc anyway: there it adds 40 to 95 ms to a cold start that no client waits for.
Functions that serve clients use `kapas.platform.gcp.kms`.
"""

from typing import Any

import grpc
from google.api_core.exceptions import GoogleAPICallError, InvalidArgument, RetryError, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type
from google.cloud import kms_v1
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.gcp.kms_rest import Corrupted, crc32c, verified
from kapas.platform.ports import Tampered


class KmsClient:
    """Wraps keys under the primary version of one symmetric KMS key. Shared by the instance's threads.

    `key_name` is `projects/P/locations/L/keyRings/R/cryptoKeys/K`; `endpoint` is `host:port` of a stand-in, empty for
    Google's.
    """

    def __init__(self, key_name: str, endpoint: str = "", *, timeout: float = 5.0) -> None:
        options: dict[str, Any] = {}
        if endpoint:
            options["transport"] = KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(endpoint))
        self._name = key_name
        self._client: Any = kms_v1.KeyManagementServiceClient(**options)
        self._timeout = timeout
        # The client's own goes on for a minute, with a request waiting.
        self._retry: Any = Retry(if_exception_type(ServiceUnavailable), initial=0.1, maximum=1.0, timeout=timeout)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt `key` with the AAD `context`. Raises `Unavailable`."""
        return verified(lambda: self._encrypt(key, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `wrap` made, with whichever version made it. Raises as `kapas.platform.gcp.kms.CloudKms.unwrap`."""
        return verified(lambda: self._decrypt(wrapped, context))

    def _encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        answer = self._call(
            self._client.encrypt,
            plaintext=plaintext,
            plaintext_crc32c=crc32c(plaintext),
            additional_authenticated_data=context,
            additional_authenticated_data_crc32c=crc32c(context),
        )
        if not (answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c):
            raise Corrupted
        return _received(answer.ciphertext, answer.ciphertext_crc32c)

    def _decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        answer = self._call(
            self._client.decrypt,
            ciphertext=ciphertext,
            ciphertext_crc32c=crc32c(ciphertext),
            additional_authenticated_data=context,
            additional_authenticated_data_crc32c=crc32c(context),
        )
        return _received(answer.plaintext, answer.plaintext_crc32c)

    def _call(self, method: Any, **request: Any) -> Any:
        try:
            return method(request={"name": self._name, **request}, timeout=self._timeout, retry=self._retry)
        except InvalidArgument:
            raise Tampered("the key service cannot open this key in this context") from None
        except (GoogleAPICallError, RetryError) as failure:
            log.error("kms_failed", failure)
            raise Unavailable from failure


def _received(data: bytes, checksum: int) -> bytes:
    if crc32c(data) != checksum:
        raise Corrupted
    return data
