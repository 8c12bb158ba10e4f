"""V4 signed URLs: who may sign, and whether a request is what was signed.

Source: cloud.google.com/storage/docs/access-control/signed-urls and /authentication/canonical-requests.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from local_cloud.state import State
from local_cloud.storage import errors

ALGORITHM = "GOOG4-RSA-SHA256"
LONGEST = timedelta(days=7)
SKEW = timedelta(minutes=15)
"""How far ahead of this clock a URL may be signed."""

_PARAMETERS = ("X-Goog-Credential", "X-Goog-Date", "X-Goog-Expires", "X-Goog-SignedHeaders", "X-Goog-Signature")


class Signers:
    """Service accounts whose signatures are accepted, kept across restarts with the keys that were made here."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._public = {email: raw.decode() for email, raw in state.items("storage.signer")}
        self._private = {email: raw.decode() for email, raw in state.items("storage.signing-key")}

    def register(self, email: str, public_key_pem: str) -> None:
        self._public[email] = public_key_pem
        self._state.put("storage.signer", email, public_key_pem.encode())

    def private_key(self, email: str) -> str:
        """The account's private key in PEM: made, and its public half registered, when first asked for."""
        if email not in self._private:
            key = rsa.generate_private_key(65537, 2048)
            form = serialization.PrivateFormat.PKCS8
            pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self._state.put("storage.signing-key", email, pem.encode())
            self._private[email] = pem
            self.register(email, public.decode())
        return self._private[email]

    def public_key(self, email: str) -> Any:
        """The account's public key; None for an unknown account."""
        pem = self._public.get(email)
        return serialization.load_pem_public_key(pem.encode()) if pem else None


@dataclass(frozen=True, slots=True)
class Signed:
    """A request as it came: the path as it was on the wire, the query undecoded, headers by lower-case name."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


def is_signed(query: Mapping[str, str]) -> bool:
    return any(parameter in query for parameter in _PARAMETERS)


def verify(request: Signed, public_key: Callable[[str], Any], now: datetime) -> None:
    """Raises 403 for a signature that is not this request's, 400 for an expired or a malformed one."""
    pairs = parse_qsl(request.query, keep_blank_values=True)
    query = dict(pairs)
    _check_form(query)
    _check_time(query, now)
    _check_headers(query["X-Goog-SignedHeaders"].split(";"), request.headers)
    canonical = _canonical(request, pairs, query)
    email, _, scope = query["X-Goog-Credential"].partition("/")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join((ALGORITHM, query["X-Goog-Date"], scope, digest))
    try:
        key = public_key(email)
        if key is None:
            raise InvalidSignature
        signature = bytes.fromhex(query["X-Goog-Signature"])
        key.verify(signature, to_sign.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError) as error:
        raise errors.StorageError(
            403,
            "forbidden",
            "SignatureDoesNotMatch",
            "Access denied.",
            {
                "Details": "The request signature we calculated does not match the signature you provided."
                " Check your Google secret key and signing method.",
                "StringToSign": to_sign,
                "CanonicalRequest": canonical,
            },
        ) from error


def _malformed(parameter: str, details: str) -> errors.StorageError:
    elements = {"ParameterName": parameter, "Details": details}
    message = "Your request has a malformed header."
    return errors.StorageError(400, "invalid", "MalformedSecurityHeader", message, elements)


def _check_form(query: Mapping[str, str]) -> None:
    for parameter in _PARAMETERS:
        if not query.get(parameter):
            raise _malformed(parameter, "The parameter is missing.")
    if query.get("X-Goog-Algorithm") != ALGORITHM:
        raise _malformed("X-Goog-Algorithm", f"Only {ALGORITHM} is accepted.")
    _, *scope = query["X-Goog-Credential"].split("/")
    if len(scope) != 4 or scope[0] != query["X-Goog-Date"][:8] or scope[2:] != ["storage", "goog4_request"]:
        raise _malformed("X-Goog-Credential", "The scope is not DATE/LOCATION/storage/goog4_request.")


def _check_time(query: Mapping[str, str], now: datetime) -> None:
    try:
        begin = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        lifetime = timedelta(seconds=int(query["X-Goog-Expires"]))
    except ValueError as error:
        raise _malformed("X-Goog-Date", "X-Goog-Date or X-Goog-Expires cannot be read.") from error
    if not timedelta(0) < lifetime <= LONGEST:
        raise _malformed("X-Goog-Expires", f"It must be between 1 and {int(LONGEST.total_seconds())} seconds.")
    if now + SKEW < begin:
        raise errors.StorageError(403, "forbidden", "AccessDenied", "The signed URL is not valid yet.")
    end = begin + lifetime
    if now > end:
        raise errors.StorageError(
            400,
            "invalid",
            "ExpiredToken",
            "Invalid argument.",
            {"Details": f"The provided token has expired. Request signature expired at: {end.isoformat()}"},
        )


def _check_headers(signed: list[str], headers: Mapping[str, str]) -> None:
    if "host" not in signed:
        raise _malformed("host", "Header was not included in signedheaders.")
    for name in signed:
        if name not in headers:
            raise _malformed(name, "Header was included in signedheaders, but not in the request.")
    for name in headers:
        if name.startswith("x-goog-") and name not in signed:
            raise _malformed(name, "Header was included in the request, but not in signedheaders.")


def _canonical(request: Signed, pairs: list[tuple[str, str]], query: Mapping[str, str]) -> str:
    encoded = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in pairs if name != "X-Goog-Signature"
    )
    signed = query["X-Goog-SignedHeaders"].split(";")
    return "\n".join(
        (
            request.method,
            request.path,
            "&".join(f"{name}={value}" for name, value in encoded),
            "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed),
            query["X-Goog-SignedHeaders"],
            request.headers.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD"),
        )
    )
