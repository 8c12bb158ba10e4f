"""Who stands around a partner, and what the tests look at behind the interface."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from pg8000.native import Connection

from local_cloud.client import Answer, Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE
from tests.journeys.partners import Partner, active_partner
from tools.docs import output


@cache
def _documented() -> list[tuple[str, re.Pattern[str], frozenset[str]]]:
    """Method, what paths of it look like, and the statuses of each operation."""
    paths: dict[str, Any] = json.loads((output.API / "openapi.json").read_text())["paths"]
    found = [
        (method.upper(), re.compile(re.sub(r"{[^}]+}", "[^/]+", path)), frozenset(operation["responses"]))
        for path, item in paths.items()
        for method, operation in item.items()
    ]
    return sorted(found, key=lambda operation: operation[1].pattern.count("[^/]+"))  # `current` before `{version}`


@pytest.fixture(autouse=True)
def _every_answer_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test asks for: the answer's status is one of those that the OpenAPI document gives the operation."""
    raw = Client.raw

    def checked(client: Client, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        answer = raw(client, method, path, data, headers)
        asked = path.partition("?")[0]
        statuses = next((s for m, pattern, s in _documented() if m == method and pattern.fullmatch(asked)), None)
        assert statuses is None or str(answer.status) in statuses, f"{method} {asked} answered {answer.status}"
        return answer

    monkeypatch.setattr(Client, "raw", checked)


@pytest.fixture
def partner(client: Client) -> Partner:
    """An active one."""
    return active_partner(client)


@pytest.fixture
def operations(client: Client) -> Client:
    return client.as_user("operations", None, "ops")


@pytest.fixture
def officer(client: Client) -> Client:
    """The data protection officer."""
    return client.as_user("officer", None, "dpo")


@pytest.fixture
def sql(cloud: LocalCloud) -> Iterator[Connection]:
    """The database, by a role that sees all of it."""
    with Connection("postgres", host="127.0.0.1", port=cloud.postgres.port, database=DATABASE) as connection:
        yield connection
