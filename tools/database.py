"""What the tools share that work on the database of the environment: its settings, one connection, and what can go wrong."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from kapas.errors import Unavailable
from kapas.platform.db import Database, DatabaseFailure
from kapas.platform.db.connect import connector
from kapas.platform.settings import DatabaseSettings, SettingsError, load, use

S = TypeVar("S", bound=DatabaseSettings)

FAILURES = (SettingsError, Unavailable, DatabaseFailure, OSError, ValueError)
"""What a tool tells in one line."""


@contextmanager
def opened(tool: str, environment: Mapping[str, str], settings: type[S]) -> Generator[tuple[S, Database]]:
    """The settings of `tool`, a function's but for its name, project and pool, and its database."""
    with use({"FUNCTION": tool, "PROJECT": "", "DATABASE_POOL": "1", **environment}):
        loaded = load(settings)
        yield loaded, Database(connector(loaded), 1)
