"""The outbox in SQL."""

from dataclasses import dataclass
from datetime import datetime

from kapas.messaging import events
from kapas.platform.db import Session
from kapas.platform.ports import Message

# The first unpublished event of an aggregate is its lock: who holds it publishes the aggregate, everybody else leaves the
# aggregate alone (SKIP LOCKED), so that two publishers cannot swap its events. A row that another publisher marked
# between our snapshot and our lock no longer fits `published_at IS NULL` and is let go.
_CLAIM = """WITH head AS (
    SELECT subject, min(sequence) AS sequence FROM outbox WHERE published_at IS NULL GROUP BY subject
    ORDER BY subject LIMIT :limit),
  claimed AS (
    SELECT o.subject FROM outbox o JOIN head USING (subject, sequence)
    WHERE o.published_at IS NULL ORDER BY o.subject FOR UPDATE OF o SKIP LOCKED)
  SELECT o.event_id::text, o.topic, o.source, o.type, o.subject::text, o.sequence, o.data::text,
    array_to_string(o.partner_ids, ','), o.traceparent,
    to_char(o.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  FROM outbox o JOIN claimed USING (subject)
  WHERE o.published_at IS NULL ORDER BY o.subject, o.sequence LIMIT :limit"""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An event to publish, its values as text: they go into the message as PostgreSQL writes them."""

    event_id: str
    topic: str
    source: str
    type: str
    subject: str
    sequence: int
    data: str
    """JSON."""
    partner_ids: str
    traceparent: str | None
    time: str

    def message(self) -> Message:
        data = events.encode(
            id=self.event_id,
            type=self.type,
            source=self.source,
            subject=self.subject,
            sequence=self.sequence,
            time=self.time,
            data=self.data,
            partner_ids=self.partner_ids,
            traceparent=self.traceparent,
        )
        return Message(self.topic, data, {"content-type": events.CONTENT_TYPE, "type": self.type}, self.subject)


def claim(db: Session, limit: int) -> list[OutboxRow]:
    """At most `limit` unpublished events of aggregates that nobody else is publishing, in order per aggregate.

    They stay claimed until the transaction ends.
    """
    return [OutboxRow(*row) for row in db.run(_CLAIM, limit=limit)]


def mark_published(db: Session, event_ids: list[str], at: datetime) -> None:
    db.run("UPDATE outbox SET published_at = :at WHERE event_id = ANY(:event_ids::uuid[])", at=at, event_ids=event_ids)
