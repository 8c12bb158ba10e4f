"""Use case of the relay: publish what the outbox holds, in order per aggregate."""

from itertools import groupby

from kapas import clock, log
from kapas.db import PLATFORM, Database
from kapas.ports import Bus

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
        done, failed = _publish_batch(database, bus)
        published += done
        if failed:
            log.error("outbox_publish_failed", published=published, failed=failed)
            raise PublishFailed
        if done == 0:
            if published:
                log.info("outbox_published", events=published)
            return published


def _publish_batch(database: Database, bus: Bus) -> tuple[int, int]:
    """How many events were published, and how many were not. The claim is the transaction's row locks."""
    with database.session(PLATFORM) as db, db.transaction():
        rows = store.claim(db, BATCH)
        done = [
            row.event_id
            for topic, of_topic in groupby(sorted(rows, key=lambda row: row.topic), key=lambda row: row.topic)
            for row in _publish(bus, topic, list(of_topic))
        ]
        if done:
            store.mark_published(db, done, clock.now())
        return len(done), len(rows) - len(done)


def _publish(bus: Bus, topic: str, rows: list[store.OutboxRow]) -> list[store.OutboxRow]:
    """The rows that Pub/Sub took."""
    outcomes = bus.publish(topic, [row.message() for row in rows])
    return [row for row, failure in zip(rows, outcomes, strict=True) if failure is None]
