"""What happens while an endpoint is disabled: nothing is sent, and all of it can be recovered."""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from pg8000.native import Connection

from functions.webhook_delivery import service, store
from functions.webhook_delivery.schemas import WebhookEndpointChange
from kapas.http.identity import Identity
from kapas.messaging import outbox
from tests.integration.webhook_delivery.system import NO_HOSTS, START, System, matched, wait_for_a_lock
from tests.times import PATIENCE


def test_what_was_missed_while_disabled_is_recovered_in_order(system: System, caller: Identity) -> None:
    created, other = system.create(caller, "trade.matched.v1"), system.create(caller, "trade.offered.v1")
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    system.change(caller, other.id, 1, WebhookEndpointChange(status="disabled"))
    events = [matched(caller) for _ in range(3)]
    for event in [*events, events[0]]:  # one comes twice
        system.time.advance(seconds=1)
        system.fan_out(event)
    assert system.queue.tasks == []
    missed = system.messages(caller, created.id)
    assert [(message.status, message.attempt_count) for message in missed] == [("discarded", 0)] * 3
    assert system.messages(caller, other.id) == []
    system.change(caller, created.id, 2, WebhookEndpointChange(status="enabled"))
    assert system.recover(caller, created.id, START + timedelta(seconds=2)).messages == 2
    system.time.advance(seconds=31)
    assert system.watch() == 2
    for task in system.queue.tasks:
        system.attempt(task)
    assert [json.loads(body)["id"] for _, _, body in system.partner.posts] == [str(event.id) for event in events[1:]]
    statuses = [message.status for message in system.messages(caller, created.id)]
    assert statuses == ["delivered", "delivered", "discarded"]


def test_who_enables_while_an_event_comes_in_finds_it_to_recover(
    system: System, caller: Identity, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = system.create(caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    add = store.add_messages

    def enable() -> int:
        system.change(caller, created.id, 2, WebhookEndpointChange(status="enabled"))
        return system.recover(caller, created.id, START).messages

    with ThreadPoolExecutor(1) as threads:
        enabling = list[Future[int]]()

        def add_meanwhile(*arguments: Any) -> None:
            if not enabling:
                enabling.append(threads.submit(enable))
                wait_for_a_lock(admin, enabling[0])
            add(*arguments)

        monkeypatch.setattr(store, "add_messages", add_meanwhile)
        system.fan_out(matched(caller))
        assert enabling[0].result(PATIENCE) == 1


def test_an_endpoint_that_is_enabled_before_the_event_is_in_is_sent_it(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = system.create(caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    with ThreadPoolExecutor(1) as threads:
        with system.database.session(caller.partner_id) as db, db.transaction():
            outcome = service.change(
                db, system.keyring, caller, created.id, 2, WebhookEndpointChange(status="enabled"), NO_HOSTS
            )
            outbox.commit(db, outcome.change)
            fanned_out = threads.submit(system.fan_out, matched(caller))
            wait_for_a_lock(admin, fanned_out)
        fanned_out.result(PATIENCE)
    system.attempt(system.queue.take())
    assert system.message(caller, created.id).status == "delivered"
