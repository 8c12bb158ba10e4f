"""Use case of the relay: publish what the outbox holds, in order per aggregate."""

from collections.abc import Sequence

from kapas.platform import log
from kapas.platform.db import PLATFORM, Database
from kapas.platform.ports import Bus
from kapas.values import clock

from . import store

BATCH = 1000
"""Events published in one transaction."""


class PublishFailed(Exception):
    """Pub/Sub did not take some events; they stay in the outbox."""


def drain(database: Database, bus: Bus) -> int:
    """Publish until the outbox has nothing more to claim; how many events were published.

    Several may run at once: each claims aggregates that no other holds. Killed between publishing and marking, the events
    are published again; consumers know duplicates by their sequence.

    Raises:
        PublishFailed: what Pub/Sub took is marked, the rest waits for the next run.
    """
    published = 0
    while True:
        done, failures = _publish_batch(database, bus)
        published += done
        if failures:
            log.error("outbox_publish_failed", failures[0], published=published, failed=len(failures))
            raise PublishFailed
        if done == 0:
            if published:
                log.info("outbox_published", events=published)
            return published


def _publish_batch(database: Database, bus: Bus) -> tuple[int, list[Exception]]:
    """How many events were published, and why the others were not. The claim is the transaction's row locks."""
    with database.session(PLATFORM) as db, db.transaction():
        rows = store.claim(db, BATCH)
        outcomes = _publish(bus, rows)
        done = [row.event_id for row, failure in zip(rows, outcomes, strict=True) if failure is None]
        if done:
            store.mark_published(db, done, clock.now())
        return len(done), [failure for failure in outcomes if failure is not None]


def _publish(bus: Bus, rows: Sequence[store.OutboxRow]) -> Sequence[Exception | None]:
    """What became of each row: None if Pub/Sub took it."""
    return bus.publish([row.message() for row in rows])
