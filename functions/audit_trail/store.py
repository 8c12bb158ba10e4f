"""The audit log in SQL. The function's role may insert and select, nothing else."""

import json
from datetime import datetime

from kapas.messaging.events import CloudEvent
from kapas.platform.db import Session

_APPEND = """INSERT INTO audit_log
    (event_id, type, source, subject, sequence, partner_ids, data, occurred_at, recorded_at)
  VALUES (:event_id, :type, :source, :subject, :sequence, :partner_ids, :data, :occurred_at, :recorded_at)
  ON CONFLICT (event_id) DO NOTHING"""


def append(db: Session, event: CloudEvent, recorded_at: datetime) -> None:
    db.run(
        _APPEND,
        event_id=event.id,
        type=event.type,
        source=event.source,
        subject=event.subject,
        sequence=event.sequence,
        partner_ids=list(event.partner_ids),
        data=json.dumps(event.data),
        occurred_at=event.time,
        recorded_at=recorded_at,
    )
