"""The partners' endpoints: they verify what comes, remember it, and answer as the faults of the seed say."""

import base64
import binascii
import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tests.simulation.kernel import START, Kernel, Task

TOLERANCE = timedelta(minutes=5)
"""By how much a signature's time may differ from the receiver's (Standard Webhooks)."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int | None
    failure: str | None = None
    retry_after: str | None = None
    body: str = "ok"
    seconds: float = 0.1


@dataclass
class Inbox:
    """What one endpoint took: the effect of a message is had once, however often it comes."""

    secrets: list[str]
    posts: Counter[str] = field(default_factory=Counter[str])
    bodies: dict[str, bytes] = field(default_factory=dict[str, bytes])
    taken: set[str] = field(default_factory=set[str])
    """The messages that were answered 200."""


class Receiver:
    """Every endpoint by its URL. A message that does not verify breaks a rule at once."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.inboxes: dict[str, Inbox] = {}

    def add(self, url: str, secret: str) -> None:
        self.inboxes.setdefault(url, Inbox([])).secrets.append(secret)

    def take(self, task: Task, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """What becomes of one POST."""
        kernel = self._kernel
        down = kernel.faults.receiver_outage
        if kernel.core.now() < START + down:
            kernel.faults.note("receiver_down", task.key, task.points, f"{task.function}: sender.post")
            return Reply(None, "connection", body="")
        if kernel.strikes("receiver_down", "sender.post", weight=3):
            return Reply(None, "dns", body="")
        inbox = self.inboxes.get(url)
        if inbox is None:  # its owner has not read the secret yet: the answer to its creation is on the way
            return Reply(401)
        message_id = headers["webhook-id"]
        if abs(kernel.core.now().timestamp() - int(headers["webhook-timestamp"])) > TOLERANCE.total_seconds():
            return Reply(400)
        if not _verifies(inbox.secrets, headers, body):
            kernel.violation(f"a webhook does not verify at {url}")
        if inbox.bodies.setdefault(message_id, body) != body:
            kernel.violation("a webhook came again with another body")
        inbox.posts[message_id] += 1
        if kernel.strikes("receiver_slow", "sender.post", weight=3):
            inbox.taken.add(message_id)
            return Reply(None, "timeout", body="", seconds=15)
        if kernel.strikes("receiver_hostile", "sender.post", weight=3):
            return self._hostile(task)
        inbox.taken.add(message_id)
        return Reply(200, seconds=0.05 + kernel.faults.draw(task.key, "latency"))

    def _hostile(self, task: Task) -> Reply:
        replies = (
            Reply(500, body="\0" * 100),
            Reply(302, body="http://169.254.169.254/"),
            Reply(429, retry_after="9" * 40),
            Reply(503, retry_after="Fri, 31 Dec 9999 23:59:59 GMT"),
            Reply(410),
            Reply(200, "timeout", body="x" * 16_384, seconds=15),
        )
        return replies[int(self._kernel.faults.draw(task.key, "hostile") * len(replies))]


def _verifies(secrets: list[str], headers: Mapping[str, str], body: bytes) -> bool:
    """Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, with one of the secrets."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    try:
        given = base64.b64decode(headers["webhook-signature"].removeprefix("v1,"), validate=True)
    except binascii.Error:
        return False
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    return any(hmac.compare_digest(hmac.digest(key, signed, hashlib.sha256), given) for key in keys)
