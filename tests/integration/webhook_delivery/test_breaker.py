"""Endpoints that fail: spared for a while, probed, disabled after days; and one that hangs leaves the others their slots."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import schedule
from functions.webhook_delivery.schemas import EndpointDisablement, WebhookEndpointChange
from functions.webhook_delivery.sending import Reply
from functions.webhook_delivery.slots import Slots
from kapas.http.identity import Identity
from kapas.platform.ports import Task
from tests.integration.webhook_delivery.system import START, System, matched, one_at_a_time
from tests.times import PATIENCE

OPEN = schedule.BREAKER_OPEN


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one_at_a_time(monkeypatch)


def fan_out(system: System, caller: Identity, count: int) -> list[Task]:
    """So many events; the tasks of their messages, which are no longer queued."""
    system.queue.tasks = []
    for _ in range(count):
        system.fan_out(matched(caller))
    tasks, system.queue.tasks = system.queue.tasks, []
    return tasks


def attempt(system: System, tasks: list[Task], *statuses: int) -> None:
    """One attempt each, with these answers."""
    for task, status in zip(tasks, statuses, strict=True):
        system.partner.reply = Reply(status)
        system.attempt(task)


def open_until(admin: Connection) -> object:
    [[moment]] = admin.run("SELECT open_until FROM webhook_endpoints")
    return moment


# The breaker


@pytest.mark.parametrize(
    ("statuses", "opens"),
    [
        ([500] * 9, False),
        ([500] * 10, True),
        ([500] * 7 + [200] * 3, True),
        ([500] * 6 + [200] * 4, False),
        ([500] + [200] * 9, False),
        ([200] * 9 + [500] * 9, False),
        ([200] * 9 + [500] * 10, True),
    ],
)
def test_opens_at_70_percent_failures_of_10_attempts(
    system: System, caller: Identity, admin: Connection, statuses: list[int], opens: bool
) -> None:
    system.create(caller)
    attempt(system, fan_out(system, caller, len(statuses)), *statuses)
    assert open_until(admin) == (START + OPEN if opens else None)


def test_attempts_of_five_minutes_ago_do_not_count(system: System, caller: Identity, admin: Connection) -> None:
    system.create(caller)
    attempt(system, fan_out(system, caller, 9), *[500] * 9)
    system.time.advance(minutes=5)
    attempt(system, fan_out(system, caller, 9), *[500] * 9)
    assert open_until(admin) is None
    attempt(system, fan_out(system, caller, 1), 500)
    assert open_until(admin) is not None


def test_an_endpoint_that_is_well_is_never_written(system: System, caller: Identity, admin: Connection) -> None:
    """Else its row would be what all its attempts queue for."""
    system.create(caller)
    row = "SELECT xmin::text FROM webhook_endpoints"
    before = admin.run(row)
    attempt(system, fan_out(system, caller, 3), 200, 204, 299)
    assert admin.run(row) == before
    attempt(system, fan_out(system, caller, 2), 500, 200)
    system.time.advance(minutes=5)
    attempt(system, fan_out(system, caller, 1), 200)
    settled = admin.run(row)
    attempt(system, fan_out(system, caller, 1), 200)
    assert settled != before
    assert admin.run(row) == settled


def spared(system: System, caller: Identity) -> UUID:
    """An endpoint whose breaker has just opened."""
    created = system.create(caller)
    attempt(system, fan_out(system, caller, 10), *[500] * 10)
    system.partner.posts.clear()
    system.queue.tasks = []
    return created.id


def test_while_open_messages_wait_and_use_no_attempt_up(system: System, caller: Identity) -> None:
    spared(system, caller)
    [task] = fan_out(system, caller, 1)
    for _ in range(2):  # twice, as Cloud Tasks may
        system.attempt(task)
    later = system.queue.take()
    message = system.message_of(caller, task)
    assert system.partner.posts == []
    assert (message.status, message.attempt_count) == ("pending", 0)
    assert later.body == task.body
    assert later.name != task.name
    assert later.schedule_time is not None
    assert START + OPEN * 1.1 <= later.schedule_time <= START + OPEN * 1.2
    system.time.now = later.schedule_time
    system.partner.reply = Reply(200)
    system.attempt(later)
    message = system.message_of(caller, task)
    assert (message.status, message.attempt_count) == ("delivered", 1)


def test_one_probe_at_a_time_decides(system: System, caller: Identity, admin: Connection) -> None:
    spared(system, caller)
    tasks = fan_out(system, caller, 4)
    system.time.advance(seconds=30)
    started, answer = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        assert answer.wait(PATIENCE)

    system.partner.meanwhile = hang
    system.partner.reply = Reply(200)
    with ThreadPoolExecutor(1) as threads:
        probing = threads.submit(system.attempt, tasks[0])
        assert started.wait(PATIENCE)
        for task in tasks[1:3]:
            system.attempt(task)
        assert len(system.partner.posts) == 1
        answer.set()
        probing.result(PATIENCE)
    assert admin.run("SELECT open_until, probe_token, window_attempts FROM webhook_endpoints") == [[None, None, 0]]
    system.attempt(tasks[3])
    assert len(system.partner.posts) == 2


def test_many_at_the_same_moment_make_one_probe(system: System, caller: Identity) -> None:
    spared(system, caller)
    tasks = fan_out(system, caller, 4)
    system.time.advance(seconds=30)
    system.partner.reply = Reply(500)
    # The probe answers when the others have been turned away: what they leave behind are tasks.
    enqueue, turned_away = system.queue.enqueue, threading.Semaphore(0)

    def counting(task: Task) -> bool:
        turned_away.release()
        return enqueue(task)

    def until_the_others_wait() -> None:
        for _ in range(3):
            assert turned_away.acquire(timeout=PATIENCE)

    system.queue.enqueue = counting
    system.partner.meanwhile = until_the_others_wait
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(system.attempt, tasks))
    assert len(system.partner.posts) == 1


def test_a_probe_that_fails_opens_again(system: System, caller: Identity, admin: Connection) -> None:
    spared(system, caller)
    first, second = fan_out(system, caller, 2)
    system.time.advance(seconds=30)
    attempt(system, [first], 500)
    assert open_until(admin) == START + 3 * OPEN
    attempt(system, [second], 200)
    assert len(system.partner.posts) == 1


def test_a_probe_that_was_killed_is_replaced(system: System, caller: Identity, admin: Connection) -> None:
    spared(system, caller)
    first, second, third = fan_out(system, caller, 3)
    system.time.advance(seconds=30)

    def kill() -> None:
        raise KeyboardInterrupt

    system.partner.meanwhile = kill
    with pytest.raises(KeyboardInterrupt):
        system.attempt(first)
    system.partner.meanwhile = lambda: None
    attempt(system, [second], 200)
    assert len(system.partner.posts) == 1
    system.time.advance(seconds=61)
    attempt(system, [third], 200)
    assert len(system.partner.posts) == 2
    assert open_until(admin) is None


def test_what_was_sent_before_it_opened_does_not_close_it(system: System, caller: Identity, admin: Connection) -> None:
    system.create(caller)
    slow, *others = fan_out(system, caller, 11)

    def meanwhile_all_others_fail() -> None:
        system.partner.meanwhile = lambda: None
        attempt(system, others, *[500] * 10)
        system.partner.reply = Reply(200)

    system.partner.meanwhile = meanwhile_all_others_fail
    system.attempt(slow)
    assert open_until(admin) == START + OPEN


def test_failures_that_end_at_the_same_moment_all_count(system: System, caller: Identity, admin: Connection) -> None:
    system.create(caller)
    attempt(system, fan_out(system, caller, 6), *[500] * 6)
    tasks, together = fan_out(system, caller, 4), threading.Barrier(4, timeout=PATIENCE)
    system.partner.meanwhile = lambda: together.wait() and None
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(system.attempt, tasks))
    assert open_until(admin) == START + OPEN


def test_the_breaker_is_each_endpoint_s_own(system: System, caller: Identity) -> None:
    spared(system, caller)
    other = system.register()
    created = system.create(other)
    attempt(system, fan_out(system, other, 1), 200)
    assert system.message(other, created.id).status == "delivered"


# Failing for days


def test_is_disabled_after_five_days_without_a_success(system: System, caller: Identity) -> None:
    created = system.create(caller)
    for days in range(5):
        system.time.now = START + timedelta(days=days)
        attempt(system, fan_out(system, caller, 1), 500)
    system.time.now = START + timedelta(days=5) - timedelta(seconds=1)
    attempt(system, fan_out(system, caller, 1), 500)
    assert system.endpoint(caller, created.id).spared_until is None
    system.time.now = START + timedelta(days=5)
    [next_to_last, last, waiting] = fan_out(system, caller, 3)
    attempt(system, [next_to_last], 500)
    assert system.endpoint(caller, created.id).status == "enabled"
    system.time.now += OPEN
    attempt(system, [last], 500)
    endpoint = system.endpoint(caller, created.id)
    assert (endpoint.status, endpoint.version) == ("disabled", 2)
    assert endpoint.disabled == EndpointDisablement(reason="failing", since=system.time.now)
    attempt(system, [waiting], 200)
    assert system.message_of(caller, waiting).status == "discarded"


def test_a_success_begins_the_five_days_anew(system: System, caller: Identity) -> None:
    created = system.create(caller)
    attempt(system, fan_out(system, caller, 1), 500)
    system.time.advance(days=4)
    attempt(system, fan_out(system, caller, 2), 200, 500)
    system.time.advance(days=4)
    attempt(system, fan_out(system, caller, 1), 500)
    assert system.endpoint(caller, created.id).status == "enabled"


@pytest.mark.parametrize(
    "change", [WebhookEndpointChange(status="enabled"), WebhookEndpointChange(url="https://b.example.com/")]
)
def test_enabling_or_another_address_forgets_the_failures(
    system: System, caller: Identity, admin: Connection, change: WebhookEndpointChange
) -> None:
    endpoint_id = spared(system, caller)
    system.change(caller, endpoint_id, 1, change)
    assert open_until(admin) is None
    system.time.advance(days=6)
    attempt(system, fan_out(system, caller, 1), 500)
    assert system.endpoint(caller, endpoint_id).status == "enabled"


def test_a_change_of_the_event_types_forgets_nothing(system: System, caller: Identity, admin: Connection) -> None:
    endpoint_id = spared(system, caller)
    system.change(caller, endpoint_id, 1, WebhookEndpointChange(event_types=["trade.matched.v1"]))
    assert open_until(admin) == START + OPEN


def test_why_and_since_when_it_is_disabled_can_be_read(system: System, caller: Identity) -> None:
    created = system.create(caller)
    assert created.disabled is None
    attempt(system, fan_out(system, caller, 1), 410)
    gone = EndpointDisablement(reason="gone", since=START)
    assert system.endpoint(caller, created.id).disabled == gone
    system.time.advance(hours=1)
    system.change(caller, created.id, 2, WebhookEndpointChange(status="disabled"))
    assert system.endpoint(caller, created.id).disabled == gone
    system.change(caller, created.id, 3, WebhookEndpointChange(status="enabled"))
    assert system.endpoint(caller, created.id).disabled is None
    system.change(caller, created.id, 4, WebhookEndpointChange(status="disabled"))
    assert system.endpoint(caller, created.id).disabled == EndpointDisablement(
        reason="requested", since=system.time.now
    )


def test_a_probe_of_before_the_endpoint_was_enabled_decides_nothing(
    system: System, caller: Identity, admin: Connection
) -> None:
    endpoint_id = spared(system, caller)
    [probe] = fan_out(system, caller, 1)
    system.time.advance(seconds=30)
    system.partner.meanwhile = lambda: system.change(caller, endpoint_id, 1, WebhookEndpointChange(status="enabled"))
    attempt(system, [probe], 500)
    row = admin.run("SELECT open_until, first_failed_at, window_failures FROM webhook_endpoints")
    assert row == [[None, system.time.now, 1]]


# Slots


def test_an_endpoint_that_hangs_has_a_quarter_of_the_slots(system: System, caller: Identity) -> None:
    other = system.register()
    hung, well = system.create(caller, url="https://hung.example.com/"), system.create(other)
    tasks = fan_out(system, caller, 3)
    system.slots = Slots(8)
    hanging, answer = threading.Semaphore(0), threading.Event()

    def hang() -> None:
        if system.partner.posts[-1][0].startswith("https://hung"):
            hanging.release()
            assert answer.wait(PATIENCE)

    system.partner.meanwhile = hang
    with ThreadPoolExecutor(2) as threads:
        attempts = []
        for task in tasks[:2]:
            attempts.append(threads.submit(system.attempt, task))
            assert hanging.acquire(timeout=PATIENCE)
        system.attempt(tasks[2])
        later = system.queue.take()
        attempt(system, fan_out(system, other, 1), 200)
        assert system.message(other, well.id).status == "delivered"
        answer.set()
        for made in attempts:
            made.result(PATIENCE)
    assert later.schedule_time is not None
    assert START + timedelta(seconds=1) <= later.schedule_time <= START + timedelta(seconds=3)
    system.time.now = later.schedule_time
    system.attempt(later)
    assert {message.attempt_count for message in system.messages(caller, hung.id)} == {1}
    assert {message.status for message in system.messages(caller, hung.id)} == {"delivered"}
