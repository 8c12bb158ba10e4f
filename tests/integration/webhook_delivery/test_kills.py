"""A batch and the watchdog, each done twice and killed at every step: what was recorded is not sent again, the rest is."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import batch_store, batches, sending, store
from functions.webhook_delivery.dispatch import AttemptTask
from kapas.http.identity import Identity
from kapas.platform.ports import Task
from tests.integration.webhook_delivery.system import Killed, System, matched

MESSAGES = 12
"""One that is sent alone, a batch of 8, and one of 3."""


def waiting(system: System, caller: Identity) -> Task:
    """So many messages at an endpoint of the caller's; the one task there is."""
    system.create(caller)
    for _ in range(MESSAGES):
        system.time.advance(milliseconds=1)  # ids of one millisecond are in no order
        system.fan_out(matched(caller))
    return system.queue.take()


def killed_at(call: int, function: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    """`function`, but that the process is gone at its `call`-th call, counted from 1: before it, or when it has returned."""
    calls = count(1)

    def called(*arguments: Any, **named: Any) -> Any:
        last = next(calls) == call
        if last and not after:
            raise Killed
        result = function(*arguments, **named)
        if last:
            raise Killed
        return result

    return called


def work(system: System) -> None:
    """The watchdog once what was leased is free, and what it has sent."""
    system.time.advance(seconds=91)
    system.watch()
    tasks, system.queue.tasks = system.queue.tasks, []
    for task in tasks:
        for _ in range(2):  # as Cloud Tasks may
            system.attempt(task)


def recorded(admin: Connection) -> list[list[Any]]:
    """How many messages are in each state, and after how many attempts in their log."""
    return admin.run(
        """SELECT status, attempt_count, attempts, count(*) FROM webhook_messages m,
             LATERAL (SELECT count(*) FROM webhook_attempts a WHERE a.message_id = m.id) AS l (attempts)
           GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
    )


@pytest.mark.parametrize(
    ("step", "call", "after", "sent", "kept"),
    [
        pytest.param((batch_store, "claim"), 1, True, 1, 1, id="the batch is leased"),
        pytest.param((sending, "secrets"), 2, True, 1, 1, id="the secret is read"),
        pytest.param((sending, "send"), 2, True, 2, 1, id="the first of the batch is sent"),
        pytest.param((sending, "send"), 9, True, 9, 1, id="the last of the batch is sent"),
        pytest.param((batch_store, "record_taken"), 1, False, 9, 1, id="the batch is not recorded yet"),
        pytest.param((batch_store, "record_taken"), 1, True, 9, 9, id="the batch is recorded"),
        pytest.param((batch_store, "claim"), 2, True, 9, 9, id="the next batch is leased"),
        pytest.param((sending, "send"), 11, True, 11, 9, id="one of the next batch is sent"),
        pytest.param((store, "record"), 1, False, 1, 0, id="the first is not recorded yet"),
        pytest.param((store, "record"), 1, True, 1, 1, id="the first is recorded"),
    ],
)
def test_a_batch_that_is_killed_is_sent_by_the_reaper_s_and_what_was_recorded_is_not_sent_again(
    system: System,
    caller: Identity,
    admin: Connection,
    monkeypatch: pytest.MonkeyPatch,
    step: tuple[Any, str],
    call: int,
    after: bool,
    sent: int,
    kept: int,
) -> None:
    task = waiting(system, caller)
    with monkeypatch.context() as dying:
        dying.setattr(*step, killed_at(call, getattr(*step), after=after))
        with pytest.raises(Killed):
            system.attempt(task)
    assert len(system.partner.posts) == sent
    kept_ids = {str(row[0]) for row in admin.run("SELECT id FROM webhook_messages WHERE status = 'delivered'")}
    assert len(kept_ids) == kept
    system.attempt(task)  # Cloud Tasks tries again at once, while what was leased is leased
    work(system)
    assert recorded(admin) == [["delivered", 1, 1, MESSAGES]]
    ids = system.partner.ids
    assert len(set(ids)) == MESSAGES
    assert all(ids.count(message_id) == 1 for message_id in kept_ids)
    assert all(ids.count(message_id) <= 2 for message_id in ids)
    assert (system.watch(), system.queue.tasks) == (0, [])


def test_a_batch_whose_lease_expired_before_its_record_is_recorded_once(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not gone, it only stood still: its lease expired, and another has sent and recorded all of it."""
    task, record = waiting(system, caller), batches.batch_store.record_taken

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(batch_store, "record_taken", record)
        work(system)
        return record(*arguments)

    monkeypatch.setattr(batch_store, "record_taken", late)
    system.attempt(task)
    assert recorded(admin) == [["delivered", 1, 1, MESSAGES]]


# The watchdog


def lost(system: System, caller: Identity) -> None:
    """Three messages whose tasks were never made, to an endpoint each."""
    system.queue.down = True
    for number in range(3):
        system.create(caller, url=f"https://hooks.example.com/{number}")
    system.fan_out(matched(caller))
    system.queue.down = False
    system.time.advance(seconds=31)


def test_a_reaper_that_comes_twice_makes_one_task_each_and_another_a_minute_later(
    system: System, caller: Identity
) -> None:
    lost(system, caller)
    assert [system.watch(), system.watch()] == [3, 3]
    assert len(system.queue.tasks) == 3
    system.time.advance(minutes=1)
    system.watch()
    assert len(system.queue.tasks) == 6, "the next ones have names that are not taken"
    for task in system.queue.tasks:
        system.attempt(task)
    assert sorted(system.partner.ids) == sorted(set(system.partner.ids))
    assert len(system.partner.ids) == 3


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_reaper_that_is_killed_makes_the_other_tasks_the_next_time(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    lost(system, caller)
    with monkeypatch.context() as dying:
        dying.setattr(system.queue, "enqueue", killed_at(call, system.queue.enqueue))
        with pytest.raises(Killed):
            system.watch()
    assert len(system.queue.tasks) == call - 1
    assert recorded(admin) == [["pending", 0, 0, 3]]
    assert system.watch() == 3  # in the same minute: those that it made have their names
    assert len({AttemptTask.model_validate_json(task.body).message_id for task in system.queue.tasks}) == 3
    assert len(system.queue.tasks) == 3
    work(system)
    assert recorded(admin) == [["delivered", 1, 1, 3]]


def test_two_reapers_at_once_have_nothing_sent_twice(system: System, caller: Identity, admin: Connection) -> None:
    lost(system, caller)
    system.watch()
    tasks, system.queue.tasks, system.queue.names = system.queue.tasks, [], set()  # as if neither knew of the other
    system.watch()
    for task in [*tasks, *system.queue.tasks]:
        system.attempt(task)
    assert recorded(admin) == [["delivered", 1, 1, 3]]
    assert len(system.partner.posts) == 3
