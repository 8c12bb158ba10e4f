"""Every export ended: with an archive that is whole, signed, of its partner alone and of all of it; or with a reason."""

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.data_export import selection
from kapas.privacy.data_map import data_map
from tests.simulation.kernel import YESTERDAY
from tests.simulation.ports import Signer
from tools.verify_archive import faults

if TYPE_CHECKING:
    from tests.simulation.world import World


def broken(world: "World") -> Iterator[str]:
    archives = dict(world.archives.bucket.stored)
    for aged in world.history:
        archives.pop(aged.path, None)
    for export_id, partner_id, status, failure, sha256, records, created_at in world.server.admin.run(
        """SELECT id, partner_id, status, failure, sha256, record_count, created_at FROM exports
           WHERE created_at >= :start ORDER BY id""",
        start=YESTERDAY,
    ):
        archive = archives.pop(f"archives/{export_id}.zip", None)
        if status == "failed" and (failure != "erased" or partner_id not in world.erased):
            yield f"an export failed: {failure}"
        if (archive is not None) != (status == "ready"):
            yield f"the archive of an export that is {status} is {'there' if archive else 'not there'}"
        if archive is not None:
            if hashlib.sha256(archive).hexdigest() != sha256:
                yield "an archive is not the one that its partner was told of"
            yield from _whole(archive)
            yield from _contents(world, archive, export_id, partner_id, records, created_at)
    for path in archives:
        yield f"left behind in the bucket of exports: {path.partition('/')[0]}"


def _whole(archive: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(archive)
        file.flush()
        yield from (f"an archive: {fault}" for fault in faults(Path(file.name), Signer.pem))


def _contents(
    world: "World", archive: bytes, export_id: Any, partner_id: Any, records: int, created_at: Any
) -> Iterator[str]:
    """What was there of the partner when it asked is in the archive, and nothing that is not for it."""
    mapped, run = data_map(), world.server.admin.run
    with zipfile.ZipFile(BytesIO(archive)) as opened:
        manifest = json.loads(opened.read("manifest.json"))
        if (manifest["export_id"], manifest["subject"]) != (str(export_id), str(partner_id)):
            yield "an archive is another's"
        if sum(table["actual"] for table in manifest["tables"]) != records:
            yield f"an export counts as {records} records and has {sum(t['actual'] for t in manifest['tables'])}"
        sold = run("SELECT id::text FROM trades WHERE seller_id = :id", id=partner_id)
        yield from _rivals(opened, str(partner_id), {trade_id for (trade_id,) in sold})
        for entry in manifest["tables"]:
            table = mapped.tables[entry["name"]]
            key = [name for name in table.key if name in {column.name for column in table.exported}]
            lines = [json.loads(line) for line in opened.read(entry["jsonl"]).splitlines()]
            exported = {tuple(str(line[name]) for name in key) for line in lines}
            own = selection.exported(mapped, table)
            names = ", ".join(f"t.{name}::text" for name in key)
            if not names:
                continue
            anchor = _WRITTEN.get(table.name, table.anchor)
            earlier = f" AND t.{anchor} < :created_at" if anchor else " AND false"
            parameters = {"created_at": created_at - SETTLED} if anchor else {}
            stored = run(f"SELECT {names} FROM {table.name} t WHERE {own}{earlier}", subject=partner_id, **parameters)
            if table.name not in _CHANGING and (missing := {tuple(row) for row in stored} - exported):
                yield f"an archive lacks {len(missing)} of {table.name}"
            alien = run(f"SELECT {names} FROM {table.name} t WHERE NOT {own}", subject=partner_id)
            if strange := {tuple(row) for row in alien} & exported and table.name not in _SHARED_KEYS:
                yield f"an archive has {table.name} that are not for its partner: {strange}"


def _rivals(archive: zipfile.ZipFile, partner_id: str, sold: set[str]) -> Iterator[str]:
    """A step with a bidder is the bidder's and the seller's; who bought the lot has no part in it."""
    steps = [json.loads(line) for line in archive.read("data/trade_events.jsonl").splitlines()]
    if any(step["bidder_id"] not in (None, partner_id) and step["trade_id"] not in sold for step in steps):
        yield "an archive has what a seller and a rival said to each other"


SETTLED = timedelta(minutes=5)
"""A row that says that it is so much older than an export was there before: clocks differ, and a writer may stand still."""
_WRITTEN = {"audit_log": "recorded_at"}
"""When a row was written, where retention counts from what it tells of."""
_CHANGING = {"trades", "webhook_endpoints", "consent_ledgers"}
"""Tables whose anchor is when a row was last changed."""
_SHARED_KEYS = {"consent_entries", "consent_states", "grading_budgets"}
"""Tables whose exported key says nothing without the partner's id."""
