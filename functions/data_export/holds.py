"""Legal holds on what is being erased: they override the erasure, which waits until they are released.

It waits as a whole, also for a hold on one row: what the row says may need the partner's key, and a statement that told of
the row would tell its partner of the hold.
"""

from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from kapas.platform.db import Session
from kapas.privacy import legal_holds
from kapas.privacy.data_map import data_map

from . import hold_store


class Held(Exception):
    """A legal hold names the partner, or a row about it: nothing more of it may go."""


@contextmanager
def step(db: Session, subject: UUID) -> Generator[None]:
    """A step of an erasure, in a transaction of its own: a hold that was placed before wins, one that comes now waits.

    Raises `Held`. To be kept short, for whoever places a hold waits.
    """
    with db.transaction():
        legal_holds.share(db)
        if is_held(db, subject):
            raise Held
        yield


def is_held(db: Session, subject: UUID) -> bool:
    """Whether a legal hold names the partner, or a row about it."""
    if hold_store.names_partner(db, subject):
        return True
    # An erasure does not read every table of partners: events to publish stay as they are.
    tables = {table.name: table for table in data_map().of_partners() if table.read}
    return any(
        name in tables and hold_store.is_any_about(db, tables[name], row_names, subject)
        for name, row_names in hold_store.held_rows(db).items()
    )
