"""Reading `multipart/related` uploads (RFC 2387): JSON metadata, then bytes of any size, streamed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import IO

from local_cloud.storage import errors
from local_cloud.storage.model import Resource
from local_cloud.storage.uploads import received

MAX_METADATA = 1024 * 1024
"""Bytes of headers or metadata."""


@dataclass(frozen=True, slots=True)
class Related:
    """The parts of an upload; `blocks` reads the stream, so it is good for one pass."""

    metadata: Resource
    content_type: str | None
    blocks: Iterator[bytes]


def read(content_type: str, stream: IO[bytes]) -> Related:
    """Raises 400 for what is no upload."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/related" or not boundary:
        raise errors.invalid("A multipart upload is multipart/related, with a boundary.")
    parts = _Parts(stream, f"\r\n--{boundary}".encode())
    parts.until(parts.delimiter)
    parts.headers()
    try:
        metadata = json.loads(parts.until(parts.delimiter))
    except ValueError as error:
        raise errors.invalid(f"Metadata part is not JSON: {error}") from error
    headers = parts.headers()
    return Related(metadata, headers.get("Content-Type"), parts.blocks())


class _Parts:
    def __init__(self, stream: IO[bytes], delimiter: bytes) -> None:
        self.delimiter = delimiter
        self._blocks = received(stream)
        # The first boundary starts the body: with this, it looks like every other.
        self._buffer = b"\r\n"

    def until(self, mark: bytes) -> bytes:
        """What comes before `mark`, which is consumed."""
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > MAX_METADATA:
                raise errors.invalid("Metadata part is too large.")
            self._fill()
        before, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
        return before

    def headers(self) -> Message:
        """The headers of the part that begins here."""
        return BytesHeaderParser().parsebytes(self.until(b"\r\n\r\n").lstrip() + b"\r\n\r\n")

    def blocks(self) -> Iterator[bytes]:
        """What comes before the next delimiter. Raises 400 if none comes: the request broke off."""
        while (at := self._buffer.find(self.delimiter)) < 0:
            # The delimiter may begin in what has come and end in what has not.
            sure = max(0, len(self._buffer) - len(self.delimiter) + 1)
            yield self._buffer[:sure]
            self._buffer = self._buffer[sure:]
            self._fill()
        yield self._buffer[:at]
        for _ in self._blocks:
            pass

    def _fill(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            raise errors.invalid("The multipart body ends before its last boundary.")
        self._buffer += block
