"""Resource names: `projects/P/databases/D/documents`, then collection and document ids in turn.

The rules for ids are those of "Collections, documents and fields" in Firestore's "Quotas and limits".
"""

import re

from google.api_core.exceptions import InvalidArgument

_ROOT = re.compile(r"projects/[^/]+/databases/[^/]+/documents(?=/|$)")
_NUMERIC_ID = re.compile(r"__id(-?\d+)__")
_MAX_ID_BYTES = 1500


def segments(name: str) -> list[str]:
    """The ids below the database's root; [] for the root itself.

    Raises InvalidArgument for what is not below a database, or has an id that the service refuses.
    """
    root = _ROOT.match(name)
    if root is None:
        raise InvalidArgument(f'Document name "{name}" is not below projects/*/databases/*/documents.')
    rest = name[root.end() + 1 :]
    ids = rest.split("/") if rest or name.endswith("/") else []
    for id_ in ids:
        if id_ in ("", ".", "..") or len(id_.encode()) > _MAX_ID_BYTES:
            raise InvalidArgument(f'Document name "{name}" contains an invalid resource id "{id_}".')
        if id_.startswith("__") and id_.endswith("__") and not _NUMERIC_ID.fullmatch(id_):
            raise InvalidArgument(f'Resource id "{id_}" is invalid because it is reserved.')
    return ids


def check_document(name: str, database: str = "") -> str:
    """`name`, if it names a document (of `database`, if given). Raises InvalidArgument."""
    ids = segments(name)
    if not ids or len(ids) % 2:
        raise InvalidArgument(f'Document name "{name}" does not name a document.')
    if database and not name.startswith(f"{database}/documents/"):
        raise InvalidArgument(f"The request was for database '{database}' but was attempting to access '{name}'.")
    return name


def check_parent(name: str) -> str:
    """`name`, if it can hold collections: a document's name or the root. Raises InvalidArgument."""
    if len(segments(name)) % 2:
        raise InvalidArgument(f'Parent "{name}" names a collection, not a document or the root.')
    return name


def collection_of(name: str) -> str:
    """The collection that a document is in, as a full name."""
    return name.rpartition("/")[0]


def relative(name: str) -> str:
    """A document's path below its database's root: `lots/7/bids/2`."""
    return name.split("/", 5)[5]


def order_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts names id by id; numeric ids (`__id7__`) come first, as numbers."""
    return tuple(
        (0, int(number[1]), "") if (number := _NUMERIC_ID.fullmatch(id_)) else (1, 0, id_) for id_ in name.split("/")
    )


def size(name: str) -> int:
    """Bytes that a document's name counts for: each id plus one (numeric ids 8), plus 16."""
    ids = name.split("/")[5:]
    return 16 + sum(8 if _NUMERIC_ID.fullmatch(id_) else len(id_.encode()) + 1 for id_ in ids)
