"""Apply the SQL migrations to the database of `DATABASE_URL` (`make migrate`).

`postgresql://user:password@host:port/database?sslmode=verify-full&sslrootcert=...`; `sslmode=disable` on loopback.
`&role=...` is whom the session works as, and to whom everything belongs that is made: a user of Cloud SQL is a member of
`cloudsqlsuperuser`, and what makes roles, CREATEROLE, is no privilege that a member inherits.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from pg8000.native import Connection, DatabaseError, InterfaceError

from kapas.platform.db.connect import tls
from tools import grants
from tools import migrations as migrate

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"


def connect(url: str) -> Connection:
    """Open the connection that a `postgresql://` URL describes. Raises ValueError if it describes none."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not parts.username:
        raise ValueError("DATABASE_URL must be postgresql://user@host:port/database")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return Connection(
        unquote(parts.username),
        host=parts.hostname,
        port=parts.port or 5432,
        database=unquote(parts.path.lstrip("/")) or None,
        password=unquote(parts.password) if parts.password else None,
        ssl_context=tls(options.get("sslmode", "verify-full"), root_certificate=options.get("sslrootcert")),
        application_name="kapas migrate",
        # Given at the start of the session, so that RESET ROLE comes back to it.
        startup_params={"role": options["role"]} if "role" in options else None,
    )


def main(
    environment: Mapping[str, str] = os.environ,
    folder: Path = MIGRATIONS,
    finish: Callable[[migrate.Connection], None] = grants.apply,
) -> int:
    """Migrate, grant what follows from the data map, and print what was applied; the exit code."""
    try:
        connection = connect(environment.get("DATABASE_URL", ""))
    except (ValueError, DatabaseError, InterfaceError, OSError) as error:
        reason = error.args[0].get("M") if isinstance(error, DatabaseError) else error
        print(f"cannot connect: {reason}", file=sys.stderr)
        return 1
    try:
        applied = migrate.migrate(
            connection, folder, finish=finish, on_applied=lambda migration: print(f"applied {migration.name}")
        )
        if ahead := migrate.ahead(connection, folder):
            print(f"ahead by {', '.join(ahead)}, of a release that was reverted; what it added stays")
    except migrate.MigrationError as error:
        print(f"migration failed: {error}", file=sys.stderr)
        return 1
    finally:
        with contextlib.suppress(InterfaceError, OSError):
            connection.close()
    if not applied:
        print("nothing to apply")
    return 0


if __name__ == "__main__":
    sys.exit(main())
