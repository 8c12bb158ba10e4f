"""Idempotency keys: a repeated POST gets the answer of the first, and does nothing again.

The row is written in the same statement as the change, so there is no moment at which one exists without the other. What
it keeps of the answer is sealed with a key made from the client's own Idempotency-Key, of which only a hash is stored:
an answer may hold what is shown once (a webhook secret) or personal data, and only who has the key can open it.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from kapas.errors import BadRequest, FieldError, IdempotencyKeyReused
from kapas.platform.db import Session
from kapas.values import clock, ids

MIN_LENGTH, MAX_LENGTH = 16, 255

REMEMBER = """INSERT INTO idempotency_keys (key_hash, request_hash, sealed_answer, created_at)
  SELECT :i_key::bytea, :i_request::bytea, :i_answer::bytea, :i_time::timestamptz WHERE EXISTS (SELECT FROM change)"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was, or will be, told."""

    status: int
    body: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is known of one request's idempotency key: the hash it is found by, and the key that seals its answer."""

    key_hash: bytes
    request_hash: bytes
    sealing_key: bytes


def ticket(principal: str, key: str, method: str, path: str, body: bytes) -> Ticket:
    """The ticket of a request by `principal` (keys of two principals never meet).

    Raises:
        BadRequest: the key is shorter than 16 or longer than 255 characters; 16 is what makes it hard to guess.
    """
    if not MIN_LENGTH <= len(key) <= MAX_LENGTH:
        message = f"An Idempotency-Key must have {MIN_LENGTH} to {MAX_LENGTH} characters; a UUID is a good choice"
        raise BadRequest(message, errors=[FieldError("header:Idempotency-Key", "length", message)])
    secret = f"{principal}\n{key}".encode()
    request = hashlib.sha256(f"{method} {path}\n".encode() + body).digest()
    return Ticket(
        key_hash=hmac.digest(b"kapas idempotency lookup", secret, "sha256"),
        request_hash=request,
        sealing_key=hmac.digest(b"kapas idempotency seal", secret, "sha256"),
    )


def row(ticket: Ticket, answer: Answer) -> dict[str, Any]:
    """The parameters of `REMEMBER`."""
    from cryptography.hazmat.primitives.ciphers.aead import (
        AESGCM,
    )  # 7 ms that a function which only reads does not need

    plain = json.dumps([answer.status, answer.body, answer.headers], separators=(",", ":")).encode()
    nonce = ids.random_bytes(12)
    return {
        "i_key": ticket.key_hash,
        "i_request": ticket.request_hash,
        "i_answer": nonce + AESGCM(ticket.sealing_key).encrypt(nonce, plain, ticket.key_hash),
        "i_time": clock.now(),
    }


def recall(db: Session, ticket: Ticket) -> Answer | None:
    """The answer that an earlier request with this key got, or None if there was none.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    found = db.one(
        "SELECT request_hash, sealed_answer FROM idempotency_keys WHERE key_hash = :key_hash", key_hash=ticket.key_hash
    )
    if found is None:
        return None
    if not hmac.compare_digest(bytes(found[0]), ticket.request_hash):
        raise IdempotencyKeyReused()
    sealed = bytes(found[1])
    try:
        plain = AESGCM(ticket.sealing_key).decrypt(sealed[:12], sealed[12:], ticket.key_hash)
    except InvalidTag:
        raise IdempotencyKeyReused("The stored answer cannot be opened with this key") from None
    status, body, headers = json.loads(plain)
    return Answer(status, body, headers)
