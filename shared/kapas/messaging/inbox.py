"""What a consumer has taken in of each aggregate, committed with the effect.

Sequences have no gaps, so one row per aggregate and consumer is enough to tell a duplicate, the next step and a step missed.
"""

from kapas.messaging.events import CloudEvent, SequenceGap
from kapas.platform.db import Session


def accept(db: Session, consumer: str, event: CloudEvent) -> bool:
    """Whether `event` is the next of its aggregate for `consumer`; False for a duplicate.

    To be called in the transaction that writes the effect, so that both commit or neither. Two deliveries at once wait
    for each other on the row.

    Raises:
        SequenceGap: an earlier event has not been taken in yet; Pub/Sub delivers again.
    """
    accepted = db.one(
        """INSERT INTO inbox (consumer, subject, sequence) SELECT :consumer, :subject::uuid, :sequence::bigint
             WHERE :sequence::bigint = 1
                OR EXISTS (SELECT FROM inbox WHERE consumer = :consumer AND subject = :subject::uuid)
           ON CONFLICT (consumer, subject) DO UPDATE SET sequence = excluded.sequence
             WHERE inbox.sequence = excluded.sequence - 1
           RETURNING sequence""",
        consumer=consumer,
        subject=event.subject,
        sequence=event.sequence,
    )
    if accepted:
        return True
    seen = db.one(
        "SELECT sequence FROM inbox WHERE consumer = :consumer AND subject = :subject",
        consumer=consumer,
        subject=event.subject,
    )
    if seen is None or seen[0] < event.sequence:
        raise SequenceGap(f"{event.type} has sequence {event.sequence}, seen so far: {seen[0] if seen else 0}")
    return False
