"""The migrations on a real PostgreSQL: in order, once, whole, and by one run at a time."""

import contextlib
import itertools
import re
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pg8000.native import Connection, DatabaseError, InterfaceError

from kapas.values import clock
from local_cloud.postgres import Postgres
from tests.times import PATIENCE
from tools import migrate as command
from tools import migrations as migrate
from tools.migrations import MigrationError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def database(server: Postgres) -> str:
    """A fresh database; its name."""
    name = f"migrations_{next(_numbers)}"
    admin = open_connection(server, "postgres")
    admin.run(f"CREATE DATABASE {name}")
    admin.close()
    return name


@pytest.fixture
def db(server: Postgres, database: str) -> Generator[Connection]:
    connection = open_connection(server, database)
    yield connection
    with contextlib.suppress(InterfaceError):  # a test may have broken it
        connection.close()


def open_connection(server: Postgres, database: str) -> Connection:
    return Connection("postgres", host="127.0.0.1", port=server.port, database=database)


def write(folder: Path, **files: str) -> Path:
    """Write `m0001_lots="..."` as the migration 0001_lots.sql."""
    for name, sql in files.items():
        (folder / f"{name[1:]}.sql").write_text(sql)
    return folder


def tables(db: Connection) -> list[str]:
    return [name for [name] in db.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]


def versions(db: Connection) -> list[int]:
    return [version for [version] in db.run("SELECT version FROM schema_migrations ORDER BY version")]


LOTS = "CREATE TABLE lots (id int PRIMARY KEY);\nINSERT INTO lots VALUES (1), (2);\n"
BALES = "CREATE TABLE bales (id int PRIMARY KEY, lot_id int REFERENCES lots);"


def test_applies_in_order_and_once(db: Connection, tmp_path: Path) -> None:
    write(tmp_path, m0002_bales=BALES, m0001_lots=LOTS)
    (tmp_path / "README.md").write_text("not a migration")
    with clock.use(lambda: NOON):
        applied = migrate.migrate(db, tmp_path)
    assert [migration.name for migration in applied] == ["0001_lots.sql", "0002_bales.sql"]
    assert db.run("SELECT * FROM schema_migrations ORDER BY version") == [
        [1, "lots", applied[0].sha256, NOON],
        [2, "bales", applied[1].sha256, NOON],
    ]
    assert migrate.migrate(db, tmp_path) == []
    write(tmp_path, m0003_prices="CREATE TABLE prices ();")
    assert [migration.version for migration in migrate.migrate(db, tmp_path)] == [3]
    assert tables(db) == ["bales", "lots", "prices", "schema_migrations"]
    assert db.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [[0]]


def test_a_failure_leaves_nothing_half_done(db: Connection, tmp_path: Path) -> None:
    write(tmp_path, m0001_lots=LOTS, m0002_prices="CREATE TABLE prices ();\n\nSELECT nothing;\n", m0003_bales=BALES)
    told: list[str] = []
    with pytest.raises(MigrationError, match=r'^0002_prices\.sql:3: column "nothing" does not exist$'):
        migrate.migrate(db, tmp_path, on_applied=lambda migration: told.append(migration.name))
    assert told == ["0001_lots.sql"]
    assert tables(db) == ["lots", "schema_migrations"]
    assert versions(db) == [1]
    write(tmp_path, m0002_prices="CREATE TABLE prices ();")
    assert [migration.version for migration in migrate.migrate(db, tmp_path)] == [2, 3]


def test_a_failure_at_commit(db: Connection, tmp_path: Path) -> None:
    late = "CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO late VALUES (1), (1);"
    with pytest.raises(MigrationError, match=r"^0001_late\.sql: duplicate key value violates unique constraint"):
        migrate.migrate(db, write(tmp_path, m0001_late=late))
    assert (tables(db), versions(db)) == (["schema_migrations"], [])


