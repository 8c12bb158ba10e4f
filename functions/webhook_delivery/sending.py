"""One attempt, as it is made alone and within a batch: signed, sent, and what becomes of its message."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database, Session
from kapas.platform.ports import Task
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Keyring, Shredded
from kapas.values import clock, ids

from . import dispatch, endpoint_store, schedule, signatures, store
from .schemas import AttemptFailure, MessageStatus
from .signatures import Secrets

LEASE = timedelta(seconds=60)
"""Longer than an attempt can take, so that a lease expires only when its holder was killed."""
HEADERS = {"Content-Type": "application/json", "User-Agent": "Kapas-Webhooks/1"}

_GONE = 410


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one POST. Without a complete answer `failure` says why, and `status` is None unless it came."""

    status: int | None
    failure: AttemptFailure | None = None
    retry_after: str | None = None
    body: str = ""
    """The beginning of the answer, at most 16 KiB."""
    milliseconds: int = 0

    @property
    def taken(self) -> bool:
        """Whether the endpoint took the message: 200 to 299, nothing else."""
        return self.failure is None and self.status is not None and 200 <= self.status <= 299


class Sender(Protocol):
    """The way to the partners' endpoints."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply: ...


def secrets(keyring: Keyring, db: Session, lease: store.Lease) -> Secrets | None:
    """What to sign with; None if the partner's key was shredded."""
    field = endpoint_store.secret_field(lease.endpoint_id)
    try:
        return Secrets.load(keyring.decrypt(SqlKeyStore(db), lease.partner_id, field, lease.secrets))
    except Shredded:
        return None


def send(sender: Sender, lease: store.Lease, secrets: Secrets, started: datetime) -> store.Result:
    """Send what is leased, signed; what came of it, which is not recorded yet.

    Never raises: an attempt that is not recorded is repeated every minute, without end. A fault of our own is logged and
    counts as the failure `internal`.
    """
    failed = lease.number - lease.earlier
    reply = Reply(None, "internal")
    try:
        body = lease.payload.encode()
        signed = signatures.headers(secrets.valid(started), str(lease.message_id), started, body)
        reply = sender.post(lease.url, {**HEADERS, **secrets.headers, **signed}, body)
        return _result(reply, failed, started, clock.now())
    except Exception as error:
        log.error("webhook_attempt_failed", error, message_id=lease.message_id, endpoint_id=lease.endpoint_id)
        return _after_a_fault(reply, failed, started)


def record(database: Database, lease: store.Lease, result: store.Result) -> tuple[store.Result, store.Recorded | None]:
    """Write the result of an attempt; what was written, and what `store.record` returned.

    If the answer's text cannot be stored, the result is stored without it. Raises `kapas.errors.Unavailable` if the
    database is down: the lease expires, and the attempt is repeated.
    """
    try:
        with database.session(PLATFORM) as db:
            return result, store.record(db, lease, result)
    except Unavailable:
        raise
    except Exception as error:
        log.error("webhook_record_failed", error, message_id=lease.message_id, endpoint_id=lease.endpoint_id)
        bare = replace(result, response="", failure=result.failure or (None if result.taken else "internal"))
        with database.session(PLATFORM) as db:
            return bare, store.record(db, lease, bare)


def tell(lease: store.Lease, result: store.Result, recorded: bool) -> None:
    """Log an attempt: the alerts on failing endpoints read it."""
    log.info(
        "webhook_attempted",
        message_id=lease.message_id,
        endpoint_id=lease.endpoint_id,
        number=lease.number,
        status_code=result.status_code,
        failure=result.failure,
        message_status=result.status,
        recorded=recorded,
    )


def retry(lease: store.Lease, result: store.Result) -> Task | None:
    """The task of the attempt after one that failed, if there is to be one."""
    at = result.next_attempt_at
    return None if at is None else dispatch.task(lease.message_id, lease.number + 1, at=at)


def _result(reply: Reply, failed: int, started: datetime, now: datetime) -> store.Result:
    """What becomes of a message after this reply, its `failed`th (from 1) of this schedule if it is a failure."""
    wait: timedelta | None = None
    if not reply.taken and reply.status != _GONE:
        throttled = reply.failure == "timeout" or reply.status in schedule.THROTTLED
        wait = schedule.delay(failed, schedule.retry_after(reply.retry_after, now), throttled, chance())
    return _judged(reply, wait, started, now)


def _after_a_fault(reply: Reply, failed: int, started: datetime) -> store.Result:
    """The result by the plain schedule, from the start of the attempt: it uses nothing that may have failed."""
    ended = reply.taken or reply.status == _GONE or failed >= len(schedule.SCHEDULE)
    return _judged(reply, None if ended else schedule.SCHEDULE[failed], started, started)


def _judged(reply: Reply, wait: timedelta | None, started: datetime, now: datetime) -> store.Result:
    """The result, with the next attempt after `wait`, if any."""
    status: MessageStatus
    gone = reply.status == _GONE
    if reply.taken:
        status = "delivered"
    elif gone:
        status = "discarded"
    else:
        status = "exhausted" if wait is None else "pending"
    return store.Result(
        started_at=started,
        ended_at=now,
        milliseconds=reply.milliseconds,
        status_code=reply.status,
        failure=reply.failure,
        response=reply.body,
        status=status,
        next_attempt_at=None if wait is None else now + wait,
        taken=reply.taken,
        gone=gone,
    )


def chance() -> float:
    """In [0, 1)."""
    return int.from_bytes(ids.random_bytes(4), "big") / 2**32
