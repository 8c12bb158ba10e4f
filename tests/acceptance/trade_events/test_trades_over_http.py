"""A deal over HTTP: every function wired, from the offer to the account that is paid to."""

from datetime import timedelta
from typing import Any

from pg8000.native import Connection

from kapas.values import ids
from local_cloud.client import Client
from tests.journeys.partners import Partner, active_partner
from tests.unit.trade_events.deal_desk import BALES, CANDY


def take(who: Partner, trade: dict[str, Any], step: str, *, expect: int = 201, **fields: Any) -> dict[str, Any]:
    body = {"step": {"type": step, "expected_version": trade["version"], **fields}}
    return who.owner.post(f"/v1/trades/{trade['id']}/steps", body, expect=expect).body


def test_a_deal_from_the_offer_to_the_bank_account(client: Client, sql: Connection) -> None:
    seller, buyer = active_partner(client), active_partner(client)
    offer = {"lot": BALES, "ask": CANDY, "template": "ex_gin_passing", "valid_until": "2099-01-01T00:00:00Z"}
    refused = seller.owner.post("/v1/trades", offer, expect=422).body
    assert (refused["against"], refused["errors"][0]["pointer"]) == ("the clock", "/valid_until")
    now = sql.run("SELECT max(updated_at) FROM partners")[0][0]
    offer["valid_until"] = (now + timedelta(days=7)).isoformat()
    trade = seller.owner.post("/v1/trades", offer, expect=201).body
    bid = take(buyer, trade, "bid", price=CANDY, valid_until=(now + timedelta(days=1)).isoformat())
    assert (bid["status"], bid["next"][0]["step"]) == ("negotiating", "accept")
    matched = take(seller, bid, "accept", to=2)
    contracted = take(buyer, matched, "sign")
    assert (contracted["status"], contracted["tax"]["kind"]) == ("contracted", "within_state")
    problem = take(buyer, matched, "raise_claim", kind="other", expect=409)
    assert problem["version"] == 5
    assert {"step": "pay", "who": "buyer"} in problem["possible"]
    slip = {"at": "gin", "bridge": "B1", "serial": "S1", "gross_kg": 24400.5, "tare_kg": "8000", "bales": 100}
    batch = {
        "device_id": "device-0001",
        "steps": [
            {"event_id": str(ids.uuid7()), "step": {"type": "weigh", "slip": slip}},
            {"event_id": str(ids.uuid7()), "step": {"type": "weigh"}},
        ],
    }
    synced = seller.owner.post(f"/v1/trades/{trade['id']}/steps:batch", batch, expect=200).body
    assert [one["outcome"] for one in synced["outcomes"]] == ["recorded", "refused"]
    assert synced["outcomes"][1]["problem"]["errors"][0]["pointer"] == "/steps/1/step/slip"
    [other] = buyer.owner.get(f"/v1/trades/{trade['id']}/parties").body["data"]
    assert other["legal_name"] == seller.body["legal_name"]
    assert other["bank_account"]["number"] == seller.body["bank_account"]["number"]
    assert seller.owner.get("/v1/trade-terms").body["templates"][0]["name"] == "kapas_spot"
    assert buyer.owner.get(f"/v1/trades/{trade['id']}/settlement").body["papers"] == []
    buyer.owner.settle()
    trail = sql.run("SELECT source, data->>'fields' FROM audit_log WHERE type = 'audit.data_accessed.v1'")
    assert any(source == "/trade_events" and "bank_account" in fields for source, fields in trail)
    timeline = buyer.owner.get(f"/v1/trades/{trade['id']}/events").body["data"]
    assert [event["type"].split(".")[1] for event in timeline][:2] == ["offered", "bid_placed"]
    client.post("/_local/clock", {"advance": "P40D"})
    operations = client.as_user("operations", None, "ops")
    operations.settle()
    after = operations.get(f"/v1/trades/{trade['id']}").body
    assert after["version"] > synced["trade"]["version"]
    assert all(step["due_at"] for step in after["next"]) and (after["next"] or after["end"])
