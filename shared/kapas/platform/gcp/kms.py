"""Cloud KMS as the `KeyService` of `kapas.privacy.keys`.

https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/encrypt
"""

from kapas.platform.gcp.kms_rest import GOOGLE_URL, Corrupted, KmsResource, Refused, checked, field, verified
from kapas.platform.ports import Tampered


class CloudKms:
    """Wraps keys under the primary version of one symmetric KMS key. Shared by the instance's threads.

    `key_name` is `projects/P/locations/L/keyRings/R/cryptoKeys/K`. A `base_url` that is not Google's gets no token.
    """

    def __init__(self, key_name: str, base_url: str = GOOGLE_URL, *, timeout: float = 5.0) -> None:
        self._key = KmsResource(key_name, base_url, timeout=timeout)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt `key` with the AAD `context`. Raises `Unavailable`."""
        return verified(lambda: self._encrypt(key, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt what `wrap` made, with whichever version made it.

        Raises:
            Tampered: if KMS says that the ciphertext, the context and the key do not belong together.
            Unavailable: if KMS does not answer or refuses for another reason, such as a disabled key version.
        """
        return verified(lambda: self._decrypt(wrapped, context))

    def _encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        request = {**checked("plaintext", plaintext), **checked("additionalAuthenticatedData", context)}
        answer = self._key.post("encrypt", request)
        flags = answer.get("verifiedPlaintextCrc32c"), answer.get("verifiedAdditionalAuthenticatedDataCrc32c")
        if flags != (True, True):
            raise Corrupted
        return field(answer, "ciphertext")

    def _decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        # Of a decryption KMS answers no verified flags: it fails the call when a request's checksum does not match.
        request = {**checked("ciphertext", ciphertext), **checked("additionalAuthenticatedData", context)}
        try:
            answer = self._key.post("decrypt", request)
        except Refused as refused:
            if refused.reason == "INVALID_ARGUMENT":
                raise Tampered("the key service cannot open this key in this context") from None
            raise
        return field(answer, "plaintext")
