"""The rows that are about a partner, in SQL made of the data map: what an erasure counts, deletes, overwrites and keeps."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from kapas.platform.db import Session
from kapas.privacy.data_map import Collection, Column, FileOf, RetentionRule, Table, data_map
from kapas.privacy.retention import policies

from . import selection

Days = list[tuple[date, int]]
"""A day, and how many rows retention counts from it; ordered."""

BATCH = 2000
"""Rows deleted, or documents looked up, at once."""


# Count


def count(db: Session, table: Table, subject: UUID) -> int:
    """How many rows of `table` are about the partner."""
    return _count(db, table, subject, "true", {})


def count_deletable(db: Session, table: Table, subject: UUID, today: date) -> int:
    """How many of these rows no statute in force forbids to delete."""
    return _count(db, table, subject, *_deletable(table, today))


def count_files(db: Session, table: Table, file: FileOf, subject: UUID, today: date) -> int:
    """How many of these rows have a file that no statute in force forbids to delete."""
    return _count(db, table, subject, *_file_deletable(table, file, today))


def retention_days(db: Session, table: Table, rule: RetentionRule, subject: UUID, today: date) -> Days:
    """The days from which retention counts for the rows that fall under `rule`: `today` where rows have no anchor."""
    origin = data_map().followed(table)
    condition = _about(table)
    source = f"{table.name} t"
    if table.follows:
        source += f" JOIN {origin.name} o ON o.{next(iter(origin.key))} = t.{table.follows.column}"
        condition += f" AND {selection.about_subject(data_map(), origin, 'o')}"
    alias = "o" if table.follows else "t"
    day = f"({alias}.{origin.anchor} AT TIME ZONE 'Asia/Kolkata')::date" if origin.anchor else ":today::date"
    rows = db.run(
        f"SELECT {day} AS day, count(*) FROM {source} WHERE {condition} AND {selection.of_rule(origin, rule, alias)}"
        " GROUP BY 1 ORDER BY 1",
        subject=subject,
        **({} if origin.anchor else {"today": today}),
    )
    return [(row[0], row[1]) for row in rows]


# Read


def newest_anchor(db: Session, table: Table, rule: RetentionRule, subject: UUID) -> datetime | None:
    """The latest anchor of the partner's rows that fall under `rule`; None without such a row."""
    row = db.one(
        f"SELECT max(t.{table.anchor}) FROM {table.name} t WHERE {_about(table)} AND {selection.of_rule(table, rule)}",
        subject=subject,
    )
    return row[0] if row else None


def sealed_values(db: Session, table: Table, column: Column, subject: UUID) -> list[tuple[UUID, bytes]]:
    """The encrypted values of a column in the partner's rows, each with the row id that it is sealed with."""
    rows = db.run(
        f"SELECT t.{column.sealed}, t.{column.name} FROM {table.name} t"
        f" WHERE {_about(table)} AND t.{column.name} IS NOT NULL ORDER BY {selection.ordered_by(table)}",
        subject=subject,
    )
    return [(row[0], bytes(row[1])) for row in rows]


def document_ids(db: Session, collection: Collection, subject: UUID) -> Iterator[UUID]:
    """The documents of the partner that an erasure changes, read `BATCH` at a time."""
    table = data_map().tables[collection.rows_of]
    condition = _about(table)
    for rule in table.retention:
        if collection.with_policy and rule.policy == collection.with_policy:
            condition += f" AND {selection.of_rule(table, rule)}"
    key, last = next(iter(table.key)), UUID(int=0)
    while rows := db.run(
        f"SELECT t.{key} FROM {table.name} t WHERE {condition} AND t.{key} > :last::uuid ORDER BY t.{key} LIMIT {BATCH}",
        subject=subject,
        last=last,
    ):
        yield from (row[0] for row in rows)
        last = rows[-1][0]


