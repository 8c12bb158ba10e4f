"""Exports on a real PostgreSQL: whole archives, tasks that come twice or are killed, fences between partners, memory."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pg8000.native import Connection

from functions.data_export import preparing, service, shards
from functions.data_export.schemas import Export, ExportCreate
from kapas.errors import Conflict, Forbidden, Invalid, Unavailable
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging.events import CloudEvent
from kapas.platform.db import DatabaseFailure
from kapas.privacy.data_map import data_map
from kapas.values import ids
from local_cloud.conformance.storage_server import no_network, serving
from local_cloud.core import Core
from local_cloud.postgres import Postgres
from local_cloud.state import State
from tests.integration.data_export.system import SECRETS, START, Killed, System
from tests.times import Time
from tools.catalog import ROOT
from tools.verify_archive import faults


@pytest.fixture
def storage_url(tmp_path: Path) -> Iterator[str]:
    """Cloud Storage with a bucket for archives."""
    with serving(Core(no_network), State(), tmp_path / "storage") as served:
        served.client.create_bucket("exports", location="asia-south1")
        yield served.url


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    monkeypatch.setattr(shards, "FETCH", 2)


def begin(system: System, caller: Identity) -> Export:
    export = system.request_export(caller)
    system.queue.enqueue(preparing.task(export.id, "plan"))
    return export


def archive(system: System, export: Export) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(system.archives.objects[preparing.archive_path(export.id)]))


def records(archive: zipfile.ZipFile, table: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in archive.read(f"data/{table}.jsonl").splitlines()]


def test_an_archive_has_everything_decrypted_and_verifies(system: System, tmp_path: Path, small_shards: None) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    own = [system.trade(owner.partner_id, None) for _ in range(9)]
    shared = system.trade(other.partner_id, owner.partner_id)
    system.trade(other.partner_id, None)  # open on the market, and none of the owner's business
    system.accesses(owner.partner_id, 11)
    system.accesses(other.partner_id, 3)
    system.webhook(owner.partner_id)
    image, _ = (system.grading(owner.partner_id, None, image=image) for image in (True, False))
    export = begin(system, owner)
    system.work()

    after = system.export(owner, export.id)
    assert after.status == "ready"
    assert after.expires_at == START + timedelta(days=7)
    path = tmp_path / "archive.zip"
    path.write_bytes(system.archives.objects[preparing.archive_path(export.id)])
    assert list(faults(path, system.signer.public_key())) == []
    found = archive(system, export)
    [partner] = records(found, "partners")
    assert {name: partner[name] for name in SECRETS} == SECRETS
    assert "pan_index" not in partner
    assert [record["id"] for record in records(found, "trades")] == sorted(map(str, [*own, shared]))
    assert len(records(found, "trade_events")) == 10
    assert len(records(found, "audit_log")) == 11
    assert "secret" not in records(found, "webhook_endpoints")[0]
    manifest = json.loads(found.read("manifest.json"))
    assert all(attachment["member"] for attachment in manifest["attachments"])
    assert found.read(f"files/gradings/{owner.partner_id}/{image}") == b"jpg"
    assert len([name for name in found.namelist() if name.startswith("files/")]) == 2
    assert {table["name"] for table in manifest["tables"]} == {t.name for t in data_map().of_partners() if t.exported}
    assert after.record_count == sum(table["actual"] for table in manifest["tables"])
    assert str(other.partner_id) not in found.read("data/audit_log.jsonl").decode()
    assert [kind for kind, _ in system.events(export.id)] == ["export.requested.v1", "export.ready.v1"]
    assert list(system.archives.objects) == [preparing.archive_path(export.id)], "the parts are cleared away"


def test_a_buyers_archive_holds_no_step_of_a_rival(system: System) -> None:
    seller, owner, rival = system.register(), system.register(), system.register()
    assert seller.partner_id
    assert owner.partner_id
    assert rival.partner_id
    trade = system.trade(seller.partner_id, owner.partner_id)
    system.step(trade, 2, rival.partner_id, "bidder", START)
    system.step(trade, 3, owner.partner_id, "bidder", START)
    system.step(trade, 4, owner.partner_id, "buyer", START)
    steps: dict[str, list[object]] = {}
    for who, partner in (("seller", seller), ("buyer", owner), ("rival", rival)):
        export = begin(system, partner)
        system.work()
        steps[who] = [record["sequence"] for record in records(archive(system, export), "trade_events")]
    assert steps == {"seller": [1, 2, 3, 4], "buyer": [1, 3, 4], "rival": [2]}


def test_every_task_may_come_twice(system: System, small_shards: None) -> None:
    owner = system.register()
    assert owner.partner_id
    system.accesses(owner.partner_id, 10)
    export = begin(system, owner)
    system.work(times=2)
    assert system.export(owner, export.id).status == "ready"
    assert len(system.events(export.id)) == 2
    assert len(records(archive(system, export), "audit_log")) == 10
    assert list(system.archives.objects) == [preparing.archive_path(export.id)]


def test_a_kill_at_any_edge_ends_in_the_same_archive(system: System, small_shards: None) -> None:
    owner = system.register()
    assert owner.partner_id
    system.accesses(owner.partner_id, 6)
    at, killed = 1, True
    while killed:
        system.archives.objects.clear()
        export = begin(system, owner)
        killed = system.work_with_kills(at)
        after = system.export(owner, export.id)
        assert after.status == "ready", at
        # The exports before are in it, too: what does not grow is the trail.
        assert len(records(archive(system, export), "audit_log")) == 6
        assert [kind for kind, _ in system.events(export.id)] == ["export.requested.v1", "export.ready.v1"]
        assert list(system.archives.objects) == [preparing.archive_path(export.id)]
        at += 7  # every seventh of some hundred edges
    assert at > 50


def test_a_part_that_was_written_before_a_kill_is_taken_as_it_is(system: System) -> None:
    owner = system.register()
    assert owner.partner_id
    system.accesses(owner.partner_id, 3)
    export = begin(system, owner)
    system.deliver(system.queue.tasks.pop(0))
    task = next(task for task in system.queue.tasks if b'"shard":17' in task.body)
    system.faults.at, system.faults.calls = 2, 0  # the part is there, that it is done is not
    with pytest.raises(Killed):
        system.deliver(task)
    before = dict(system.archives.objects)
    system.accesses(ids.uuid7(), 1)
    system.work()
    assert system.export(owner, export.id).status == "ready"
    assert len(before) == 1


def test_a_part_that_was_changed_fails_the_export(system: System) -> None:
    owner = system.register()
    assert owner.partner_id
    system.accesses(owner.partner_id, 3)
    export, assemble = system.export_to_assemble(owner)
    part = next(path for path, data in system.archives.objects.items() if b"data_accessed" in data)
    lines = system.archives.objects[part].splitlines(keepends=True)
    system.archives.objects[part] = b"".join(lines[1:])
    system.deliver(assemble)
    after = system.export(owner, export.id)
    assert (after.status, after.failure) == ("failed", "incomplete")
    assert system.archives.objects == {}
    assert system.events(export.id)[-1][0] == "export.failed.v1"
    assert begin(system, owner).status == "preparing", "it can be asked for again"


def test_a_part_that_is_gone_is_not_an_error(system: System) -> None:
    """An erasure under way clears parts away before it says that the export is over."""
    export, assemble = system.export_to_assemble(owner := system.register())
    system.archives.objects.clear()
    with pytest.raises(Unavailable):
        system.deliver(assemble)
    assert system.export(owner, export.id).status == "preparing"


def test_rows_that_come_meanwhile_are_counted_where_they_are_read(system: System, small_shards: None) -> None:
    owner = system.register()
    assert owner.partner_id
    system.accesses(owner.partner_id, 10)
    export = begin(system, owner)
    system.deliver(system.queue.tasks.pop(0))
    trades = [system.trade(owner.partner_id, None) for _ in range(3)]
    system.work()
    assert len(records(archive(system, export), "trades")) == len(trades)


def test_the_watchdog_starts_a_stuck_export_over_and_gives_up_in_the_end(system: System, time: Time) -> None:
    owner = system.register()
    export = begin(system, owner)
    system.queue.tasks.clear()
    assert preparing.watch(system.database, system.queue, system.archives) == 0
    for _ in range(preparing.MAX_ATTEMPTS):
        time.advance(minutes=16)
        assert preparing.watch(system.database, system.queue, system.archives) == 1
        assert len(system.queue.tasks) == 1
        lost = system.queue.tasks.pop()
    assert lost.name.endswith(f"-plan-0-{preparing.MAX_ATTEMPTS}")
    time.advance(minutes=16)
    preparing.watch(system.database, system.queue, system.archives)
    after = system.export(owner, export.id)
    assert (after.status, after.failure) == ("failed", "gave_up")
    system.deliver(lost)
    assert system.archives.objects == {}


def test_the_watchdog_leaves_nothing_behind_wherever_it_is_killed(
    system: System, time: Time, small_shards: None, admin: Connection
) -> None:
    """An export that is given up may have parts, in clear."""
    owner = system.register()
    assert owner.partner_id
    system.accesses(owner.partner_id, 10)
    export = begin(system, owner)
    system.deliver(system.queue.tasks.pop(0))
    for _ in range(3):
        system.deliver(system.queue.tasks.pop(0))
    system.queue.tasks.clear()
    assert len(system.archives.objects) == 3
    admin.run("UPDATE exports SET attempt = :most WHERE id = :id", most=preparing.MAX_ATTEMPTS, id=export.id)
    time.advance(minutes=16)
    killed = 0
    while system.export(owner, export.id).status == "preparing":
        system.faults.at = system.faults.calls + killed + 1
        try:
            preparing.watch(system.database, system.queue, system.archives)
        except Killed:
            killed += 1
    assert killed > 3
    assert system.archives.objects == {}
    assert [kind for kind, _ in system.events(export.id)] == ["export.requested.v1", "export.failed.v1"]


def test_what_is_started_over_goes_on_where_it_was(system: System, time: Time) -> None:
    owner = system.register()
    export = begin(system, owner)
    system.deliver(system.queue.tasks.pop(0))
    done = system.queue.tasks.pop(0)
    system.deliver(done)
    system.queue.tasks.clear()
    time.advance(minutes=16)
    preparing.watch(system.database, system.queue, system.archives)
    system.deliver(system.queue.tasks.pop(0))
    assert all(f'"shard":{json.loads(done.body)["shard"]},' not in t.body.decode() for t in system.queue.tasks)
    system.work()
    assert system.export(owner, export.id).status == "ready"


def test_an_archive_is_deleted_when_its_time_is_over(system: System, time: Time) -> None:
    owner = system.register()
    export = begin(system, owner)
    system.work()
    time.advance(days=7, seconds=-1)
    preparing.watch(system.database, system.queue, system.archives)
    assert system.archives.objects
    time.advance(seconds=1)
    with system.database.session(owner.partner_id) as db, pytest.raises(Conflict, match="expired"):
        service.link(db, lambda: system.archives, owner, export.id)
    preparing.watch(system.database, system.queue, system.archives)
    assert system.archives.objects == {}
    assert system.export(owner, export.id).status == "expired"


def test_who_may_ask_for_what(system: System) -> None:
    owner, other = system.register(), system.register()
    dpo = Identity("dpo", None, Role.DPO, Tier.FREE)
    with system.database.session(owner.partner_id) as db:
        for caller in (
            replace(owner, role=Role.MEMBER),
            replace(owner, role=Role.OPS),
            replace(owner, role=Role.VIEWER),
        ):
            with pytest.raises(Forbidden):
                service.request_export(db, caller, ExportCreate())
        with pytest.raises(Forbidden):
            service.request_export(db, owner, ExportCreate(partner_id=other.partner_id))
        with pytest.raises(Invalid, match="partner"):
            service.request_export(db, dpo, ExportCreate())
        with pytest.raises(Conflict, match="Register"):
            service.request_export(db, Identity("u", ids.uuid7(), Role.OWNER, Tier.FREE), ExportCreate())
    begin(system, owner)
    with pytest.raises(Conflict, match="already"):
        system.request_export(owner)


def test_a_duplicate_event_makes_one_task(system: System) -> None:
    owner = system.register()
    export = system.request_export(owner)
    event = CloudEvent(
        specversion="1.0",
        id=ids.uuid7(),
        type="export.requested.v1",
        source="/data_export",
        subject=export.id,
        time=START,
        dataschema="",
        partitionkey=export.id,
        sequence=1,
        data={},
    )
    for _ in range(2):
        service.begin(system.queue, event)
    service.begin(system.queue, event.model_copy(update={"type": "consent.withdrawn.v1"}))
    assert len(system.queue.tasks) == 1


def test_the_role_reads_no_other_partner_even_if_the_predicate_is_forgotten(system: System) -> None:
    owner, other = system.register(), system.register()
    assert other.partner_id
    system.trade(other.partner_id, None)
    system.accesses(other.partner_id, 2)
    system.webhook(other.partner_id)
    with system.database.session(owner.partner_id) as db:
        for table in data_map().of_partners():
            if table.exported and table.name != "restrictions":
                column = table.exported[0].name
                row = db.one(f"SELECT count({column}) FROM {table.name}")
                mine = 1 if table.name in ("partners", "partner_documents") else 0
                assert row == [mine], table.name


def test_the_role_may_not_read_what_is_not_exported(system: System) -> None:
    owner = system.register()
    for statement in (
        "SELECT secret FROM webhook_endpoints ORDER BY 1",
        "SELECT sealed_answer FROM outbox ORDER BY 1",
        "SELECT data FROM outbox ORDER BY 1",
        "DELETE FROM trades",
        "UPDATE partners SET status = 'active'",
    ):
        with system.database.session(owner.partner_id) as db, pytest.raises(DatabaseFailure):
            db.run(statement)


MEMORY = """
import sys
from functools import partial
from pathlib import Path
from uuid import UUID

