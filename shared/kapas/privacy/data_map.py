"""The data map: what the platform holds of a partner, where, why, for how long, and what becomes of it.

One entry for every column of every table, every field of every Firestore collection and every prefix of every bucket. Each
capability keeps its part in `functions/<capability>/data_map.json`; `data_map.json` beside this file has what crosses them.
Exports, erasures, the retention sweep and the grants of both follow from the union; a contract test holds it complete. JSON,
because a function that needs the map reads it at its start: YAML would be a further dependency.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any, Literal, cast

Category = Literal["identifier", "contact", "commercial", "technical", "consent", "security", "none"]
"""`identifier`: says who somebody is, by name, official number or the platform's own. `contact`: reaches them."""

ExportRule = Literal["include", "exclude"]

EraseAction = Literal["delete", "shred", "redact", "unlink", "retain", "none"]
"""What an erasure does.

`delete` the rows, or files; `shred`: unreadable without the subject's key, which is destroyed; `redact`: overwritten with
`to`; `unlink`: overwritten with a hash of the row's own key, where a value must stay unique; `retain`: a law or a policy
keeps it, by the entry's retention; `none`: nothing of a person in it.
"""


class InvalidDataMap(Exception):
    """The file contradicts itself; the message says where."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One way from a row to the partner it is about: a column, an array of partners, or a row of another table."""

    column: str
    array: bool = False
    parent: str | None = None
    """The table whose row `column` names: the row is about whom that one is about."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column, or one field of a document."""

    name: str
    category: Category
    export: ExportRule
    erase: EraseAction
    because: str = ""
    sealed: str = ""
    """The column that names the row in the value's encryption (`keys.Field`); empty for what is stored in clear."""
    to: Any = None
    """What `redact` writes."""
    kept_for: str = ""
    """A table whose retained rows have to name the partner: then the value is kept for them, apart and under another key."""