def file_paths(db: Session, table: Table, file: FileOf, subject: UUID, today: date) -> Iterator[str]:
    """The paths of the files of the partner's rows that no statute in force forbids to delete."""
    condition, parameters = _file_deletable(table, file, today)
    rows = db.run(
        f"SELECT {', '.join(f't.{name}' for name in file.columns)} FROM {table.name} t"
        f" WHERE {_about(table)} AND {condition} ORDER BY {selection.ordered_by(table)}",
        subject=subject,
        **parameters,
    )
    return (file.path.format_map(dict(zip(file.columns, row, strict=True))) for row in rows)


# Change


def delete_batch(db: Session, table: Table, subject: UUID, today: date) -> int:
    """Delete the partner's next `BATCH` rows that no statute in force forbids to delete; how many were deleted."""
    condition, parameters = _deletable(table, today)
    keys = ", ".join(table.key)
    deleted = db.run(
        f"DELETE FROM {table.name} WHERE ({keys}) IN (SELECT {selection.ordered_by(table)} FROM {table.name} t"
        f" WHERE {_about(table)} AND {condition} ORDER BY {selection.ordered_by(table)} LIMIT {BATCH}) RETURNING {keys}",
        subject=subject,
        **parameters,
    )
    return len(deleted)


def overwrite(db: Session, table: Table, columns: list[Column], subject: UUID) -> None:
    """Redact or unlink `columns`, as the data map says, in the partner's rows."""
    values: dict[str, Any] = {}
    assignments: list[str] = []
    for column in columns:
        if column.erase == "redact":
            assignments.append(f"{column.name} = :{column.name}_to")
            values[f"{column.name}_to"] = json.dumps(column.to) if isinstance(column.to, list | dict) else column.to
        else:
            unique = f"sha256(convert_to(t.{next(iter(table.key))}::text, 'UTF8'))"
            assignments.append(f"{column.name} = CASE WHEN {column.name} IS NOT NULL THEN {unique} END")
    db.run(f"UPDATE {table.name} t SET {', '.join(assignments)} WHERE {_about(table)}", subject=subject, **values)


# Conditions


def _about(table: Table) -> str:
    return selection.about_subject(data_map(), table)


def _count(db: Session, table: Table, subject: UUID, condition: str, parameters: dict[str, Any]) -> int:
    row = db.one(
        f"SELECT count(*) FROM {table.name} t WHERE {_about(table)} AND {condition}", subject=subject, **parameters
    )
    return row[0] if row else 0


def _deletable(table: Table, today: date) -> tuple[str, dict[str, Any]]:
    """The condition that no statute in force forbids to delete a row, and its parameters."""
    origin, conditions, parameters = data_map().followed(table), list[str](), dict[str, Any]()
    alias = "o" if table.follows else "t"
    for number, rule in enumerate(origin.retention):
        condition = selection.of_rule(origin, rule, alias)
        bound = policies()[rule.policy].deletable_until(today)
        if bound is not None and origin.anchor:
            condition += f" AND {alias}.{origin.anchor} < :bound{number}"
            parameters[f"bound{number}"] = selection.midnight(bound + timedelta(days=1))
        conditions.append(f"({condition})")
    deletable = f"({' OR '.join(conditions)})"
    if not table.follows:
        return deletable, parameters
    of_origin = f"o.{next(iter(origin.key))} = t.{table.follows.column}"
    return f"EXISTS (SELECT FROM {origin.name} o WHERE {of_origin} AND {deletable})", parameters


def _file_deletable(table: Table, file: FileOf, today: date) -> tuple[str, dict[str, Any]]:
    """The condition that a row has a file that no statute in force forbids to delete, and its parameters."""
    has_file = f"t.{file.when} IS NOT NULL" if file.when else "true"
    bound = policies()[data_map().prefix(file).retention].deletable_until(today)
    if bound is None:
        return has_file, {}
    return f"{has_file} AND t.{table.anchor} < :bound", {"bound": selection.midnight(bound + timedelta(days=1))}
