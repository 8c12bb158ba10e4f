"""Cloud SQL through Google's connector: TLS with short-lived certificates, login by IAM. Costs 290 ms of cold start."""

import asyncio
import socket
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import google.auth
import google.cloud.sql.connector.connector
from google.cloud.sql.connector import Connector

from kapas.errors import Unavailable
from kapas.platform import log
from kapas.platform.db.connect import SILENCE
from kapas.platform.db.driver import CoreConnection
from kapas.platform.once import once


def _open(address: tuple[str, int]) -> socket.socket:
    """A socket that waits no longer than `SILENCE`, and whose end is noticed while nothing is sent: a failover, or a
    path that was dropped without a word, sends nothing either."""
    connected = socket.create_connection(address, timeout=SILENCE)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(SILENCE * 1000))
    return connected


# The connector opens its sockets without a timeout, and pg8000 sets none on a socket that it is given.
cast(Any, google.cloud.sql.connector.connector).socket = SimpleNamespace(create_connection=_open)


@once
def _connector() -> Connector:
    # Lazy: certificates are refreshed when a connection needs them, for a throttled instance runs no background work.
    credentials, _ = cast(
        tuple[Any, Any], google.auth.default(scopes=["https://www.googleapis.com/auth/sqlservice.login"])
    )
    return Connector(credentials=credentials, refresh_strategy="lazy", ip_type="private", enable_iam_auth=True)


def connect(instance: str, user: str, database: str, application: str, parameters: Mapping[str, str]) -> CoreConnection:
    """Open one connection to `instance` (`project:region:name`) as the IAM user `user`.

    Raises:
        Unavailable: none could be opened within `SILENCE`, whether Google's API, the instance or the login failed.
    """
    try:
        connector: Any = _connector()
        opening = connector.connect_async(
            instance,
            "pg8000",
            user=user,
            db=database,
            application_name=application,
            startup_params=dict(parameters),
            ssl_context=False,  # the socket has TLS already: pg8000 would ask for it once more, inside
        )
        # As `Connector.connect`, which waits for ever; it has no public way to its loop.
        pending = asyncio.run_coroutine_threadsafe(opening, connector._loop)
        try:
            return cast(CoreConnection, pending.result(SILENCE))
        finally:
            pending.cancel()
    except Exception as failure:  # of aiohttp, google.auth, the connector, pg8000
        log.error("cloud_sql_connect_failed", failure)
        raise Unavailable("The database cannot be reached") from failure
