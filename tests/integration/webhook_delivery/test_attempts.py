"""Attempts to deliver webhooks: tried again, given up, made twice, raced for, and killed at every point."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import schedule, service, store
from functions.webhook_delivery.dispatch import AttemptTask
from functions.webhook_delivery.schemas import WebhookEndpointChange
from functions.webhook_delivery.sending import Reply
from kapas.errors import Unavailable
from kapas.http.identity import Identity
from kapas.platform.db import PLATFORM
from kapas.privacy.keys import Keyring
from kapas.values import clock
from tests.integration.webhook_delivery.system import START, Killed, System, matched
from tests.times import PATIENCE


def test_success_is_recorded_and_final(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    system.partner.reply = Reply(204, body="nul \0 is not text", milliseconds=12)
    system.attempt(task)
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count, message.next_attempt_at) == ("delivered", 1, None)
    [attempt] = message.attempts
    assert (attempt.number, attempt.status_code, attempt.failure, attempt.milliseconds) == (1, 204, None, 12)
    assert (attempt.started_at, attempt.response) == (START, "nul \ufffd is not text")
    system.time.advance(days=2)
    system.attempt(task)
    assert (system.watch(), len(system.partner.posts)) == (0, 1)


@pytest.mark.parametrize(
    ("status", "wait"),
    [(302, 5), (400, 5), (401, 5), (404, 5), (500, 5), (429, 60), (502, 60), (503, 60), (504, 60)],
)
def test_what_is_not_2xx_is_tried_again_by_a_task_at_its_time(
    system: System, caller: Identity, status: int, wait: int
) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    first = system.queue.take()
    system.partner.reply = Reply(status)
    system.attempt(first)
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count) == ("pending", 1)
    second = system.queue.take()
    assert second.name != first.name
    assert AttemptTask.model_validate_json(second.body) == AttemptTask(message_id=message.id, number=2)
    assert second.schedule_time == message.next_attempt_at
    assert second.schedule_time is not None
    assert START + timedelta(seconds=wait) <= second.schedule_time < START + timedelta(seconds=wait * 1.2)
    # Neither a duplicate of the first task nor one that comes early sends anything.
    system.attempt(first)
    system.attempt(second)
    assert len(system.partner.posts) == 1
    system.time.now = second.schedule_time
    system.attempt(first)
    assert len(system.partner.posts) == 1
    system.partner.reply = Reply(200)
    system.attempt(second)
    assert system.partner.ids == [str(message.id)] * 2
    times = [headers["webhook-timestamp"] for _, headers, _ in system.partner.posts]
    assert wait <= int(times[1]) - int(times[0]) <= wait * 1.2
    assert system.message(caller, created.id).status == "delivered"


def test_waits_as_long_as_retry_after_asks(system: System, caller: Identity) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    system.partner.reply = Reply(503, retry_after="3600")
    system.attempt(system.queue.take())
    at = system.queue.take().schedule_time
    assert at is not None
    assert START + timedelta(hours=1) <= at <= START + timedelta(hours=1.2)


def test_gives_up_after_the_schedule(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.partner.reply = Reply(None, "timeout")
    for number in range(1, len(schedule.SCHEDULE) + 1):
        task = system.queue.take()
        assert AttemptTask.model_validate_json(task.body).number == number
        system.time.now = task.schedule_time or system.time.now
        system.attempt(task)
    assert system.queue.tasks == []
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count, message.next_attempt_at) == ("exhausted", 10, None)
    assert [attempt.failure for attempt in message.attempts] == ["timeout"] * 10
    span = sum(schedule.SCHEDULE, timedelta(0)) - schedule.SCHEDULE[1] + schedule.FLOOR
    assert span <= system.time.now - START <= span * 1.2
    system.time.advance(days=7)
    assert system.watch() == 0


def test_410_disables_the_endpoint(system: System, caller: Identity) -> None:
    created, other = system.create(caller), system.create(caller)
    system.fan_out(matched(caller))
    first, second = system.queue.tasks
    system.queue.tasks = []
    later = matched(caller)
    system.fan_out(later)
    system.partner.reply = Reply(410)
    system.attempt(first)
    statuses = {endpoint.id: system.endpoint_status(caller, endpoint.id) for endpoint in (created, other)}
    assert sorted(statuses.values()) == ["disabled", "enabled"]
    system.partner.reply = Reply(200)
    for task in [second, *system.queue.tasks]:
        system.attempt(task)
    gone = next(endpoint_id for endpoint_id, status in statuses.items() if status == "disabled")
    kept = next(endpoint_id for endpoint_id, status in statuses.items() if status == "enabled")
    assert [message.status for message in system.messages(caller, gone)] == ["discarded"] * 2
    assert [message.status for message in system.messages(caller, kept)] == ["delivered"] * 2
    assert len(system.partner.posts) == 3


def test_an_endpoint_that_is_enabled_again_gets_what_comes_then(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    system.fan_out(matched(caller))
    assert system.queue.tasks == []
    system.change(caller, created.id, 2, WebhookEndpointChange(status="enabled"))
    system.time.advance(minutes=1)
    assert system.watch() == 0  # what it missed is sent only when it is asked for
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    assert [message.status for message in system.messages(caller, created.id)] == ["delivered", "discarded"]


def test_a_shredded_partner_s_messages_are_discarded(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    admin.run("DELETE FROM subject_keys")
    system.keyring = Keyring(system.kms)
    system.attempt(system.queue.take())
    assert system.partner.posts == []
    assert system.message(caller, created.id).status == "discarded"


# Killed, twice, at once


def test_killed_between_the_commit_and_the_task_the_reaper_has_it_sent(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.queue.down = True
    system.fan_out(matched(caller))
    system.queue.down = False
    assert (system.watch(), system.queue.tasks) == (0, [])  # its task may still be on its way
    system.time.advance(seconds=31)
    assert system.watch() == 1
    system.attempt(system.queue.take())
    assert system.message(caller, created.id).status == "delivered"


def test_killed_between_the_result_and_the_next_task_the_reaper_has_it_sent(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    system.partner.reply = Reply(500)
    system.queue.down = True
    system.attempt(task)
    system.queue.down = False
    system.time.advance(minutes=1)
    assert system.watch() == 1
    system.partner.reply = Reply(200)
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count) == ("delivered", 2)


def test_killed_after_the_send_it_is_sent_again_with_the_same_id(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()

    def kill() -> None:
        raise Killed

    system.partner.meanwhile = kill
    with pytest.raises(Killed):
        system.attempt(task)
    system.partner.meanwhile = lambda: None
    system.attempt(task)  # Cloud Tasks tries again at once, while the lease is live
    assert len(system.partner.posts) == 1
    system.time.advance(seconds=59)
    assert system.watch() == 0
    system.time.advance(seconds=2)
    assert system.watch() == 1
    assert system.watch() == 1  # the same minute, from a schedule that fired twice: the same name, one task
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    assert system.partner.ids == [str(message.id)] * 2
    assert (message.status, message.attempt_count, len(message.attempts)) == ("delivered", 1, 1)


def test_of_two_attempts_at_once_one_sends(system: System, caller: Identity) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    other_is_done = threading.Event()
    system.partner.meanwhile = lambda: other_is_done.wait(PATIENCE) and None

    def run() -> None:
        system.attempt(task)
        other_is_done.set()  # the one that found a lease ends first

    with ThreadPoolExecutor(2) as threads:
        for attempt in [threads.submit(run), threads.submit(run)]:
            attempt.result(PATIENCE)
    assert len(system.partner.posts) == 1


def test_a_late_writer_loses(system: System, caller: Identity) -> None:
    """An attempt outlives its lease, and another one is made and recorded meanwhile."""
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()

    def overtake() -> None:
        system.partner.meanwhile = lambda: None
        system.time.advance(seconds=61)
        system.attempt(task)
        system.partner.reply = Reply(500, body="late")

    system.partner.meanwhile = overtake
    system.attempt(task)
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count) == ("delivered", 1)
    assert [attempt.response for attempt in message.attempts] == ["ok"]
    assert system.queue.tasks == []


def test_an_expired_lease_that_nobody_took_still_records(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.partner.meanwhile = lambda: system.time.advance(seconds=120)
    system.attempt(system.queue.take())
    assert system.message(caller, created.id).status == "delivered"


def test_keys_that_cannot_be_had_leave_the_message_for_later(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()
    system.keyring, system.kms.down = Keyring(system.kms), True
    with pytest.raises(Unavailable):
        system.attempt(task)
    system.kms.down = False
    system.time.advance(seconds=61)
    assert system.watch() == 1
    system.attempt(system.queue.take())
    assert (system.message(caller, created.id).status, len(system.partner.posts)) == ("delivered", 1)


def test_the_reaper_takes_the_longest_overdue_first_and_no_more_than_it_may(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.create(caller)
    system.queue.down = True
    for _ in range(3):
        system.fan_out(matched(caller))
        system.time.advance(minutes=1)
    system.queue.down = False
    monkeypatch.setattr(service, "REAP_LIMIT", 2)
    assert system.watch() == 2
    with system.database.session(PLATFORM) as db:
        waiting = [message_id for message_id, _ in store.due(db, clock.now(), clock.now(), 3)]
    assert [AttemptTask.model_validate_json(task.body).message_id for task in system.queue.tasks] == waiting[:2]
    assert waiting == sorted(waiting)
