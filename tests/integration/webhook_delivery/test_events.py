"""What webhooks tell of themselves: every version of an endpoint, what was disabled, what was given up; and no more."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import schedule
from functions.webhook_delivery.schemas import TEST_TYPE, WebhookEndpointChange
from functions.webhook_delivery.sending import Reply
from kapas.errors import NotFound
from kapas.http.identity import Identity
from kapas.messaging.events import CloudEvent
from kapas.platform.ports import Task
from tests.integration.webhook_delivery.system import START, URL, System, matched, one_at_a_time
from tools.docs.registry import EVENTS

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one_at_a_time(monkeypatch)


def told(admin: Connection) -> list[CloudEvent]:
    """Everything in the outbox, as it will arrive."""
    rows = admin.run(
        """SELECT event_id, topic, source, type, subject, sequence, data, partner_ids, occurred_at FROM outbox
           ORDER BY occurred_at, subject, sequence"""
    )
    for _, topic, source, type_, _, _, data, _, _ in rows:
        model = EVENTS[type_]
        assert (topic, source) == (model.topic, model.source)
        assert model.model_validate(data).model_dump(mode="json") == data
    return [
        CloudEvent(
            specversion="1.0",
            id=row[0],
            type=row[3],
            source=row[2],
            subject=row[4],
            time=row[8],
            dataschema="",
            partitionkey=row[4],
            sequence=row[5],
            partnerids=",".join(map(str, row[7])),
            data=row[6],
        )
        for row in rows
    ]


def seen(admin: Connection) -> list[tuple[str, UUID, int]]:
    return [(event.type.split(".")[1], event.subject, event.sequence) for event in told(admin)]


def send(system: System, task: Task, reply: Reply) -> bool:
    system.partner.reply = reply
    system.time.now = max(task.schedule_time or system.time.now, system.time.now)
    return system.attempt(task)


def give_up(system: System, task: Task) -> bool:
    """Every attempt of the schedule fails; whether the last wrote events."""
    wrote = send(system, task, Reply(500))
    while system.queue.tasks:
        assert not wrote
        wrote = send(system, system.queue.take(), Reply(500))
    return wrote


# Versions


def test_every_version_of_an_endpoint_is_told(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(url="https://b.example.com/", headers={"X-Key": "k"}))
    system.rotate(caller, created.id)
    system.change(caller, created.id, 3, WebhookEndpointChange(status="disabled"))
    system.change(caller, created.id, 4, WebhookEndpointChange(status="enabled"))
    system.fan_out(matched(caller))
    assert send(system, system.queue.take(), Reply(410))
    system.delete(caller, created.id)
    endpoint = created.id
    assert seen(admin) == [
        ("endpoint_created", endpoint, 1),
        ("endpoint_changed", endpoint, 2),
        ("endpoint_changed", endpoint, 3),
        ("endpoint_disabled", endpoint, 4),
        ("endpoint_changed", endpoint, 5),
        ("endpoint_disabled", endpoint, 6),
        ("endpoint_deleted", endpoint, 7),
    ]
    data: list[dict[str, Any]] = [event.data for event in told(admin)]
    assert [one.get("changed") for one in data] == [None, ["url", "headers"], ["secret"], None, ["status"], None, None]
    assert [one.get("reason") for one in data if "reason" in one] == ["requested", "gone"]
    assert [one["actor"] for one in data] == ["user-1"] * 5 + [None, "user-1"]
    assert admin.run("SELECT version FROM webhook_endpoints") == [[7]]
    with pytest.raises(NotFound):
        system.delete(caller, created.id)
    assert len(told(admin)) == 7


def test_the_other_endpoints_hear_of_one_that_is_disabled_and_itself_does_not(
    system: System, caller: Identity, admin: Connection
) -> None:
    gone, well = system.create(caller, "trade.matched.v1", "webhook.endpoint_disabled.v1"), system.create(caller)
    stranger = system.register()
    system.create(stranger)
    system.fan_out(matched(caller))
    tasks, system.queue.tasks = system.queue.tasks, []
    for task in tasks:
        to_gone = system.message_of(caller, task).endpoint_id == gone.id
        assert send(system, task, Reply(410 if to_gone else 200)) is to_gone
    for event in told(admin):
        system.fan_out(event)
    received = {endpoint.id: system.messages(caller, endpoint.id) for endpoint in (gone, well)}
    assert [m.event_type for m in received[gone.id]] == ["trade.matched.v1"]
    assert sorted(m.event_type for m in received[well.id]) == [
        "trade.matched.v1",
        "webhook.endpoint_created.v1",
        "webhook.endpoint_disabled.v1",
    ]
    body = json.loads(next(m.payload for m in received[well.id] if m.event_type == "webhook.endpoint_disabled.v1"))
    assert body["data"] == {
        "endpoint_id": str(gone.id),
        "partner_id": str(caller.partner_id),
        "reason": "gone",
        "actor": None,
    }
    assert (body["subject"], body["sequence"]) == (str(gone.id), 2)


# Messages that are given up


def test_a_message_that_is_given_up_is_told_each_time(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    event = matched(caller)
    system.fan_out(event)
    assert give_up(system, system.queue.take())
    message = system.message(caller, created.id)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="enabled"))
    system.redeliver(caller, message.id)
    assert give_up(system, system.queue.take())
    [first, second] = [one for one in told(admin) if one.type == "webhook.message_exhausted.v1"]
    assert [(one.subject, one.sequence) for one in (first, second)] == [(message.id, 1), (message.id, 2)]
    assert first.data == {
        "endpoint_id": str(created.id),
        "partner_id": str(caller.partner_id),
        "message_id": str(message.id),
        "event_id": str(event.id),
        "event_type": event.type,
        "attempt_count": 10,
        "last_status_code": 500,
        "last_failure": None,
    }
    assert second.data["attempt_count"] == 20
    assert system.endpoint(caller, created.id).version == 2  # what becomes of messages is no change of the endpoint


def test_two_endpoints_that_fail_do_not_tell_of_each_other_for_ever(
    system: System, caller: Identity, admin: Connection
) -> None:
    for number in range(2):
        system.create(caller, url=f"{URL}/{number}")
    system.fan_out(matched(caller))
    taken: set[UUID] = set()
    for _ in range(40):
        tasks, system.queue.tasks = system.queue.tasks, []
        for task in sorted(tasks, key=lambda one: one.name):
            send(system, task, Reply(500))
        for event in told(admin):
            if event.id not in taken:
                taken.add(event.id)
                system.fan_out(event)
        if not system.queue.tasks:
            break
    assert not system.queue.tasks
    statuses = admin.run("SELECT DISTINCT status FROM webhook_messages ORDER BY status")
    assert statuses == [["discarded"], ["exhausted"]] or statuses == [["exhausted"]]
    exhausted = [one for one in told(admin) if one.type == "webhook.message_exhausted.v1"]
    assert {one.data["event_type"] for one in exhausted} <= {"trade.matched.v1"}
    assert len(exhausted) <= 2


def test_a_test_that_is_given_up_is_no_event(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    system.test(caller, created.id)
    assert not give_up(system, system.queue.take())
    assert system.message(caller, created.id).event_type == TEST_TYPE
    assert [event.type for event in told(admin)] == ["webhook.endpoint_created.v1"]


def test_who_lost_its_lease_tells_nothing(system: System, caller: Identity, admin: Connection) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()

    def overtake() -> None:
        system.partner.meanwhile = lambda: None
        system.time.advance(seconds=61)
        system.partner.reply = Reply(200)
        system.attempt(task)
        system.partner.reply = Reply(410)

    system.partner.meanwhile = overtake
    assert not system.attempt(task)
    assert [event.type for event in told(admin)] == ["webhook.endpoint_created.v1"]


# Failing


def fail(system: System, caller: Identity, reply: Reply | None = None) -> None:
    """One attempt at a new message."""
    system.queue.tasks = []
    system.fan_out(matched(caller))
    send(system, system.queue.take(), reply or Reply(500))


def test_one_failure_after_quiet_weeks_disables_nothing(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    give_up(system, system.queue.take())
    system.time.advance(days=25)
    for _ in range(3):  # the next two are not quiet any more
        fail(system, caller)
        system.time.advance(minutes=1)
    endpoint = system.endpoint(caller, created.id)
    assert endpoint.status == "enabled"
    assert endpoint.failing_since is not None
    assert system.time.now - endpoint.failing_since < timedelta(hours=1)


def test_failures_that_follow_one_another_for_days_are_probed_first(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = system.create(caller)
    for _ in range(6):
        fail(system, caller)
        system.time.advance(days=1)
    endpoint = system.endpoint(caller, created.id)
    assert (endpoint.status, endpoint.failing_since) == ("enabled", START)
    assert endpoint.spared_until == START + 5 * DAY + schedule.BREAKER_OPEN
    fail(system, caller)
    endpoint = system.endpoint(caller, created.id)
    assert endpoint.status == "disabled"
    assert endpoint.disabled is not None
    assert (endpoint.disabled.reason, endpoint.disabled.since) == ("failing", system.time.now)
    assert seen(admin)[-1] == ("endpoint_disabled", created.id, 2)


def test_a_probe_that_succeeds_keeps_it(system: System, caller: Identity) -> None:
    created = system.create(caller)
    for _ in range(6):
        fail(system, caller)
        system.time.advance(days=1)
    fail(system, caller, Reply(200))
    endpoint = system.endpoint(caller, created.id)
    assert (endpoint.status, endpoint.failing_since, endpoint.spared_until) == ("enabled", None, None)


@pytest.mark.parametrize(("gap", "disabled"), [(schedule.QUIET, False), (schedule.QUIET - timedelta(seconds=1), True)])
def test_how_far_apart_failures_may_be(system: System, caller: Identity, gap: timedelta, disabled: bool) -> None:
    created = system.create(caller)
    for _ in range(6):
        fail(system, caller)
        system.time.advance(seconds=gap.total_seconds())
    assert (system.endpoint(caller, created.id).status == "disabled") is disabled


def test_the_quiet_time_is_longer_than_any_wait() -> None:
    assert max(*schedule.SCHEDULE, schedule.CAP) * (1 + schedule.JITTER) < schedule.QUIET
