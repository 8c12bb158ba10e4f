"""What partners bring along or ask for: a secret, headers, all messages, figures, an end of what is recovered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pg8000.native import Connection
from pydantic import ValidationError
from standardwebhooks import Webhook

from functions.webhook_delivery import service
from functions.webhook_delivery.schemas import (
    MessageQuery,
    StatsQuery,
    WebhookEndpointChange,
    WebhookEndpointCreate,
    WebhookRecover,
    WebhookRotation,
)
from functions.webhook_delivery.sending import Reply
from kapas.errors import Invalid, NotFound
from kapas.http.identity import Identity
from kapas.messaging import outbox
from tests.integration.webhook_delivery.system import NO_HOSTS, START, URL, System, matched, one_at_a_time

OWN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one_at_a_time(monkeypatch)


def create(system: System, caller: Identity, **body: Any) -> Any:
    wanted = WebhookEndpointCreate.model_validate({"url": URL, "event_types": ["*"], **body})
    with system.database.session(caller.partner_id) as db:
        outcome = service.create(db, system.keyring, caller, wanted, NO_HOSTS)
        outbox.commit(db, outcome.change)
    return outcome.resource


def deliver(system: System, caller: Identity, reply: Reply | None = None) -> dict[str, str]:
    """The headers of one delivery of a new event."""
    system.queue.tasks = []
    system.fan_out(matched(caller))
    system.partner.reply = reply or Reply(200)
    system.attempt(system.queue.take())
    return dict(system.partner.posts[-1][1])


def test_a_secret_that_was_brought_along_signs(system: System, caller: Identity) -> None:
    system.time.now = datetime.now(UTC)  # the package compares with the system's clock
    created = create(system, caller, secret=OWN)
    assert created.secret == OWN
    headers = deliver(system, caller)
    assert Webhook(OWN).verify(system.partner.posts[-1][2], headers)
    other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    with system.database.session(caller.partner_id) as db:
        outcome = service.rotate_secret(db, system.keyring, caller, created.id, WebhookRotation(secret=other))
        outbox.commit(db, outcome.change)
    headers = deliver(system, caller)
    assert Webhook(other).verify(system.partner.posts[-1][2], headers)
    assert Webhook(OWN).verify(system.partner.posts[-1][2], headers)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_QUJD",
        "QUJD" * 8,
        "whsec_" + "QUJD" * 22,
        "whsec_" + "A" * 44,
        "whsec_" + "QUJD" * 8,
        "whsec_" + "?" * 32,
        "whsec_QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJ",
    ],
)
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError, match=r"whsec_|100"):
        WebhookEndpointCreate(url=URL, event_types=["*"], secret=secret)


# Headers


def test_own_headers_go_with_every_delivery_and_are_not_shown(
    system: System, caller: Identity, admin: Connection
) -> None:
    created = create(system, caller, headers={"X-Api-Key": "s3cret", "Authorization": "Bearer a b"})
    assert created.header_names == ["X-Api-Key", "Authorization"]
    headers = deliver(system, caller)
    assert (headers["X-Api-Key"], headers["Authorization"]) == ("s3cret", "Bearer a b")
    assert headers["Content-Type"] == "application/json"
    shown = system.endpoint(caller, created.id)
    assert "s3cret" not in shown.model_dump_json()
    assert "s3cret" not in str(admin.run("SELECT e::text FROM webhook_endpoints e, outbox o"))
    system.rotate(caller, created.id)
    assert deliver(system, caller)["X-Api-Key"] == "s3cret"
    system.change(caller, created.id, 2, WebhookEndpointChange(headers={"X-Other": "1"}))
    headers = deliver(system, caller)
    assert "X-Api-Key" not in headers
    assert (headers["X-Other"], system.endpoint(caller, created.id).header_names) == ("1", ["X-Other"])
    assert len(headers["webhook-signature"].split()) == 2  # the secrets are as they were
    system.change(caller, created.id, 3, WebhookEndpointChange(event_types=["*"]))
    assert deliver(system, caller)["X-Other"] == "1"
    system.change(caller, created.id, 4, WebhookEndpointChange(headers={}))
    assert "X-Other" not in deliver(system, caller)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "a"},
        {"content-length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "close"},
        {"User-Agent": "x"},
        {"Webhook-Id": "x"},
        {"webhook-signature": "v1,x"},
        {"Proxy-Authorization": "x"},
        {"X-A": "1", "x-a": "2"},
        {"X A": "1"},
        {"X-A:": "1"},
        {"": "1"},
        {"X-A": ""},
        {"X-A": "a\r\nHost: b"},
        {"X-A": "a\nb"},
        {"X-A": "a\tb"},
        {"X-A": "कपास"},
        {"X-A": "x" * 1025},
        {"X" * 65: "1"},
        {f"X-{n}": "1" for n in range(11)},
    ],
)
def test_headers_that_are_ours_or_end_a_line_are_refused(headers: dict[str, str]) -> None:
    for model in (WebhookEndpointCreate, WebhookEndpointChange):
        with pytest.raises(ValidationError):
            model.model_validate({"url": URL, "event_types": ["*"], "headers": headers})


# Messages across endpoints, figures


def test_messages_of_all_endpoints_are_one_list(system: System, caller: Identity) -> None:
    first, second = create(system, caller), create(system, caller)
    stranger = system.register()
    create(system, stranger)
    for _ in range(3):
        system.time.advance(milliseconds=2)
        system.fan_out(matched(caller, stranger))
    system.delete(caller, second.id)
    with system.database.session(caller.partner_id) as db, db.snapshot():
        whole = service.list_messages(db, caller, MessageQuery())
        page = service.list_messages(db, caller, MessageQuery(limit=4))
        rest = service.list_messages(db, caller, MessageQuery(limit=4, after=page.next))
        nothing = service.list_messages(db, caller, MessageQuery(status="exhausted"))
    assert {message.endpoint_id for message in whole.data} == {first.id, second.id}
    assert [message.id for message in whole.data] == sorted((m.id for m in whole.data), reverse=True)
    assert len(whole.data) == 6
    assert page.data + rest.data == whole.data
    assert nothing.data == []


def test_figures_of_an_endpoint(system: System, caller: Identity) -> None:
    created = create(system, caller)
    deliver(system, caller, Reply(200, milliseconds=10))
    deliver(system, caller, Reply(204, milliseconds=30))
    deliver(system, caller, Reply(500, milliseconds=20))
    deliver(system, caller, Reply(None, "timeout", milliseconds=15_000))
    deliver(system, caller, Reply(410, milliseconds=40))
    with system.database.session(caller.partner_id) as db:
        stats = service.stats(db, caller, created.id, StatsQuery(until=START + timedelta(seconds=1)))
        later = service.stats(db, caller, created.id, StatsQuery(until=START))
        with pytest.raises(NotFound):
            service.stats(db, caller, matched(caller).id, StatsQuery())
        for query in (StatsQuery(since=START), StatsQuery(since=START - timedelta(days=32))):
            with pytest.raises(Invalid):
                service.stats(db, caller, created.id, query)
    assert stats.messages.model_dump() == {"pending": 2, "delivered": 2, "exhausted": 0, "discarded": 1}
    assert stats.attempts.model_dump() == {
        "made": 5,
        "failed": 3,
        "timed_out": 1,
        "median_milliseconds": 20,
        "slowest_milliseconds": 40,
    }
    assert (later.messages.delivered, later.attempts.made, later.attempts.median_milliseconds) == (0, 0, None)
    with system.database.session(system.register().partner_id) as db, pytest.raises(NotFound):
        service.stats(db, system.register(), created.id, StatsQuery())


def test_recovers_until_a_time(system: System, caller: Identity) -> None:
    created = create(system, caller)
    system.change(caller, created.id, 1, WebhookEndpointChange(status="disabled"))
    for _ in range(3):
        system.fan_out(matched(caller))
        system.time.advance(hours=1)
    system.change(caller, created.id, 2, WebhookEndpointChange(status="enabled"))
    assert system.recover(caller, created.id, START, START + timedelta(hours=2)).messages == 2
    assert [m.status for m in system.messages(caller, created.id)] == ["discarded", "pending", "pending"]
    assert system.recover(caller, created.id, START).messages == 1
    with pytest.raises(ValidationError, match="later"):
        WebhookRecover(since=START, until=START)
