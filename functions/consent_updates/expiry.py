"""Consents that end without a decision: their year is over, or the erasure of their partner was asked for.

No record is added to the ledger: the grant's own, which is signed, says until when it holds.
"""

from kapas.errors import VersionConflict
from kapas.messaging import outbox
from kapas.platform import log
from kapas.platform.db import PLATFORM, Database
from kapas.values import clock

from . import dispatch_store, records, store
from .ledger import Entry
from .processors import Processor
from .schemas import EndReason

LIMIT = 500
"""Grants ended in one run, of each kind."""


def end(database: Database, processors: tuple[Processor, ...]) -> int:
    """Tell the processors of each consent that has ended, and of one whose year is over everybody; how many there were.

    Each is a statement of its own. Killed between two, the next run goes on; twice finds nothing to do.
    """
    with database.session(PLATFORM) as db:
        # Whose data is being erased is told of by that, whenever the year is over.
        restricted = store.restricted(db, LIMIT)
    ended = sum(_end(database, processors, entry, "erasure") for entry in restricted)
    with database.session(PLATFORM) as db:
        expired = store.expired(db, clock.now(), LIMIT)
    ended += sum(_end(database, processors, entry, "expiry") for entry in expired)
    if ended:
        log.info("consents_ended", consents=ended)
    return ended


def watch(database: Database) -> int:
    """Say how many dispatches should have been acknowledged by now, which people are told of; how many there are."""
    with database.session(PLATFORM) as db:
        overdue, since = dispatch_store.overdue(db, clock.now())
    if since is not None:
        log.warning("consent_dispatches_overdue", dispatches=overdue, since=clock.rfc3339(since))
    return overdue


def _end(database: Database, processors: tuple[Processor, ...], entry: Entry, reason: EndReason) -> bool:
    """Whether the consent was ended; not if a decision or another run was faster."""
    now = clock.now()
    dispatches = records.dispatches(entry, processors, reason, now)
    events = (records.expiry(entry, now),) if reason == "expiry" else ()
    try:
        with database.session(PLATFORM) as db:
            outbox.commit(db, store.end(entry, dispatches, events, now))
    except VersionConflict:
        return False
    return True
