"""How many of an instance's slots one endpoint may take, so that one that hangs leaves the others theirs."""

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

SHARE = 4
"""One endpoint gets a quarter of an instance's slots."""


class Slots:
    """The slots of one instance, shared by its threads: what a deque does to one item, it does at once."""

    def __init__(self, threads: int) -> None:
        """`threads` is how many attempts the instance makes at once; every endpoint may have one of them."""
        self._most = max(1, threads // SHARE)
        self._free: dict[int, deque[None]] = {}

    @contextmanager
    def take(self, endpoint_id: UUID) -> Generator[bool]:
        """Hold a slot within this context; yields False at once, holding none, if the endpoint has its share."""
        free = self._free.setdefault(endpoint_id.int, deque([None] * self._most))
        try:
            free.pop()
        except IndexError:
            yield False
            return
        try:
            yield True
        finally:
            free.append(None)
