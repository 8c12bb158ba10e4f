"""Erasures beside what else happens: events that come late, exports and attempts under way, kills, lost tasks."""

from datetime import timedelta
from typing import Any

import pytest

from functions.data_export import erasing, preparing, service
from functions.data_export.event_models import ErasureRequested
from functions.grading_requests import service as gradings
from functions.live_feed import service as live_feed
from functions.partner_onboarding import documents
from kapas.errors import Unavailable
from kapas.http.identity import Identity
from kapas.values import ids
from kapas.values.clock import rfc3339
from tests.integration.data_export.erasures import begin, erased, everything, rows
from tests.integration.data_export.system import START, Killed, System
from tests.integration.trade_events import market as trade_market
from tests.times import Time


@pytest.mark.parametrize("seen", [0, 1], ids=["no event was there", "one event was there"])
def test_an_event_that_comes_after_its_erasure_brings_nothing_back(system: System, seen: int) -> None:
    owner = system.register()
    assert owner.partner_id
    path = f"partners/{owner.partner_id}"
    events = [
        trade_market.cloud_event(ids.uuid7(), name, "/partner_onboarding", owner.partner_id, sequence, START, data)
        for sequence, (name, data) in enumerate(
            [("partner.created.v1", {"partner_type": "ginner"}), ("partner.activated.v1", {})], 1
        )
    ]
    documents: Any = system.documents
    system.documents.documents.pop(path)
    for event in events[:seen]:
        live_feed.project(documents, event)
    erased(system, owner)
    for event in events:
        live_feed.project(documents, event)
    wanted = {"status": "erased", "type": None, "partner_ids": [], "open": False, "sequence": 2}
    assert system.documents.documents[path] == wanted | {"updated_at": rfc3339(START)}


def test_an_erasure_done_twice_or_killed_anywhere_ends_the_same(system: System) -> None:
    def partner() -> Identity:
        owner = system.register()
        assert owner.partner_id
        system.trade(owner.partner_id, other.partner_id)
        system.webhook(owner.partner_id)
        export = system.request_export(owner)
        system.queue.enqueue(preparing.task(export.id, "plan"))
        system.work()
        return owner

    other = system.register()
    first = partner()
    assert first.partner_id
    erasure = begin(system, first)
    system.work(times=2)
    wanted = everything(system, first.partner_id)
    statement = system.erasure(first, erasure.id).statement
    assert len(system.events(erasure.id)) == 2
    assert system.archives.objects == {}
    at, killed = 1, True
    while killed:
        owner = partner()
        assert owner.partner_id
        erasure = begin(system, owner)
        killed = system.work_with_kills(at)
        assert everything(system, owner.partner_id) == wanted, at
        assert system.erasure(owner, erasure.id).statement == statement, at
        assert [kind for kind, _ in system.events(erasure.id)] == ["erasure.requested.v1", "privacy.erased.v1"]
        assert system.archives.objects == {}
        at += 5
    assert at > 20


def test_an_archive_that_is_being_made_does_not_appear(system: System) -> None:
    owner = system.register()
    export, assemble = system.export_to_assemble(owner)
    begin(system, owner)
    system.deliver(assemble)  # the restriction is there, the erasure has not begun
    assert system.archives.objects == {}
    assert system.export(owner, export.id).status == "preparing"
    system.work()
    assert system.export(owner, export.id).failure == "erased"
    system.deliver(assemble)
    assert system.archives.objects == {}


