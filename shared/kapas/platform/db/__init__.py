"""PostgreSQL: a small pool of prepared connections, made on first use.

    with database.session(caller.partner_id) as db:
        row = db.one("SELECT status FROM trades WHERE id = :id", id=trade_id)

Statements are prepared once per connection. A session shows the rows of one partner, of every partner (`PLATFORM`) or of
none, through row level security on the setting `app.partner_id`. Outside `transaction()` each statement commits itself, and
outside `snapshot()` each sees what was committed before it.
"""

import select
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, cast
from uuid import UUID

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.db.driver import CoreConnection, DatabaseError, InterfaceError, PreparedStatement

PLATFORM: Final = "*"
"""The scope of a session that sees every partner's rows: for the platform's own work and its staff."""

Scope = UUID | Literal["*"] | None
Row = list[Any]


class DatabaseFailure(Exception):
    """A statement failed. `code` is its SQLSTATE, `constraint` the constraint it broke, if any."""

    def __init__(self, code: str, constraint: str, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.constraint = constraint
        self.logged = {"sqlstate": code, "constraint": constraint or None}


class UniqueViolation(DatabaseFailure):
    """SQLSTATE 23505: the row is there already."""


class ForeignKeyViolation(DatabaseFailure):
    """SQLSTATE 23503: another row refers to the row, or the row to one that is not there."""


class LockTimeout(DatabaseFailure):
    """SQLSTATE 55P03: somebody else holds the row for longer than we wait."""


class ConnectionLost(Unavailable):
    """The connection broke. Whether the last statement was applied is unknown: repeat it with its idempotency key."""


_NETWORK_FAILURES = ("network error", "connection is closed")
"""What pg8000's InterfaceError says when the connection broke; with other words it is a misuse of the driver."""

_FAILURES: dict[str, type[DatabaseFailure]] = {
    "23503": ForeignKeyViolation,
    "23505": UniqueViolation,
    "55P03": LockTimeout,
}


def _failure(error: DatabaseError) -> DatabaseFailure:
    fields = cast(dict[str, str], error.args[0]) if error.args and isinstance(error.args[0], dict) else {}
    code = fields.get("C", "")
    return _FAILURES.get(code, DatabaseFailure)(code, fields.get("n", ""), fields.get("M", ""))


_SHOW = "SELECT WHERE set_config('app.partner_id', :scope, false) IS NULL"
"""Sets the scope and answers no row: what is read from the connection is the answer to the statement that follows."""


class Session:
    """One connection, used by one thread at a time."""

    def __init__(self, connection: CoreConnection) -> None:
        self.broken = False
        self._scope = ""
        self._shown: str | None = ""
        """The scope that the server knows of; None while that is uncertain: a roll-back may have undone it."""
        self._connection = connection
        self._prepared: dict[str, PreparedStatement] = {}
        self._in_transaction = False

    def run(self, sql: str, **parameters: Any) -> list[Row]:
        """Run one statement, prepared at its first use on this connection; its rows.

        Raises:
            DatabaseFailure: the statement failed (`UniqueViolation`, `LockTimeout` among them); nothing of it is applied.
            ConnectionLost: no answer came, so whether it was applied is unknown.
        """
        try:
            statement = self._statement(sql)
            shows = self._shown != self._scope
            if shows:
                self._send_scope()
            rows = cast(list[Row], statement.run(**parameters) or [])
            if shows:
                self._shown = self._scope
            return rows
        except DatabaseError as error:
            failure = _failure(error)
            if failure.code[:2] in ("57", "08"):  # the server is going away, or closed the connection
                self.broken = True
                raise ConnectionLost("The database restarted") from error
            raise failure from None
        except (InterfaceError, OSError) as error:
            raise self._lost(error) from error
        except BaseException:
            self.broken = True  # a value that could not be read, or this thread's end: the answer is half read
            raise

    def _statement(self, sql: str) -> PreparedStatement:
        statement = self._prepared.get(sql)
        if statement is None:
            statement = self._prepared[sql] = PreparedStatement(self._connection, sql)
        return statement

    def _send_scope(self) -> None:
        """Send the scope in one message, and so in one transaction, with the statement that follows."""
        show: Any = self._statement(_SHOW)
        self._connection.send_BIND(show.name_bin, (self._scope,))
        self._connection.send_EXECUTE()
        # When that statement fails the scope is undone too. It goes with the next one then, whoever sends it.
        self._shown = None

    def one(self, sql: str, **parameters: Any) -> Row | None:
        """The first row of a statement, or None."""
        rows = self.run(sql, **parameters)
        return rows[0] if rows else None

    def command(self, sql: str) -> None:
        """Run a statement without parameters, unprepared: BEGIN and its like."""
        try:
            self._connection.execute_simple(sql)
        except DatabaseError as error:
            raise _failure(error) from None
        except (InterfaceError, OSError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> Exception:
        """What to raise for a failure below SQL: a lost connection, or our own mistake (a parameter missing) as it is."""
        if isinstance(error, InterfaceError) and str(error) not in _NETWORK_FAILURES:
            return error
        self.broken = True
        return ConnectionLost("The connection to the database broke")

    def transaction(self) -> AbstractContextManager[None]:
        """Everything within commits together, or, when it raises, not at all. Not to be nested."""
        return self._between("BEGIN")

    def snapshot(self) -> AbstractContextManager[None]:
        """All statements within read the snapshot of the first one; none can write. Not to be nested.

        For an answer that takes several statements: otherwise each of them sees what was committed before it.
        """
        return self._between("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    @contextmanager
    def _between(self, begin: str) -> Generator[None]:
        if self._in_transaction:
            raise RuntimeError("a transaction is open on this session already")
        shown = self._shown
        self.command(begin)
        self._in_transaction = True
        try:
            yield
        except BaseException:
            if not self.broken:
                self.command("ROLLBACK")
            raise
        else:
            self.command("COMMIT")
        finally:
            self._in_transaction = False
            if self._shown != shown:
                # A scope that was sent within is undone by a roll-back, which a COMMIT may turn out to be.
                self._shown = None

    def show(self, scope: Scope) -> None:
        """Show the rows of `scope` from now on. It goes with the next statement, if the last scope was another."""
        self._scope = "" if scope is None else str(scope)

    def is_stale(self) -> bool:
        """Whether the server closed this idle connection: an idle PostgreSQL sends nothing, so readable means closed."""
        socket = cast(Any, self._connection)._usock  # pg8000 has no public way to its socket
        readable, _, _ = select.select([socket], [], [], 0)
        return bool(readable)

    def close(self) -> None:
        try:
            self._connection.close()
        except (InterfaceError, OSError):
            log.warning("database_close_failed")


class Database:
    """A pool of at most `size` connections, the last used first, so that the rest can be closed by the server."""

    def __init__(self, connect: Callable[[], CoreConnection], size: int, *, wait: float = 2.0) -> None:
        """`connect` opens a connection; `wait` bounds, in seconds, how long a request waits for a free one."""
        self._connect = connect
        self._wait = wait
        self._turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(size):
            self._turns.put(None)
        self._idle: list[Session] = []

    @contextmanager
    def session(self, scope: Scope) -> Generator[Session]:
        """A session that shows the rows of `scope`: a partner's, every partner's (`PLATFORM`), or no partner's (None).

        Raises:
            Unavailable: every connection stayed in use for `wait` seconds, or the database cannot be reached.
        """
        try:
            self._turns.get(timeout=self._wait)
        except Empty:
            raise Unavailable("Every connection to the database is in use") from None
        session: Session | None = None
        try:
            session = self._checkout()
            session.show(scope)
            yield session
        finally:
            if session is not None:
                if session.broken:
                    session.close()
                else:
                    self._idle.append(session)
            self._turns.put(None)

    def _checkout(self) -> Session:
        while self._idle:
            session = self._idle.pop()
            if not session.is_stale():
                return session
            session.close()
        try:
            return Session(self._connect())
        except (InterfaceError, DatabaseError, OSError) as error:
            code = _failure(error).code if isinstance(error, DatabaseError) else None
            log.error("database_connect_failed", error, sqlstate=code)
            raise Unavailable("The database cannot be reached") from error

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()