from pg8000.core import CoreConnection

import kapas.platform.gcp.storage
from functions.data_export import preparing
from kapas.platform.db import Database
from kapas.platform.gcp.storage import CloudStorage
from kapas.privacy.keys import Keyring
from kapas.platform.settings import FileSettings
from tests.integration.data_export.system import Faults, Queue, START, Signer
from tests.unit.kapas.fake_keys import Kms
from functions.data_export.preparing import ExportTask

port, storage, export_id = int(sys.argv[1]), sys.argv[2], UUID(sys.argv[3])
settings = FileSettings(function="export-work", project="p", file_signer="s@example.com", storage_url=storage)
database = Database(partial(CoreConnection, "data_export", host="127.0.0.1", port=port, database="postgres"), 1)
queue = Queue(Faults())
archives = CloudStorage("exports", settings)
dependencies = preparing.Dependencies(database, Keyring(Kms()), archives, lambda name: archives, queue, Signer(Faults()))


def peak():
    # In kilobytes. `ru_maxrss` would not do: it is inherited through fork and exec from whoever started the process.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


before = peak()
queue.enqueue(preparing.task(export_id, "plan"))
steps = 0
while queue.tasks:
    preparing.work(dependencies, ExportTask.model_validate_json(queue.tasks.pop(0).body))
    steps += 1
print(before, peak(), steps)
"""
ROWS = 200_000
LIMIT_MB = 150


def test_two_hundred_thousand_rows_are_exported_in_bounded_memory(
    system: System, postgres: Postgres, storage_url: str, record_property: Callable[[str, object], None]
) -> None:
    """The worker in a process of its own, with the real client of Cloud Storage."""
    owner = system.register()
    assert owner.partner_id
    system.accesses(owner.partner_id, ROWS)
    export = system.request_export(owner)
    command = [sys.executable, "-c", MEMORY, str(postgres.port), storage_url, str(export.id)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    before, peak, steps = map(int, run.stdout.split()[-3:])
    record_property("megabytes", peak // 1024)
    print(f"{ROWS} rows: {peak // 1024} MB, {before // 1024} MB of it imports; {steps} tasks")  # noqa: T201 - with pytest -s
    assert steps > ROWS // shards.SHARD_ROWS
    assert system.export(owner, export.id).record_count == ROWS + 4 - 1
    assert peak // 1024 < LIMIT_MB
