"""Forward-only SQL migrations: `NNNN_title.sql`, applied in order, each in one transaction with its row.

A file is SQL text for one transaction. One that starts with the line `-- no-transaction` runs statement by statement,
for CREATE INDEX CONCURRENTLY: a failure leaves the statements before it done, so each must bear being run again.
What was applied is in `public.schema_migrations (version, title, sha256, applied_at)`; an applied file never changes.
"""

import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, cast

from kapas.platform.db.driver import DatabaseError, InterfaceError
from kapas.values import clock

LOCK_TIMEOUT = 5_000
"""Milliseconds a statement may wait for a lock: longer, and the requests queueing behind it fail."""
STATEMENT_TIMEOUT = 60_000
"""Milliseconds a statement may take inside a transaction."""
ONLINE_TIMEOUT = 3_600_000
"""Milliseconds a statement may take, or wait for old transactions, outside: it blocks no request meanwhile."""
TURN_SECONDS = 300.0
"""How long a run waits for another one to finish."""

_TURN_POLL_SECONDS = 0.1
_ADVISORY_KEY = int.from_bytes(b"migrate!", "big") >> 1
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_NO_TRANSACTION = "-- no-transaction"
_ENDS_TRANSACTION = re.compile(r"(COMMIT|ROLLBACK|ABORT|END)\b", re.IGNORECASE)
_TOKEN = re.compile(
    r"--[^\n]*"
    r"|/\*.*?\*/"
    r"|\bE'(?:[^'\\]|\\.|'')*'"
    r"|'[^']*'"
    r'|"[^"]*"'
    r"|(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)"
    r"|;"
    r"|[\w$]+|\s+|.",
    re.DOTALL | re.IGNORECASE,
)

_TABLE = """
CREATE TABLE IF NOT EXISTS public.schema_migrations (
    version integer PRIMARY KEY,
    title text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL
)
"""
_INSERT = """
INSERT INTO public.schema_migrations (version, title, sha256, applied_at)
VALUES (:version, :title, :sha256, :applied_at)
"""


class Connection(Protocol):
    """A connection of its own, as `pg8000.native.Connection` is: without parameters, `run` takes several statements."""

    def run(self, sql: str, **parameters: Any) -> Any: ...


