"""Whatever is raised between a send and its record, the attempt is recorded: none is made again for a fault of ours."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from functions.webhook_delivery import batch_store, schedule, sending, signatures, store
from functions.webhook_delivery.sending import Reply
from kapas.http.identity import Identity
from tests.integration.webhook_delivery.system import System, matched

Strike = Callable[[pytest.MonkeyPatch], None]

REFUSED = Reply(503, retry_after="Tue, 01 Dec 99999999999 00:00:00 GMT", body="busy")


def fault(*_: Any, **__: Any) -> Any:
    raise OverflowError("a fault of ours")


def at(module: Any, name: str) -> Strike:
    return lambda monkeypatch: monkeypatch.setattr(module, name, fault)


def at_some_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the answer says cannot be written."""
    for module in (store, batch_store):
        monkeypatch.setattr(module, "storable", lambda text: fault() if text else text)


def in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither can this, and the connection breaks over it: UTF-8 has no lone surrogate."""
    for module in (store, batch_store):
        monkeypatch.setattr(module, "storable", lambda text: f"{text}\ud800" if text else text)


POINTS: dict[str, Strike] = {
    "signing": at(signatures, "headers"),
    "reading Retry-After": at(schedule, "retry_after"),
    "planning the next": at(schedule, "delay"),
    "drawing the jitter": at(sending, "chance"),
    "the result": at(sending, "_result"),
    "the text": at_some_text,
    "the database": in_the_database,
}
points = pytest.mark.parametrize("strike", POINTS.values(), ids=POINTS.keys())


@points
def test_a_failure_is_recorded_and_tried_again_in_its_time(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch, strike: Strike
) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.partner.reply = REFUSED
    task = system.queue.take()
    with monkeypatch.context() as struck:
        strike(struck)
        system.attempt(task)
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count, len(message.attempts)) == ("pending", 1, 1)
    assert message.next_attempt_at is not None
    assert message.next_attempt_at >= system.time.now + timedelta(seconds=5)
    for _ in range(4):
        system.time.advance(seconds=1)
        system.watch()
        system.attempt(task)
    assert len(system.partner.posts) <= 1


@points
def test_a_success_is_recorded(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch, strike: Strike
) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    with monkeypatch.context() as struck:
        strike(struck)
        system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    assert len(message.attempts) == 1
    assert message.status == ("delivered" if system.partner.posts else "pending")


@pytest.mark.parametrize("error", [OverflowError, ValueError, RecursionError, AssertionError, MemoryError])
def test_a_sender_that_raises_is_a_failure_of_ours(system: System, caller: Identity, error: type[Exception]) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))

    def raises() -> None:
        raise error

    system.partner.meanwhile = raises
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    assert (message.status, message.attempt_count, message.last_failure) == ("pending", 1, "internal")


def test_the_last_attempt_ends_a_message_also_by_a_fault(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    monkeypatch.setattr(sending, "_result", fault)
    system.partner.reply = REFUSED
    for _ in schedule.SCHEDULE:
        task = system.queue.take()
        system.time.now = max(task.schedule_time or system.time.now, system.time.now)
        system.attempt(task)
    assert system.queue.tasks == []
    assert system.message(caller, created.id).status == "exhausted"


# In a batch


def among_others(system: System, monkeypatch: pytest.MonkeyPatch, number: int, replies: Iterator[Reply]) -> None:
    """The `number`th delivery is answered by the next of `replies`, each other one with 200."""
    post = system.partner.post

    def answer(url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        system.partner.reply = next(replies) if len(system.partner.posts) + 1 == number else Reply(200, body="ok")
        return post(url, headers, body)

    monkeypatch.setattr(system.partner, "post", answer)


@points
def test_what_was_delivered_in_a_batch_is_not_sent_again(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch, strike: Strike
) -> None:
    """Ten messages, the sixth of which is answered with nonsense: the first is sent alone, the others as a batch."""
    created = system.create(caller)
    for _ in range(10):
        system.time.advance(milliseconds=1)
        system.fan_out(matched(caller))
    task = system.queue.take()
    among_others(system, monkeypatch, 6, iter([REFUSED]))
    with monkeypatch.context() as struck:
        strike(struck)
        system.attempt(task)
    for _ in range(30):  # what is left is sent, by tasks and by the watchdog
        if not system.queue.tasks:
            system.time.advance(minutes=2)
            system.watch()
        if not system.queue.tasks:
            break
        waiting = system.queue.tasks.pop(0)
        system.time.now = max(waiting.schedule_time or system.time.now, system.time.now)
        system.attempt(waiting)
    messages = system.messages(caller, created.id)
    assert {message.status for message in messages} == {"delivered"}
    assert len(system.partner.posts) <= 11  # each once, and the one that was refused twice
    assert sum(message.attempt_count for message in messages) >= len(system.partner.posts)
