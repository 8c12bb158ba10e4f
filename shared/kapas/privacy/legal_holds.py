"""Legal holds override every deletion: a deletion and the placing of a hold wait for each other, so none overlooks the other.

with db.transaction():
    legal_holds.share(db)
    ...  # ask what is held, and delete what is not
"""

from collections.abc import Iterable

from kapas.platform.db import Session

_LOCK = int.from_bytes(b"holds", "big")
"""The advisory lock that a deletion shares with others, and that whoever places a hold takes alone."""


def share(db: Session) -> None:
    """Let no hold be placed until this transaction ends; several deletions may run at once."""
    db.one("SELECT pg_advisory_xact_lock_shared(:lock)", lock=_LOCK)


def take(db: Session, wait: int) -> None:
    """Wait, at most `wait` milliseconds, until no deletion runs, and let none begin until this transaction ends."""
    db.one("SELECT set_config('lock_timeout', :wait, true)", wait=str(wait))
    db.one("SELECT pg_advisory_xact_lock(:lock)", lock=_LOCK)


def row_name(key: Iterable[str], alias: str) -> str:
    """How a hold names a row, called `alias` in SQL: the columns of its key, joined by `/`."""
    return " || '/' || ".join(f"{alias}.{column}::text" for column in key)


def of_row(table: str, key: Iterable[str], alias: str) -> str:
    """The condition that a hold, called `h`, is in force and names the row."""
    return f"h.released_at IS NULL AND h.table_name = '{table}' AND h.row_id = {row_name(key, alias)}"