@dataclass(frozen=True, slots=True)
class FileOf:
    """The file that a row has in `bucket`: its path, with the row's columns put in; none where the column `when` is null."""

    bucket: str
    path: str
    when: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that say where it is."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.path) if name)


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """A policy for the rows whose `column` is one of `values`; for all that no rule before took when `column` is empty."""

    policy: str
    column: str = ""
    values: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Withheld:
    """Rows that no archive has, though others of their table are exported: those whose `column` is one of `values`."""

    column: str
    values: tuple[str, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """How the retention sweep finds and deletes the rows of a table, or their files."""

    only: str = "true"
    """The condition, in SQL on `t`, for a row to be swept at all. Rows that ended before `:cutoff` are due."""
    anchor: str = ""
    """The time, in SQL on `t`, that retention counts from, where it is not just the anchor column."""
    children: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tables whose rows go with a row of this one -> their column that names its key."""
    file: FileOf | None = None
    """The file that is swept while its row stays, by `policy`."""
    policy: str = ""
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Columns of other tables that `only` and `anchor` read."""
    last: bool = False
    """Whether it is swept after all other tables: the audit trail records what happens to them."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `key` is its order, column -> SQL type; `anchor` the column that retention counts from."""

    name: str
    title: str
    purpose: str
    region: str
    subject: tuple[Subject, ...]
    key: Mapping[str, str]
    columns: Mapping[str, Column]
    erase: EraseAction
    because: str
    anchor: str
    """Empty where retention counts from the day of the erasure."""
    retention: tuple[RetentionRule, ...]
    follows: Subject | None
    """The row that this one goes with."""
    counted: bool
    """Whether an erasure counts the rows: not where no index leads to them."""
    files: FileOf | None
    """The file of each row: exported with it, and deleted by the policy of its prefix, at the latest with the row."""
    withheld: Withheld | None
    """The rows that are not exported."""
    sweep: tuple[Sweep, ...]
    never_swept: str
    """Why the sweep leaves the rows, though their policy lets them go."""

    @property
    def exported(self) -> tuple[Column, ...]:
        """What of a row is in an archive."""
        return tuple(column for column in self.columns.values() if column.export == "include")

    @property
    def sealed(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns.values() if column.sealed)

    @property
    def changed(self) -> tuple[Column, ...]:
        """What of a row that stays an erasure overwrites or makes unreadable."""
        return tuple(column for column in self.columns.values() if column.erase in ("shred", "redact", "unlink"))

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that exports and erasures have to read, and so may: nothing else of what partners are told of."""
        if not self.subject or not (self.exported or self.counted):
            return ()
        names = {column.name for column in self.exported} | self.key.keys() | {path.column for path in self.subject}
        names |= {rule.column for rule in self.retention} | {column.sealed for column in self.sealed} | {self.anchor}
        names |= {column.name for column in self.columns.values() if column.erase == "unlink"}
        names |= set(self.files.columns) if self.files else set()
        names |= {self.follows.column} if self.follows else set()
        names |= {self.withheld.column} if self.withheld else set()
        return tuple(name for name in self.columns if name in names)


@dataclass(frozen=True, slots=True)
class Collection:
    """One Firestore collection: a document for each row of the table `rows_of` that falls under `with_policy`, if any."""

    name: str
    title: str
    purpose: str
    region: str
    rows_of: str
    with_policy: str
    retention: str
    erase: EraseAction
    because: str
    fields: Mapping[str, Column]
    never_swept: str = ""

    def redacted(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document after an erasure."""
        return {**document, **{name: one.to for name, one in self.fields.items() if one.erase == "redact"}}


@dataclass(frozen=True, slots=True)
class Prefix:
    """The files of a bucket whose paths begin with `prefix`."""

    bucket: str
    prefix: str
    title: str
    purpose: str
    category: Category
    region: str
    rows_of: str
    retention: str
    erase: EraseAction
    because: str
    export: ExportRule
    never_swept: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who else gets personal data, and what for."""

    name: str
    purpose: str


@dataclass(frozen=True, slots=True)
class DataMap:
    version: str
    recipients: tuple[Recipient, ...]
    tables: Mapping[str, Table]
    collections: Mapping[str, Collection]
    prefixes: tuple[Prefix, ...]

    def of_partners(self) -> tuple[Table, ...]:
        """The tables whose rows are about partners."""
        return tuple(table for table in self.tables.values() if table.subject)

    def retention(self, table: Table) -> tuple[RetentionRule, ...]:
        """By which policies the rows of a table are kept: its own, or those of the table it follows."""
        return self.retention(self.followed(table)) if table.follows else table.retention

    def followed(self, table: Table) -> Table:
        """The table whose rows those of `table` go with: itself, where it follows none."""
        return self.tables[cast(str, table.follows.parent)] if table.follows else table

    def never_swept(self) -> Mapping[str, str]:
        """Place -> why the sweep leaves it, though its policy lets it go."""
        found = {f"table {table.name}": table.never_swept for table in self.tables.values()}
        found |= {f"collection {one.name}": one.never_swept for one in self.collections.values()}
        found |= {f"bucket {one.bucket}/{one.prefix}": one.never_swept for one in self.prefixes}
        return {name: why for name, why in found.items() if why}

    def prefix(self, file: FileOf) -> Prefix:
        """The prefix of the bucket under which a table's files lie."""
        [found] = [one for one in self.prefixes if one.bucket == file.bucket and file.path.startswith(one.prefix)]
        return found


OWN = Path(__file__).with_suffix(".json")
BUNDLED = Path(__file__).with_name("data_maps")
"""Where a bundle has the parts of the capabilities."""


@functools.cache
def data_map() -> DataMap:
    """The data map, read at the first use. Raises `InvalidDataMap`."""
    return parse(union({"/".join(path.parts[-2:]): _read(path) for path in parts()}))


def parts() -> list[Path]:
    """The files of the map: each capability's, then what crosses them."""
    repository = Path(__file__).parents[3]
    of_capabilities = BUNDLED.glob("*.json") if BUNDLED.exists() else repository.glob("functions/*/data_map.json")
    return [*sorted(of_capabilities), OWN]


def union(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One map of several, each by the name of its file. Raises `InvalidDataMap` for what two of them describe."""
    whole: dict[str, Any] = {"recipients": [], "tables": {}, "collections": {}, "buckets": {}}
    owners: dict[str, str] = {}

    def add(entries: dict[str, Any], more: Mapping[str, Any], where: str, file: str) -> None:
        for name, entry in more.items():
            if name in entries:
                first = owners[f"{where}.{name}"]
                raise InvalidDataMap(f"{file} describes {where}.{name}, which {first} describes already")
            entries[name] = entry
            owners[f"{where}.{name}"] = file

    for file, part in parts.items():
        if unknown := sorted(part.keys() - {*whole, "version", "region"}):
            raise InvalidDataMap(f"{file} has {unknown[0]}, which is no part of a data map")
        whole |= {name: part[name] for name in ("version", "region") if name in part}
        whole["recipients"] += part.get("recipients", [])
        add(whole["tables"], part.get("tables", {}), "tables", file)
        add(whole["collections"], part.get("collections", {}), "collections", file)
        for bucket, prefixes in part.get("buckets", {}).items():
            add(whole["buckets"].setdefault(bucket, {}), prefixes, f"buckets.{bucket}", file)
    return whole


def _read(path: Path) -> dict[str, Any]:
    """One file of the map, without repeated names, of which `json` keeps the last."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entry = dict(pairs)
        if len(entry) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidDataMap(f"{path}: {twice} stands twice in one object")
        return entry

    try:
        return json.loads(path.read_text("utf-8"), object_pairs_hook=unique)
    except ValueError as error:
        raise InvalidDataMap(f"{path}: {error}") from None


def parse(data: Mapping[str, Any]) -> DataMap:
    """A data map from its JSON. Raises `InvalidDataMap`."""
    region: str = data["region"]
    tables = {name: _table(name, region, entry) for name, entry in data["tables"].items()}
    for table in tables.values():
        _check(table, tables)
    return DataMap(
        version=data["version"],
        recipients=tuple(Recipient(**entry) for entry in data["recipients"]),
        tables=tables,
        collections={name: _collection(name, region, entry) for name, entry in data["collections"].items()},
        prefixes=tuple(
            Prefix(
                bucket,
                prefix,
                region=entry.get("region", region),
                **{name: value for name, value in entry.items() if name != "region"},
            )
            for bucket, prefixes in data["buckets"].items()
            for prefix, entry in prefixes.items()
        ),
    )


_REQUIRED = {"title", "purpose", "subject", "erase", "columns"}
_OPTIONAL = {
    *("region", "key", "because", "anchor", "retention", "follows", "counted", "files", "withheld", "export"),
    *("sweep", "never_swept"),
}
"""What an entry of a table says."""


def _table(name: str, region: str, entry: Mapping[str, Any]) -> Table:
    if missing := sorted(_REQUIRED - entry.keys()):
        raise InvalidDataMap(f"tables.{name} lacks {', '.join(missing)}")
    if unknown := sorted(entry.keys() - _REQUIRED - _OPTIONAL):
        raise InvalidDataMap(f"tables.{name} has {', '.join(unknown)}, which no table has")
    retention: str | list[dict[str, Any]] = entry.get("retention", [])
    rules = [{"policy": retention}] if isinstance(retention, str) else retention
    return Table(
        name=name,
        title=entry["title"],
        purpose=entry["purpose"],
        region=entry.get("region", region),
        subject=tuple(_subject(path) for path in entry["subject"]),
        key=entry.get("key", {}),
        columns={column: _column(column, entry, value) for column, value in entry["columns"].items()},
        erase=entry["erase"],
        because=entry.get("because", ""),
        anchor=entry.get("anchor", ""),
        retention=tuple(
            RetentionRule(rule["policy"], rule.get("column", ""), tuple(rule.get("in", ()))) for rule in rules
        ),
        follows=_subject(entry["follows"]) if "follows" in entry else None,
        counted=entry.get("counted", True),
        files=FileOf(**entry["files"]) if "files" in entry else None,
        withheld=_withheld(entry["withheld"]) if "withheld" in entry else None,
        sweep=tuple(_sweep(one) for one in entry.get("sweep", [])),
        never_swept=entry.get("never_swept", ""),
    )


def _sweep(entry: Mapping[str, Any]) -> Sweep:
    file = FileOf(**entry["file"]) if "file" in entry else None
    return Sweep(**{name: value for name, value in entry.items() if name != "file"}, file=file)


def _withheld(entry: Mapping[str, Any]) -> Withheld:
    return Withheld(entry["column"], tuple(entry["in"]), entry.get("because", ""))


def _collection(collection: str, region: str, entry: Mapping[str, Any]) -> Collection:
    fields: dict[str, Column] = {}
    for name, value in entry["fields"].items():
        column = _column(name, entry, value)
        changed = isinstance(value, dict) and "to" in value
        fields[name] = column if changed else Column(name, column.category, column.export, "retain", column.because)
    return Collection(
        name=collection,
        title=entry["title"],
        purpose=entry["purpose"],
        region=entry.get("region", region),
        rows_of=entry["rows_of"],
        with_policy=entry.get("with_policy", ""),
        retention=entry["retention"],
        erase=entry["erase"],
        because=entry["because"],
        fields=fields,
        never_swept=entry.get("never_swept", ""),
    )


def _column(name: str, table: Mapping[str, Any], value: str | Mapping[str, Any]) -> Column:
    """A column's entry; what it does not say is as the table's."""
    own: Mapping[str, Any] = {"category": value} if isinstance(value, str) else value
    export: ExportRule = own.get("export", table.get("export", "include"))
    return Column(
        name=name,
        category=own["category"],
        export=export,
        erase=own.get("erase", table["erase"]),
        because=own.get("because", table.get("because", "") if export == "exclude" else ""),
        sealed=own.get("sealed", ""),
        to=own.get("to"),
        kept_for=own.get("kept_for", ""),
    )


def _subject(path: str) -> Subject:
    column, _, parent = path.partition("->")
    return Subject(column.removesuffix("[]"), column.endswith("[]"), parent or None)


def _check(table: Table, tables: Mapping[str, Table]) -> None:
    """Raise `InvalidDataMap` for what no reader of the map could make sense of."""
    where = f"tables.{table.name}"
    referenced = [*table.key, *(path.column for path in table.subject), *(rule.column for rule in table.retention)]
    referenced += [column.sealed for column in table.sealed] + [
        table.anchor,
        *((*table.files.columns, table.files.when) if table.files else ()),
        table.withheld.column if table.withheld else "",
    ]
    unknown = sorted({name for name in referenced if name} - table.columns.keys())
    if unknown:
        raise InvalidDataMap(f"{where} names {', '.join(unknown)}, which it has no entry for")
    parents = {path.parent for path in table.subject} | {column.kept_for for column in table.columns.values()}
    parents |= {table.follows.parent} if table.follows else set()
    parents |= {name for sweep in table.sweep for name in (*sweep.children, *sweep.reads)}
    if missing := sorted(name for name in parents if name and name not in tables):
        raise InvalidDataMap(f"{where} refers to {', '.join(missing)}, which is not in the map")
    if table.subject and not table.key:
        raise InvalidDataMap(f"{where} needs the key that its rows are read in the order of")
    if bool(table.retention) == bool(table.follows):
        raise InvalidDataMap(f"{where} has either a retention or a table that it follows")
    if table.sweep and table.never_swept:
        raise InvalidDataMap(f"{where} is swept and never swept")
    if table.withheld and not table.withheld.because:
        raise InvalidDataMap(f"{where} leaves rows out of exports: say because of what")
    for column in table.columns.values():
        if column.export == "exclude" and not column.because:
            raise InvalidDataMap(f"{where}.{column.name} is left out of exports: say because of what")
        if bool(column.sealed) != (column.erase == "shred") and table.erase not in ("shred", "delete"):
            raise InvalidDataMap(
                f"{where}.{column.name}: what is encrypted is erased by shredding, and nothing else is"
            )
