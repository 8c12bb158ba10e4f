"""What tools share that work on the database of the environment: its settings, one connection, and what can go wrong.

A tool reaches the database at the address of `DATABASE_URL`. With `DATABASE_INSTANCE=project:region:instance` it reaches
Cloud SQL through Google's connector, as the IAM user of the URL and with whatever credentials the person or the build has.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from kapas.errors import Unavailable
from kapas.platform.db import Database, DatabaseFailure
from kapas.platform.db.connect import connector
from kapas.platform.db.driver import CoreConnection
from kapas.platform.settings import DatabaseSettings, SettingsError, load, use

S = TypeVar("S", bound=DatabaseSettings)

FAILURES = (SettingsError, Unavailable, DatabaseFailure, OSError, ValueError)
"""What a tool reports in one line."""


@contextmanager
def opened(tool: str, environment: Mapping[str, str], settings: type[S]) -> Generator[tuple[S, Database]]:
    """The settings of `tool`, a function's but for its name, project and pool, and its database."""
    with use({"FUNCTION": tool, "PROJECT": "", "DATABASE_POOL": "1", **environment}):
        loaded = load(settings)
        instance = environment.get("DATABASE_INSTANCE")
        if instance:
            with _cloud_sql(instance, loaded) as database:
                yield loaded, database
        else:
            yield loaded, Database(connector(loaded), 1)


@contextmanager
def _cloud_sql(instance: str, settings: DatabaseSettings) -> Generator[Database]:
    """The database of `settings` in an instance of Cloud SQL, by Google's connector and at its private address."""
    from google.cloud.sql.connector import Connector

    url = urlsplit(settings.database_url)
    google: Any = Connector(ip_type="private", enable_iam_auth=True, refresh_strategy="lazy")

    def connect() -> CoreConnection:
        try:
            opened = google.connect(
                instance,
                "pg8000",
                user=unquote(url.username or ""),
                db=url.path.lstrip("/"),
                application_name=settings.function,
                ssl_context=False,  # the connector's socket has TLS already; pg8000 would ask for it once more
            )
        except Exception as failure:  # of aiohttp, google.auth, the connector, pg8000
            raise Unavailable(f"Cloud SQL does not let {settings.function} in: {failure}") from failure
        return cast(CoreConnection, opened)

    try:
        yield Database(connect, 1)
    finally:
        google.close()