def test_an_export_whose_parts_go_while_it_is_read_is_over(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = system.register()
    export, assemble = system.export_to_assemble(owner)
    build = preparing.archive.build

    def overtaken(*arguments: Any) -> int:
        monkeypatch.setattr(preparing.archive, "build", build)
        erased(system, owner)
        return build(*arguments)

    monkeypatch.setattr(preparing.archive, "build", overtaken)
    system.deliver(assemble)
    assert system.export(owner, export.id).failure == "erased"
    assert system.archives.objects == {}


def test_an_attempt_that_is_recorded_meanwhile_has_the_erasure_come_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = system.register()
    assert owner.partner_id
    system.webhook(owner.partner_id)
    erasure = begin(system, owner)
    delete_rows = erasing._delete_rows

    def record_between(db: Any, table: Any, *arguments: Any) -> None:
        if table.name == "webhook_messages":
            monkeypatch.setattr(erasing, "_delete_rows", delete_rows)
            system.run(
                """INSERT INTO webhook_attempts
                     (message_id, number, partner_id, started_at, milliseconds, status_code, response)
                   SELECT id, 2, partner_id, created_at, 12, 200, 'ok' FROM webhook_messages WHERE partner_id = :of""",
                of=owner.partner_id,
            )
        delete_rows(db, table, *arguments)

    monkeypatch.setattr(erasing, "_delete_rows", record_between)
    with pytest.raises(Unavailable):
        system.deliver(erasing.task(erasure.id))
    system.work()
    assert system.erasure(owner, erasure.id).status == "completed"
    assert (
        rows(system, "webhook_messages", owner.partner_id) == rows(system, "webhook_attempts", owner.partner_id) == []
    )


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "is killed"])
def test_a_part_that_is_written_after_the_erasure_does_not_stay(
    system: System, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    owner = system.register()
    export = system.request_export(owner)
    system.deliver(preparing.task(export.id, "plan"))
    shard = preparing.task(export.id, "shard", shard=3)
    system.queue.tasks.clear()
    inspect = preparing.shards.inspect

    def overtaken(files: Any, part: str) -> Any:
        monkeypatch.setattr(preparing.shards, "inspect", inspect)
        written = dict(system.archives.objects)
        erased(system, owner)
        system.archives.objects.update(written)
        if killed:
            raise Killed
        return inspect(files, part)

    monkeypatch.setattr(preparing.shards, "inspect", overtaken)
    if killed:
        with pytest.raises(Killed):
            system.deliver(shard)
    system.deliver(shard)
    assert system.export(owner, export.id).failure == "erased"
    assert system.archives.objects == {}


def test_a_part_that_is_written_while_the_erasure_clears_does_not_stay(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard writes right after its place was cleared, before the erasure goes on."""
    owner = system.register()
    export = system.request_export(owner)
    system.deliver(preparing.task(export.id, "plan"))
    shard = preparing.task(export.id, "shard", shard=3)
    system.queue.tasks.clear()
    delete, clear = system.archives.delete, erasing.preparing.clear

    def written_after(path: str) -> bool:
        gone = delete(path)
        if path == preparing.shards.path(export.id, 3):
            monkeypatch.setattr(system.archives, "delete", delete)
            system.deliver(shard)
        return gone

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(preparing, "clear", clear)
        monkeypatch.setattr(system.archives, "delete", written_after)
        clear(*arguments)

    monkeypatch.setattr(preparing, "clear", overtaken)
    erased(system, owner)
    assert system.export(owner, export.id).failure == "erased"
    assert system.archives.objects == {}


def test_the_watchdog_makes_a_task_for_what_was_lost(system: System, time: Time) -> None:
    owner = system.register()
    erasure = system.request_erasure(owner)
    time.advance(minutes=44)
    erasing.watch(system.database, system.queue)
    assert not [task for task in system.queue.tasks if str(erasure.id) in task.name]
    time.advance(minutes=2)
    erasing.watch(system.database, system.queue)
    system.work()
    assert system.erasure(owner, erasure.id).status == "completed"
    assert system.erasure(owner, erasure.id).completed_at == START + timedelta(minutes=46)


def test_it_begins_when_every_url_for_an_upload_has_expired(system: System) -> None:
    """What is uploaded by a URL of a moment before the request is there, with the row that leads to it, when files go."""
    owner = system.register()
    erasure = system.request_erasure(owner)
    data = ErasureRequested(erasure_id=erasure.id, partner_id=erasure.partner_id)
    event = trade_market.cloud_event(
        ids.uuid7(), data.type, data.source, erasure.id, 1, START, data.model_dump(mode="json")
    )
    service.begin(system.queue, event)
    service.begin(system.queue, event)
    [task] = system.queue.tasks
    assert task.schedule_time is not None
    # A slow upload that began in the last moment has as long again.
    assert task.schedule_time >= erasure.created_at + 2 * max(documents.UPLOAD_LIFETIME, gradings.UPLOAD_LIFETIME)
    assert timedelta() < erasing.OVERDUE - (task.schedule_time - erasure.created_at)
