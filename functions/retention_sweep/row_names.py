"""The name of a row in a legal hold: its key as PostgreSQL writes it, from any spelling that a person sends."""

from collections.abc import Callable, Mapping
from datetime import date
from uuid import UUID

from kapas.privacy.data_map import Table

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
