"""Use case of the audit trail: keep every event, once."""

from kapas.messaging.events import CloudEvent
from kapas.platform.db import Session
from kapas.values import clock

from . import store


def record(db: Session, event: CloudEvent) -> None:
    """Append the event. Its id is the row's key, so that a duplicate, in whatever order it comes, adds nothing."""
    store.append(db, event, clock.now())
