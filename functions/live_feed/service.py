"""Use case of the live feed: keep one document per aggregate in step with its events."""

from kapas.messaging.events import CloudEvent, SequenceGap
from kapas.platform.ports import Document, Documents

from . import projections


def project(documents: Documents, event: CloudEvent) -> None:
    """Apply the event to its document, in one transaction that also holds the document's sequence.

    The document is its own inbox: a duplicate changes nothing, and nothing is applied before its turn.

    Raises:
        SequenceGap: an earlier event of the aggregate is still to come; Pub/Sub delivers this one again.
    """

    def apply(document: Document | None) -> Document | None:
        seen = int(document["sequence"]) if document else 0
        if event.sequence <= seen:
            return None
        if event.sequence > seen + 1:
            raise SequenceGap(f"{event.type} has sequence {event.sequence}, seen so far: {seen}")
        return projections.apply(document or {}, event)

    path = projections.path(event)
    if path is not None:
        documents.update(path, apply)
