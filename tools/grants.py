"""What exports, erasures and the retention sweep may do with the tables of all capabilities, from the data map.

`make migrate` applies these grants after the migrations: a new table needs its entry in the data map, and nobody writes
grants for another capability. They are complete and repeatable: a grant that is no longer due is revoked.
"""

import re
from collections.abc import Iterator

from pg8000.native import DatabaseError, identifier

from functions.retention_sweep.places import Place, places
from kapas.privacy.data_map import Table, data_map
from tools.migrations import Connection, MigrationError, message

EXPORT, SWEEP = "data_export", "retention_sweep"

HOLDS = ("subject_id", "table_name", "row_id", "released_at")
"""What an erasure reads of legal holds: it waits while one names the partner or a row about it."""

OWN = {
    EXPORT: {"exports", "export_shards", "erasures", "restrictions", "statutory_records", "idempotency_keys", "outbox"}
    | {"epoch_keys", "subject_keys"},  # it decrypts with them, and shreds them
    SWEEP: {"retention_sweeps", "retention_findings", "legal_holds", "idempotency_keys", "outbox"},
}
"""Tables that a role uses for its own work: their migrations grant that, and nothing is revoked."""

_COLUMN = re.compile(r"\bt\.(\w+)")

Grants = dict[str, dict[str, set[str]]]
"""Table -> privilege -> the columns it is for; no columns stand for the whole table."""


def apply(connection: Connection) -> None:
    """Grant both roles what the data map says, and nothing else, in one transaction. Raises `MigrationError`."""
    connection.run("BEGIN")
    try:
        for role in (EXPORT, SWEEP):
            for statement in statements(role):
                connection.run(statement)
    except DatabaseError as error:
        connection.run("ROLLBACK")
        raise MigrationError(f"the grants of the data map: {message(error)}") from error
    connection.run("COMMIT")


def statements(role: str) -> Iterator[str]:
    """The statements that make a role's grants those of the data map."""
    wanted = grants(role)
    for table in sorted(data_map().tables.values(), key=lambda table: table.name):
        name = identifier(table.name)
        if table.name not in OWN[role]:
            yield f"REVOKE ALL ON {name} FROM {identifier(role)}"  # its columns are revoked with it
        for privilege, columns_granted in sorted(wanted.get(table.name, {}).items()):
            chosen = ", ".join(identifier(column) for column in sorted(columns_granted))
            of = f"{privilege} ({chosen})" if chosen else privilege
            yield f"GRANT {of} ON {name} TO {identifier(role)}"


def grants(role: str) -> Grants:
    """What a role may do by the data map, besides what its own migrations grant."""
    return _of_exports() if role == EXPORT else _of_sweeps()


def _of_exports() -> Grants:
    found: Grants = {}
    for table in data_map().tables.values():
        if table.name in OWN[EXPORT]:
            continue
        entry: dict[str, set[str]] = {}
        reads = set(table.read) | (set(HOLDS) if table.name == "legal_holds" else set[str]())
        changes = {column.name for column in table.columns.values() if column.erase in ("redact", "unlink")}
        if reads:
            entry["SELECT"] = reads
        if changes:
            entry["UPDATE"] = changes
        if table.erase == "delete":
            entry["DELETE"] = set()
        if entry:
            found[table.name] = entry
    return found


def _of_sweeps() -> Grants:
    found: Grants = {}

    def grant(table: str, privilege: str, columns: set[str]) -> None:
        found.setdefault(table, {}).setdefault(privilege, set()).update(columns)

    for place in places():
        grant(place.table.name, "SELECT", _read_of(place))
        if place.deletes and not place.rows_stay:
            grant(place.table.name, "DELETE", set())
        for child, column in place.children.items():
            grant(child, "SELECT", {column} | _subjects(data_map().tables[child], place.table))
            if place.deletes:
                grant(child, "DELETE", set())
    for table in data_map().tables.values():
        for sweep in table.sweep:
            for other, columns in sweep.reads.items():
                grant(other, "SELECT", set(columns))
    return found


def _read_of(place: Place) -> set[str]:
    """The columns of a table that finding its due rows reads."""
    columns = {
        *place.table.key,
        *_own_subjects(place.table),
        place.rule.column,
        *(rule.column for rule in place.before),
    }
    columns |= set(_COLUMN.findall(f"{place.only} {place.anchor}"))
    columns |= set(place.file.columns) if place.file else set()
    return columns - {""}


def _own_subjects(table: Table) -> set[str]:
    return {path.column for path in table.subject}


def _subjects(child: Table, parent: Table) -> set[str]:
    """Whom rows are about that go with another row which is about somebody else: a hold of theirs keeps both."""
    return {path.column for path in child.subject if not path.parent} - _own_subjects(parent)
