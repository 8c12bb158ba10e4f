"""Who stands around a partner, and what the tests look at behind the interface."""

from collections.abc import Iterator

import pytest
from pg8000.native import Connection

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE
from tests.journeys.partners import Partner, active_partner


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
