"""How a function reaches PostgreSQL: one address over verified TLS, with a password or with an IAM token as the password.

Cloud SQL takes an OAuth 2.0 access token of the database user as its password, over TLS only. A token is needed to open a
connection; an open connection outlives it.
https://cloud.google.com/sql/docs/postgres/iam-logins#log-in-with-manual
"""

import socket
import ssl
from collections.abc import Callable
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from kapas.platform.db import Database
from kapas.platform.db.driver import CoreConnection, adapted
from kapas.platform.gcp.metadata import MetadataTokens
from kapas.platform.settings import DatabaseSettings

STATEMENT_TIMEOUT = 10_000
"""Milliseconds a statement may take; the server ends it then."""
LOCK_TIMEOUT = 2_000
"""Milliseconds a statement waits for a row that somebody else holds."""
SILENCE = STATEMENT_TIMEOUT / 1000 + 5
"""Seconds without a word from the server after which a connection is given up."""


def tls(mode: str, *, ca: str = "", root_certificate: str | None = None) -> ssl.SSLContext | Literal[False]:
    """One context for all connections of an instance: pg8000's default makes a new one per connection, unverified.

    `ca` holds trusted certificates as PEM text, `root_certificate` is the path of a file with them; without both the
    system's certificates are trusted. `verify-full` checks the certificate and the host name, `verify-ca` the certificate
    alone, which needs a CA of one's own: Cloud SQL's CA of an instance signs that instance's certificate and no other.
    `disable` uses no TLS (loopback only). The modes between encrypt without knowing to whom, and are not offered.

    Raises ValueError for another mode, and for `verify-ca` without a CA.
    """
    if mode == "disable":
        # None would have pg8000 make a context of its own, 25 ms a connection, and ask for TLS all the same.
        return False
    if mode not in ("verify-full", "verify-ca"):
        raise ValueError(f"sslmode={mode} is not supported: use verify-full or verify-ca, or disable on loopback")
    if not ca and root_certificate is None:
        if mode == "verify-ca":
            raise ValueError("sslmode=verify-ca needs a CA of its own: set DATABASE_CA or sslrootcert")
        context = ssl.create_default_context()
    else:
        # Not create_default_context: from Python 3.13 on it refuses certificates that do not follow RFC 5280 to the letter.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=root_certificate, cadata=ca or None)
    context.check_hostname = mode == "verify-full"
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def connector(settings: DatabaseSettings) -> Callable[[], CoreConnection]:
    """A function that opens one connection as the settings say.

    It raises `kapas.errors.Unavailable` if no token can be fetched, and what pg8000 raises if the login fails. Raises
    ValueError for an address with an unknown `sslmode`, or for an IAM login without TLS.
    """
    url = urlsplit(settings.database_url)
    options = {name: values[-1] for name, values in parse_qs(url.query).items()}
    context = tls(
        options.get("sslmode", "verify-full"), ca=settings.database_ca, root_certificate=options.get("sslrootcert")
    )
    if settings.database_iam and not context:
        raise ValueError("DATABASE_IAM needs sslmode=verify-ca or verify-full: the token is sent as a password")
    password = unquote(url.password) if url.password else None
    tokens = MetadataTokens(settings.metadata_url) if settings.database_iam else None

    host, port = url.hostname or "localhost", url.port or 5432

    def connect() -> CoreConnection:
        secret = tokens.login_token() if tokens else password
        connected = _open(host, port)
        try:
            return CoreConnection(
                unquote(url.username or ""),
                application_name=settings.function,
                host=host,  # what the certificate is verified for
                database=url.path.lstrip("/"),
                password=secret,
                ssl_context=context,
                sock=connected,
                startup_params={
                    "statement_timeout": str(STATEMENT_TIMEOUT),
                    "lock_timeout": str(LOCK_TIMEOUT),
                    "idle_in_transaction_session_timeout": str(2 * STATEMENT_TIMEOUT),
                },
            )
        except BaseException:
            connected.close()
            raise

    return connect


def _open(host: str, port: int) -> socket.socket:
    """A socket that pg8000 would not open as well.

    It sends what follows the TLS handshake at once, not after the server's delayed acknowledgement, 40 ms later. And its end
    is noticed while nothing is sent: a failover, or a path that drops packets, sends nothing either. The system's own times
    for that are hours.
    """
    connected = socket.create_connection((host, port), SILENCE)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(SILENCE * 1000))
    return connected


def open_database(settings: DatabaseSettings) -> Database:
    """The pool of an instance. Opens no connection yet."""
    connect = connector(settings)
    return Database(lambda: adapted(connect()), settings.database_pool)
