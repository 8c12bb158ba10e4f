"""Legal holds on a partner and on its rows, in SQL."""

from uuid import UUID

from kapas.platform.db import Session
from kapas.privacy.data_map import Table, data_map
from kapas.privacy.legal_holds import row_name

from . import selection

_ROWS = """SELECT table_name, array_agg(row_id ORDER BY row_id) FROM legal_holds
  WHERE released_at IS NULL AND row_id IS NOT NULL GROUP BY table_name ORDER BY table_name"""


def names_partner(db: Session, subject: UUID) -> bool:
    """Whether a hold in force names the partner."""
    found = db.one(
        "SELECT FROM legal_holds WHERE subject_id = :subject AND released_at IS NULL LIMIT 1", subject=subject
    )
    return found is not None


def held_rows(db: Session) -> dict[str, list[str]]:
    """Table -> the names of its rows that holds in force name, of any partner."""
    return {row[0]: row[1] for row in db.run(_ROWS)}


def is_any_about(db: Session, table: Table, row_names: list[str], subject: UUID) -> bool:
    """Whether one of the named rows is about the partner."""
    found = db.one(
        f"SELECT FROM {table.name} t WHERE {row_name(table.key, 't')} = ANY(:row_names::text[])"
        f" AND {selection.about_subject(data_map(), table)} LIMIT 1",
        row_names=row_names,
        subject=subject,
    )
    return found is not None
