"""Legal holds on what is being erased: they override the erasure, which waits until they are released.

It waits as a whole, also for a hold on one row: what the row says may need the partner's key, and a statement that told of
the row would tell its partner of the hold.
"""

from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from kapas.platform.db import Session
from kapas.privacy import legal_holds
from kapas.privacy.data_map import Table, data_map

from . import selection

_ROWS = """SELECT table_name, array_agg(row_id ORDER BY row_id) FROM legal_holds
  WHERE released_at IS NULL AND row_id IS NOT NULL GROUP BY table_name ORDER BY table_name"""


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
    held = "SELECT FROM legal_holds WHERE subject_id = :subject AND released_at IS NULL LIMIT 1"
    if db.one(held, subject=subject) is not None:
        return True
    # What an erasure reads nothing of, it leaves as it is: events on their way.
    tables = {table.name: table for table in data_map().of_partners() if table.read}
    return any(name in tables and _is_about(db, tables[name], row_ids, subject) for name, row_ids in db.run(_ROWS))


def _is_about(db: Session, table: Table, row_ids: list[str], subject: UUID) -> bool:
    """Whether one of the rows that holds name is about the partner."""
    found = db.one(
        f"SELECT FROM {table.name} t WHERE {legal_holds.row_name(table.key, 't')} = ANY(:row_ids::text[])"
        f" AND {selection.about_subject(data_map(), table)} LIMIT 1",
        row_ids=row_ids,
        subject=subject,
    )
    return found is not None
