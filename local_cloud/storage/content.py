"""The bytes of objects: one file each in a folder, written once and never changed after.

Bytes pass through in blocks, whatever the size of an object.
"""

import base64
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

BLOCK = 256 * 1024
"""Bytes read or written at a time."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Size in bytes, and the checksums in base64 as the API has them."""

    size: int
    crc32c: str
    md5: str


class Contents:
    """Files by name in `folder`; without one, in a temporary folder that goes with this object."""

    def __init__(self, folder: Path | None) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="kapas-storage-")
        self._folder = folder or Path(self._temporary.name if self._temporary else "")
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, offset: int = 0) -> BinaryIO:
        """Open a content for writing at `offset`, dropping what lies beyond."""
        path = self._folder / name
        path.touch()
        file = path.open("r+b")
        file.truncate(offset)
        file.seek(offset)
        return file

    def read(self, name: str) -> BinaryIO:
        """Open a content for reading; it stays readable when it is deleted meanwhile."""
        return (self._folder / name).open("rb")

    def size(self, name: str) -> int:
        """Bytes written so far; 0 for what does not exist."""
        path = self._folder / name
        return path.stat().st_size if path.exists() else 0

    def link(self, source: str, target: str) -> None:
        """Make `target` the same content as `source`, without copying."""
        os.link(self._folder / source, self._folder / target)

    def digest(self, name: str) -> Digests:
        crc32c, md5, size = google_crc32c.Checksum(), hashlib.md5(usedforsecurity=False), 0
        with self.read(name) as file:
            for block in blocks(file):
                crc32c.update(block)
                md5.update(block)
                size += len(block)
        return Digests(size, _base64(crc32c.digest()), _base64(md5.digest()))

    def sha256(self, name: str) -> str:
        """The SHA-256 of a content, in lower-case hexadecimal."""
        with self.read(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def sweep(self, keep: Collection[str]) -> None:
        """Delete what nothing refers to: uploads that a crash cut off."""
        for path in self._folder.iterdir():
            if path.name not in keep:
                path.unlink()


def blocks(file: BinaryIO, length: int | None = None) -> Iterator[bytes]:
    """The next `length` bytes of a file (all, if None), block by block."""
    while length is None or length > 0:
        block = file.read(BLOCK if length is None else min(BLOCK, length))
        if not block:
            return
        if length is not None:
            length -= len(block)
        yield block


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
