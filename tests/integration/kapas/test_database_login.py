"""The production path to the database: verified TLS to one address, an IAM token as the password, as on Cloud SQL."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pg8000.native import Connection
from werkzeug import Request, Response

from kapas.errors import Unavailable
from kapas.platform.db import ConnectionLost, Database
from kapas.platform.db import connect as connect_module
from kapas.platform.db.connect import SILENCE, connector, open_database, tls
from kapas.platform.gcp.metadata import SQL_LOGIN
from kapas.platform.settings import DatabaseSettings, load, use
from local_cloud.cloud_sql import TOKEN_PATH, Authority, CloudSql, cloud_sql
from local_cloud.postgres import Postgres
from tests.times import Time, moving_time
from tools.serving import over_http

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
FUNCTION, ROLE = "trade-events", "trade_events"


class Metadata:
    """A metadata server that hands out `token`, valid for an hour, to whoever asks for a token that only logs in."""

    def __init__(self) -> None:
        self.token = "first"
        self.asked = 0

    def __call__(self, environ: Any, start: Any) -> Any:
        request = Request(environ)
        assert request.headers["Metadata-Flavor"] == "Google"
        assert parse_qs(urlsplit(request.url).query) == {"scopes": [SQL_LOGIN]}
        self.asked += 1
        known = request.path == TOKEN_PATH
        body = {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"}
        return Response(json.dumps(body), 200 if known else 404)(environ, start)


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(NOW) as time:
        yield time


@pytest.fixture
def instance(postgres: Postgres) -> Iterator[CloudSql]:
    with cloud_sql(postgres, "postgres") as instance:
        instance.admit(FUNCTION, "first", ROLE)
        yield instance


@pytest.fixture
def metadata() -> Metadata:
    return Metadata()


@pytest.fixture
def settings(instance: CloudSql, metadata: Metadata) -> Iterator[Callable[..., DatabaseSettings]]:
    """The settings that a deployed function reads, with changes."""
    with over_http(metadata) as address:

        def read(**changes: str) -> DatabaseSettings:
            told = {"FUNCTION": FUNCTION, "PROJECT": "kapas-local", "DATABASE_POOL": "1", "METADATA_URL": address}
            with use(told | instance.variables(FUNCTION) | changes):
                return load(DatabaseSettings)

        yield read


@contextmanager
def opened(settings: DatabaseSettings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.close()


def refused(settings: DatabaseSettings) -> Exception | None:
    """Why no session could be had."""
    with opened(settings) as database, pytest.raises(Unavailable) as failure, database.session(None):
        pass
    cause = failure.value.__cause__
    return cause if isinstance(cause, Exception) else None


def test_a_function_logs_in_with_its_token_over_verified_tls(
    settings: Callable[..., DatabaseSettings], metadata: Metadata
) -> None:
    with opened(settings()) as database, database.session(None) as db:
        user, role = db.run("SELECT session_user::text, pg_has_role('trade_events', 'USAGE')")[0]
        used: Any = db
        assert isinstance(used._connection._usock, ssl.SSLSocket)
    assert (user, role) == ("trade-events@kapas-local.iam", True)
    assert metadata.asked == 1


def test_a_token_that_expired_is_replaced_for_the_next_connection(
    settings: Callable[..., DatabaseSettings], instance: CloudSql, metadata: Metadata, time: Time
) -> None:
    connect = connector(settings())
    first = connect()
    connect().close()
    assert metadata.asked == 1, "a token serves every connection until it expires"
    metadata.token = "second"
    instance.admit(FUNCTION, "second", ROLE)
    time.now += timedelta(hours=1)
    connect().close()
    assert metadata.asked == 2
    first.execute_simple("SELECT 1")  # what is open outlives its token
    first.close()


def test_another_token_is_refused(
    settings: Callable[..., DatabaseSettings], metadata: Metadata, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata.token = "somebody else's"
    assert "28P01" in str(refused(settings()))
    logged = capsys.readouterr().out
    assert '"message":"database_connect_failed"' in logged
    assert '"sqlstate":"28P01"' in logged
    assert "somebody" not in logged


def test_without_a_token_the_database_is_unavailable(settings: Callable[..., DatabaseSettings]) -> None:
    refused(settings(METADATA_URL="http://127.0.0.1:9"))


def test_a_server_of_another_authority_is_refused(settings: Callable[..., DatabaseSettings]) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused(settings(DATABASE_CA=Authority().pem)))


def test_both_authorities_are_trusted_while_one_replaces_the_other(
    settings: Callable[..., DatabaseSettings], instance: CloudSql
) -> None:
    with opened(settings(DATABASE_CA=Authority().pem + instance.ca)) as database, database.session(None) as db:
        assert db.one("SELECT 1") == [1]


def test_the_name_is_verified_where_the_certificate_has_one(
    postgres: Postgres, settings: Callable[..., DatabaseSettings]
) -> None:
    with cloud_sql(postgres, "postgres", "localhost") as named:
        named.admit(FUNCTION, "first", ROLE)
        by_address = named.variables(FUNCTION, "verify-full")
        by_name = by_address | {"DATABASE_URL": by_address["DATABASE_URL"].replace("127.0.0.1", "localhost")}
        with opened(settings(**by_name)) as database, database.session(None) as db:
            assert db.one("SELECT 1") == [1]
        assert "IP address mismatch" in str(refused(settings(**by_address)))


def test_a_name_that_no_certificate_has_is_refused(settings: Callable[..., DatabaseSettings]) -> None:
    url = settings().database_url.replace("verify-ca", "verify-full")
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused(settings(DATABASE_URL=url)))


def test_a_token_is_never_sent_in_the_clear(settings: Callable[..., DatabaseSettings], metadata: Metadata) -> None:
    url = settings().database_url.replace("verify-ca", "disable")
    with pytest.raises(ValueError, match="DATABASE_IAM needs sslmode"):
        open_database(settings(DATABASE_URL=url))
    assert metadata.asked == 0


def test_a_server_that_falls_silent_is_given_up(
    settings: Callable[..., DatabaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as impatient:
        impatient.setattr(connect_module, "SILENCE", 0.2)
        url = f"postgresql://somebody@127.0.0.1:{silent.getsockname()[1]}/postgres?sslmode=verify-ca"
        refused(settings(DATABASE_URL=url))
    with opened(settings()) as database, database.session(None) as db:
        used: Any = db
        used._connection._usock.settimeout(0.2)
        with pytest.raises(ConnectionLost):
            db.run("SELECT pg_sleep(60)")


def test_the_end_of_an_idle_connection_is_noticed(settings: Callable[..., DatabaseSettings]) -> None:
    with opened(settings()) as database, database.session(None) as db:
        used: Any = db
        sock: socket.socket = used._connection._usock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENCE * 1000


def test_one_context_verifies_what_its_mode_says(instance: CloudSql) -> None:
    modes: dict[str, bool] = {}
    for mode in ("verify-ca", "verify-full"):
        context = tls(mode, ca=instance.ca)
        assert isinstance(context, ssl.SSLContext)
        assert context.verify_mode == ssl.CERT_REQUIRED
        modes[mode] = context.check_hostname
    assert modes == {"verify-ca": False, "verify-full": True}
    assert tls("disable") is False
    with pytest.raises(ValueError, match="verify-full"):
        tls("require")
    with pytest.raises(ValueError, match="verify-ca needs a CA"):
        tls("verify-ca")


def test_the_stand_in_asks_its_users_for_a_password(instance: CloudSql, postgres: Postgres) -> None:
    """Else every test of a refusal above would mean nothing."""
    with pytest.raises(Exception, match="password"):
        Connection("trade-events@kapas-local.iam", host="127.0.0.1", port=postgres.port, database="postgres")


def test_no_client_of_googles_is_imported_to_connect() -> None:
    code = "import sys, kapas.platform.db.connect; print([name for name in ('google.auth', 'grpc') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
