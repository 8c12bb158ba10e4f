"""Verify a downloaded archive: its signature, the hash of every file, and that it has every record that was counted.

    python -m tools.verify_archive kapas-export-2026-11-24.zip --key receipts.pem

The key is the platform's public key for receipts, in PEM. Without it the key in the archive is used, and printed: that shows
that the archive is as it was signed, not by whom.
"""

import argparse
import base64
import csv
import hashlib
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from functions.data_export.archive import MANIFEST, PUBLIC_KEY, SIGNATURE
from kapas.privacy.signing import is_signed, key_id, segment

CHUNK = 1 << 20
UNREADABLE = (
    zipfile.BadZipFile,  # a header or a checksum
    zlib.error,  # a stream that cannot be inflated
    EOFError,  # one that ends too early
    RuntimeError,  # a flag or a method that was never used: as if it were encrypted, or of another version of ZIP
    ValueError,  # a text that is no UTF-8
    OSError,  # an offset beyond the file, or no file
)
"""What `zipfile` raises for damage, by what is damaged: it has no kind of its own for all of it."""


def faults(path: Path, public_key: str | None = None) -> Iterator[str]:
    """What is wrong with the archive at `path`, a line each; nothing if it is as it was signed and whole.

    `public_key` is in PEM; without one, that in the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _faults(archive, public_key)
    except UNREADABLE as error:
        yield f"{path.name} cannot be read: {error}"


def _faults(archive: zipfile.ZipFile, public_key: str | None) -> Iterator[str]:
    names = archive.namelist()
    if missing := [name for name in (MANIFEST, SIGNATURE, PUBLIC_KEY) if name not in names]:
        yield f"there is no {', '.join(missing)}"
        return
    signed = archive.read(MANIFEST)
    if not _is_signed(signed, archive.read(SIGNATURE), public_key or archive.read(PUBLIC_KEY).decode()):
        yield f"{MANIFEST} is not what was signed"
        return
    manifest: dict[str, Any] = json.loads(signed)
    listed: dict[str, dict[str, Any]] = {entry["path"]: entry for entry in manifest["files"]}
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is there more than once"
    for name in sorted(set(names) - listed.keys() - {MANIFEST, SIGNATURE}):
        yield f"{name} is not in the manifest"
    whole = {name for name, entry in listed.items() if name in names and _sha256(archive, name) == entry["sha256"]}
    for name in (name for name in listed if name not in whole):
        yield f"{name} was changed" if name in names else f"{name} is missing"
    for table in manifest["tables"]:
        if table["expected"] != table["actual"]:
            yield f"{table['name']}: {table['expected']} rows were counted, {table['actual']} written"
        for kind, count in (("jsonl", _lines), ("csv", _rows)):
            found = count(archive, table[kind]) if table[kind] in whole else None
            if found is not None and found != table["expected"]:
                yield f"{table[kind]} has {found} records, not {table['expected']}"


def _is_signed(content: bytes, signature: bytes, public_key: str) -> bool:
    """Whether the detached JWS (RFC 7515 appendix F, ES256) is of `content` under the key."""
    try:
        header, payload, encoded = signature.decode("ascii").split(".")
        if payload or json.loads(_decode(header))["alg"] != "ES256":
            return False
        return is_signed(f"{header}.{segment(content)}".encode(), _decode(encoded), public_key)
    except (ValueError, KeyError, TypeError):
        return False


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    try:
        with archive.open(name) as member:
            while chunk := member.read(CHUNK):
                digest.update(chunk)
    except UNREADABLE:
        return ""
    return digest.hexdigest()


def _lines(archive: zipfile.ZipFile, name: str) -> int:
    with archive.open(name) as member:
        return sum(1 for _ in member)


def _rows(archive: zipfile.ZipFile, name: str) -> int:
    csv.field_size_limit(1 << 30)
    with archive.open(name) as member:
        return sum(1 for _ in csv.reader(io.TextIOWrapper(member, "utf-8", newline=""))) - 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--key", type=Path, help="the platform's public key for receipts, in PEM")
    chosen = parser.parse_args()
    public_key = chosen.key.read_text() if chosen.key else None
    found = list(faults(chosen.archive, public_key))
    for fault in found:
        print(f"fault: {fault}", file=sys.stderr)
    if found:
        return 1
    with zipfile.ZipFile(chosen.archive) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        used = public_key or archive.read(PUBLIC_KEY).decode()
    records = sum(table["actual"] for table in manifest["tables"])
    print(f"whole: {records} records in {len(manifest['tables'])} tables, {len(manifest['files'])} files")
    print(f"signed with the key {key_id(used)}" + ("" if public_key else ", which came with the archive: compare it"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
