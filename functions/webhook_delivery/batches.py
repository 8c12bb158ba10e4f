"""What else is due at an endpoint that has just taken a message: leased, sent and recorded in batches.

A message may have no task of its own (`service.fan_out`), so whoever has claimed one looks for others afterwards, or makes
the task of the next.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Task
from kapas.privacy.keys import Keyring
from kapas.values import clock, ids

from . import batch_store, dispatch, schedule, sending, store
from .sending import LEASE, Sender
from .signatures import Secrets
from .store import Lease, Result

DRAIN = timedelta(seconds=20)
"""For how long an attempt that was taken is followed by others to its endpoint: with the last of them, less than `LEASE`."""
BATCH, FIRST_BATCH = 64, 8
"""Messages that are leased at once while a drain goes fast, and at first."""
FAST = timedelta(seconds=1)
"""A batch that takes longer is followed by a single message, so that few are leased long before they are
sent; one that goes fast is followed by twice as many."""


def drain(
    database: Database, keyring: Keyring, sender: Sender, endpoint_id: UUID, started: datetime
) -> tuple[list[Task | None], bool]:
    """Send what is due at an endpoint until nothing is, one is not taken, or `DRAIN` after `started`; the next tasks, and
    whether events were written."""
    size = FIRST_BATCH
    while (now := clock.now()) - started < DRAIN:
        with database.session(PLATFORM) as db:
            leases = batch_store.claim(db, endpoint_id, ids.uuid7(), now, now + LEASE, size)
            secrets = sending.secrets(keyring, db, leases[0]) if leases else None
        if not leases:
            return [], False
        if secrets is None:
            _discard(database, leases)
            continue
        attempts = _attempts(sender, leases, secrets, started + DRAIN)
        failed, published = _record(database, attempts, leases[len(attempts) :])
        if failed:
            return [*failed, *hand_on(database, endpoint_id)], published
        size = min(2 * size, BATCH) if clock.now() - now < FAST else 1
    return hand_on(database, endpoint_id), False


def hand_on(database: Database, endpoint_id: UUID) -> list[Task | None]:
    """A task for what is due next at an endpoint, if anything is; a spared one gets it when it is to be probed."""
    now = clock.now()
    with database.session(PLATFORM) as db:
        following = batch_store.following(db, endpoint_id, now)
    if following is None:
        return []
    message_id, number, open_until = following
    if open_until is not None and open_until > now:
        return [
            dispatch.probe(endpoint_id, message_id, number, open_until, schedule.probe(open_until, sending.chance()))
        ]
    return [dispatch.task(message_id, number, again=now)]


def _attempts(sender: Sender, leases: Sequence[Lease], secrets: Secrets, until: datetime) -> list[tuple[Lease, Result]]:
    """The messages sent, with what came of each: up to the first that is not taken, none begun after `until`."""
    made: list[tuple[Lease, Result]] = []
    for lease in leases:
        if (started := clock.now()) >= until or (made and not made[-1][1].taken):
            break
        made.append((lease, sending.send(sender, lease, secrets, started)))
    return made


def _record(
    database: Database, attempts: Sequence[tuple[Lease, Result]], unsent: Sequence[Lease]
) -> tuple[list[Task | None], bool]:
    """Write what came of a batch, and let go of what was not sent; for one that was not taken, its next task if any, and
    whether events were written."""
    taken = [(lease, result) for lease, result in attempts if result.taken]
    failed = attempts[len(taken) :]
    recorded = _record_taken(database, taken)
    published = False
    for lease, result in failed:
        _, written = sending.record(database, lease, result)
        if written is not None:
            recorded.add(lease.message_id)
            published = published or written.published
    if unsent:
        with database.session(PLATFORM) as db:
            batch_store.release(db, unsent)
    with log.together():
        for lease, result in attempts:
            sending.tell(lease, result, lease.message_id in recorded)
    again = [sending.retry(lease, result) if lease.message_id in recorded else None for lease, result in failed]
    return again, published


def _record_taken(database: Database, taken: Sequence[tuple[Lease, Result]]) -> set[UUID]:
    """Record all at once, or one by one if that fails: otherwise one bad answer would have all of them sent again."""
    try:
        with database.session(PLATFORM) as db:
            return batch_store.record_taken(db, taken)
    except Unavailable:
        raise
    except Exception as error:
        log.error("webhook_record_failed", error, endpoint_id=taken[0][0].endpoint_id, messages=len(taken))
        return {lease.message_id for lease, result in taken if sending.record(database, lease, result)[1] is not None}


def _discard(database: Database, leases: Sequence[Lease]) -> None:
    with database.session(PLATFORM) as db:
        for lease in leases:
            store.discard(db, lease)
