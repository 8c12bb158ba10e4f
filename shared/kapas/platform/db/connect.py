"""How a function reaches PostgreSQL: an address with TLS, or the Cloud SQL connector with IAM login."""

import ssl
from collections.abc import Callable
from functools import partial
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from kapas.platform.db import Database
from kapas.platform.db.driver import CoreConnection, adapted
from kapas.platform.settings import DatabaseSettings

STATEMENT_TIMEOUT = 10_000
"""Milliseconds a statement may take; the server ends it then."""
LOCK_TIMEOUT = 2_000
"""Milliseconds a statement waits for a row that somebody else holds."""
SILENCE = STATEMENT_TIMEOUT / 1000 + 5
"""Seconds without a word from the server after which a connection is given up."""


def tls(mode: str, root_certificate: str | None) -> ssl.SSLContext | Literal[False]:
    """One context for all connections of an instance: pg8000's default makes a new one per connection, unverified.

    `verify-full` checks the certificate and the host name, `disable` speaks plainly (loopback only). No other mode is
    offered: the ones between encrypt without knowing to whom.
    """
    if mode == "disable":
        # None would have pg8000 make a context of its own, 25 ms a connection, and ask for TLS all the same.
        return False
    if mode != "verify-full":
        raise ValueError(f"sslmode={mode} is not supported: use verify-full, or disable on loopback")
    context = ssl.create_default_context(cafile=root_certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def connector(settings: DatabaseSettings) -> Callable[[], CoreConnection]:
    """A function that opens one connection as the settings say."""
    url = urlsplit(settings.database_url)
    options = {name: values[-1] for name, values in parse_qs(url.query).items()}
    parameters = {
        "statement_timeout": str(STATEMENT_TIMEOUT),
        "lock_timeout": str(LOCK_TIMEOUT),
        "idle_in_transaction_session_timeout": str(2 * STATEMENT_TIMEOUT),
    }
    user, database = unquote(url.username or ""), url.path.lstrip("/")
    if settings.database_instance:
        from kapas.platform.gcp.cloud_sql import connect

        return partial(connect, settings.database_instance, user, database, settings.function, parameters)
    return partial(
        CoreConnection,
        user,
        application_name=settings.function,
        host=url.hostname or "localhost",
        port=url.port or 5432,
        database=database,
        password=unquote(url.password) if url.password else None,
        ssl_context=tls(options.get("sslmode", "verify-full"), options.get("sslrootcert")),
        timeout=SILENCE,
        startup_params=parameters,
    )


def open_database(settings: DatabaseSettings) -> Database:
    """The pool of an instance. Opens no connection yet."""
    connect = connector(settings)
    return Database(lambda: adapted(connect()), settings.database_pool)
