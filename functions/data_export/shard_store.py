"""The rows of a table that are exported of a partner, in SQL: their number, the keys between shards, and one shard's rows."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kapas.platform.db import Row, Session
from kapas.privacy.data_map import DataMap, Table

from . import selection

Key = Sequence[str]
"""The key of a row, each column as text."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of one shard in one state of the database: their number, and the rows in batches, in the order of keys.

    A row has the exported columns of its table, then the row ids of its sealed columns.
    """

    count: int
    batches: Iterator[list[Row]]


def count(db: Session, data_map: DataMap, table: Table, subject: UUID) -> int:
    """How many rows of `table` are exported of the partner."""
    row = db.one(f"SELECT count(*) FROM {table.name} t WHERE {selection.exported(data_map, table)}", subject=subject)
    return row[0] if row else 0


def keys_between(db: Session, data_map: DataMap, table: Table, subject: UUID, size: int, total: int) -> list[list[str]]:
    """The key of every `size`-th of the `total` exported rows, except the last row: where one shard ends."""
    keys = ", ".join(f"t.{column}::text AS key_{n}" for n, column in enumerate(table.key))
    names = ", ".join(f"key_{n}" for n in range(len(table.key)))
    rows = db.run(
        f"SELECT {names} FROM (SELECT {keys}, row_number() OVER (ORDER BY {selection.ordered_by(table)}) AS n"
        f" FROM {table.name} t WHERE {selection.exported(data_map, table)}) AS numbered"
        " WHERE n % :size::bigint = 0 AND n < :total::bigint ORDER BY n",
        subject=subject,
        size=size,
        total=total,
    )
    return [[str(part) for part in row] for row in rows]


@contextmanager
def snapshot(
    db: Session, data_map: DataMap, table: Table, subject: UUID, lower: Key | None, upper: Key | None, batch: int
) -> Generator[Snapshot]:
    """The exported rows with keys in (`lower`, `upper`], `batch` rows at once, whatever is committed meanwhile."""
    condition = selection.exported(data_map, table)
    parameters: dict[str, Any] = {"subject": subject}
    for name, comparison, key in (("lower", ">", lower), ("upper", "<=", upper)):
        if key is not None:
            condition += " AND " + selection.beyond(table, name, comparison)
            parameters |= selection.bounds(name, key)
    columns = [*(column.name for column in table.exported), *(column.sealed for column in table.sealed)]
    # A name for each table: FETCH is prepared once, with the columns of the cursor that it saw then.
    cursor = f"export_{table.name}"
    with db.transaction():
        db.command("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        counted = db.one(f"SELECT count(*) FROM {table.name} t WHERE {condition}", **parameters)
        db.run(
            f"DECLARE {cursor} NO SCROLL CURSOR FOR SELECT {', '.join(f't.{name}' for name in columns)}"
            f" FROM {table.name} t WHERE {condition} ORDER BY {selection.ordered_by(table)}",
            **parameters,
        )
        yield Snapshot(counted[0] if counted else 0, _batches(db, cursor, batch))


def _batches(db: Session, cursor: str, batch: int) -> Iterator[list[Row]]:
    while rows := db.run(f"FETCH {batch} FROM {cursor}"):
        yield rows
