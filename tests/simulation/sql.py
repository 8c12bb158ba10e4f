"""PostgreSQL for the system under test: `kapas.platform.db` runs unchanged on connections that break when a fault says so."""

import functools
import random
import re
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pg8000.native
from pg8000.core import CoreConnection
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection as NativeConnection
from pg8000.native import PreparedStatement, identifier

from kapas.platform.db.driver import read_times_fast
from tests.simulation.kernel import IDLE_IN_TRANSACTION, Kernel, Task
from tests.simulation.wire import Wire

SLOW = 0.05
"""Virtual seconds that a statement takes at most; most take none."""
LOCK_TIMEOUT = 2.0
"""Virtual seconds that a statement waits for a row: see kapas.platform.db.connect."""

_OPTIONS = {
    # Time is virtual: what the server would end by its own clock is ended by ours.
    "lock_timeout": "0",
    "statement_timeout": "0",
    # One plan for each statement, whatever ran before.
    "plan_cache_mode": "force_generic_plan",
    "synchronous_commit": "off",
}
pg8000.native.to_statement = functools.cache(pg8000.native.to_statement)  # parsed anew for every connection otherwise
_QUIET_SOCKET, _OTHER_END = socket.socketpair()
_BROKEN_SOCKET, _closed = socket.socketpair()
_closed.close()
"""What a connection in order, and a broken one, are to `select`."""
_LOCK_TIMEOUT = "set_config('lock_timeout'"
_BROKEN = "network error"
"""What pg8000 says when the connection breaks."""


class OutOfConnections(BaseException):
    """The simulation itself cannot go on. No `except Exception` of the system may take it for a failure of its own."""


class Backend:
    """A connection that is kept through all runs: a new one costs more than a whole statement."""

    def __init__(self, server: "Server", role: str) -> None:
        self.wire = Wire(server.port)
        self.core = CoreConnection(
            role, database=server.database, sock=self.wire, ssl_context=False, startup_params=dict(_OPTIONS)
        )
        read_times_fast(self.core)
        self.role = role
        self.scoped = False
        """Whether it was told whose rows to show."""
        self._prepared: dict[str, Any] = {}
        self.wire.patience = LOCK_TIMEOUT
        self.wire.pid = self.core.execute_simple("SELECT pg_backend_pid()").rows[0][0]

    def prepare(self, statement: str, oids: Any) -> Any:
        if statement not in self._prepared:
            self._prepared[statement] = self.core.prepare_statement(statement, oids)
        return self._prepared[statement]

    def reset(self) -> None:
        """What the server does when a client is gone."""
        self.wire.patience = LOCK_TIMEOUT
        if self.core._transaction_status not in (None, b"I"):
            self.core.execute_simple("ROLLBACK")
        if self.scoped:
            self.core.execute_simple("RESET app.partner_id")
            self.scoped = False


class Superuser(NativeConnection):
    """Who watches: it asks the same of every run, so that each question is prepared once."""

    def __init__(self, port: int, database: str) -> None:
        super().__init__("postgres", host="127.0.0.1", port=port, database=database)
        read_times_fast(self)
        self._prepared: dict[str, PreparedStatement] = {}

    def run(self, sql: str, stream: Any = None, types: Any = None, **params: Any) -> Any:
        if not params:  # more than one statement, perhaps, or one that cannot be prepared
            return super().run(sql, stream, types)
        prepared = self._prepared.get(sql)
        if prepared is None:
            prepared = self._prepared[sql] = PreparedStatement(self, sql)
        return prepared.run(**params)


class Server:
    """The database of one process that runs seeds, its kept connections, and the superuser who watches."""

    def __init__(self, port: int, database: str) -> None:
        self.port = port
        self.database = database
        self.admin = Superuser(port, database)
        # The server's own ends of waits and its own housekeeping come when they come: ours are in virtual time.
        self.admin.run(f"ALTER DATABASE {identifier(database)} SET deadlock_timeout = '1h'")
        self.admin.run("ALTER SYSTEM SET autovacuum = off")
        self.admin.run("SELECT pg_reload_conf()")
        self._waits = PreparedStatement(self.admin, "SELECT cardinality(pg_blocking_pids(:pid))")
        self._idle: dict[str, list[Backend]] = defaultdict(list)

    def take(self, role: str) -> Backend:
        idle = self._idle[role]
        try:
            return idle.pop() if idle else Backend(self, role)
        except (InterfaceError, DatabaseError) as error:
            raise OutOfConnections from error

    def give_back(self, backend: Backend) -> None:
        backend.reset()
        self._idle[backend.role].append(backend)

    def waits(self, pid: int) -> bool:
        """Whether a server process waits for a lock."""
        return self._waits.run(pid=pid)[0][0] > 0

    def cancel(self, pid: int) -> None:
        self.admin.run("SELECT pg_cancel_backend(:pid)", pid=pid)

    def close(self) -> None:
        self.admin.close()
        for backends in self._idle.values():
            for backend in backends:
                backend.core.close()


