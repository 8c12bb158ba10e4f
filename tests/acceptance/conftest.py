"""Who stands around a partner, and what the tests look at behind the interface."""

from collections.abc import Iterator

import pytest
from pg8000.native import Connection

from tests.journey import Partner, active_partner
from tools.local.client import Client
from tools.local.cloud import LocalCloud
from tools.local.environment import DATABASE


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
