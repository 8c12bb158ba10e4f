"""What a partner asks for: another secret, a test, a message once more, and all that failed since a time."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from pg8000.native import Connection
from standardwebhooks import Webhook, WebhookVerificationError

from functions.webhook_delivery import resend, schedule, service
from functions.webhook_delivery.dispatch import AttemptTask
from functions.webhook_delivery.schemas import (
    WebhookEndpointChange,
    WebhookMessageDetail,
    WebhookRecover,
    WebhookRecovery,
)
from functions.webhook_delivery.sending import Reply
from kapas.errors import Conflict, Forbidden, NotFound, VersionConflict
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.platform.ports import Task
from tests.integration.webhook_delivery.system import START, System, matched, one_at_a_time, wait_for_a_lock
from tests.times import PATIENCE


def failed(system: System, caller: Identity, status: int = 500) -> WebhookMessageDetail:
    """A message whose first attempt failed; the task of the next is lost."""
    system.queue.tasks = []
    system.fan_out(matched(caller))
    task = system.queue.take()
    system.partner.reply = Reply(status)
    system.attempt(task)
    system.queue.tasks = []
    return system.message_of(caller, task)


def give_up(system: System, caller: Identity, task: Task) -> WebhookMessageDetail:
    """Fail until no task is left, an hour apart from whatever opened the breaker."""
    system.partner.reply = Reply(500)
    system.attempt(task)
    while system.queue.tasks:
        later = system.queue.take()
        system.time.now = later.schedule_time or system.time.now
        system.attempt(later)
    return system.message_of(caller, task)


def verifies(secret: str, system: System) -> bool:
    """Whether the last delivery carries a signature of this secret."""
    _, headers, body = system.partner.posts[-1]
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), START.tzinfo)
    signature = Webhook(secret).sign(headers["webhook-id"], at, body.decode())
    return signature in headers["webhook-signature"].split(" ")


# Another secret


def test_both_secrets_sign_for_a_day(system: System, caller: Identity) -> None:
    created = system.create(caller)
    rotated = system.rotate(caller, created.id)
    assert (rotated.id, rotated.version) == (created.id, 2)
    assert rotated.previous_until == START + timedelta(hours=24)
    for moved, old in ((timedelta(hours=24) - timedelta(seconds=1), True), (timedelta(hours=24), False)):
        system.time.now = START + moved
        system.queue.tasks = []
        system.fan_out(matched(caller))
        system.attempt(system.queue.take())
        assert verifies(rotated.secret, system)
        assert verifies(created.secret, system) == old


def test_an_independent_receiver_verifies_with_either(system: System, caller: Identity) -> None:
    system.time.now = datetime.now(START.tzinfo)  # the package compares with the system's clock
    created = system.create(caller)
    rotated = system.rotate(caller, created.id)
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    _, headers, body = system.partner.posts[0]
    for secret in (created.secret, rotated.secret):
        Webhook(secret).verify(body, dict(headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 44).verify(body, dict(headers))


def test_a_second_rotation_waits_until_the_first_secret_has_ended(system: System, caller: Identity) -> None:
    created = system.create(caller)
    first = system.rotate(caller, created.id)
    with pytest.raises(Conflict, match="2026-11-25T06:30"):
        system.rotate(caller, created.id)
    system.time.advance(hours=24)
    second = system.rotate(caller, created.id)
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    assert [verifies(one.secret, system) for one in (created, first, second)] == [False, True, True]


def test_of_two_rotations_at_once_one_counts(system: System, caller: Identity) -> None:
    created = system.create(caller)

    def rotate(_: int) -> str | None:
        try:
            return system.rotate(caller, created.id).secret
        except (Conflict, VersionConflict):
            return None

    with ThreadPoolExecutor(2) as threads:
        [secret] = [secret for secret in threads.map(rotate, range(2)) if secret is not None]
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    assert verifies(secret, system)
    assert verifies(created.secret, system)


def test_the_secrets_are_stored_sealed(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    rotated = system.rotate(caller, created.id)
    [[stored]] = admin.run("SELECT secret FROM webhook_endpoints")
    assert created.secret.encode() not in bytes(stored)
    assert rotated.secret.encode() not in bytes(stored)


def test_a_secret_that_leaked_signs_nothing_more(system: System, caller: Identity) -> None:
    created = system.create(caller)
    first = system.rotate(caller, created.id)
    second = system.rotate(caller, created.id, end_previous=True)
    assert second.previous_until == START
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    assert [verifies(one.secret, system) for one in (created, first, second)] == [False, False, True]
    system.rotate(caller, created.id)  # and no overlap is left that would forbid it


# A test


def test_a_test_is_sent_whatever_the_endpoint_subscribes_to(system: System, caller: Identity) -> None:
    created = system.create(caller, "partner.activated.v1")
    message = system.test(caller, created.id)
    system.attempt(system.queue.take())
    _, headers, body = system.partner.posts[0]
    told = json.loads(body)
    assert headers["webhook-id"] == str(message.id)
    assert verifies(created.secret, system)
    assert (told["type"], told["sequence"], told["data"]) == ("webhook.test", 1, {"endpoint_id": str(created.id)})
    stored = system.message(caller, created.id)
    assert (stored.status, stored.event_type, stored.event_id) == ("delivered", "webhook.test", message.event_id)


def test_a_test_whose_task_was_never_made_is_resumed(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.queue.down = True
    system.test(caller, created.id)
    system.queue.down = False
    system.time.advance(seconds=31)
    assert system.watch() == 1
    system.attempt(system.queue.take())
    assert system.message(caller, created.id).status == "delivered"


# Once more


def test_a_delivered_message_is_sent_again_with_the_same_id(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    system.redeliver(caller, message.id)
    again = system.queue.take()
    for _ in range(2):
        system.attempt(again)
    assert system.partner.ids == [str(message.id)] * 2
    after = system.message(caller, created.id)
    assert (after.status, after.attempt_count, [a.number for a in after.attempts]) == ("delivered", 2, [1, 2])
    assert after.payload == message.payload


def test_a_message_that_was_given_up_has_the_whole_schedule_before_it_again(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    attempts = len(schedule.SCHEDULE)
    assert give_up(system, caller, system.queue.take()).status == "exhausted"
    message = system.message(caller, created.id)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="enabled"))  # else five days have passed soon
    system.redeliver(caller, message.id)
    after = give_up(system, caller, system.queue.take())
    assert (after.status, after.attempt_count) == ("exhausted", 2 * attempts)
    starts = [attempt.started_at for attempt in after.attempts]
    assert timedelta(seconds=5) <= starts[attempts + 1] - starts[attempts] <= timedelta(seconds=6)


def test_a_message_that_waits_is_sent_now_and_not_once_more_at_its_time(system: System, caller: Identity) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    system.partner.reply = Reply(500)
    system.attempt(system.queue.take())
    waiting = system.queue.take()
    message = system.message_of(caller, waiting)
    system.redeliver(caller, message.id)
    now = system.queue.take()
    system.partner.reply = Reply(200)
    system.attempt(now)
    system.time.now = waiting.schedule_time or system.time.now
    system.attempt(waiting)
    assert len(system.partner.posts) == 2
    assert system.message_of(caller, now).status == "delivered"


def test_a_message_that_is_being_sent_is_not_sent_beside_it(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    task, refused = system.queue.take(), list[str]()

    def meanwhile() -> None:
        with pytest.raises(Conflict, match="being sent") as conflict:
            system.redeliver(caller, system.message_of(caller, task).id)
        refused.append(str(conflict.value))
        # Recovering passes it over.
        assert system.recover(caller, created.id, START).messages == 0

    system.partner.meanwhile = meanwhile
    system.attempt(task)
    assert len(refused) == 1
    assert system.message_of(caller, task).status == "delivered"


def test_who_was_thought_dead_writes_nothing_over_what_was_sent_anew(system: System, caller: Identity) -> None:
    system.create(caller)
    system.fan_out(matched(caller))
    task = system.queue.take()

    def meanwhile() -> None:
        system.partner.meanwhile = lambda: None
        system.time.advance(seconds=61)
        system.redeliver(caller, system.message_of(caller, task).id)
        system.attempt(system.queue.take())
        system.partner.reply = Reply(500, body="late")

    system.partner.meanwhile = meanwhile
    system.attempt(task)
    message = system.message_of(caller, task)
    assert (message.status, [attempt.status_code for attempt in message.attempts]) == ("delivered", [200])


def test_needs_an_endpoint_that_is_enabled(system: System, caller: Identity) -> None:
    created = system.create(caller)
    message = failed(system, caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    for refused in (
        lambda: system.test(caller, created.id),
        lambda: system.redeliver(caller, message.id),
        lambda: system.recover(caller, created.id, START),
    ):
        with pytest.raises(Conflict, match="enable it first"):
            refused()
    system.delete(caller, created.id)
    with pytest.raises(Conflict, match="deleted"):
        system.redeliver(caller, message.id)
    with pytest.raises(NotFound):
        system.rotate(caller, created.id)
    assert system.queue.tasks == []


def test_a_body_that_is_too_large_is_not_sent_either(system: System, caller: Identity) -> None:
    created = system.create(caller)
    event = matched(caller)
    system.fan_out(event.model_copy(update={"data": {"note": "x" * service.MAX_PAYLOAD}}))
    with pytest.raises(Conflict, match="bytes"):
        system.redeliver(caller, system.message(caller, created.id).id)
    assert system.recover(caller, created.id, START).messages == 0


# All since


def test_recovers_what_failed_since_then_and_nothing_else(
    system: System, caller: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_at_a_time(monkeypatch)
    created = system.create(caller)
    before = failed(system, caller)
    system.time.advance(hours=1)
    since = system.time.now
    waiting, gone = failed(system, caller), failed(system, caller, 410)
    system.change(caller, created.id, 2, WebhookEndpointChange(status="enabled"))
    system.partner.reply = Reply(200)
    system.fan_out(matched(caller))
    taken = system.queue.take()
    system.attempt(taken)
    system.fan_out(matched(caller))
    fresh = system.queue.take()
    recovered = system.recover(caller, created.id, since)
    assert (recovered.messages, recovered.has_more) == (2, False)
    assert system.recover(caller, created.id, since).messages == 0  # what is on its way is not counted twice
    system.time.advance(seconds=31)
    system.watch()
    sent = {AttemptTask.model_validate_json(task.body).message_id: task for task in system.queue.tasks}
    assert {waiting.id, gone.id} <= sent.keys()
    for message in (waiting, gone):
        system.attempt(sent[message.id])
        after = system.message_of(caller, sent[message.id])
        assert (after.status, after.attempt_count) == ("delivered", 2)
    assert before.id not in sent or system.message_of(caller, sent[before.id]).attempt_count == 1
    assert system.message_of(caller, fresh).attempt_count == 0
    assert system.message_of(caller, taken).attempt_count == 1


def test_recovers_the_oldest_first_and_says_that_there_are_more(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = system.create(caller)
    for _ in range(3):
        failed(system, caller)
        system.time.advance(seconds=1)
    monkeypatch.setattr(resend, "RECOVER_LIMIT", 2)
    first = system.recover(caller, created.id, START)
    anew = admin.run("SELECT earlier_attempts FROM webhook_messages ORDER BY created_at")
    rest = system.recover(caller, created.id, START)
    assert (first.messages, first.has_more, anew) == (2, True, [[1], [1], [0]])
    assert (rest.messages, rest.has_more) == (1, False)


def test_what_is_being_sent_again_is_passed_over(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.partner.reply = Reply(500)
    system.attempt(system.queue.take())
    second, recovered = system.queue.take(), list[int]()
    system.time.now = second.schedule_time or system.time.now
    system.partner.meanwhile = lambda: recovered.append(system.recover(caller, created.id, START).messages)
    system.attempt(second)
    assert recovered == [0]
    assert system.message_of(caller, second).attempt_count == 2


def test_two_recoveries_at_once_count_each_message_once(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    for _ in range(5):
        failed(system, caller)
    with ThreadPoolExecutor(1) as threads:
        with system.database.session(caller.partner_id) as db, db.transaction():
            outcome = resend.recover(db, caller, created.id, WebhookRecover(since=START))
            second = threads.submit(system.recover, caller, created.id, START)
            wait_for_a_lock(admin, second)
            outbox.commit(db, outcome.change)
        assert outcome.resource == WebhookRecovery(messages=5, has_more=False)
        assert second.result(PATIENCE) == WebhookRecovery(messages=0, has_more=False)


# Whose


def test_operations_sends_anew_but_not_for_who_is_being_erased(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = system.create(caller)
    message = failed(system, caller)
    ops = Identity("user-2", None, Role.OPS, Tier.FREE)
    system.redeliver(ops, message.id)
    system.partner.reply = Reply(200)
    system.attempt(system.queue.take())
    assert system.message(caller, created.id).status == "delivered"
    assert system.recover(ops, created.id, START).messages == 0
    for refused in (lambda: system.rotate(ops, created.id), lambda: system.test(ops, created.id)):
        with pytest.raises(Forbidden):
            refused()
    sql = "INSERT INTO restrictions (subject_id, reason, restricted_at) VALUES (:id, 'erasure', :at)"
    admin.run(sql, id=caller.partner_id, at=START)
    for refused in (lambda: system.redeliver(ops, message.id), lambda: system.recover(ops, created.id, START)):
        with pytest.raises(Conflict, match="being erased"):
            refused()


def test_another_partner_and_other_roles_are_told_nothing(system: System, caller: Identity) -> None:
    created = system.create(caller)
    message = failed(system, caller)
    other = system.register()
    for stranger, error in ((other, NotFound), (Identity("user-2", None, Role.DPO, Tier.FREE), Forbidden)):
        for asked in (
            lambda who: system.rotate(who, created.id),
            lambda who: system.test(who, created.id),
            lambda who: system.redeliver(who, message.id),
            lambda who: system.recover(who, created.id, START),
        ):
            with pytest.raises(error):
                asked(stranger)
    assert system.queue.tasks == []
    assert system.message(caller, created.id) == message
