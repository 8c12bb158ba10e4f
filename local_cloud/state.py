"""What the local cloud remembers across restarts: one SQLite file of named tables, written through on every change.

The file survives `kill -9` (the operating system has every finished write); it makes no promise about power cuts.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path


class State:
    """Tables of key -> bytes. With no `path`, nothing outlives the process (what tests want)."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS entry (kind TEXT, key TEXT, value BLOB, PRIMARY KEY (kind, key))")

    def put(self, kind: str, key: str, value: bytes) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", (kind, key, value))

    def delete(self, kind: str, key: str) -> None:
        with self._lock:
            self._db.execute("DELETE FROM entry WHERE kind = ? AND key = ?", (kind, key))

    def put_many(self, kind: str, items: Iterable[tuple[str, bytes]]) -> None:
        """Put every (key, value), all or none."""
        with self._lock:
            self._db.execute("BEGIN")
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", ((kind, k, v) for k, v in items))

    def delete_many(self, kind: str, keys: Iterable[str]) -> None:
        """Delete every key, all or none."""
        with self._lock:
            self._db.execute("BEGIN")
            with self._db:
                self._db.executemany("DELETE FROM entry WHERE kind = ? AND key = ?", ((kind, key) for key in keys))

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every (key, value) of a table, by key."""
        with self._lock:
            rows = self._db.execute("SELECT key, value FROM entry WHERE kind = ? ORDER BY key", (kind,)).fetchall()
        return iter(rows)

    def close(self) -> None:
        with self._lock:
            self._db.close()
