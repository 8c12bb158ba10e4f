"""The edges of every type, sent to every parameter and to every scalar of a request: refused or taken, never a failure."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from local_cloud.client import ANY, Client
from tests.contract.request_scalars import OPERATIONS, of_bodies, of_queries
from tests.journeys.partners import ASK, Partner, active_partner, bid, lot, offer, registration
from tools.docs.apps import Operation

INTEGERS = [0, -1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, True]
TIMES = [
    "0001-01-01T00:00:00+14:00",
    "1900-01-01T00:00:00Z",
    "2199-12-31T23:59:59-12:00",
    "2200-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30T00:00:00Z",
    "2026-11-24T24:00:00Z",
    "2016-12-31T23:59:60Z",
    "253402300800",
]
TEXTS = ["", " ", "\ud800", "a\0b", "\u202e", "a" * 5000, "%00", "'; --", "{}", "AAAAAAAAAAAAAAAAAAAAAA", "१२३"]
NUMBERS = ["1e30", "-0", "0.0000001", "NaN", "1" * 40, 10**29]
EDGES: list[Any] = [None, [], {}, *INTEGERS, *TIMES, *TEXTS, *NUMBERS]

BODIES: dict[str, dict[str, Any]] = {
    "append_event": bid(1),
    "begin_sweep": {"dry_run": True, "as_of": "2026-11-24T06:30:00Z", "policies": ["audit"], "limit": 1},
    "create_endpoint": {"url": "https://erp.example.com/hooks", "event_types": ["*"]},
    "offer_lot": {"lot": lot(), "ask": ASK, "expires_at": "2026-12-24T06:30:00Z"},
    "place_hold": {"subject_id": str(uuid4()), "reason": "a dispute"},
    "register": registration(),
    "request_grading": {"kind": "lab", "figures": {"micronaire": "3.9", "rd": 75, "leaf_grade": 3}},
}
"""Requests that would be taken, or would but for what they name; every scalar of each is replaced by each edge."""


@pytest.fixture
def callers(partner: Partner, operations: Client, officer: Client) -> list[Client]:
    return [partner.owner, operations, officer]


def url(operation: Operation, **query: str) -> str:
    """Of something that is not there."""
    path = re.sub("{[^}]+}", str(uuid4()), operation.path)
    return path + "".join(f"?{name}={quote(text)}" for name, text in query.items())


def test_parameters_of_queries(callers: list[Client]) -> None:
    by_name = {operation.name: operation for operation in OPERATIONS}
    texts = [str(edge) for edge in (*INTEGERS, *TIMES, *NUMBERS)] + [text for text in TEXTS if text.isprintable()]
    for scalar in of_queries():
        operation = by_name[scalar.operation]
        for text in [*texts, "a\0b"]:
            for caller in callers:
                answer = caller.call(operation.method, url(operation, **{scalar.pointer[1:]: text}), expect=ANY)
                assert answer.status < 500, (str(scalar), text, answer.body)


def test_parameters_of_paths(callers: list[Client]) -> None:
    for operation in OPERATIONS:
        if operation.method == "GET" and "{" in operation.path:
            for text in [str(edge) for edge in (*INTEGERS, *TEXTS) if edge != "\ud800"]:
                path = re.sub("{[^}]+}", lambda _, text=text: quote(text, safe=""), operation.path)
                assert callers[0].call("GET", path, expect=ANY).status < 500, path


def replaced(body: Any, edge: Any) -> Iterator[Any]:
    """Every document that is `body` with one scalar replaced by `edge`."""
    if isinstance(body, dict):
        for name, member in body.items():
            for one in replaced(member, edge):
                yield {**body, name: one}
    elif isinstance(body, list):
        for number, item in enumerate(body):
            for one in replaced(item, edge):
                yield [*body[:number], one, *body[number + 1 :]]
    else:
        yield edge


@pytest.mark.parametrize("name", BODIES)
def test_scalars_of_bodies(callers: list[Client], name: str) -> None:
    operation = next(one for one in OPERATIONS if one.name == name)
    caller = {"begin_sweep": callers[1], "place_hold": callers[2]}.get(name, callers[0])
    if name == "register":
        caller = caller.as_user("new", uuid4(), "owner")
    path = url(operation)
    if name == "append_event":
        path = f"/v1/trades/{offer(active_partner(callers[1]))['id']}/events"
    for edge in EDGES:
        for body in replaced(BODIES[name], edge):
            answer = caller.post(path, body, expect=ANY)
            assert answer.status < 500, (body, answer.body)


def test_every_scalar_alone(callers: list[Client]) -> None:
    """What no valid request above has: the rest of the document is missing."""
    by_name = {operation.name: operation for operation in OPERATIONS}
    for scalar in of_bodies():
        operation = by_name[scalar.operation]
        for edge in (2**63, "9999-12-31T23:59:59-14:00", "\ud800", "1e999999999"):
            headers = {"Idempotency-Key": str(uuid4()), "If-Match": '"1"'}
            answer = callers[0].call(operation.method, url(operation), scalar.place(edge), headers=headers, expect=ANY)
            assert answer.status < 500, (str(scalar), edge, answer.body)


@pytest.mark.parametrize("sub", ["a\0b", "\ud800", "a" * 256, "\n"])
def test_a_subject_that_cannot_be_stored(client: Client, partner: Partner, sub: str) -> None:
    stranger = client.as_user(sub, partner.id, "owner")
    assert stranger.call("GET", "/v1/trades", expect=ANY).status == 401
    assert stranger.post("/v1/webhook-endpoints", {}, expect=ANY).status == 401
