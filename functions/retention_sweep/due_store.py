"""Due rows in SQL: which they are, which a legal hold keeps, and their deletion. Dry and real sweeps share the condition."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kapas.platform.db import Session
from kapas.privacy.conditions import governed
from kapas.privacy.data_map import Subject, data_map
from kapas.privacy.legal_holds import of_row, row_name

from .places import Place
from .row_names import parts_of


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the next one begins behind it."""

    anchor: datetime
    key: str
    """As a legal hold names the row: its key, the columns of one of several joined by `/`."""


@dataclass(frozen=True, slots=True)
class Due:
    """A row whose period is over. `path` is that of its file, if the place is one of files."""

    position: Position
    held: bool
    path: str | None


def scan(db: Session, place: Place, cutoff: datetime, after: Position | None, limit: int) -> list[Due]:
    """The `limit` first rows behind `after` that retention counts from before `cutoff`."""
    condition, parameters = _due(place, cutoff)
    of_path = [f"t.{name}::text" for name in place.file.columns] if place.file else []
    behind = ", ".join(f":after_{n}::text::{kind}" for n, kind in enumerate(place.table.key.values()))
    parts = parts_of(place.table, after.key) if after else [None] * len(place.table.key)
    rows = db.run(
        f"""SELECT {", ".join([place.anchor, _name(place), _held(place), *of_path])} FROM {place.table.name} t
            WHERE {condition} AND (:after_anchor::timestamptz IS NULL
              OR ({place.anchor}, {_key(place)}) > (:after_anchor::timestamptz, {behind}))
            ORDER BY {place.anchor}, {_key(place)} LIMIT :limit""",
        **parameters,
        after_anchor=after.anchor if after else None,
        **{f"after_{n}": part for n, part in enumerate(parts)},
        limit=limit,
    )
    return [Due(Position(row[0], row[1]), row[2], _path(place, row[3:])) for row in rows]


def held(db: Session, place: Place, keys: list[str]) -> set[str]:
    """Those of `keys` that a legal hold keeps."""
    condition, parameters = _is_one_of(place, keys)
    rows = db.run(
        f"""SELECT {_name(place)} FROM {place.table.name} t WHERE {condition} AND {_held(place)}
            ORDER BY {_key(place)}""",
        **parameters,
    )
    return {row[0] for row in rows}


def delete(db: Session, place: Place, cutoff: datetime, keys: list[str]) -> int:
    """Delete those rows of `keys` that are still due and not held, with what belongs to them; how many they were."""
    condition, parameters = _due(place, cutoff)
    chosen, chosen_parameters = _is_one_of(place, keys)
    children = [
        f", of_{n} AS (DELETE FROM {table} c USING gone WHERE c.{column} = gone.{place.key})"
        for n, (table, column) in enumerate(place.children.items())
    ]
    row = db.one(
        f"""WITH gone AS (
              DELETE FROM {place.table.name} t WHERE {chosen} AND {condition} AND NOT {_held(place)}
              RETURNING t.{place.key}){"".join(children)}
            SELECT count(*) FROM gone""",
        **parameters,
        **chosen_parameters,
    )
    return row[0] if row else 0


def _due(place: Place, cutoff: datetime) -> tuple[str, dict[str, Any]]:
    """The condition that a row is governed by the place's policy and that its period is over, with its parameters."""
    return f"{place.only} AND {place.anchor} < :cutoff AND {governed(place.rule, place.before)}", {"cutoff": cutoff}


def _held(place: Place) -> str:
    """The condition that a hold that nobody released keeps the row, or all of one whom it or what goes with it is about."""
    about = " OR ".join(_is_of_hold("t", path) for path in place.table.subject) or "false"
    names_row = f"EXISTS (SELECT FROM legal_holds h WHERE {of_row(place.table.name, place.table.key, 't')})"
    of_subject = f"EXISTS (SELECT FROM legal_holds h WHERE h.released_at IS NULL AND ({about}))"
    return f"({' OR '.join([names_row, of_subject, *_held_through_children(place)])})"


def _held_through_children(place: Place) -> list[str]:
    """The same of what goes with the row and is about others than the row is: bids on a lot."""
    own = {path.column for path in place.table.subject}
    conditions: list[str] = []
    for table, column in place.children.items():
        others = [path for path in data_map().tables[table].subject if not path.parent and path.column not in own]
        if others:
            about = " OR ".join(_is_of_hold("c", path) for path in others)
            conditions.append(
                f"EXISTS (SELECT FROM {table} c JOIN legal_holds h ON h.released_at IS NULL AND ({about})"
                f" WHERE c.{column} = t.{place.key})"
            )
    return conditions


def _is_of_hold(alias: str, path: Subject) -> str:
    column = f"{alias}.{path.column}"
    return f"h.subject_id = ANY({column})" if path.array else f"h.subject_id = {column}"


def _name(place: Place) -> str:
    return row_name(place.table.key, "t")


def _key(place: Place) -> str:
    return ", ".join(f"t.{column}" for column in place.table.key)


def _is_one_of(place: Place, keys: list[str]) -> tuple[str, dict[str, Any]]:
    """The condition that a row is one of `keys`, with its parameters."""
    parts = [parts_of(place.table, key) for key in keys]
    parameters = {f"key_{n}": [of_row[n] for of_row in parts] for n in range(len(place.table.key))}
    arrays = (f"CAST(:key_{n}::text[] AS {kind}[])" for n, kind in enumerate(place.table.key.values()))
    return f"({_key(place)}) IN (SELECT * FROM unnest({', '.join(arrays)}))", parameters


def _path(place: Place, values: list[str]) -> str | None:
    if place.file is None:
        return None
    return place.file.path.format_map(dict(zip(place.file.columns, values, strict=True)))
