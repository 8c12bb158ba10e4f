"""Webhook endpoints, and the events fanned out to them, on a real PostgreSQL."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from pg8000.native import Connection
from standardwebhooks import Webhook

from functions.webhook_delivery import resend, service
from functions.webhook_delivery.schemas import (
    MessageQuery,
    WebhookEndpointChange,
    WebhookEndpointCreate,
    WebhookRecover,
    WebhookRotation,
    WebhookTest,
)
from kapas.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed, VersionConflict
from kapas.http.app import Outcome
from kapas.http.identity import Identity, Role, Tier
from kapas.messaging import outbox
from kapas.messaging.events import SequenceGap
from kapas.platform.db import DatabaseFailure, Session
from kapas.schemas.common import PageQuery
from kapas.values import ids
from tests.integration.webhook_delivery.system import NO_HOSTS, START, URL, System, matched

# Endpoints


def test_shows_the_secret_once_and_stores_it_sealed(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller, "trade.matched.v1")
    assert created.secret.startswith("whsec_")
    with system.database.session(caller.partner_id) as db:
        read = service.read(db, caller, created.id)
        [listed] = service.list_page(db, caller, PageQuery()).data
    assert read == listed
    assert read.model_dump() == {name: value for name, value in created.model_dump().items() if name != "secret"}
    [[row]] = admin.run("SELECT e::text FROM webhook_endpoints e")
    [[sealed]] = admin.run("SELECT secret FROM webhook_endpoints")
    assert created.secret not in row
    assert created.secret.encode() not in bytes(sealed)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPS, Role.DPO, Role.INSPECTOR])
def test_only_owners_and_members_manage_webhooks(system: System, caller: Identity, role: Role) -> None:
    created = system.create(caller)
    other = Identity("user-2", caller.partner_id if role.of_partner else None, role, Tier.FREE)
    with system.database.session(caller.partner_id) as db:
        body = WebhookEndpointCreate(url=URL, event_types=["*"])
        for refused in (
            lambda: service.create(db, system.keyring, other, body, NO_HOSTS),
            lambda: service.read(db, other, created.id),
            lambda: service.list_page(db, other, PageQuery()),
            lambda: service.change(
                db, system.keyring, other, created.id, 1, WebhookEndpointChange(status="disabled"), NO_HOSTS
            ),
            lambda: service.delete(db, other, created.id),
            lambda: service.list_messages(db, other, MessageQuery(endpoint_id=created.id)),
            lambda: service.read_message(db, other, created.id),
        ):
            with pytest.raises(Forbidden):
                refused()


def test_refuses_what_cannot_be_an_endpoint(system: System, caller: Identity) -> None:
    with pytest.raises(Invalid) as refused:
        system.create(caller, url="https://169.254.169.254/computeMetadata/v1/")
    assert [error.pointer for error in refused.value.errors] == ["/url"]
    created = system.create(caller)
    with pytest.raises(Invalid):
        system.change(caller, created.id, 1, WebhookEndpointChange(url="http://hooks.example.com/"))
    unregistered = Identity("user-3", ids.uuid7(), Role.OWNER, Tier.FREE)
    with pytest.raises(Conflict, match="Register"):
        system.create(unregistered)
    for _ in range(service.MAX_ENDPOINTS - 1):
        system.create(caller)
    with pytest.raises(Conflict, match="at most"):
        system.create(caller)


def test_changes_what_is_named_at_the_version_that_was_read(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(event_types=["trade.matched.v1"]))
    with system.database.session(caller.partner_id) as db:
        after = service.read(db, caller, created.id)
        assert (after.version, after.url, after.event_types) == (2, URL, ["trade.matched.v1"])
        with pytest.raises(PreconditionFailed):
            service.change(
                db, system.keyring, caller, created.id, 1, WebhookEndpointChange(status="disabled"), NO_HOSTS
            )
        # Somebody else changes it between our reading and our writing.
        ours = service.change(
            db, system.keyring, caller, created.id, 2, WebhookEndpointChange(status="disabled"), NO_HOSTS
        )
        system.change(caller, created.id, 2, WebhookEndpointChange(url="https://hooks.example.com/2"))
        with pytest.raises(VersionConflict):
            outbox.commit(db, ours.change)


def test_a_deleted_endpoint_keeps_its_messages_and_not_its_secret(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.delete(caller, created.id)
    system.attempt(system.queue.take())
    assert system.partner.posts == []
    assert system.message(caller, created.id).status == "discarded"
    with pytest.raises(NotFound):
        system.delete(caller, created.id)
    with system.database.session(caller.partner_id) as db:
        with pytest.raises(NotFound):
            service.read(db, caller, created.id)
        assert service.list_page(db, caller, PageQuery()).data == []
    assert admin.run("SELECT secret FROM webhook_endpoints") == [[None]]
    system.fan_out(matched(caller))
    assert system.queue.tasks == []


def test_another_partner_sees_nothing(system: System, caller: Identity) -> None:
    created = system.create(caller)
    system.fan_out(matched(caller))
    system.attempt(system.queue.take())
    message = system.message(caller, created.id)
    other = system.register()
    with system.database.session(other.partner_id) as db:
        assert service.list_page(db, other, PageQuery()).data == []
        for hidden in (
            lambda: service.list_messages(db, other, MessageQuery(endpoint_id=created.id)),
            lambda: service.read(db, other, created.id),
            lambda: service.read_message(db, other, message.id),
            lambda: service.change(
                db, system.keyring, other, created.id, 1, WebhookEndpointChange(status="disabled"), NO_HOSTS
            ),
            lambda: service.delete(db, other, created.id),
        ):
            with pytest.raises(NotFound):
                hidden()
        for table in ("webhook_endpoints", "webhook_messages", "webhook_attempts"):
            assert db.run(f"SELECT count(*) FROM {table}") == [[0]]
    with system.database.session(None) as db, pytest.raises(DatabaseFailure):
        db.run("DELETE FROM webhook_attempts")


def test_pages_from_the_newest(system: System, caller: Identity) -> None:
    created: list[UUID] = []
    for _ in range(3):
        created.append(system.create(caller).id)
        system.time.advance(seconds=1)
    with system.database.session(caller.partner_id) as db:
        first = service.list_page(db, caller, PageQuery(limit=2))
        rest = service.list_page(db, caller, PageQuery(limit=2, after=first.next))
    assert [endpoint.id for endpoint in [*first.data, *rest.data]] == created[::-1]
    assert (first.has_more, rest.has_more, rest.next) == (True, False, None)


# Erasure


def restrict(admin: Connection, caller: Identity) -> None:
    """Have the caller's erasure asked for."""
    sql = "INSERT INTO restrictions (subject_id, reason, restricted_at) VALUES (:id, 'erasure', :at)"
    admin.run(sql, id=caller.partner_id, at=START)


