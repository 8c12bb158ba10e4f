"""Shards: ranges of a table's rows, each read in one snapshot and written as one part to Cloud Storage.

A part is JSON lines, one a record, and a last line with the number of rows that the same snapshot counted. It is written
once and never changed, so it is the record of its own work: a task that comes twice, or was killed before it could say that
it was done, finds the part and reads the result from it.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO
from uuid import UUID

from kapas.platform.db import Row, Session
from kapas.platform.ports import Files
from kapas.privacy.data_map import DataMap, Table
from kapas.privacy.key_store import SqlKeyStore
from kapas.privacy.keys import Field, Keyring, Shredded
from kapas.values import clock

from . import shard_store

SHARD_ROWS = 25_000
"""Rows of a shard: some seconds of work, so that little is lost with a task that is killed."""
FETCH = 500
"""Rows in memory at once."""
CHUNK = 256 * 1024
"""Bytes of a part in memory at once."""
CONTENT_TYPE = "application/x-ndjson"


class BrokenPart(Exception):
    """A part is not what was written."""


@dataclass(frozen=True, slots=True)
class Range:
    """The rows of a table with keys in (`lower`, `upper`]; None where there is no bound. `planned` is how many there were."""

    table: str
    lower: list[str] | None
    upper: list[str] | None
    planned: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a part says of itself: the rows that were counted, the records in it, and the SHA-256 of its bytes, in hex."""

    expected: int
    records: int
    sha256: str


def path(export_id: UUID, number: int) -> str:
    """Where the part of a shard is."""
    return f"parts/{export_id}/{number:05d}"


def plan(db: Session, data_map: DataMap, subject: UUID) -> list[Range]:
    """The shards of everything that is exported of a partner. A table without rows has one, which says so."""
    return [
        shard for table in data_map.of_partners() if table.exported for shard in _split(db, data_map, table, subject)
    ]


def write(
    db: Session, keyring: Keyring, files: Files, data_map: DataMap, part: str, subject: UUID, rows: Range
) -> Written:
    """Write the part at `part`, unless it is there already; what it says."""
    if files.stat(part) is None:
        with suppress(FileExistsError), files.create(part, CONTENT_TYPE) as stream:
            for chunk in chunks(_lines(db, keyring, data_map, subject, rows)):
                stream.write(chunk)
    return inspect(files, part)


def inspect(files: Files, part: str) -> Written:
    """What the part at `part` says of itself. Raises `FileNotFoundError`, or `BrokenPart` if it has no end."""
    digest, records, last = hashlib.sha256(), -1, b""
    with files.open(part) as stream:
        for line in lines(stream):
            digest.update(line)
            records, last = records + 1, line
    try:
        return Written(json.loads(last)["expected"], records, digest.hexdigest())
    except (ValueError, KeyError, TypeError):
        raise BrokenPart(part) from None


def records(stream: BinaryIO, sha256: str) -> Iterator[bytes]:
    """The records of a part, as lines. Raises `BrokenPart`, at its end, if it is not the one that was recorded."""
    digest, held = hashlib.sha256(), None
    for line in lines(stream):
        digest.update(line)
        if held is not None:
            yield held
        held = line
    if digest.hexdigest() != sha256:
        raise BrokenPart("the part was changed")


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream, with their ends, in bounded memory."""
    rest = b""
    while chunk := stream.read(CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces, of `CHUNK` bytes or little more."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def encode(record: dict[str, Any]) -> bytes:
    """A record as a line of JSON: times in RFC 3339, decimals as strings, bytes in base64."""
    return _ENCODER.encode(record).encode() + b"\n"


def _split(db: Session, data_map: DataMap, table: Table, subject: UUID) -> list[Range]:
    total = shard_store.count(db, data_map, table, subject)
    cuts: list[list[str]] = []
    if total > SHARD_ROWS:
        cuts = shard_store.keys_between(db, data_map, table, subject, SHARD_ROWS, total)
    sizes = [SHARD_ROWS] * len(cuts) + [total - SHARD_ROWS * len(cuts)]
    return [
        Range(table.name, lower, upper, planned)
        for lower, upper, planned in zip([None, *cuts], [*cuts, None], sizes, strict=True)
    ]


def _lines(db: Session, keyring: Keyring, data_map: DataMap, subject: UUID, rows: Range) -> Iterator[bytes]:
    table = data_map.tables[rows.table]
    with shard_store.snapshot(db, data_map, table, subject, rows.lower, rows.upper, FETCH) as snapshot:
        for batch in snapshot.batches:
            yield from (encode(record) for record in _open(db, keyring, subject, table, batch))
    yield encode({"expected": snapshot.count})


def _open(db: Session, keyring: Keyring, subject: UUID, table: Table, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """The rows as records, decrypted; None for what cannot be read any more."""
    columns = table.exported
    for row in rows:
        record = {column.name: value for column, value in zip(columns, row, strict=False)}
        references = dict(zip((column.name for column in table.sealed), row[len(columns) :], strict=True))
        fields = {
            Field(table.name, name, row_id): bytes(record[name])
            for name, row_id in references.items()
            if record.get(name) is not None
        }
        if fields:
            record |= dict.fromkeys((field.column for field in fields), None)
            with suppress(Shredded):
                opened = keyring.decrypt_many(SqlKeyStore(db), subject, fields)
                record |= {field.column: value.decode() for field, value in opened.items()}
        yield record


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return clock.rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no form in an archive")


_ENCODER = json.JSONEncoder(default=_plain, ensure_ascii=False, separators=(",", ":"))
