"""How many of an instance's slots one endpoint may take, so that one that hangs leaves the others theirs."""

import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

SHARE = 4
"""One endpoint gets a quarter of an instance's slots."""


class Slots:
    """The slots of one instance, shared by its threads."""

    def __init__(self, threads: int) -> None:
        """`threads` is how many attempts the instance makes at once; every endpoint may have one of them."""
        self._most = max(1, threads // SHARE)
        self._taken: Counter[UUID] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, endpoint_id: UUID) -> Generator[bool]:
        """Hold a slot within this context; yields False at once, holding none, if the endpoint has its share."""
        with self._lock:
            free = self._taken[endpoint_id] < self._most
            if free:
                self._taken[endpoint_id] += 1
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._taken[endpoint_id] -= 1
                    if not self._taken[endpoint_id]:
                        del self._taken[endpoint_id]
