"""Sessions, transactions and the pool, on a real server."""

import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, cast

import pytest
from pg8000.core import CoreConnection
from pg8000.exceptions import InterfaceError
from pg8000.native import Connection

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.db import PLATFORM, ConnectionLost, Database, DatabaseFailure, LockTimeout, Session, UniqueViolation
from kapas.platform.db.connect import connector
from kapas.platform.db.driver import adapted
from kapas.platform.settings import DatabaseSettings
from kapas.values import ids
from local_cloud.postgres import Postgres
from tests.times import PATIENCE
from tools.catalog import ROOT

Open = Callable[..., Database]


@pytest.fixture
def database(open_as: Open) -> Database:
    return open_as("postgres")


@pytest.fixture
def table(admin: Connection) -> Iterator[str]:
    admin.run("CREATE TABLE scratch (id int PRIMARY KEY)")
    yield "scratch"
    admin.run("DROP TABLE scratch")


def test_a_transaction_commits_whole_or_not_at_all(database: Database, table: str) -> None:
    def insert(number: int, then: Callable[[], None]) -> None:
        with database.session(None) as db, db.transaction():
            db.run(f"INSERT INTO {table} VALUES (:id)", id=number)
            then()

    with pytest.raises(ZeroDivisionError):
        insert(1, lambda: divmod(1, 0) and None)
    insert(2, lambda: None)
    with database.session(None) as db:
        assert db.run(f"SELECT id FROM {table} ORDER BY id") == [[2]]


def test_a_snapshot_reads_what_its_first_statement_found_and_writes_nothing(database: Database, table: str) -> None:
    def count(db: Session) -> int:
        row = db.one(f"SELECT count(*) FROM {table}")
        return row[0] if row else -1

    def insert(number: int) -> None:
        with database.session(None) as other:
            other.run(f"INSERT INTO {table} VALUES (:id)", id=number)

    with database.session(PLATFORM) as db:
        with db.snapshot():
            insert(1)  # nothing was read so far
            before = count(db)
            insert(2)
            assert (before, count(db)) == (1, 1)
        assert count(db) == 2
        with pytest.raises(DatabaseFailure) as refused, db.snapshot():
            db.run(f"INSERT INTO {table} VALUES (3)")
        assert refused.value.code == "25006"
        with pytest.raises(RuntimeError), db.snapshot(), db.transaction():
            pass
        assert count(db) == 2


def test_a_failed_statement_says_what_it_broke_and_leaves_the_connection_usable(database: Database, table: str) -> None:
    with database.session(None) as db:
        db.run(f"INSERT INTO {table} VALUES (:id)", id=1)
        with pytest.raises(UniqueViolation) as violated:
            db.run(f"INSERT INTO {table} VALUES (:id)", id=1)
        assert violated.value.constraint == "scratch_pkey"
        with pytest.raises(DatabaseFailure, match="42P01"):
            db.run("SELECT * FROM nowhere")
        assert db.one("SELECT 1") == [1]


def test_a_statement_without_a_grant_is_logged_by_its_code(open_as: Open, capsys: pytest.CaptureFixture[str]) -> None:
    with open_as("audit_trail").session(PLATFORM) as db, pytest.raises(DatabaseFailure) as refused:
        db.run("SELECT * FROM partners")
    log.error("call_failed", refused.value)
    assert '"sqlstate":"42501"' in capsys.readouterr().out


def test_our_own_mistake_is_not_taken_for_a_lost_connection(database: Database) -> None:
    with database.session(None) as db:
        with pytest.raises(InterfaceError, match="placeholder"):
            db.run("SELECT :missing::int", given=1)
        assert db.one("SELECT 1") == [1]


def test_a_connection_that_the_server_closed_is_replaced(database: Database, admin: Connection) -> None:
    with database.session(None) as db:
        first = db.one("SELECT pg_backend_pid()")
    assert first is not None
    admin.run("SELECT pg_terminate_backend(:pid, 5000)", pid=first[0])
    with database.session(None) as db:
        second = db.one("SELECT pg_backend_pid()")
    assert second is not None
    assert second != first


def test_a_connection_lost_in_use_is_told_and_not_used_again(database: Database, admin: Connection) -> None:
    with database.session(None) as db:
        pid = db.one("SELECT pg_backend_pid()")
        assert pid is not None
        admin.run("SELECT pg_terminate_backend(:pid, 5000)", pid=pid[0])
        with pytest.raises(ConnectionLost):
            db.run("SELECT 1")
    with database.session(None) as db:
        assert db.one("SELECT 1") == [1]


def test_a_session_shows_its_partner_only_whoever_had_the_connection_before(database: Database) -> None:
    one, other = ids.uuid7(), ids.uuid7()
    for scope, shown in ((one, str(one)), (other, str(other)), (None, ""), (PLATFORM, "*"), (one, str(one))):
        with database.session(scope) as db:
            assert db.one("SELECT current_setting('app.partner_id', true)") == [shown]


SHOWN = "SELECT current_setting('app.partner_id', true)"


def test_a_rolled_back_transaction_does_not_change_the_scope(database: Database) -> None:
    partner_id = ids.uuid7()
    with pytest.raises(ZeroDivisionError), database.session(partner_id) as db, db.transaction():
        raise ZeroDivisionError
    with database.session(partner_id) as db:
        assert db.one(SHOWN) == [str(partner_id)]


