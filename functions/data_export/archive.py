"""The archive: a ZIP written as a stream, with a manifest that proves that it is whole.

`zipfile` writes to a stream that cannot seek (each member is followed by its sizes, APPNOTE 4.3.9) and holds only the
directory of members in memory; so no further library is needed for it.
"""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, cast
from uuid import UUID

from kapas.platform.ports import Signer
from kapas.privacy import signing
from kapas.privacy.data_map import DataMap, Table
from kapas.values import clock

from . import index_page, shards

FORMAT = "kapas-export/1"
CONTENT_TYPE = "application/zip"
MANIFEST, SIGNATURE, INDEX, PUBLIC_KEY = "manifest.json", "manifest.json.jws", "index.html", "public-key.pem"
SIGNATURE_KIND = "export-manifest+json"

OpenFile = Callable[[str], AbstractContextManager[BinaryIO]]
"""Opens a file by its path. Raises FileNotFoundError."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Incomplete(Exception):
    """What is in the archive is not what was counted in the database."""


@dataclass(frozen=True, slots=True)
class Part:
    """A shard that is done: where its part is, the rows counted, and the SHA-256 of the part."""

    path: str
    expected: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What to put in: for each table its parts in the order of their rows, and how to open files, by bucket."""

    export_id: UUID
    subject: UUID
    generated_at: datetime
    tables: list[tuple[Table, list[Part]]]
    open_part: OpenFile
    open_file: Callable[[str], OpenFile]


@dataclass(slots=True)
class Sink:
    """Where the archive goes: passes it on, and knows its size and SHA-256. It cannot seek, so `zipfile` streams."""

    stream: BinaryIO
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> int:
        self.stream.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing: an upload cannot be cut short of a chunk."""


def build(stream: BinaryIO, data_map: DataMap, signer: Signer, contents: Contents) -> int:
    """Write the archive; how many records are in it.

    Raises:
        Incomplete: a table has fewer or more records than were counted, or a part was changed. Nothing may be kept then.
    """
    with zipfile.ZipFile(cast(Any, Sink(stream)), "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        members = _Members(archive, contents.generated_at)
        tables = [_table(members, contents, table, parts) for table, parts in contents.tables]
        files = [entry for table, parts in contents.tables for entry in _files(members, contents, table, parts)]
        manifest = {
            "format": FORMAT,
            "export_id": str(contents.export_id),
            "subject": str(contents.subject),
            "generated_at": clock.rfc3339(contents.generated_at),
            "schema_version": data_map.version,
            "tables": tables,
            "attachments": files,
        }
        members.add(INDEX, [index_page.render(data_map, manifest).encode()])
        members.add(PUBLIC_KEY, [signer.public_key().encode()])
        signed = json.dumps({**manifest, "files": members.listed()}, indent=1, ensure_ascii=False).encode()
        members.add(MANIFEST, [signed])
        members.add(SIGNATURE, [signing.detached(signer, signed, SIGNATURE_KIND).encode()])
    return sum(entry["actual"] for entry in tables)


class _Members:
    """The members of the archive as they are written, one after the other."""

    def __init__(self, archive: zipfile.ZipFile, at: datetime) -> None:
        self._archive = archive
        self._time = at.astimezone(clock.IST).timetuple()[:6]
        self._listed: dict[str, dict[str, Any]] = {}

    def add(self, name: str, pieces: Iterable[bytes]) -> None:
        info = zipfile.ZipInfo(name, self._time)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        digest, size = hashlib.sha256(), 0
        with self._archive.open(info, "w", force_zip64=True) as member:
            for chunk in shards.chunks(pieces):
                member.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        self._listed[name] = {"path": name, "size": size, "sha256": digest.hexdigest()}

    def listed(self) -> list[dict[str, Any]]:
        return list(self._listed.values())


def _table(members: _Members, contents: Contents, table: Table, parts: list[Part]) -> dict[str, Any]:
    """Write a table as JSON lines and as CSV; its entry in the manifest."""
    count = _Count(_records(contents, parts))
    names = {kind: f"data/{table.name}.{kind}" for kind in ("jsonl", "csv")}
    members.add(names["jsonl"], count)
    expected = sum(part.expected for part in parts)
    if count.total != expected:
        raise Incomplete(f"{table.name}: {expected} rows were counted, {count.total} were written")
    columns = [column.name for column in table.exported]
    members.add(names["csv"], _csv(columns, _records(contents, parts)))
    return {
        "name": table.name,
        "title": table.title,
        "purpose": table.purpose,
        "expected": expected,
        "actual": count.total,
        "columns": {column.name: column.category for column in table.exported},
        **names,
    }


def _files(members: _Members, contents: Contents, table: Table, parts: list[Part]) -> Iterator[dict[str, Any]]:
    """Write the files of the table's rows; for each its entry in the manifest. One that is gone is told of."""
    if table.files is None:
        return
    bucket, when = table.files.bucket, table.files.when
    for record in map(json.loads, _records(contents, parts)):
        if when and record[when] is None:
            continue
        path = table.files.path.format_map(record)
        name = f"files/{path}"
        try:
            with contents.open_file(bucket)(path) as stream:
                members.add(name, iter(lambda source=stream: source.read(shards.CHUNK), b""))
        except FileNotFoundError:
            name = None
        yield {"table": table.name, "bucket": bucket, "path": path, "member": name}


def _records(contents: Contents, parts: list[Part]) -> Iterator[bytes]:
    for part in parts:
        with contents.open_part(part.path) as stream:
            try:
                yield from shards.records(stream, part.sha256)
            except shards.BrokenPart as broken:
                raise Incomplete(str(broken)) from broken


@dataclass(slots=True)
class _Count:
    """Passes lines on and counts them."""

    lines: Iterator[bytes]
    total: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self.lines:
            self.total += 1
            yield line


def _csv(columns: list[str], records: Iterator[bytes]) -> Iterator[bytes]:
    """The records as CSV (RFC 4180, UTF-8). A text that a spreadsheet would run as a formula is marked with an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for record in map(json.loads, records):
        writer.writerow([_cell(record[column]) for column in columns])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
