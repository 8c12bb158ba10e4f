"""Cloud Storage of a run, and who looks at the images that are in it."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, BinaryIO

from kapas.errors import Unavailable
from kapas.platform.ports import SignedUpload, StoredFile
from kapas.values import clock
from tests.simulation.kernel import START, Kernel
from tests.simulation.ports import Service

UNREADABLE = b"no card"
"""How the bytes of an image begin that cannot be graded."""


@dataclass
class Bucket:
    """What is stored, path -> bytes; and what was there once."""

    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    written: set[str] = field(default_factory=set[str])

    def put(self, path: str, data: bytes) -> bool:
        """Write a new file; False, with nothing written, if there is one."""
        if path in self.stored:
            return False
        self.stored[path] = data
        self.written.add(path)
        return True


class Files(Service):
    """A `kapas.platform.ports.Files`. All buckets are down at once: they are one service."""

    failure = Unavailable

    def __init__(self, kernel: Kernel, name: str) -> None:
        super().__init__(kernel, "storage", 0.05)
        self._bucket = name
        self.bucket = Bucket()

    def upload_url(self, path: str, *, content_type: str, size: int, sha256: str, lifetime: timedelta) -> SignedUpload:
        self.after(self.before("sign"))
        return SignedUpload("PUT", self._url(path), {"content-type": content_type}, clock.now() + lifetime)

    def download_url(self, path: str, *, lifetime: timedelta, filename: str | None = None) -> str:
        self.after(self.before("sign"))
        return self._url(path)

    def stat(self, path: str) -> StoredFile | None:
        self.after(self.before("stat"))
        data = self.bucket.stored.get(path)
        return None if data is None else StoredFile(path, len(data), "", START)

    @contextmanager
    def open(self, path: str) -> Generator[BinaryIO]:
        self.after(self.before("open"))
        if path not in self.bucket.stored:
            raise FileNotFoundError(path)
        yield io.BytesIO(self.bucket.stored[path])

    @contextmanager
    def create(self, path: str, content_type: str) -> Generator[BinaryIO]:
        stream = io.BytesIO()
        yield stream
        if not self.write(path, stream.getvalue(), content_type):
            raise FileExistsError(path)

    def write(self, path: str, data: bytes, content_type: str) -> bool:
        name = self.before("write")
        written = self.bucket.put(path, data)
        self._log(f"writes {len(data)} bytes to {path}: {written}")
        self.after(name)
        return written

    def delete(self, path: str) -> bool:
        name = self.before("delete")
        deleted = self.bucket.stored.pop(path, None) is not None
        self._log(f"deletes {path}: {deleted}")
        self.after(name)
        return deleted

    def _url(self, path: str) -> str:
        return f"https://storage.example.com/{self._bucket}/{path}"

    def _log(self, what: str) -> None:
        self.kernel.log(self.kernel.alive().key, what)


class Eyes:
    """What reads images for the functions: not from the pixels, of which there are none, but the same of the same bytes."""

    def __init__(self, kernel: Kernel, readings: Any) -> None:
        """`readings` is the module of the functions that has the classes of what is read."""
        self._kernel = kernel
        self._readings = readings

    def read(self, data: bytes) -> Any:
        self._kernel.point("reader.read")
        if data.startswith(UNREADABLE):
            raise self._readings.Unreadable("card_not_found", "The card is not in the frame")
        return self._readings.Reading(
            rd=Decimal("76.4"),
            plus_b=Decimal("8.7"),
            trash_area_pct=Decimal("0.2"),
            trash_area_uncertainty=Decimal("0.02"),
            trash_particles=len(data) % 50,
            card_residual=Decimal("0.5"),
        )
