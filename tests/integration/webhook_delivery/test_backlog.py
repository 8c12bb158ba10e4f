"""What waits for an endpoint that is down for long: it costs tasks by the probe, and is sent once one succeeds."""

import itertools
from datetime import datetime, timedelta

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import batch_store, schedule
from functions.webhook_delivery.dispatch import AttemptTask
from functions.webhook_delivery.schemas import WebhookEndpointChange
from functions.webhook_delivery.sending import Reply
from kapas.http.identity import Identity
from kapas.platform.ports import Task
from tests.integration.webhook_delivery.system import START, Killed, System, matched

MINUTE = timedelta(minutes=1)
OPEN = schedule.BREAKER_OPEN


def play(system: System, until: datetime) -> None:
    """Run each task at its time, and the watchdog every minute."""
    reaps = system.time.now + MINUTE
    while system.time.now < until:
        system.queue.tasks.sort(key=lambda task: (task.schedule_time or system.time.now, task.name))
        due = system.queue.tasks[0].schedule_time or system.time.now if system.queue.tasks else until
        if min(due, until) < reaps:
            system.time.now = max(system.time.now, min(due, until))
            if due < until:
                system.attempt(system.queue.tasks.pop(0))
        else:
            system.time.now = reaps
            reaps += MINUTE
            system.watch()


def down(system: System, caller: Identity, count: int = 0) -> None:
    """An endpoint whose breaker has just opened, and so many messages more that wait for it."""
    system.create(caller)
    system.partner.reply = Reply(500)
    for _ in range(10 + count):
        system.fan_out(matched(caller))
        system.time.advance(milliseconds=1)
    while open_until(system) is None:
        system.attempt(system.queue.tasks.pop(0))
    system.partner.posts.clear()


def open_until(system: System) -> datetime | None:
    with system.database.session("*") as db:
        [[moment]] = db.run("SELECT open_until FROM webhook_endpoints ORDER BY id")
    return moment


def undelivered(admin: Connection) -> int:
    [[count]] = admin.run("SELECT count(*) FROM webhook_messages WHERE status <> 'delivered'")
    return count