class SimulatedDatabase:
    """What the instances of one run connect to."""

    def __init__(self, kernel: Kernel, server: Server) -> None:
        self._kernel = kernel
        self._server = server
        self._open: list[Connection] = []
        self._lost: set[Task] = set()
        self._released = False
        self._refuses = False
        self._order = kernel.core.random
        kernel.settle = self.settle
        kernel.stall = self._stall
        kernel.crashed = self._crashed

    def connect(self, role: str) -> "Connection":
        self._kernel.point("connect")
        if self._refuses:
            raise InterfaceError("communication error")
        backend = self._server.take(role)
        backend.wire.database = self
        connection = Connection(self, self._kernel, backend)
        self._open.append(connection)
        return connection

    def close(self) -> None:
        """Break what is still open, at the end of a run."""
        for connection in list(self._open):
            connection.kill()

    # Locks: what wire.py asks

    def waits(self, pid: int) -> bool:
        return self._server.waits(pid)

    def cancel(self, pid: int) -> None:
        self._server.cancel(pid)

    def block(self, wire: Wire) -> None:
        """Let others run until the lock is released, or for as long as PostgreSQL would wait."""
        kernel = self._kernel
        task = kernel.alive()
        kernel.log(task.key, "waits for a lock")
        timer = kernel.core.after(wire.patience, lambda: self._time_out(task, wire))
        try:
            kernel.block(wire)
        finally:
            timer.cancel()
        if task in self._lost:
            self._lost.remove(task)
            raise InterfaceError(_BROKEN)

    def _time_out(self, task: Task, wire: Wire) -> None:
        if task.wire is wire and task.state == "blocked":
            self._kernel.log(task.key, "waited for too long")
            self._end_wait(task, as_lock_timeout=True)

    def _end_wait(self, task: Task, *, as_lock_timeout: bool) -> None:
        task.wire.cancel(as_lock_timeout=as_lock_timeout)
        task.state = "ready"
        self._released = True

    def released(self) -> None:
        """Somebody let go of locks."""
        self._released = True

    def settle(self) -> None:
        """After a release: let those who wait go one at a time, until each has its answer or waits again."""
        if not self._released:
            return
        self._released = False
        waiting = [task for task in self._kernel.tasks if task.state == "blocked"]
        self._order.shuffle(waiting)
        for task in waiting:
            task.wire.resume()
            if task.wire.receive():
                task.state = "ready"
                self._released = True
            else:
                task.wire.stop()
        if self._released:
            self.settle()

    # Faults

    def restart(self, seconds: float) -> None:
        """Every connection breaks, and for `seconds` there are no new ones."""
        for connection in list(self._open):
            connection.kill()
        self._refuses = True
        self._kernel.core.after(seconds, self._accept)

    def _accept(self) -> None:
        self._refuses = False

    def _stall(self, task: Task, seconds: float) -> None:
        """A task stands still: PostgreSQL ends its connections that are in a transaction."""
        stalled = [c for c in self._open if c.user is task and c.in_transaction]

        def end() -> None:
            for connection in stalled:
                if connection.user is task and connection.in_transaction:
                    self._kernel.log(task.key, "was idle in a transaction for too long")
                    connection.kill()

        if stalled:
            self._kernel.core.after(IDLE_IN_TRANSACTION, end)

    def _crashed(self, instance: Any) -> None:
        for connection in [c for c in self._open if c.instance is instance]:
            connection.kill()

    def forget(self, connection: "Connection", backend: Backend) -> None:
        """A connection broke: the server rolls back, and its process serves the next one."""
        self._open.remove(connection)
        for task in self._kernel.tasks:
            if task.wire is backend.wire:
                if task.state == "blocked":
                    self._end_wait(task, as_lock_timeout=False)
                self._lost.add(task)
        self._released = True
        backend.wire.drain()
        self._server.give_back(backend)


