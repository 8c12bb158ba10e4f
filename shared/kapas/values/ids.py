"""Identifiers and randomness from one injected source, so that a simulated run is replayable."""

import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from kapas.values import clock

RandomBytes = Callable[[int], bytes]

_invocation: ContextVar[RandomBytes] = ContextVar("kapas.values.ids", default=secrets.token_bytes)


def random_bytes(count: int) -> bytes:
    """`count` bytes fit for keys and secrets (the operating system's generator outside simulations)."""
    return _invocation.get()(count)


def uuid7() -> UUID:
    """A time-ordered UUID, version 7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = int(clock.now().timestamp() * 1000)
    value = milliseconds << 80 | int.from_bytes(random_bytes(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


@contextmanager
def use(random: RandomBytes) -> Generator[None]:
    """Draw random bytes from `random` within this context (one invocation)."""
    token = _invocation.set(random)
    try:
        yield
    finally:
        _invocation.reset(token)
