"""Signatures of Standard Webhooks v1: HMAC-SHA256 over `id.timestamp.body` under the endpoint's secret.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from kapas.values import clock, ids

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The specification asks for 24 to 64."""
OVERLAP = timedelta(hours=24)
"""How long deliveries are signed with the secret before a rotation too."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What an endpoint's deliveries are signed with, and the headers of its own that they carry."""

    current: str
    previous: str | None = None
    previous_until: datetime | None = None
    """When `previous` ends."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def load(cls, text: bytes) -> Self:
        """Read what `dump` wrote."""
        current, previous, until, headers = json.loads(text)
        return cls(current, previous, None if until is None else datetime.fromisoformat(until), headers)

    def dump(self) -> str:
        """As text, to be stored encrypted."""
        until = None if self.previous_until is None else clock.rfc3339(self.previous_until)
        return json.dumps([self.current, self.previous, until, self.headers])

    def overlapping(self, now: datetime) -> bool:
        """Whether the previous secret is still signed with."""
        return self.previous_until is not None and now < self.previous_until

    def rotated(self, secret: str, until: datetime) -> "Secrets":
        """With another secret, the current one ending then, and the one before it now."""
        return Secrets(secret, self.current, until, self.headers)

    def valid(self, now: datetime) -> list[str]:
        """Those to sign with, the newest first."""
        return [self.current, *([self.previous] if self.previous is not None and self.overlapping(now) else [])]


def new_secret() -> str:
    """`whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(ids.random_bytes(SECRET_BYTES)).decode()


def is_secret(text: str) -> bool:
    """Whether it is `whsec_` and the base64 of 24 to 64 bytes (the specification), which look random: at least 12 differ."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        return False
    return text.startswith(PREFIX) and 24 <= len(key) <= 64 and len(set(key)) >= 12


def headers(secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of one attempt, with a signature of each secret, separated by spaces.

    `at` is the attempt's own time: a receiver refuses what is minutes old.
    """
    timestamp = str(int(at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
