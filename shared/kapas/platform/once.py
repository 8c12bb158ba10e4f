"""What an instance makes on first use and keeps: a pool, a client, its settings."""

import functools
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def once(make: Callable[[], T]) -> Callable[[], T]:
    """Call `make` at the first use and keep its result, also when several threads ask at once.

    `functools.cache` alone would let two first requests make two pools. A failure is not kept: the next use tries again.
    """
    cached = functools.cache(make)
    lock = threading.Lock()

    @functools.wraps(make)
    def get() -> T:
        with lock:
            return cached()

    return get
