"""Publishing through Google's client: it answers within its bound and hands back what was not taken."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable

from functions.outbox_relay import service
from kapas.platform.db import PLATFORM, Database
from kapas.platform.db.connect import STATEMENT_TIMEOUT
from kapas.platform.gcp import pubsub
from kapas.platform.ports import Message
from kapas.values import ids
from tests.times import PATIENCE

MESSAGES = [Message(f"topic-{n % 2}", b"{}", {"type": "lot"}, f"key-{n % 5}") for n in range(50)]


def test_it_is_given_up_before_postgresql_ends_the_transaction() -> None:
    assert pubsub.REQUEST_BOUND < pubsub.PUBLISH_BOUND < 2 * STATEMENT_TIMEOUT / 1000


def bus_on(port: int, monkeypatch: pytest.MonkeyPatch) -> pubsub.PubSub:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
    return pubsub.PubSub("kapas-local")


def test_what_a_dead_pubsub_did_not_take_comes_back_and_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    bus = bus_on(port, monkeypatch)
    for _ in range(2):  # no key stays refused
        outcomes = bus.publish(MESSAGES)
        assert len(outcomes) == len(MESSAGES)
        assert {type(outcomes[n]) for n in range(5)} == {ServiceUnavailable}
        assert all(outcomes)


@pytest.mark.parametrize(("request_bound", "publish_bound"), [(0.2, 10 * PATIENCE), (10 * PATIENCE, 0.3)])
def test_a_silent_pubsub_is_given_up(
    monkeypatch: pytest.MonkeyPatch, request_bound: float, publish_bound: float
) -> None:
    monkeypatch.setattr(pubsub, "REQUEST_BOUND", request_bound)
    monkeypatch.setattr(pubsub, "PUBLISH_BOUND", publish_bound)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        bus, before = bus_on(listener.getsockname()[1], monkeypatch), time.monotonic()
        assert all(bus.publish(MESSAGES))
        assert time.monotonic() - before < PATIENCE  # by the shorter bound, not by the longer


def test_what_was_taken_is_marked_whatever_became_of_another_topic(
    open_as: Callable[..., Database], capsys: pytest.CaptureFixture[str]
) -> None:
    class Bus:
        def publish(self, messages: Sequence[Message]) -> Sequence[Exception | None]:
            return [None if message.topic == "trade-events" else ServiceUnavailable("away") for message in messages]

    write: dict[str, Any] = {"at": datetime(2026, 11, 24, tzinfo=UTC)}
    with open_as("postgres").session(PLATFORM) as db:
        for topic in ("partner-events", "trade-events"):
            db.run(
                """INSERT INTO outbox (event_id, topic, source, type, subject, sequence, data, partner_ids, occurred_at)
                   VALUES (:id, :topic, '/x', 'x.y.v1', :subject, 1, '{}', '{}', :at)""",
                id=ids.uuid7(), topic=topic, subject=ids.uuid7(), **write,
            )  # fmt: skip
    with pytest.raises(service.PublishFailed):
        service.drain(open_as("outbox_relay"), Bus())
    with open_as("postgres").session(PLATFORM) as db:
        assert db.run("SELECT topic, published_at IS NOT NULL FROM outbox ORDER BY topic") == [
            ["partner-events", False],
            ["trade-events", True],
        ]
    told = json.loads(capsys.readouterr().out)
    assert (told["published"], told["failed"], told["exception"]) == (1, 1, "ServiceUnavailable")