def test_a_migration_that_cannot_be_recorded(db: Connection, tmp_path: Path) -> None:
    write(tmp_path, m0001_lots=LOTS + "DROP TABLE schema_migrations;")
    with pytest.raises(MigrationError, match=r'^0001_lots\.sql: relation "public.schema_migrations" does not exist$'):
        migrate.migrate(db, tmp_path)
    assert (tables(db), versions(db)) == (["schema_migrations"], [])


def test_a_lost_connection(server: Postgres, db: Connection, tmp_path: Path) -> None:
    write(tmp_path, m0001_lots=LOTS + "SELECT pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(MigrationError, match="connection to the database broke"):
        migrate.migrate(db, tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a", "0003_c"], "0003_c.sql: the migration 0002 is missing before it"),
        (["0002_b"], "0002_b.sql: the migration 0001 is missing before it"),
        (["0001_a", "0001_b"], "0001_b.sql: the number 0001 is taken twice or is 0000"),
        (["0000_a"], "0000_a.sql: the number 0000 is taken twice or is 0000"),
        (["1_a"], "1_a.sql: a migration is called NNNN_title.sql, in small letters"),
        (["0001_A"], "0001_A.sql: a migration is called NNNN_title.sql, in small letters"),
    ],
)
def test_unfit_names(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / f"{name}.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match=f"^{re.escape(message)}$"):
        migrate.load(tmp_path)


def test_a_changed_file(db: Connection, tmp_path: Path) -> None:
    migrate.migrate(db, write(tmp_path, m0001_lots=LOTS))
    write(tmp_path, m0001_lots=LOTS + "-- edited\n", m0002_bales=BALES)
    with pytest.raises(MigrationError, match=r"^0001_lots\.sql: changed since it was applied"):
        migrate.migrate(db, tmp_path)
    assert versions(db) == [1]


def test_line_endings_are_no_change(db: Connection, tmp_path: Path) -> None:
    migrate.migrate(db, write(tmp_path, m0001_lots=LOTS))
    (tmp_path / "0001_lots.sql").write_bytes(LOTS.replace("\n", "\r\n").encode())
    assert migrate.migrate(db, tmp_path) == []


def test_a_release_that_was_reverted_leaves_the_database_ahead(db: Connection, tmp_path: Path) -> None:
    migrate.migrate(db, write(tmp_path, m0001_lots=LOTS, m0002_bales=BALES))
    (tmp_path / "0002_bales.sql").unlink()
    assert migrate.migrate(db, tmp_path) == []
    assert migrate.ahead(db, tmp_path) == ["0002_bales.sql"]
    assert tables(db) == ["bales", "lots", "schema_migrations"]


def test_a_database_that_is_ahead_is_still_held_to_the_files(db: Connection, tmp_path: Path) -> None:
    migrate.migrate(db, write(tmp_path, m0001_lots=LOTS, m0002_bales=BALES))
    (tmp_path / "0002_bales.sql").unlink()
    (tmp_path / "0001_lots.sql").write_text(LOTS + "-- edited\n")
    with pytest.raises(MigrationError, match=r"^0001_lots\.sql: changed since it was applied"):
        migrate.migrate(db, tmp_path)


def test_a_database_with_a_gap(db: Connection, tmp_path: Path) -> None:
    migrate.migrate(db, write(tmp_path, m0001_lots=LOTS, m0002_bales=BALES))
    db.run("DELETE FROM schema_migrations WHERE version = 1")
    with pytest.raises(MigrationError, match=r"^the database has 0002_bales\.sql but not 0001 before it"):
        migrate.migrate(db, tmp_path)


def test_a_file_that_would_commit(tmp_path: Path) -> None:
    write(tmp_path, m0001_lots="CREATE TABLE lots ();\n-- and now\ncommit;\nCREATE TABLE bales ();")
    with pytest.raises(MigrationError, match=r"^0001_lots\.sql:3: COMMIT would end"):
        migrate.load(tmp_path)


def test_session_settings_do_not_leak(db: Connection, tmp_path: Path) -> None:
    first = "CREATE ROLE leaked_role; CREATE SCHEMA aside; SET search_path = aside; SET ROLE leaked_role;"
    second = (
        "SELECT 1 / (current_setting('lock_timeout') = '5s' AND current_setting('statement_timeout') = '1min')::int;"
    )
    migrate.migrate(db, write(tmp_path, m0001_aside=first, m0002_timeouts=second, m0003_lots=LOTS))
    assert tables(db) == ["lots", "schema_migrations"]
    assert db.run("SELECT current_user, current_setting('lock_timeout')") == [["postgres", "0"]]


def test_gives_up_on_a_lock(
    server: Postgres, database: str, db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", 50)
    migrate.migrate(db, write(tmp_path, m0001_lots=LOTS))
    other = open_connection(server, database)
    other.run("BEGIN; LOCK TABLE lots")
    write(tmp_path, m0002_grade="ALTER TABLE lots ADD grade text;")
    with pytest.raises(MigrationError, match=r"^0002_grade\.sql.*: canceling statement due to lock timeout$"):
        migrate.migrate(db, tmp_path)
    other.close()


CONCURRENTLY = """-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS lots_id;
/* ; */ CREATE INDEX CONCURRENTLY lots_id
    ON lots (id) WHERE 'a;b' <> $x$;$x$
"""


def test_without_a_transaction(db: Connection, tmp_path: Path) -> None:
    applied = migrate.migrate(db, write(tmp_path, m0001_lots=LOTS, m0002_index=CONCURRENTLY))
    assert [migration.transactional for migration in applied] == [True, False]
    assert db.run("SELECT indisvalid FROM pg_index WHERE indexrelid = 'lots_id'::regclass") == [[True]]
    write(tmp_path, m0003_bad="-- no-transaction\nCREATE TABLE kept ();\n\nINSERT INTO lots VALUES (1);")
    with pytest.raises(MigrationError, match=r"^0003_bad\.sql:4: duplicate key value"):
        migrate.migrate(db, tmp_path)
    assert tables(db) == ["kept", "lots", "schema_migrations"]
    assert versions(db) == [1, 2]


def test_split() -> None:
    texts = [
        "SELECT ';' ';', E'\\';', \"a;b\"",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN $$;$$; END; $f$",
        "SELECT 'it''s;', a$b$c -- ; not yet\n, 1",
        "SELECT E'\\\\', 2 /* ; */ + 3",
    ]
    sql = "-- first; comment\n" + " ;\n;\n/* x; */ ".join(texts)
    statements = migrate.split(sql)
    assert [text.strip() for _, text in statements] == texts
    assert all(sql[offset:].startswith(text) for offset, text in statements)
    assert migrate.split("-- nothing;\n") == []


def test_two_runs_at_once(server: Postgres, database: str, tmp_path: Path) -> None:
    """One applies all, the other waits; an index built concurrently in the first does not wait for the second."""
    write(tmp_path, m0001_lots=LOTS, m0002_index=CONCURRENTLY, m0003_bales=BALES)
    waiting = threading.Event()

    def slow(migration: migrate.Migration) -> None:
        assert waiting.wait(PATIENCE), "the other run should be waiting for its turn"

    def pause(seconds: float) -> None:
        waiting.set()
        threading.Event().wait(seconds)

    def run() -> list[int]:
        connection = open_connection(server, database)
        applied = migrate.migrate(connection, tmp_path, on_applied=slow, pause=pause)
        connection.close()
        return [migration.version for migration in applied]

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run), pool.submit(run)]
        assert sorted(run.result() for run in runs) == [[], [1, 2, 3]]


