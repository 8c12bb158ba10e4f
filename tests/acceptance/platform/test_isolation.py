"""A partner cannot read or change another partner's rows: through the API, and in SQL with a function's own role."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from local_cloud.environment import DATABASE
from tests.journeys.deals import CANDY, bid, contracted, offer, take
from tests.journeys.partners import Partner, active_partner


@pytest.fixture
def seller(client: Client) -> Partner:
    return active_partner(client)


@pytest.fixture
def buyer(client: Client) -> Partner:
    return active_partner(client)


@pytest.fixture
def stranger(client: Client) -> Partner:
    return active_partner(client)


@contextmanager
def session(cloud: LocalCloud, role: str, partner_id: object = None) -> Iterator[Connection]:
    """What somebody has who got hold of a function's login, with `app.partner_id` as given."""
    with Connection(role, host="127.0.0.1", port=cloud.postgres.port, database=DATABASE) as connection:
        if partner_id is not None:
            connection.run("SELECT set_config('app.partner_id', :id, false)", id=str(partner_id))
        yield connection


def test_a_trade_is_between_the_two_from_the_match_on(seller: Partner, buyer: Partner, stranger: Partner) -> None:
    trade = contracted(seller, buyer)
    for path in (f"/v1/trades/{trade['id']}", f"/v1/trades/{trade['id']}/events"):
        stranger.owner.get(path, expect=404)
        buyer.owner.get(path)
    listed = stranger.owner.get("/v1/trades?limit=100").body["data"]
    assert trade["id"] not in [other["id"] for other in listed]


def test_a_rival_does_not_see_a_bid(seller: Partner, buyer: Partner, stranger: Partner) -> None:
    trade = offer(seller)
    events = f"/v1/trades/{trade['id']}/events"
    trade = bid(buyer, trade, price={**CANDY, "paise": 60_000_00}).body
    bid(stranger, trade, price={**CANDY, "paise": 60_500_00})
    seen = {p.id: [e["sequence"] for e in p.owner.get(events).body["data"]] for p in (seller, buyer, stranger)}
    assert seen == {seller.id: [1, 2, 3], buyer.id: [2], stranger.id: [3]}


def test_a_buyer_does_not_see_what_was_negotiated_with_others(
    client: Client, seller: Partner, buyer: Partner, stranger: Partner
) -> None:
    """Neither while the lot is open nor once it has bought: what a rival offers for the next lot stays the rival's."""
    trade = offer(seller)
    events = f"/v1/trades/{trade['id']}/events"
    trade = bid(stranger, trade, price={**CANDY, "paise": 61_100_00}).body
    trade = bid(buyer, trade).body
    assert [talk["bidder_id"] for talk in trade["bids"]] == [str(buyer.id)]
    price, until = {**CANDY, "paise": 61_400_00}, trade["valid_until"]
    trade = take(seller, trade, "counter", to=2, price=price, valid_until=until).body
    trade = take(seller, trade, "accept", to=3).body
    trade = take(buyer, trade, "sign").body
    assert str(stranger.id) not in json.dumps(trade)
    seen = {p.id: [e["sequence"] for e in p.owner.get(events).body["data"]] for p in (seller, buyer)}
    assert seen == {seller.id: [1, 2, 3, 4, 5, 6, 7], buyer.id: [1, 3, 5, 6, 7]}
    assert str(stranger.id) not in json.dumps(buyer.owner.get(events).body)
    statements = [p.owner.get(f"/v1/trades/{trade['id']}/settlement").body for p in (seller, buyer)]
    assert statements[0] == statements[1]
    page = buyer.owner.get(f"{events}?limit=2").body
    assert (page["has_more"], page["next"]) == (True, 3)
    assert [e["sequence"] for e in buyer.owner.get(f"{events}?after={page['next']}").body["data"]] == [5, 6, 7]


def test_a_partner_is_seen_by_itself_and_the_platform(client: Client, seller: Partner, stranger: Partner) -> None:
    stranger.owner.get(f"/v1/partners/{seller.id}", expect=404)
    assert [p["id"] for p in stranger.owner.get("/v1/partners").body["data"]] == [str(stranger.id)]
    client.as_user("operations", None, "ops").get(f"/v1/partners/{seller.id}")


def test_a_partner_does_not_activate_another(seller: Partner, stranger: Partner) -> None:
    stranger.owner.post(f"/v1/partners/{seller.id}/activate", if_match='"1"', expect=403)


def test_sql_shows_a_role_only_the_rows_of_its_session(
    cloud: LocalCloud, seller: Partner, buyer: Partner, stranger: Partner
) -> None:
    trade = contracted(seller, buyer)
    count = "SELECT count(*) FROM trades WHERE id = :id"
    for partner_id, rows in ((seller.id, 1), (buyer.id, 1), (stranger.id, 0), ("", 0), (None, 0)):
        with session(cloud, "trade_events", partner_id) as sql:
            assert sql.run(count, id=trade["id"]) == [[rows]]
    with session(cloud, "trade_events", stranger.id) as sql:
        assert sql.run("SELECT count(*) FROM trade_events WHERE trade_id = :id", id=trade["id"]) == [[0]]
        assert sql.run("UPDATE trades SET status = 'negotiating' WHERE id = :id RETURNING id", id=trade["id"]) == []
    with session(cloud, "partner_onboarding", stranger.id) as sql:
        assert sql.run("SELECT id::text FROM partners ORDER BY id") == [[str(stranger.id)]]
    with session(cloud, "partner_onboarding") as sql:
        assert sql.run("SELECT count(*) FROM partners") == [[0]]


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("trade_events", "UPDATE trade_events SET type = 'x'"),
        ("trade_events", "DELETE FROM trade_events"),
        ("trade_events", "DELETE FROM trades"),
        ("trade_events", "UPDATE trades SET seller_id = buyer_id"),
        ("trade_events", "SELECT pan FROM partners"),
        ("trade_events", "UPDATE subject_keys SET wrapped = wrapped"),
        ("trade_events", "SELECT * FROM outbox"),
        ("partner_onboarding", "SELECT * FROM trades"),
        ("partner_onboarding", "DELETE FROM partners"),
        ("outbox_relay", "UPDATE outbox SET data = '{}'"),
        ("outbox_relay", "SELECT * FROM partners"),
        ("audit_trail", "UPDATE audit_log SET type = 'x'"),
        ("audit_trail", "DELETE FROM audit_log"),
        ("webhook_delivery", "SELECT * FROM audit_log"),
    ],
)
def test_a_role_may_do_no_more_than_its_function(cloud: LocalCloud, role: str, statement: str) -> None:
    with session(cloud, role, "*") as sql, pytest.raises(DatabaseError) as refused:
        sql.run(statement)
    assert refused.value.args[0]["C"] == "42501"  # insufficient_privilege