def asks(system: System, caller: Identity, endpoint_id: UUID, message_id: UUID) -> list[Callable[[Session], Outcome]]:
    """All that begins something."""
    body = WebhookEndpointCreate(url="https://late.example.com/", event_types=["*"])
    return [
        lambda db: service.create(db, system.keyring, caller, body, NO_HOSTS),
        lambda db: service.change(
            db, system.keyring, caller, endpoint_id, 1, WebhookEndpointChange(url=body.url), NO_HOSTS
        ),
        lambda db: service.rotate_secret(db, system.keyring, caller, endpoint_id, WebhookRotation()),
        lambda db: resend.test(db, caller, endpoint_id, WebhookTest()),
        lambda db: resend.redeliver(db, caller, message_id),
        lambda db: resend.recover(db, caller, endpoint_id, WebhookRecover(since=START)),
    ]


def test_who_is_being_erased_starts_nothing_new(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    message = system.test(caller, created.id)
    restrict(admin, caller)
    with system.database.session(caller.partner_id) as db:
        for ask in asks(system, caller, created.id, message.id):
            with pytest.raises(Conflict, match="being erased"):
                ask(db)
    system.delete(caller, created.id)


def test_what_an_erasure_overtook_is_not_written(system: System, caller: Identity, admin: Connection) -> None:
    created = system.create(caller)
    message = system.test(caller, created.id)
    system.queue.tasks = []
    with system.database.session(caller.partner_id) as db:
        held_up = [ask(db) for ask in asks(system, caller, created.id, message.id)]
        restrict(admin, caller)
        for outcome in held_up:
            with pytest.raises(VersionConflict):
                outbox.commit(db, outcome.change)
    assert admin.run("SELECT url, version FROM webhook_endpoints") == [[URL, 1]]
    assert admin.run("SELECT id, earlier_attempts FROM webhook_messages") == [[message.id, 0]]


# Fan-out


def test_delivers_to_whom_it_may_concern(system: System, caller: Identity) -> None:
    other, bystander = system.register(), system.register()
    wanted = [system.create(caller, "trade.matched.v1"), system.create(caller), system.create(other)]
    system.create(caller, "trade.offered.v1")
    system.create(bystander)
    disabled = system.create(caller)
    system.change(caller, disabled.id, 1, WebhookEndpointChange(status="disabled"))
    event = matched(caller, other)
    system.fan_out(event)
    assert {task.queue for task in system.queue.tasks} == {"webhook-attempts"}
    for task in list(system.queue.tasks):
        system.attempt(task)
    secrets = [endpoint.secret for endpoint in wanted]
    assert len(system.partner.posts) == 3
    for url, headers, body in system.partner.posts:
        assert url == URL
        assert headers["User-Agent"] == "Kapas-Webhooks/1"
        assert headers["webhook-timestamp"] == str(int(START.timestamp()))
        signed = [Webhook(secret).sign(headers["webhook-id"], START, body.decode()) for secret in secrets]
        assert headers["webhook-signature"] in signed
        assert json.loads(body) == {
            "id": str(event.id),
            "type": "trade.matched.v1",
            "time": "2026-11-24T06:30:00.000000Z",
            "subject": str(event.subject),
            "sequence": 1,
            "data": event.data,
        }
    assert len({headers["webhook-signature"] for _, headers, _ in system.partner.posts}) == 3
    assert len(set(system.partner.ids)) == 3


def test_a_duplicate_event_adds_nothing(system: System, caller: Identity) -> None:
    created = system.create(caller)
    event = matched(caller)
    for _ in range(2):
        system.fan_out(event)
    assert len(system.messages(caller, created.id)) == 1
    assert len(system.queue.tasks) == 1


def test_two_deliveries_at_once_add_one_message(system: System, caller: Identity) -> None:
    created = system.create(caller)
    event = matched(caller)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(system.fan_out, [event, event]))
    assert len(system.messages(caller, created.id)) == 1


def test_a_gap_is_asked_for_again(system: System, caller: Identity) -> None:
    created = system.create(caller)
    first = matched(caller)
    second = matched(caller, subject=first.subject, sequence=2)
    with pytest.raises(SequenceGap):
        system.fan_out(second)
    assert system.messages(caller, created.id) == []
    system.fan_out(first)
    system.fan_out(second)
    assert [json.loads(message.payload)["sequence"] for message in system.messages(caller, created.id)] in (
        [2, 1],
        [1, 2],
    )


def test_a_body_beyond_the_bound_is_discarded_where_its_partner_sees_it(system: System, caller: Identity) -> None:
    created = system.create(caller)
    event = matched(caller)
    system.fan_out(event.model_copy(update={"data": {"note": "x" * service.MAX_PAYLOAD}}))
    assert system.queue.tasks == []
    assert system.message(caller, created.id).status == "discarded"
    system.fan_out(matched(caller, subject=event.subject, sequence=2))
    assert len(system.queue.tasks) == 1
