"""A PostgreSQL with the whole schema, for tests of SQL: one server a test process, one database a test module."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from pg8000.core import CoreConnection
from pg8000.native import Connection

from kapas.platform.db import Database
from local_cloud.postgres import Postgres
from tools import grants
from tools.catalog import ROOT, catalog
from tools.migrations import migrate

Login = Callable[[str], Callable[[], CoreConnection]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server whose database `schema` has the schema, and where each capability's role may log in."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        with Connection("postgres", host="127.0.0.1", port=server.port, database="postgres") as connection:
            connection.run("CREATE DATABASE schema")
        with Connection("postgres", host="127.0.0.1", port=server.port, database="schema") as connection:
            migrate(connection, ROOT / "migrations", finish=grants.apply)
            for role in {f.database.role for f in catalog().functions.values() if f.database}:
                connection.run(f"ALTER ROLE {role} LOGIN")
        yield server


@pytest.fixture(scope="module")
def postgres(server: Postgres) -> Postgres:
    """The server, its database `postgres` as the migrations leave it."""
    with Connection("postgres", host="127.0.0.1", port=server.port, database="template1") as connection:
        connection.run("DROP DATABASE postgres WITH (FORCE)")
        connection.run("CREATE DATABASE postgres TEMPLATE schema STRATEGY file_copy")
    return server


@pytest.fixture(scope="module")
def login(postgres: Postgres) -> Login:
    """How a role opens a connection."""
    return lambda role: partial(CoreConnection, role, host="127.0.0.1", port=postgres.port, database="postgres")


@pytest.fixture
def admin(postgres: Postgres) -> Iterator[Connection]:
    with Connection("postgres", host="127.0.0.1", port=postgres.port, database="postgres") as connection:
        yield connection


@pytest.fixture
def open_as(login: Login) -> Iterator[Callable[[str], Database]]:
    """A pool as a role has it; closed at the end of the test."""
    opened: list[Database] = []

    def open_database(role: str, size: int = 2) -> Database:
        opened.append(Database(login(role), size))
        return opened[-1]

    yield open_database
    for database in opened:
        database.close()