class MigrationError(Exception):
    """The migrations cannot go on; the message is one line that says where and why."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    title: str
    name: str
    sql: str
    transactional: bool

    @property
    def sha256(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def load(folder: Path) -> list[Migration]:
    """The migrations of `folder` in order.

    Raises `MigrationError` for a misnamed file, a number that is missing or doubled, or a transactional file that
    would end its transaction itself.
    """
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is called NNNN_title.sql, in small letters")
        sql = path.read_text(encoding="utf-8")
        migration = Migration(int(match[1]), match[2], path.name, sql, not sql.startswith(_NO_TRANSACTION))
        expected = len(migrations) + 1
        if migration.version < expected:
            raise MigrationError(f"{path.name}: the number {match[1]} is taken twice or is 0000")
        if migration.version > expected:
            raise MigrationError(f"{path.name}: the migration {expected:04d} is missing before it")
        if migration.transactional:
            _refuse_own_commit(migration)
        migrations.append(migration)
    return migrations


def migrate(
    connection: Connection,
    folder: Path,
    *,
    finish: Callable[[Connection], None] = lambda _: None,
    on_applied: Callable[[Migration], None] = lambda _: None,
    pause: Callable[[float], None] = time.sleep,
) -> list[Migration]:
    """Apply what `folder` has and the database has not; what was applied now, in order.

    `on_applied` is called after each migration. `finish` runs after the last one, and also when there was none to apply.
    Safe to run twice and at the same time: the second run waits, up to `TURN_SECONDS`. Session settings of the connection
    are reset.

    Raises `MigrationError`: a file is unfit or changed, or a statement failed; everything reported stays applied,
    nothing else does.
    """
    migrations = load(folder)
    applied: list[Migration] = []
    try:
        with _turn(connection, pause):
            connection.run(_TABLE)
            for migration in _pending(connection, migrations):
                _apply(connection, migration)
                applied.append(migration)
                on_applied(migration)
            _settings(connection, LOCK_TIMEOUT, STATEMENT_TIMEOUT)
            finish(connection)
    except DatabaseError as error:
        raise MigrationError(message(error)) from error
    except (InterfaceError, OSError) as error:
        raise MigrationError("the connection to the database broke; run again") from error
    return applied


def ahead(connection: Connection, folder: Path) -> list[str]:
    """The migrations that the database has and `folder` has not: those of a release that was reverted."""
    known = len(load(folder))
    rows = connection.run("SELECT version, title FROM public.schema_migrations ORDER BY version")
    return [f"{version:04d}_{title}.sql" for version, title in rows if version > known]


@contextmanager
def _turn(connection: Connection, pause: Callable[[float], None]) -> Generator[None]:
    """Hold the session's advisory lock.

    Asked for again and again rather than waited for: a waiting statement holds a snapshot, which the other run's
    CREATE INDEX CONCURRENTLY would wait for in turn, a deadlock.
    """
    _settings(connection, LOCK_TIMEOUT, STATEMENT_TIMEOUT)
    for _ in range(round(TURN_SECONDS / _TURN_POLL_SECONDS)):
        if connection.run("SELECT pg_try_advisory_lock(:key)", key=_ADVISORY_KEY) == [[True]]:
            break
        pause(_TURN_POLL_SECONDS)
    else:
        raise MigrationError(f"another run has been migrating this database for {TURN_SECONDS:.0f} s")
    try:
        yield
    finally:
        with suppress(DatabaseError, InterfaceError, OSError):
            connection.run("RESET ALL")
            connection.run("SELECT pg_advisory_unlock(:key)", key=_ADVISORY_KEY)


def _pending(connection: Connection, migrations: Sequence[Migration]) -> Sequence[Migration]:
    """The migrations that are not applied, after checking that those that are have not changed.

    None where the database is ahead: a release was reverted, and its migrations, which only add, stay.
    """
    rows = connection.run("SELECT version, title, sha256 FROM public.schema_migrations ORDER BY version")
    for position, (version, title, digest) in enumerate(rows[: len(migrations)]):
        if version != position + 1:
            raise MigrationError(f"the database has {version:04d}_{title}.sql but not {position + 1:04d} before it")
        migration = migrations[position]
        if digest != migration.sha256:
            raise MigrationError(f"{migration.name}: changed since it was applied; put it back and add a new migration")
    return migrations[len(rows) :]


def _apply(connection: Connection, migration: Migration) -> None:
    if migration.transactional:
        _settings(connection, LOCK_TIMEOUT, STATEMENT_TIMEOUT)
        connection.run("BEGIN")
        try:
            _run(connection, migration, migration.sql, 0)
            _record(connection, migration)
            connection.run("COMMIT")
        except DatabaseError as error:
            connection.run("ROLLBACK")
            raise MigrationError(f"{migration.name}: {message(error)}") from error
        except MigrationError:
            connection.run("ROLLBACK")
            raise
    else:
        _settings(connection, ONLINE_TIMEOUT, ONLINE_TIMEOUT)
        for offset, statement in split(migration.sql):
            _run(connection, migration, statement, offset)
        _record(connection, migration)


def _record(connection: Connection, migration: Migration) -> None:
    connection.run("RESET ROLE")
    connection.run(
        _INSERT,
        version=migration.version,
        title=migration.title,
        sha256=migration.sha256,
        applied_at=clock.now(),
    )


def _run(connection: Connection, migration: Migration, sql: str, offset: int) -> None:
    """Run `sql`, which starts at `offset` of the file."""
    try:
        connection.run(sql)
    except DatabaseError as error:
        position = _fields(error).get("P")
        known = position is not None or not migration.transactional
        place = f":{_line(migration.sql, offset + int(position or 1) - 1)}" if known else ""
        raise MigrationError(f"{migration.name}{place}: {message(error)}") from error


def _settings(connection: Connection, lock_timeout: int, statement_timeout: int) -> None:
    """Start from the session's own settings: a file may have left its search_path or role behind."""
    connection.run("RESET ALL")
    connection.run("RESET ROLE")
    connection.run(f"SET lock_timeout = {lock_timeout}")
    connection.run(f"SET statement_timeout = {statement_timeout}")


def split(sql: str) -> list[tuple[int, str]]:
    """The statements of a text, each with the offset it starts at (comments and space before it left out).

    A semicolon inside quotes, dollar quotes or a comment ends none. Bodies of functions are dollar-quoted, not
    BEGIN ATOMIC; comments are not nested.
    """
    statements: list[tuple[int, str]] = []
    start: int | None = None
    for token in _TOKEN.finditer(sql):
        text = token.group()
        if text == ";":
            if start is not None:
                statements.append((start, sql[start : token.start()]))
            start = None
        elif start is None and not text.isspace() and not text.startswith(("--", "/*")):
            start = token.start()
    if start is not None:
        statements.append((start, sql[start:].rstrip()))
    return statements


def _refuse_own_commit(migration: Migration) -> None:
    for offset, statement in split(migration.sql):
        if _ENDS_TRANSACTION.match(statement):
            word = statement.split(maxsplit=1)[0].upper()
            place = f"{migration.name}:{_line(migration.sql, offset)}"
            raise MigrationError(f"{place}: {word} would end the migration's own transaction half-way")


def _line(sql: str, offset: int) -> int:
    return sql.count("\n", 0, offset) + 1


def _fields(error: DatabaseError) -> dict[str, str]:
    """The fields of PostgreSQL's error, by their protocol letter (M message, P position)."""
    fields = error.args[0] if error.args else None
    return cast("dict[str, str]", fields) if isinstance(fields, dict) else {}


def message(error: DatabaseError) -> str:
    """What PostgreSQL says, in one line."""
    return " ".join(_fields(error).get("M", str(error)).split())