def test_a_scope_that_was_undone_goes_with_the_next_statement(database: Database) -> None:
    """The scope is sent with a session's first statement. When that fails, or its transaction, it is undone with it."""
    for _ in range(2):
        one, other = ids.uuid7(), ids.uuid7()
        with database.session(one) as db:
            with pytest.raises(DatabaseFailure, match="22012"):
                db.run("SELECT 1 / :zero::int", zero=0)
            assert db.one(SHOWN) == [str(one)]
        with database.session(other) as db:
            with suppress(ZeroDivisionError), db.transaction():
                assert db.one(SHOWN) == [str(other)]
                raise ZeroDivisionError
            assert db.one(SHOWN) == [str(other)]
        with database.session(one) as db, pytest.raises(InterfaceError, match="placeholder"):
            db.run("SELECT :missing::int", given=1)
        with database.session(other) as db, db.transaction():
            assert db.one(SHOWN) == [str(other)]


class Recorder:
    """A socket that keeps what is sent, a part for each call, and how often something is read."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self.sent: list[bytes] = []
        self.reads = 0

    def makefile(self, mode: str) -> io.BufferedRWPair:
        return io.BufferedRWPair(Reading(self), Writing(self))

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, buffer: memoryview) -> int:
        self.reads += 1
        return self._socket.recv_into(buffer)

    def send(self, data: bytes) -> int:
        self.sent.append(data)
        return self._socket.send(data)


class Reading(io.RawIOBase):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._recorder.receive(buffer)


class Writing(io.RawIOBase):
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return self._recorder.send(bytes(data))


def test_a_statement_and_its_scope_are_one_packet_each_way(postgres: Postgres) -> None:
    recorder = Recorder(postgres.port)
    connection = CoreConnection("postgres", database="postgres", sock=cast(Any, recorder), ssl_context=cast(Any, False))
    database = Database(lambda: connection, 1)
    for scope in (ids.uuid7(), ids.uuid7()):  # prepared in the first round
        recorder.sent.clear()
        recorder.reads = 0
        with database.session(scope) as db:
            assert db.one(SHOWN) == [str(scope)]
    assert (len(recorder.sent), recorder.reads) == (1, 1)
    database.close()


def test_a_server_that_falls_silent_is_given_up(postgres: Postgres) -> None:
    connection: Any = CoreConnection(
        "postgres", host="127.0.0.1", port=postgres.port, database="postgres", ssl_context=cast(Any, False)
    )
    connection._usock.settimeout(0.2)
    database = Database(lambda: adapted(connection), 1)
    with database.session(None) as db, pytest.raises(ConnectionLost):
        db.run("SELECT pg_sleep(:seconds::float)", seconds=PATIENCE)


def test_times_are_read_exactly(login: Callable[[str], Callable[[], CoreConnection]]) -> None:
    connect = login("postgres")
    with Database(lambda: adapted(connect()), 1).session(None) as db:
        for text in ("2026-11-24 06:30:00+00", "2026-11-24 06:30:00.5+00", "1900-01-01 00:00:00.000001+00"):
            assert db.one("SELECT :text::text::timestamptz", text=text) == [datetime.fromisoformat(text)]
        assert db.one("SELECT 'infinity'::timestamptz") == ["infinity"]
        assert db.one("SELECT '20000-01-01 00:00:00+00'::timestamptz") == ["20000-01-01 00:00:00+00"]


def test_what_the_driver_seldom_needs_is_imported_when_it_does() -> None:
    program = """
import sys
from kapas.platform.db.driver import CoreConnection
import pg8000.converters, pg8000.core
assert not {"asn1crypto", "scramp", "dateutil.parser"} & set(sys.modules), sorted(sys.modules)
assert pg8000.core.scramp.ScramClient(["SCRAM-SHA-256"], "u", "p").get_client_first().startswith("n,,n=u,r=")
assert pg8000.converters.parse("2026-11-24 06:30").minute == 30
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "shared")}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr


def test_the_pool_is_bounded_and_waits_only_so_long(login: Callable[[str], Callable[[], CoreConnection]]) -> None:
    database = Database(login("postgres"), 1, wait=0.05)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with database.session(None):
            entered.set()
            leave.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(PATIENCE)
    with pytest.raises(Unavailable, match="in use"), database.session(None):
        pass
    leave.set()
    holder.join()
    with database.session(None) as db:
        assert db.one("SELECT 1") == [1]
    database.close()


def test_a_server_that_cannot_be_reached_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    database = Database(partial(CoreConnection, "postgres", host="127.0.0.1", port=port), 1)
    with pytest.raises(Unavailable, match="reached"), database.session(None):
        pass


def settings_for(postgres: Postgres, query: str = "?sslmode=disable") -> DatabaseSettings:
    return DatabaseSettings(
        function="test",
        project="kapas-local",
        database_url=f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres{query}",
        database_pool=1,
    )


def test_statements_and_lock_waits_are_bounded_by_the_server(postgres: Postgres, admin: Connection, table: str) -> None:
    database = Database(connector(settings_for(postgres)), 1)
    with database.session(None) as db:
        assert db.run(
            "SELECT name, setting FROM pg_settings WHERE name LIKE '%\\_timeout' AND setting <> '0' ORDER BY name"
        )
        db.run("SELECT set_config('lock_timeout', '20', false)")
        admin.run("BEGIN")
        admin.run(f"LOCK TABLE {table}")
        with pytest.raises(LockTimeout):
            db.run(f"INSERT INTO {table} VALUES (:id)", id=1)
        admin.run("ROLLBACK")
    database.close()


def test_without_a_word_about_tls_the_server_must_prove_who_it_is(postgres: Postgres) -> None:
    with pytest.raises(Unavailable), Database(connector(settings_for(postgres, "")), 1).session(None):
        pass
