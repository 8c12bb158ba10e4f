"""Messages that wait together: one task for all, sent and recorded in batches, up to what fails."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import batch_store, batches, service
from functions.webhook_delivery.dispatch import AttemptTask
from functions.webhook_delivery.schemas import WebhookEndpointChange
from functions.webhook_delivery.sending import Reply
from kapas.http.identity import Identity
from kapas.platform.db import PLATFORM, Session
from kapas.platform.ports import Task
from kapas.values import ids
from tests.integration.webhook_delivery.system import System, matched, wait_for_a_lock
from tests.times import PATIENCE


def wait_together(system: System, caller: Identity, count: int) -> Task:
    """So many messages to the caller's endpoints before any is claimed; the one task there is."""
    for _ in range(count):
        system.time.advance(milliseconds=1)  # ids of one millisecond are in no order
        system.fan_out(matched(caller))
    return system.queue.take()


def answers(system: System, monkeypatch: pytest.MonkeyPatch, *statuses: int) -> None:
    """Answer the next deliveries with these."""
    coming = iter(statuses)

    def next_answer() -> None:
        system.partner.reply = Reply(next(coming))

    monkeypatch.setattr(system.partner, "meanwhile", next_answer)


def test_one_task_sends_all_that_wait_in_the_order_they_were_made(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.attempt(wait_together(system, caller, 150))
    assert system.queue.tasks == []
    assert len(system.partner.posts) == 150
    assert system.partner.ids == sorted(system.partner.ids)
    assert len(set(system.partner.ids)) == 150
    for message in system.messages(caller, created.id):
        assert (message.status, message.attempt_count, len(message.attempts)) == ("delivered", 1, 1)
        assert message.attempts[0].status_code == 200


def test_each_endpoint_has_a_task_of_its_own(system: System, caller: Identity) -> None:
    first, second = system.create(caller), system.create(caller)
    for _ in range(3):
        system.fan_out(matched(caller))
    tasks, system.queue.tasks = system.queue.tasks, []
    assert len(tasks) == 2
    system.attempt(tasks[0])
    assert len(system.partner.posts) == 3
    system.attempt(tasks[1])
    assert {m.status for e in (first, second) for m in system.messages(caller, e.id)} == {"delivered"}


def test_what_is_being_sent_is_not_relied_upon(system: System, caller: Identity) -> None:
    """Whoever sends it may have looked for others already."""
    system.create(caller)
    system.fan_out(matched(caller))
    task, during = system.queue.take(), matched(caller)
    system.partner.meanwhile = lambda: system.fan_out(during)
    system.attempt(task)
    assert system.queue.take().name.endswith("-1")
    assert len(system.partner.posts) == 2  # and yet it was found


def test_a_message_whose_task_should_have_come_is_not_relied_upon(system: System, caller: Identity) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    system.queue.tasks = []
    system.time.advance(seconds=service.SHARED.total_seconds() - 1)
    system.fan_out(matched(caller))
    assert system.queue.tasks == []
    system.time.advance(seconds=1)
    system.fan_out(matched(caller))
    task = system.queue.take()
    for _ in range(5):
        system.fan_out(matched(caller))
    assert system.queue.tasks == []  # though the oldest of them still waits
    system.attempt(task)
    assert len(system.partner.posts) == 8


def test_a_message_that_waits_for_its_next_attempt_is_not_relied_upon(system: System, caller: Identity) -> None:
    system.create(caller)
    system.partner.reply = Reply(500)
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    system.queue.tasks = []
    system.fan_out(matched(caller))
    assert len(system.queue.tasks) == 1


def test_what_is_relied_upon_is_claimed_after_the_one_that_relies_can_be_seen(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claimed in between, the second message would be seen by nobody until the watchdog comes."""
    system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    waiting, relied, started = batch_store.waiting, threading.Event(), threading.Event()

    def slowly(db: Session, endpoint_ids: Sequence[UUID], now: datetime, since: datetime) -> set[UUID]:
        found = waiting(db, endpoint_ids, now, since)
        relied.set()
        assert started.wait(PATIENCE)
        return found

    monkeypatch.setattr(batch_store, "waiting", slowly)
    with ThreadPoolExecutor(2) as threads:
        fan_out = threads.submit(system.fan_out, matched(caller))
        assert relied.wait(PATIENCE)
        attempt = threads.submit(system.attempt, task)
        wait_for_a_lock(admin, attempt)
        assert not attempt.done()
        started.set()
        for each in (fan_out, attempt):
            each.result(PATIENCE)
    assert system.queue.tasks == []
    assert len(system.partner.posts) == 2


@pytest.mark.parametrize("place", [1, 2, 5, 9, 12])
def test_stops_at_the_first_that_fails_and_hands_the_rest_on(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    created = system.create(caller)
    task = wait_together(system, caller, 12)
    answers(system, monkeypatch, *[200] * (place - 1), 500, *[200] * 12)
    system.attempt(task)
    assert len(system.partner.posts) == place
    found = system.messages(caller, created.id)[::-1]
    assert [message.attempt_count for message in found] == [1] * place + [0] * (12 - place)
    assert [message.status for message in found] == ["delivered"] * (place - 1) + ["pending"] * (13 - place)
    retry, *following = sorted(system.queue.tasks, key=lambda one: one.schedule_time is None)
    assert AttemptTask.model_validate_json(retry.body) == AttemptTask(message_id=found[place - 1].id, number=2)
    assert len(following) == (place < 12)
    system.queue.tasks = []
    for one in following:
        system.attempt(one)
    assert [message.status for message in system.messages(caller, created.id)].count("delivered") == 11


def test_stops_when_the_endpoint_wants_no_more(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = system.create(caller)
    task = wait_together(system, caller, 5)
    answers(system, monkeypatch, 200, 200, 410)
    system.attempt(task)
    assert system.endpoint_status(caller, created.id) == "disabled"
    assert len(system.partner.posts) == 3
    system.time.advance(seconds=31)
    system.watch()
    for one in system.queue.tasks:
        system.attempt(one)
    statuses = [message.status for message in system.messages(caller, created.id)[::-1]]
    assert statuses == ["delivered", "delivered", "discarded", "discarded", "discarded"]


def test_successes_of_a_batch_count_for_the_breaker(system: System, caller: Identity, admin: Connection) -> None:
    """One failure begins a window; nine that are taken count in it, and it ends with its time."""
    system.create(caller)
    system.partner.reply = Reply(500)
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    system.queue.tasks = []
    system.partner.reply = Reply(200)
    system.attempt(wait_together(system, caller, 9))
    row = "SELECT window_attempts, window_failures, first_failed_at, open_until FROM webhook_endpoints"
    assert admin.run(row) == [[10, 1, None, None]]
    system.time.advance(minutes=5)
    system.queue.tasks = []
    for _ in range(3):
        system.fan_out(matched(caller))
    system.attempt(system.queue.tasks[0])
    assert len(system.partner.posts) == 1 + 9 + 3 + 1
    assert admin.run(row) == [[0, 0, None, None]]


def test_an_endpoint_that_is_well_is_not_written_by_a_batch(
    system: System, caller: Identity, admin: Connection
) -> None:
    system.create(caller)
    row = "SELECT xmin::text FROM webhook_endpoints"
    before = admin.run(row)
    system.attempt(wait_together(system, caller, 20))
    assert admin.run(row) == before


def test_what_lost_its_lease_is_not_recorded(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    task = wait_together(system, caller, 4)

    def take_away() -> None:
        if len(system.partner.posts) == 3:
            admin.run(
                "UPDATE webhook_messages SET lease_token = :token WHERE lease_token IS NOT NULL AND id = :id",
                token=ids.uuid7(),
                id=system.partner.ids[-1],
            )

    system.partner.meanwhile = take_away
    system.attempt(task)
    found = system.messages(caller, created.id)[::-1]
    assert [message.status for message in found] == ["delivered", "delivered", "pending", "delivered"]
    assert [len(message.attempts) for message in found] == [1, 1, 0, 1]


def test_a_slow_endpoint_has_few_leased_and_is_left_in_time(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = system.create(caller)
    task = wait_together(system, caller, 40)
    system.partner.meanwhile = lambda: system.time.advance(seconds=3)
    system.attempt(task)
    assert len(system.partner.posts) <= batches.DRAIN / timedelta(seconds=3) + 1
    waiting = admin.run("SELECT count(*) FROM webhook_messages WHERE status = 'pending' AND lease_until IS NULL")
    assert waiting == [[40 - len(system.partner.posts)]]
    system.partner.meanwhile = lambda: None
    system.attempt(system.queue.take())
    assert {message.status for message in system.messages(caller, created.id)} == {"delivered"}


def test_batches_begin_anew_with_one_message_after_a_slow_one(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = system.create(caller)
    task, leased = wait_together(system, caller, 20), list[int]()

    def take_a_while() -> None:
        system.time.advance(milliseconds=300)
        held = admin.run("SELECT count(*) FROM webhook_messages WHERE lease_until > :now", now=system.time.now)
        leased.append(held[0][0])

    system.partner.meanwhile = take_a_while
    system.attempt(task)
    assert leased == [size for size in (1, batches.FIRST_BATCH, 1, 2, 4, 1, 2, 1) for _ in range(size)]
    assert {message.status for message in system.messages(caller, created.id)} == {"delivered"}


def test_none_are_claimed_of_an_endpoint_that_is_spared_or_disabled(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = system.create(caller)
    wait_together(system, caller, 2)

    def claimed() -> int:
        now = system.time.now
        with system.database.session(PLATFORM) as db:
            return len(batch_store.claim(db, created.id, ids.uuid7(), now, now + service.LEASE, 10))

    admin.run("UPDATE webhook_endpoints SET open_until = :at", at=system.time.now)
    assert claimed() == 0
    admin.run("UPDATE webhook_endpoints SET open_until = NULL")
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    assert claimed() == 0
    system.change(caller, created.id, 2, WebhookEndpointChange(status="enabled"))
    assert claimed() == 2
    assert claimed() == 0  # leased


def test_of_a_partner_that_was_shredded_all_are_discarded(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    created, partner_id = system.create(caller), caller.partner_id
    assert partner_id
    task = wait_together(system, caller, 3)

    def shred() -> None:
        admin.run("DELETE FROM subject_keys")
        system.keyring.forget(partner_id)

    monkeypatch.setattr(system.partner, "meanwhile", shred)
    system.attempt(task)
    statuses = [message.status for message in system.messages(caller, created.id)[::-1]]
    assert statuses == ["delivered", "discarded", "discarded"]
    assert len(system.partner.posts) == 1
