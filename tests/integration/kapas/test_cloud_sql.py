"""Google's connector for Cloud SQL, with its certificates and its API made up: whatever falls silent is given up."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import google.cloud.sql.connector.connector as google_connector
import pytest
from google.auth.credentials import AnonymousCredentials

from kapas.errors import Unavailable
from kapas.platform.db import ConnectionLost, Database
from kapas.platform.db.driver import adapted
from kapas.platform.gcp import cloud_sql
from local_cloud.postgres import Postgres
from tests.integration.kapas.test_database import write_certificate

SILENCE = 0.4
STARTUP = (196608).to_bytes(4, "big")
"""What a StartupMessage begins with, after its length; an SSLRequest has another number there."""


class Api:
    """What the connector knows of the instance from the Cloud SQL Admin API."""

    def __init__(self, certificate: Path) -> None:
        self.conn_name = SimpleNamespace(domain_name="")
        self.database_version = "POSTGRES_17"
        self.certificate = certificate
        self.answer: Callable[[], Any] = lambda: asyncio.sleep(0)

    async def connect_info(self) -> "Api":
        await self.answer()
        return self

    def get_preferred_ips(self, _: Any) -> list[str]:
        return ["127.0.0.1"]

    async def create_ssl_context(self, _: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        return context


class Instance:
    """Cloud SQL's end of the tunnel, which goes to PostgreSQL, until it is silent."""

    def __init__(self, server: int, certificate: Path, key: Path) -> None:
        self._server = server
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.silent = False
        self.first: list[bytes] = []
        self.kept: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.kept.append(client)
        if self.silent:
            return
        with suppress(OSError):
            secure = self._context.wrap_socket(client, server_side=True)
            self.kept.append(secure)
            behind = socket.create_connection(("127.0.0.1", self._server))
            self.first.append(secure.recv(65536))
            behind.sendall(self.first[-1])
            threading.Thread(target=self._pipe, args=(behind, secure), daemon=True).start()
            self._pipe(secure, behind)

    def _pipe(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.silent:
                    target.sendall(data)

    def close(self) -> None:
        self._listener.close()
        for each in self.kept:
            each.close()


@pytest.fixture
def instance(postgres: Postgres, tmp_path: Path) -> Iterator[Instance]:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    write_certificate("cloud-sql", certificate, key)
    opened = Instance(postgres.port, certificate, key)
    yield opened
    opened.close()


@pytest.fixture
def api(instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = Api(tmp_path / "certificate.pem")
    connector = google_connector.Connector(
        credentials=AnonymousCredentials(), refresh_strategy="lazy", ip_type="private", enable_iam_auth=True
    )
    monkeypatch.setattr(google_connector, "SERVER_PROXY_PORT", instance.port)
    monkeypatch.setattr(connector, "_get_or_create_cache", lambda *_: made)
    monkeypatch.setattr(connector, "_remove_cached", lambda *_: asyncio.sleep(0))
    monkeypatch.setattr(cloud_sql, "_connector", lambda: connector)
    monkeypatch.setattr(cloud_sql, "SILENCE", SILENCE)
    yield made
    connector.close()


@pytest.fixture
def database(api: Api) -> Iterator[Database]:
    connect = partial(cloud_sql.connect, "project:region:instance", "postgres", "postgres", "test", {})
    opened = Database(lambda: adapted(connect()), 1, wait=0.1)
    yield opened
    opened.close()


def unavailable_in_time(database: Database) -> None:
    before = time.monotonic()
    for _ in range(2):  # the one turn of the pool is free again
        with pytest.raises(Unavailable, match="reached"), database.session(None):
            pass
    assert time.monotonic() - before < 10 * SILENCE


def test_a_statement_goes_through_the_tunnel_and_tls_is_asked_for_once(instance: Instance, database: Database) -> None:
    with database.session(None) as db:
        assert db.one("SELECT 1") == [1]
    assert [first[4:8] for first in instance.first] == [STARTUP]


def test_an_instance_that_falls_silent_is_given_up_and_its_turn_is_free(instance: Instance, database: Database) -> None:
    with database.session(None) as db:
        assert db.one("SELECT 1") == [1]
        instance.silent = True
        before = time.monotonic()
        with pytest.raises(ConnectionLost):
            db.run("SELECT 2")
        assert time.monotonic() - before < 10 * SILENCE
    instance.silent = False
    with database.session(None) as db:
        assert db.one("SELECT 3") == [3]


def test_an_instance_that_never_says_a_word_is_unavailable(instance: Instance, database: Database) -> None:
    instance.silent = True
    unavailable_in_time(database)


def test_an_api_that_never_answers_is_unavailable(api: Api, database: Database) -> None:
    api.answer = lambda: asyncio.sleep(3600)
    unavailable_in_time(database)


def test_a_failure_of_the_connector_is_unavailable(
    api: Api, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        raise RuntimeError

    api.answer = fail
    unavailable_in_time(database)
    assert '"exception":"RuntimeError"' in capsys.readouterr().out


def test_the_end_of_an_idle_connection_is_noticed(database: Database) -> None:
    with database.session(None) as db:
        used: Any = db
        sock: socket.socket = used._connection._usock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == SILENCE * 1000
