"""What a legal hold names: one row by its key, in whatever spelling, or everything about a partner.

A hold that names nothing keeps nothing, and whoever placed it would rely on it; so it is refused.
"""

from collections.abc import Callable, Mapping
from datetime import date
from uuid import UUID

from kapas.platform.db import Session
from kapas.privacy.data_map import Subject, Table, data_map

from . import places

_SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "uuid": lambda text: str(UUID(text)),
    "date": lambda text: date.fromisoformat(text).isoformat(),
    "bytea": lambda text: "\\x" + bytes.fromhex(text.removeprefix("\\x")).hex(),
    "text": str,
}
"""How PostgreSQL writes a value of each type that a key has. Raises ValueError for a text that is none."""


def canonical(table: Table, row_id: str) -> str | None:
    """`row_id` as `legal_holds.row_name` has it: the columns as PostgreSQL writes them; None if it cannot be a key."""
    parts = parts_of(table, row_id)
    if len(parts) != len(table.key):
        return None
    try:
        return "/".join(_SPELLINGS[kind](part) for kind, part in zip(table.key.values(), parts, strict=True))
    except ValueError:
        return None


def parts_of(table: Table, name: str) -> list[str]:
    """The columns of a key whose name this is. The last one may hold a `/` of its own."""
    return name.split("/", len(table.key) - 1)


def is_there(db: Session, table: Table, name: str) -> bool:
    """Whether the table has the row that `canonical` answered."""
    key = " AND ".join(f"t.{column} = :key_{n}::text::{kind}" for n, (column, kind) in enumerate(table.key.items()))
    parts = {f"key_{n}": part for n, part in enumerate(parts_of(table, name))}
    return db.one(f"SELECT FROM {table.name} t WHERE {key}", **parts) is not None


def is_somebody(db: Session, subject_id: UUID) -> bool:
    """Whether there is such a partner, or a row about one that never registered, of those that an index leads to."""
    tables = [data_map().tables[name] for name in ("partners", *places.tables())]
    there = " OR ".join(
        f"EXISTS (SELECT FROM {table.name} t WHERE {_is(path)})"
        for table in tables
        if table.counted
        for path in table.subject
    )
    return db.one(f"SELECT WHERE {there}", subject=subject_id) is not None


def _is(path: Subject) -> str:
    column = f"t.{path.column}"
    return f"{column} @> ARRAY[:subject::uuid]" if path.array else f"{column} = :subject::uuid"
