"""What the platform's staff sees of a partner over HTTP before it decides: what the checks found, and who may read it."""

from collections.abc import Iterator
from typing import Any

import pytest
from pg8000.native import Connection

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.providers import Behaviour
from tests.journeys.partners import Partner, register, submit


@pytest.fixture(autouse=True)
def honest(cloud: LocalCloud) -> Iterator[None]:
    """Providers that a test made behave otherwise are honest again after it."""
    yield
    for name in ("bank-verification", "screening"):
        cloud.providers.behave(name)


def path(partner: Partner, rest: str = "") -> str:
    return f"/v1/partners/{partner.id}{rest}"


def listed(cloud: LocalCloud, client: Client) -> Partner:
    """A partner under review, of whose name there is somebody on the screening list."""
    partner, _ = register(client)
    cloud.providers.behave("screening", Behaviour("mismatch", about=partner.body["legal_name"]))
    cloud.providers.behave("bank-verification", Behaviour("near", name=f"{partner.body['legal_name']} X"))
    submit(partner)
    return partner


def evidence(reader: Client, partner: Partner) -> dict[str, Any]:
    return {check["kind"]: check["evidence"] for check in reader.get(path(partner, "/review")).body["checks"]}


def audited(sql: Connection, partner: Partner) -> list[str]:
    """The fields that the last access to the partner named."""
    rows = sql.run(
        "SELECT data FROM outbox WHERE type = 'audit.data_accessed.v1' AND :id = ANY (partner_ids) ORDER BY event_id",
        id=partner.id,
    )
    return rows[-1][0]["fields"]


@pytest.mark.parametrize("role", ["ops", "dpo"])
def test_who_decides_sees_what_the_checks_found(cloud: LocalCloud, client: Client, sql: Connection, role: str) -> None:
    partner = listed(cloud, client)
    found = evidence(client.as_user(role, None, role), partner)
    name = partner.body["legal_name"]
    assert found["screening"]["hits"] == [{"name": name, "score": 0.97, "features": {"name": 0.97}}]
    assert found["screening"]["list_version"].isdigit()
    assert (found["bank_account"]["status"], found["bank_account"]["registered_name"]) == ("credited", f"{name} X")
    assert (found["gst_registry"]["status"], found["gst_registry"]["registered_name"]) == ("Active", name.upper())
    fields = [f"checks.{kind}.evidence" for kind in ("bank_account", "gst_registry", "screening")]
    assert audited(sql, partner) == ["checks", "risk", *fields]


def test_an_inspector_sees_that_there_is_something_and_not_what(
    cloud: LocalCloud, client: Client, sql: Connection
) -> None:
    partner = listed(cloud, client)
    assert set(evidence(client.as_user("inspector", None, "inspector"), partner).values()) == {None}
    assert audited(sql, partner) == ["checks", "risk"]


def test_the_partner_sees_nothing_of_it(cloud: LocalCloud, client: Client) -> None:
    partner = listed(cloud, client)
    for role in ("owner", "member", "viewer"):
        client.as_user(role, partner.id, role).get(path(partner, "/review"), expect=403)


def test_what_is_under_way_or_never_came_has_no_evidence(
    cloud: LocalCloud, client: Client, sql: Connection, operations: Client
) -> None:
    partner, _ = register(client)
    assert evidence(operations, partner) == {}
    assert audited(sql, partner) == ["checks", "risk"]
    cloud.providers.behave("screening", Behaviour("missing"))
    partner.owner.post(path(partner, "/submit"), if_match='"1"', expect=200)
    client.settle()
    assert evidence(operations, partner)["screening"] is None
