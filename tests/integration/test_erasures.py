"""Erasures on a real PostgreSQL: what goes, what stays and why, and that no kill leaves anything between."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.data_export import erasing, preparing, service
from functions.grading_requests import service as gradings
from functions.live_feed import service as live_feed
from functions.partner_onboarding import documents
from kapas import ids, restrictions, signing
from kapas.clock import rfc3339
from kapas.db import Database
from kapas.db.key_store import SqlKeyStore
from kapas.errors import Conflict, Forbidden, Unavailable
from kapas.identity import Identity, Role
from kapas.keys import Field, Keyring, Shredded
from kapas.schemas.events.exports import ErasureRequested
from kapas.schemas.exports import Erasure, ErasureCreate, Retained
from tests.integration import trade_market
from tests.integration.export_system import SECRETS, Killed, System
from tests.unit.times import Time, moving_time
from tools.verify_archive import _is_signed

START = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)


@pytest.fixture
def time() -> Iterator[Time]:
    with moving_time(START) as time:
        yield time


@pytest.fixture
def system(time: Time, open_as: Callable[..., Database], admin: Connection) -> System:
    return System(open_as("data_export"), admin.run)


def begin(system: System, caller: Identity) -> Erasure:
    erasure = system.request_erasure(caller)
    system.queue.enqueue(erasing.task(erasure.id))
    return erasure


def erased(system: System, caller: Identity) -> Erasure:
    erasure = begin(system, caller)
    system.work()
    after = system.erasure(caller, erasure.id)
    assert after.status == "completed"
    return after


def kept(erasure: Erasure, store: str) -> list[Retained]:
    assert erasure.statement is not None
    return [entry for entry in erasure.statement.retained if entry.store == store]


def rows(system: System, table: str, partner_id: object) -> list[list[Any]]:
    return system.run(f"SELECT * FROM {table} WHERE partner_id = :id", id=partner_id)


def everything(system: System, partner_id: UUID) -> dict[str, object]:
    """What is left of a partner, apart from what is made anew each time (keys, signatures, times)."""

    def run(sql: str) -> list[list[Any]]:
        return system.run(sql, id=partner_id)

    endpoints = run("SELECT url, secret, status FROM webhook_endpoints WHERE partner_id = :id ORDER BY id")
    tables = ("webhook_messages", "webhook_attempts", "partner_documents")
    return {
        "partner": run("SELECT status, legal_name IS NULL FROM partners WHERE id = :id"),
        "index": run("SELECT pan_index FROM partners WHERE id = :id") == [[partner_id.bytes]],
        "endpoints": endpoints,
        **{table: len(rows(system, table, partner_id)) for table in tables},
        "key": run("SELECT count(*) FROM subject_keys WHERE subject_id = :id"),
        "statutory": run("SELECT column_name FROM statutory_records WHERE partner_id = :id ORDER BY 1"),
        "uploads": [path for path in system.uploads.objects if str(partner_id) in path],
        "document": system.documents.documents[f"partners/{partner_id}"]["status"],
    }


def test_what_no_law_keeps_goes(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    system.webhook(owner.partner_id)
    system.webhook(other.partner_id)
    before = everything(system, other.partner_id)
    after = erased(system, owner)
    assert everything(system, owner.partner_id) == {
        "partner": [["active", False]],
        "index": False,
        "endpoints": [["", None, "deleted"]],
        "webhook_messages": 0,
        "webhook_attempts": 0,
        "partner_documents": 0,
        "key": [[0]],
        "statutory": [],
        "uploads": [],
        "document": "erased",
    }
    assert everything(system, other.partner_id) == before
    assert after.statement is not None
    done = {(entry.store, entry.action): entry.count for entry in after.statement.erased}
    assert done[("table webhook_messages", "deleted")] == 2
    assert done[("table partners", "made_unreadable")] == 1
    assert done[("collection partners", "overwritten")] == 1
    assert not kept(after, "table webhook_messages")
    [(sealed,)] = system.run("SELECT legal_name FROM partners WHERE id = :id", id=owner.partner_id)
    field = Field("partners", "legal_name", owner.partner_id)
    with system.database.session(owner.partner_id) as db, pytest.raises(Shredded):
        Keyring(system.kms).decrypt(SqlKeyStore(db), owner.partner_id, field, sealed)


def test_a_trade_within_its_eight_years_stays_and_says_why(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(owner.partner_id, other.partner_id, datetime(2026, 3, 31, 18, 29, tzinfo=UTC))
    later = system.trade(other.partner_id, owner.partner_id, datetime(2028, 2, 29, 6, tzinfo=UTC))
    lot = system.trade(owner.partner_id, None)
    after = erased(system, owner)
    found = system.run("SELECT id FROM trades WHERE id = ANY(:ids)", ids=[trade, later, lot])
    assert len(found) == 3
    negotiated, contracted = kept(after, "table trades")
    assert (contracted.count, contracted.law, contracted.article.split(";")[0]) == (2, "Companies Act 2013", "s.128(5)")
    assert (contracted.earliest_deletion, contracted.latest_deletion) == (date(2034, 4, 1), date(2036, 4, 1))
    assert (negotiated.count, negotiated.law) == (1, "Limitation Act 1963")
    assert [entry.count for entry in kept(after, "table trade_events")] == [1, 2]
    [records] = kept(after, "table statutory_records")
    assert (records.count, records.earliest_deletion) == (2, date(2036, 4, 1))


def test_a_grade_that_a_trade_was_settled_by_stays_with_it(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(owner.partner_id, other.partner_id)
    certificate = system.grading(owner.partner_id, trade, image=True)
    system.grading(owner.partner_id, None, image=True)
    system.grading(owner.partner_id, None, image=False)
    after = erased(system, owner)
    assert [row[0] for row in rows(system, "gradings", owner.partner_id)] == [certificate]
    assert [path for path in system.uploads.objects if str(owner.partner_id) in path] == []
    [grading], [usage] = kept(after, "table gradings"), kept(after, "table grading_usage")
    assert (grading.count, grading.law, grading.earliest_deletion) == (1, "Companies Act 2013", date(2035, 4, 1))
    assert (usage.count, usage.earliest_deletion) == (1, date(2035, 4, 1))
    assert after.statement is not None
    done = {entry.store: entry.count for entry in after.statement.erased}
    assert (done["table gradings"], done["table grading_usage"]) == (2, 2)
    assert (done["bucket uploads/gradings/"], done["bucket uploads/partners/"]) == (2, 1)


def test_a_photograph_that_the_law_keeps_for_a_year_stays_for_a_year(system: System, time: Time) -> None:
    """DPDP Rules r.8(3), from 13 May 2027 on: also of a trade, whose grade stays for longer."""
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(owner.partner_id, other.partner_id)
    system.grading(owner.partner_id, trade, image=True)
    time.now = datetime(2027, 6, 1, 6, 30, tzinfo=UTC)
    recent = system.grading(owner.partner_id, trade, image=True)
    time.now = datetime(2027, 12, 1, 6, 30, tzinfo=UTC)
    erased(system, owner)
    assert len(rows(system, "gradings", owner.partner_id)) == 2
    assert [path for path in system.uploads.objects if f"gradings/{owner.partner_id}" in path] == [
        f"gradings/{owner.partner_id}/{recent}"
    ]


def test_a_bid_on_another_partners_lot_is_stated(system: System) -> None:
    owner, other, third = system.register(), system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    trade = system.trade(other.partner_id, third.partner_id)
    system.step(trade, 2, owner.partner_id, "bidder", START)
    [bid] = kept(erased(system, owner), "table trade_events")
    assert (bid.count, bid.law, bid.latest_deletion) == (1, "Limitation Act 1963", date(2029, 11, 25))


def test_the_books_can_still_name_their_parties_and_nobody_else_can(system: System) -> None:
    owner, other = system.register(), system.register()
    assert owner.partner_id
    assert other.partner_id
    system.trade(owner.partner_id, other.partner_id)
    after = erased(system, owner)
    opened: dict[str, str] = {}
    with system.database.session(owner.partner_id) as db:
        for column, row_id, sealed in db.run(
            "SELECT column_name, row_id, sealed FROM statutory_records WHERE partner_id = :id ORDER BY column_name",
            id=owner.partner_id,
        ):
            field = Field("statutory_records", f"partners.{column}", row_id)
            opened[column] = system.keyring.decrypt(SqlKeyStore(db), after.id, field, sealed).decode()
            with pytest.raises(Shredded):
                system.keyring.decrypt(SqlKeyStore(db), owner.partner_id, field, sealed)
    assert opened == {name: SECRETS[name] for name in ("legal_name", "pan")}


def test_the_market_is_told_that_open_lots_are_gone(system: System) -> None:
    owner = system.register()
    assert owner.partner_id
    trade = system.trade(owner.partner_id, None)
    document = {"status": "OFFERED", "seller_id": str(owner.partner_id), "open": True, "bids": 0, "sequence": 1}
    system.documents.documents[f"trades/{trade}"] = {**document, "partner_ids": [str(owner.partner_id)]}
    erased(system, owner)
    assert system.documents.documents[f"trades/{trade}"] == {
        **document,
        "seller_id": None,
        "open": False,
        "partner_ids": [],
    }


def test_a_lot_that_was_withdrawn_is_in_no_books(system: System) -> None:
    """Nobody bought it, so no invoice has to name its seller, and no statute is cited that does not apply."""
    owner = system.register()
    assert owner.partner_id
    trade = system.trade(owner.partner_id, None, status="CANCELLED")
    document = {"status": "CANCELLED", "seller_id": str(owner.partner_id), "partner_ids": [str(owner.partner_id)]}
    system.documents.documents[f"trades/{trade}"] = document
    after = erased(system, owner)
    [kept_lot] = kept(after, "table trades")
    assert (kept_lot.law, kept_lot.latest_deletion) == ("Limitation Act 1963", date(2029, 11, 25))
    assert kept(after, "table statutory_records") == []
    assert rows(system, "statutory_records", owner.partner_id) == []
    redacted = system.documents.documents[f"trades/{trade}"]
    assert (redacted["seller_id"], redacted["partner_ids"]) == (None, [])


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


def test_processing_is_restricted_with_the_request(system: System) -> None:
    owner = system.register()
    assert owner.partner_id
    with system.database.session(owner.partner_id) as db:
        assert not restrictions.restricted(db, owner.partner_id)
    begin(system, owner)
    with system.database.session(None) as db:
        assert restrictions.restricted(db, owner.partner_id)
    with pytest.raises(Conflict, match="erased"):
        system.request_export(owner)
    with pytest.raises(Conflict, match="already"):
        system.request_erasure(owner)


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


def test_what_a_statute_in_force_keeps_is_not_deleted(system: System, time: Time) -> None:
    """DPDP Rules r.8(3), from 13 May 2027: logs of processing are kept for a year."""
    time.now = datetime(2027, 6, 1, 6, tzinfo=UTC)
    owner = system.register()
    assert owner.partner_id
    system.webhook(owner.partner_id, messages=1)
    time.now = datetime(2028, 5, 1, 6, tzinfo=UTC)
    system.webhook(owner.partner_id, messages=3)
    time.now = datetime(2028, 6, 2, 6, tzinfo=UTC)
    after = erased(system, owner)
    [messages] = kept(after, "table webhook_messages")
    assert (messages.count, messages.article, messages.latest_deletion) == (3, "r.8(3)", date(2029, 5, 2))
    assert len(rows(system, "webhook_messages", owner.partner_id)) == 3
    assert len(rows(system, "webhook_attempts", owner.partner_id)) == 3


def test_the_certificate_is_signed(system: System) -> None:
    owner = system.register()
    after = erased(system, owner)
    assert after.certificate is not None
    assert after.statement is not None
    header, payload, signature = after.certificate.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["statement"] == after.statement.model_dump(mode="json")
    assert claims["sub"] == str(owner.partner_id)
    detached = f"{header}..{signature}".encode()
    assert _is_signed(signing.canonical(claims), detached, system.signer.public_key())
    changed = signing.canonical(claims | {"sub": str(after.id)})
    assert not _is_signed(changed, detached, system.signer.public_key())


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


def test_only_its_owner_and_the_protection_officer_ask_for_it(system: System) -> None:
    owner = system.register()
    for role in (Role.MEMBER, Role.VIEWER, Role.OPS, Role.INSPECTOR):
        with system.database.session(owner.partner_id) as db, pytest.raises(Forbidden):
            service.request_erasure(db, replace(owner, role=role), ErasureCreate(confirm="erase"))