@pytest.mark.parametrize("shared", [True, False])
def test_an_hour_of_500_costs_tasks_by_the_probe_and_then_all_is_delivered(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    if not shared:  # at worst each has a task of its own
        monkeypatch.setattr(batch_store, "waiting", lambda *_: set[object]())
    system.create(caller)
    system.partner.reply = Reply(500)
    for _ in range(500):
        system.fan_out(matched(caller))
    before = len(system.queue.names)
    assert before == (1 if shared else 500)
    play(system, START + timedelta(hours=1))
    probes = len(system.partner.posts) - schedule.BREAKER_ATTEMPTS
    assert 8 <= probes <= 16
    assert len(system.queue.names) - before <= 6 * (schedule.BREAKER_ATTEMPTS + probes)
    assert undelivered(admin) == 500
    system.partner.reply = Reply(200)
    play(system, START + timedelta(hours=1, minutes=12))
    waiting = admin.run("SELECT count(*) FROM webhook_messages WHERE status = 'pending' AND attempt_count = 0")
    assert waiting == [[0]]
    play(system, START + timedelta(hours=4))  # what failed has its wait before it
    assert undelivered(admin) == 0
    for message in system.messages(caller, next(iter(admin.run("SELECT id FROM webhook_endpoints")))[0]):
        assert len(message.attempts) == message.attempt_count
        for earlier, later in itertools.pairwise(message.attempts):
            assert later.started_at - earlier.started_at >= schedule.SCHEDULE[earlier.number]


def test_is_spared_for_twice_as_long_after_each_probe_that_fails(
    system: System, caller: Identity, admin: Connection
) -> None:
    down(system, caller, 20)
    waits: list[float] = []
    for _ in range(7):
        until = open_until(system)
        assert until is not None
        waits.append((until - system.time.now).total_seconds())
        system.time.now = until + MINUTE
        system.queue.tasks = []
        system.watch()
        system.attempt(system.queue.tasks.pop(0))
    assert waits == [pytest.approx(30, abs=1), 60, 120, 240, 480, 600, 600]
    system.partner.reply = Reply(200)
    play(system, system.time.now + timedelta(minutes=11))
    assert admin.run("SELECT open_until, open_seconds FROM webhook_endpoints") == [[None, 0]]


def test_all_that_are_turned_away_ask_for_the_same_task(system: System, caller: Identity) -> None:
    down(system, caller)
    system.queue.tasks = []
    for _ in range(5):
        system.time.advance(seconds=5)
        system.fan_out(matched(caller))
        system.attempt(system.queue.tasks.pop())
    probe, until = system.queue.take(), open_until(system)
    assert until is not None
    assert probe.schedule_time is not None
    assert until + OPEN * 0.1 <= probe.schedule_time <= until + OPEN * 0.2
    assert system.partner.posts == []


def lose(system: System, task: Task) -> None:
    """Make the attempt, and lose the task that it asks for."""
    system.queue.down = True
    system.attempt(task)
    system.queue.down = False


def test_killed_before_the_task_of_the_probe_the_reaper_has_one_made(
    system: System, caller: Identity, admin: Connection
) -> None:
    down(system, caller, 30)
    lose(system, system.queue.tasks.pop())
    system.queue.tasks = []
    until = open_until(system)
    assert until is not None
    system.time.now = until + timedelta(seconds=29)
    assert system.watch() == 0  # the probe may be on its way
    system.time.advance(seconds=1)
    assert system.watch() == 1  # for all of them
    system.partner.reply = Reply(200)
    play(system, system.time.now + timedelta(hours=3))
    assert undelivered(admin) == 0


def test_killed_while_it_turns_away_or_probes_nothing_is_lost(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    down(system, caller, 30)
    task = system.queue.tasks.pop()
    system.queue.tasks = []

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as killing:
        killing.setattr(batch_store, "release", kill)
        with pytest.raises(Killed):
            system.attempt(task)
    system.time.now = (open_until(system) or START) + MINUTE
    assert system.watch() == 1
    monkeypatch.setattr(system.partner, "meanwhile", kill)
    with pytest.raises(Killed):
        system.attempt(system.queue.take())
    monkeypatch.setattr(system.partner, "meanwhile", lambda: None)
    system.partner.reply = Reply(200)
    play(system, system.time.now + timedelta(hours=3))
    assert undelivered(admin) == 0


def test_a_message_that_is_turned_away_needs_no_key(system: System, caller: Identity) -> None:
    down(system, caller)
    system.queue.tasks = []
    system.fan_out(matched(caller))
    system.kms.down = True
    system.keyring = type(system.keyring)(system.kms)
    system.attempt(system.queue.take())
    assert len(system.queue.tasks) == 1


def test_what_waits_is_sent_within_two_minutes_of_another_address(
    system: System, caller: Identity, admin: Connection
) -> None:
    down(system, caller, 30)
    [[endpoint_id]] = admin.run("SELECT id FROM webhook_endpoints")
    system.attempt(system.queue.tasks.pop())
    system.queue.tasks = []
    system.partner.reply = Reply(200)
    system.change(caller, endpoint_id, 1, WebhookEndpointChange(url="https://b.example.com/"))
    play(system, system.time.now + 2 * MINUTE)
    waiting = admin.run("SELECT count(*) FROM webhook_messages WHERE status = 'pending' AND attempt_count = 0")
    assert waiting == [[0]]


def test_a_disabled_endpoint_s_backlog_is_discarded_though_it_was_spared(
    system: System, caller: Identity, admin: Connection
) -> None:
    down(system, caller, 30)
    [[endpoint_id]] = admin.run("SELECT id FROM webhook_endpoints")
    system.change(caller, endpoint_id, 1, WebhookEndpointChange(status="disabled"))
    play(system, system.time.now + timedelta(minutes=20))
    assert admin.run("SELECT DISTINCT status FROM webhook_messages ORDER BY 1") == [["discarded"]]
    assert {AttemptTask.model_validate_json(task.body).number for task in system.queue.tasks} <= {1, 2}