def test_finishes_within_its_turn_also_when_nothing_was_to_apply(
    server: Postgres, database: str, db: Connection, tmp_path: Path
) -> None:
    other = open_connection(server, database)
    free: list[bool] = []

    def finish(connection: migrate.Connection) -> None:
        assert connection.run("SELECT current_setting('lock_timeout')") == [["5s"]]
        [[taken]] = other.run("SELECT pg_try_advisory_lock(:key)", key=migrate._ADVISORY_KEY)
        free.append(taken)

    write(tmp_path, m0001_lots=LOTS)
    for _ in range(2):
        migrate.migrate(db, tmp_path, finish=finish)
    assert free == [False, False]
    other.close()


def test_grants_of_a_table_that_no_migration_made(
    server: Postgres, database: str, db: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is granted, the migrations stay, and the next run is not locked out."""
    write(tmp_path, m0001_lots="CREATE TABLE audit_log (event_id uuid)")
    for _ in range(2):
        assert command.main({"DATABASE_URL": server.dsn(database=database)}, tmp_path) == 1
        error = capsys.readouterr().err
        assert error.startswith("migration failed: the grants of the data map: ")
        assert error.count("\n") == 1
    assert tables(db) == ["audit_log", "schema_migrations"]


def test_gives_up_on_another_run(server: Postgres, database: str, db: Connection, tmp_path: Path) -> None:
    other = open_connection(server, database)
    other.run("SELECT pg_advisory_lock(:key)", key=migrate._ADVISORY_KEY)
    pauses: list[float] = []
    with pytest.raises(MigrationError, match="another run has been migrating this database for 300 s"):
        migrate.migrate(db, write(tmp_path, m0001_lots=LOTS), pause=pauses.append)
    assert sum(pauses) == pytest.approx(300)
    other.close()
    assert migrate.migrate(db, tmp_path) != []


def test_command(server: Postgres, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"DATABASE_URL": server.dsn(database=database)}
    write(tmp_path, m0001_lots=LOTS)
    grant = lambda connection: connection.run("GRANT SELECT ON lots TO public")  # noqa: E731
    assert command.main(environment, tmp_path, grant) == 0
    assert command.main(environment, tmp_path, grant) == 0
    write(tmp_path, m0002_bales="nonsense")
    assert command.main(environment, tmp_path, grant) == 1
    captured = capsys.readouterr()
    assert captured.out == "applied 0001_lots.sql\nnothing to apply\n"
    assert captured.err == 'migration failed: 0002_bales.sql:1: syntax error at or near "nonsense"\n'


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "DATABASE_URL must be postgresql://user@host:port/database"),
        ("mysql://user@example.com/kapas", "DATABASE_URL must be postgresql://user@host:port/database"),
        ("postgresql://user@127.0.0.1:1/kapas?sslmode=disable", "127.0.0.1"),
        ("postgresql://user@127.0.0.1/kapas?sslmode=prefer", "sslmode=prefer is not supported"),
    ],
)
def test_command_without_a_database(url: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main({"DATABASE_URL": url}) == 1
    error = capsys.readouterr().err
    assert error.startswith("cannot connect: ")
    assert message in error
    assert error.count("\n") == 1


def test_command_with_an_unknown_database(server: Postgres, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main({"DATABASE_URL": server.dsn(database="missing")}) == 1
    assert capsys.readouterr().err == 'cannot connect: database "missing" does not exist\n'


def test_all_migrations_as_a_member_of_the_role_that_may_make_roles(
    server: Postgres, database: str, db: Connection
) -> None:
    """As on Cloud SQL: the migrator is a member of `cloudsqlsuperuser`, and no member inherits CREATEROLE."""
    db.run("CREATE ROLE owning NOLOGIN CREATEROLE; CREATE ROLE migrating LOGIN NOSUPERUSER NOCREATEROLE IN ROLE owning")
    db.run(f"ALTER DATABASE {database} OWNER TO owning")
    member = command.connect(server.dsn("migrating", database))
    with pytest.raises(DatabaseError, match="permission denied to create role"):
        member.run("CREATE ROLE another")
    assert command.main({"DATABASE_URL": f"{server.dsn('migrating', database)}&role=owning"}) == 0
    assert db.run("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [["owning"]]
    assert len(versions(member)) == len(migrate.load(command.MIGRATIONS)), "a member reads what the owner made"
    member.close()