class Connection:
    """What `kapas.platform.db.Session` sees as a `CoreConnection`. Once broken it stays broken."""

    def __init__(self, database: SimulatedDatabase, kernel: Kernel, backend: Backend) -> None:
        self._database = database
        self._kernel = kernel
        self._backend: Backend | None = backend
        self.py_types: Mapping[Any, Any] = backend.core.py_types
        self.user = kernel.alive()
        self.instance = self.user.instance

    @property
    def in_transaction(self) -> bool:
        return self._backend is not None and self._backend.core._transaction_status in (b"T", b"E")

    @property
    def _usock(self) -> socket.socket:
        """Readable when the connection is broken, as a closed one is."""
        return _BROKEN_SOCKET if self._backend is None else _QUIET_SOCKET

    def prepare_statement(self, statement: str, oids: Any = None) -> Any:
        return self._alive().prepare(statement, oids)

    def send_BIND(self, name: Any, params: Any) -> None:
        """What `kapas.platform.db` sends before a statement: the scope."""
        backend = self._alive()
        backend.scoped = True
        backend.core.send_BIND(name, params)

    def send_EXECUTE(self) -> None:
        self._alive().core.send_EXECUTE()

    def execute_named(self, name: Any, params: Any, columns: Any, functions: Any, statement: str) -> Any:
        if _LOCK_TIMEOUT in statement:  # for this transaction, and in virtual time like the server's own
            self._alive().wire.patience, params = int(params[0]) / 1000, ["0"]
        return self._run(
            statement,
            params,
            lambda backend: backend.core.execute_named(name, params, columns, functions, statement),
        )

    def execute_simple(self, statement: str) -> Any:
        return self._run(statement, (), lambda backend: backend.core.execute_simple(statement))

    def close(self) -> None:
        self.kill()

    def kill(self) -> None:
        """Break the connection."""
        if self._backend is not None:
            backend, self._backend = self._backend, None
            self._database.forget(self, backend)

    def _alive(self) -> Backend:
        self._kernel.alive()
        if self._backend is None:
            raise InterfaceError(_BROKEN)
        return self._backend

    def _run(self, statement: str, params: Any, execute: Callable[[Backend], Any]) -> Any:
        kernel = self._kernel
        name = _name(statement)
        task = self.user = kernel.point(name)
        self._alive()
        if kernel.strikes("restart", name, weight=0.1):
            self._database.restart(20 * kernel.faults.draw(task.key, task.points, "restart"))
        if kernel.strikes("connection_drop", name):
            self.kill()
        if kernel.faults.draw(task.key, task.points, "slow") < kernel.faults.slow:
            kernel.sleep(SLOW * kernel.faults.draw(task.key, task.points, "takes"))
        backend = self._alive()
        commits = statement == "COMMIT" or (not self.in_transaction and not statement.startswith(("SELECT", "BEGIN")))
        if commits and kernel.strikes("commit_lost", name):
            self.kill()
            raise InterfaceError(_BROKEN)
        try:
            answer = execute(backend)
        except DatabaseError as error:
            if self._backend is None:  # the connection broke while it waited for a lock
                raise InterfaceError(_BROKEN) from None
            kernel.log(task.key, name, "fails", error.args[0].get("C"), error.args[0].get("n", ""))
            raise
        finally:
            if not self.in_transaction:
                backend.wire.patience = LOCK_TIMEOUT
                self._database.released()
        self._alive()
        if len(answer.rows or ()) > 1 and _unordered(statement):
            answer.rows.sort(key=repr)
            random.Random(f"{kernel.seed}/{task.key}/{task.points}/rows").shuffle(answer.rows)
        kernel.log(task.key, name, params, answer.rows)
        if commits and kernel.strikes("commit_unanswered", name):
            self.kill()
            raise InterfaceError(_BROKEN)
        return answer


_WRITE = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM) (\w+)(?=[^;]*?\b(?:SET|VALUES|SELECT|WHERE)\b)")
_READ = re.compile(r"\bFROM (?!unnest|change)(\w+)")


@functools.cache
def _unordered(statement: str) -> bool:
    """Whether SQL leaves the order of the rows open. PostgreSQL's own depends on what was deleted before; ours is drawn."""
    return not statement.startswith("FETCH") and statement.rfind("ORDER BY") <= statement.rfind("RETURNING")


@functools.cache
def _name(statement: str) -> str:
    """The kind of a statement and the first table it is about, for logs and failpoints. That a transaction is rolled back
    and that its COMMIT fails come to the same; and so do the questions whether there is the row, of whichever table, that
    a legal hold is to name."""
    if statement == "ROLLBACK":
        return "COMMIT"
    if statement.startswith("SELECT FROM") and "::text::" in statement:
        return "SELECT of any table"
    writes = [found for found in _WRITE.finditer(statement) if found[2] not in ("OF", "SET")]
    if writes:
        return f"{writes[0][1].split()[0]} {writes[0][2]}"
    reads = _READ.search(statement)
    return f"SELECT {reads[1]}" if reads else statement.split()[0]
