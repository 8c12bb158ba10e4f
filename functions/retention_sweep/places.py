"""Where the sweep looks: each table of the data map that has a `sweep`, under each policy that keeps its rows."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from kapas.privacy.data_map import DataMap, FileOf, RetentionRule, Sweep, Table, data_map
from kapas.privacy.retention import Policy, policies


@dataclass(frozen=True, slots=True)
class Place:
    """What one policy governs in one place."""

    name: str
    table: Table
    rule: RetentionRule
    before: tuple[RetentionRule, ...]
    """The rules that took their rows before this one."""
    policy: Policy
    only: str
    anchor: str
    children: Mapping[str, str]
    """Table -> the column that names the row that its rows go with."""
    file: FileOf | None
    """The file that each row has."""
    rows_stay: bool
    """Whether only the file is deleted."""
    documents: tuple[str, ...]
    """The Firestore collections that have a document for each row."""

    @property
    def deletes(self) -> bool:
        """Whether what is due is deleted, and not only reported."""
        return self.policy.auto_delete

    @property
    def key(self) -> str:
        """The column by which the rows that go with one lead to it: the whole key, where there are any."""
        return next(iter(self.table.key))

    @property
    def outside(self) -> bool:
        """Whether something outside the database goes with a row."""
        return self.file is not None or bool(self.documents)


@functools.cache
def places() -> tuple[Place, ...]:
    """Every place under a policy that is in force."""
    found = (place for table, sweep in swept() for place in _places(table, sweep))
    return tuple(place for place in found if place.policy.active)


def tables() -> tuple[str, ...]:
    """The tables whose rows can be named in a legal hold."""
    return tuple(dict.fromkeys(table.name for table, _ in swept()))


def swept() -> list[tuple[Table, Sweep]]:
    """The tables that are swept, each with how, in the order in which they are swept."""
    found = [(table, sweep) for table in data_map().tables.values() for sweep in table.sweep]
    return sorted(found, key=lambda one: one[1].last)


def _places(table: Table, sweep: Sweep) -> list[Place]:
    rules = (RetentionRule(sweep.policy),) if sweep.policy else table.retention
    name = f"bucket {sweep.file.bucket}/{sweep.file.path.partition('{')[0]}" if sweep.file else f"table {table.name}"
    return [
        Place(
            name=name,
            table=table,
            rule=rule,
            before=rules[:n],
            policy=policies()[rule.policy],
            only=sweep.only,
            anchor=sweep.anchor or f"t.{table.anchor}",
            children=sweep.children,
            file=sweep.file or table.files,
            rows_stay=sweep.file is not None,
            documents=() if sweep.file else _documents(data_map(), table, rule),
        )
        for n, rule in enumerate(rules)
    ]


def _documents(mapped: DataMap, table: Table, rule: RetentionRule) -> tuple[str, ...]:
    return tuple(
        collection.name
        for collection in mapped.collections.values()
        if collection.rows_of == table.name and collection.with_policy in ("", rule.policy)
    )
