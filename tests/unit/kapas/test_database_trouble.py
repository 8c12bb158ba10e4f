"""A database in trouble is no fault of this program: 503, when to try again, and no connection of doubtful state kept."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from flask import Response

from kapas.http.app import App
from kapas.http.function import Function
from kapas.platform import db as platform_db
from kapas.platform.db import ConnectionLost, Database, DatabaseFailure, DatabaseUnavailable, LockTimeout
from kapas.platform.db.driver import DatabaseError
from tests.unit.kapas.in_process import Anyone, InProcess, ask

TROUBLE = {
    "25006": ("5", True),
    "40001": ("1", False),
    "40P01": ("1", False),
    "53000": ("5", False),
    "53100": ("5", False),
    "53200": ("5", False),
    "53300": ("5", False),
    "57014": ("1", False),
    "58030": ("5", True),
}
"""SQLSTATE, Retry-After, and whether the connection is given up."""
ENDED = ("08006", "25P03", "25P04", "57P01", "57P02", "57P03", "57P05")


class Driver:
    """A connection whose statements fail with one SQLSTATE, and every statement that is prepared on it."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.closed = False
        self._usock = None

    def fail(self, *_: Any, **__: Any) -> Any:
        raise DatabaseError({"C": self.code, "M": "disk full: /var/lib/secret"})

    run = execute_simple = fail

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Database, Driver]]:
    def made(code: str) -> tuple[Database, Driver]:
        driver = Driver(code)
        monkeypatch.setattr(platform_db, "PreparedStatement", lambda connection, _: connection)
        return Database(lambda: cast(Any, driver), 1), driver

    return made


@pytest.mark.parametrize("how", ["run", "command"])
@pytest.mark.parametrize("code", TROUBLE)
def test_trouble_of_the_database(pool: Callable[[str], tuple[Database, Driver]], code: str, how: str) -> None:
    """Of a statement, and of BEGIN and COMMIT."""
    database, driver = pool(code)
    retry_after, given_up = TROUBLE[code]
    with database.session(None) as db, pytest.raises(DatabaseUnavailable) as failed:
        db.command("COMMIT") if how == "command" else db.run("SELECT 1")
    assert not isinstance(failed.value, ConnectionLost)
    assert (failed.value.status, failed.value.headers["Retry-After"]) == (503, retry_after)
    assert failed.value.logged == {"sqlstate": code}
    assert "secret" not in failed.value.detail
    assert driver.closed == given_up


@pytest.mark.parametrize("how", ["run", "command"])
@pytest.mark.parametrize("code", ENDED)
def test_a_connection_that_the_server_ends(pool: Callable[[str], tuple[Database, Driver]], code: str, how: str) -> None:
    database, driver = pool(code)
    with database.session(None) as db, pytest.raises(ConnectionLost):
        db.command("COMMIT") if how == "command" else db.run("SELECT 1")
    assert driver.closed


@pytest.mark.parametrize("code", ["22012", "42501", "XX000"])
def test_our_own_mistakes_stay_failures(pool: Callable[[str], tuple[Database, Driver]], code: str) -> None:
    database, driver = pool(code)
    with database.session(None) as db, pytest.raises(DatabaseFailure):
        db.run("SELECT 1")
    assert not driver.closed


@pytest.mark.parametrize(
    ("method", "failure", "status", "retry_after"),
    [
        ("GET", DatabaseUnavailable("The disk is full", "53100", retry_after=5), 503, "5"),
        ("POST", DatabaseUnavailable("The disk is full", "53100", retry_after=5), 503, "5"),
        ("GET", LockTimeout("55P03", "", ""), 503, "1"),
        ("POST", LockTimeout("55P03", "", ""), 409, "1"),
        ("GET", DatabaseFailure("42501", "", ""), 500, None),
        ("POST", DatabaseFailure("42501", "", ""), 500, None),
    ],
)
def test_what_a_client_is_answered(method: str, failure: Exception, status: int, retry_after: str | None) -> None:
    app = App("Example", cast(Function, InProcess(failure)))
    app.verifier = lambda: cast(Any, Anyone())

    def view() -> Response:
        with app.session() as db:
            db.one("SELECT 1")
        return Response()

    app.add_url_rule("/v1/examples", view_func=view, methods=["GET", "POST"])
    answered, problem, headers = ask(app, method, "/v1/examples", {} if method == "POST" else None)
    assert (answered, headers.get("Retry-After")) == (status, retry_after), problem
