"""Build the documents of the live feed anew from the database of `DATABASE_URL` (`make rebuild-documents`).

For after a restore: documents tell of what never happened then, and cannot be built by replaying the topics, which keep a
week. The document of each row is overwritten with the fold of the row's events, up to its version; one that has no row is
deleted, and one that an erasure overwrote is overwritten again. It can be killed anywhere and run again, before the system
is opened.

The role of `DATABASE_URL` must be able to read `audit_log`, `outbox`, `erasures` and what documents are of, as the migrator
is; the account it runs as, to write the documents of `PROJECT`.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from google.api_core.exceptions import GoogleAPICallError

from functions.data_export import subject_store
from functions.live_feed import projections
from kapas.messaging.events import CloudEvent
from kapas.platform.db import PLATFORM, Row, Session
from kapas.platform.gcp.firestore import Firestore
from kapas.platform.ports import Document
from kapas.platform.settings import DatabaseSettings
from kapas.privacy.data_map import Collection, data_map
from tools.database import FAILURES, opened

PAGE = 500
"""Rows that are read at once."""

# After a restore the audit log holds what was told of before it, too: of two events with one number the outbox has the one
# that happened, and when it has been swept, the one that was recorded later.
_EVENTS = """SELECT DISTINCT ON (sequence) event_id, type, source, sequence, data, occurred_at, partner_ids
  FROM (SELECT event_id, type, source, sequence, data, occurred_at, partner_ids, recorded_at
      FROM audit_log WHERE subject = :subject
    UNION ALL
    SELECT event_id, type, source, sequence, data, occurred_at, partner_ids, 'infinity'
      FROM outbox WHERE subject = :subject) AS told
  WHERE sequence <= :version ORDER BY sequence, recorded_at DESC"""

_ERASED = "SELECT DISTINCT partner_id FROM erasures WHERE status = 'completed' ORDER BY partner_id"


def rebuild(db: Session, documents: Firestore) -> Iterator[str]:
    """Make each document what the database says, and say of each what was done: `overwritten`, `deleted` or `kept`."""
    erased = [row[0] for row in db.run(_ERASED)]
    for collection in data_map().collections.values():
        overwritten = {id_ for subject in erased for id_ in subject_store.document_ids(db, collection, subject)}
        known: set[str] = set()
        for row_id, version in _rows(db, collection):
            known.add(str(row_id))
            document = fold(row_id, version, db.run(_EVENTS, subject=row_id, version=version))
            if document is None:  # the audit log is kept for a shorter time than some trades are
                yield "kept"
                continue
            wanted = collection.redacted(document) if row_id in overwritten else document
            documents.update(f"{collection.name}/{row_id}", lambda _, wanted=wanted: wanted)
            yield "overwritten"
        for document_id in documents.ids(collection.name):
            if document_id not in known:
                documents.delete(f"{collection.name}/{document_id}")
                yield "deleted"


def fold(subject: UUID, version: int, rows: Sequence[Row]) -> Document | None:
    """The document after events `(id, type, source, sequence, data, time, partners)`; None unless all of them are there."""
    if [row[3] for row in rows] != list(range(1, version + 1)):
        return None
    document: Document = {}
    for event_id, event_type, source, sequence, data, occurred_at, partner_ids in rows:
        event = CloudEvent(
            specversion="1.0",
            id=event_id,
            type=event_type,
            source=source,
            subject=subject,
            time=occurred_at,
            dataschema="",
            partitionkey=subject,
            sequence=sequence,
            partnerids=",".join(map(str, partner_ids)),
            data=data,
        )
        document = projections.apply(document, event)
    return document


def _rows(db: Session, collection: Collection) -> Iterator[tuple[UUID, int]]:
    last = UUID(int=0)
    while rows := db.run(
        f"SELECT id, version FROM {collection.rows_of} WHERE id > :last ORDER BY id LIMIT {PAGE}", last=last
    ):
        yield from ((row[0], row[1]) for row in rows)
        last = rows[-1][0]


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Build, and print how many; the exit code."""
    try:
        with opened("rebuild-documents", environment, DatabaseSettings) as (settings, database):
            documents = Firestore(settings.project)
            with database.session(PLATFORM) as db:
                done = Counter(rebuild(db, documents))
    except (*FAILURES, GoogleAPICallError) as error:
        print(f"cannot build the documents: {error}", file=sys.stderr)
        return 2
    print(f"{done['overwritten']} documents are overwritten, {done['deleted']} without a row are deleted")
    if done["kept"]:
        print(f"{done['kept']} are as they were, for the audit log no longer has all of their events")
    return 0


if __name__ == "__main__":
    sys.exit(main())
