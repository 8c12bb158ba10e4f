"""Who the other side is: read from the match on, audited, and nowhere else."""

import json
from typing import Any

from pg8000.native import Connection

from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from tests.journeys.deals import Deal, deal, lot, matched, offer
from tests.journeys.partners import Partner, personal
from tests.journeys.webhooks import subscribe


def test_each_side_reads_who_the_other_is(client: Client, seller: Partner, distant_buyer: Partner) -> None:
    buyer = distant_buyer
    lots = offer(seller)
    assert "match" in seller.owner.get(f"/v1/trades/{lots['id']}/parties", expect=409).body["detail"]
    buyer.owner.get(f"/v1/trades/{lots['id']}/parties", expect=404)

    # From the match on: name, GSTIN, address, contact. The account only once there is a contract.
    sold = Deal(client, matched(seller, buyer)["id"], seller, buyer)
    for party, other in (("buyer", seller), ("seller", buyer)):
        found, known = sold.counterparty(party), other.body
        assert (found["partner_id"], found["legal_name"]) == (str(other.id), known["legal_name"])
        assert (found["gstin"], found["state_code"]) == (known["identifiers"]["gstin"], known["address"]["state_code"])
        assert (found["address"]["line"], found["address"]["pin"]) == (
            known["address"]["line"],
            known["address"]["pin"],
        )
        assert found["contact"]["phone"] == known["contact"]["phone"]
        assert found["bank_account"] is None
        assert known["identifiers"]["pan"] not in json.dumps(found).replace(known["identifiers"]["gstin"], "")
    sold.take("buyer", "sign")
    account = sold.counterparty("buyer")["bank_account"]
    assert (account["ifsc"], account["number"]) == ("EXAM0000001", seller.body["bank_account"]["number"])
    assert sold.counterparty("seller")["bank_account"] is None  # who is paid reads no account of the payer


def test_a_farmer_without_a_registration_has_no_gstin(client: Client, farmer: Partner, buyer: Partner) -> None:
    sold = deal(client, farmer, buyer, lot=lot(10))
    found = sold.counterparty("buyer")
    assert (found["gstin"], found["registration_id"], found["legal_name"]) == (None, None, farmer.body["legal_name"])


def test_each_reading_is_in_the_audit_trail(client: Client, sql: Connection, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer)
    sold.counterparty("buyer")
    sold.counterparty("seller")
    client.post("/_local/clock", {"advance": "PT2M"})
    for read, reader, fields in ((seller, buyer, {"bank_account", "gstin"}), (buyer, seller, {"gstin"})):
        trail = sql.run(
            """SELECT data FROM audit_log WHERE source = '/trade_events' AND type = 'audit.data_accessed.v1'
                 AND data->>'partner_id' = :id ORDER BY event_id""",
            id=str(read.id),
        )
        [[data]] = trail
        assert (data["actor"], data["actor_role"]) == (f"owner-{reader.id}", "owner")
        assert set(data["fields"]) - {"legal_name", "contact", "address"} == fields


def test_nothing_of_it_is_in_events_documents_webhooks_or_logs(
    cloud: LocalCloud, client: Client, sql: Connection, seller: Partner, buyer: Partner, capfd: Any
) -> None:
    subscription = subscribe(client, buyer, "*")
    sold = deal(client, seller, buyer)
    for side in ("seller", "buyer"):
        sold.counterparty(side)
    sold.weigh_twice("16450", 100)
    sold.invoice()
    client.post("/_local/clock", {"advance": "PT2M"})
    places = {
        "webhooks": json.dumps(subscription.arrived()),
        "documents": str(cloud.firestore.documents()),
        "events": str(sql.run("SELECT data FROM outbox ORDER BY event_id")),
        "trail": str(sql.run("SELECT data FROM audit_log ORDER BY event_id")),
        "trades": str(sql.run("SELECT state FROM trades ORDER BY id")),
        "steps": str(sql.run("SELECT data FROM trade_events ORDER BY trade_id, sequence")),
        "trade": json.dumps([sold.trade("buyer"), sold.timeline("buyer"), sold.settlement("buyer")]),
        "log": "".join(capfd.readouterr()),
    }
    assert "trade.weighed.v1" in places["webhooks"]
    for place, text in places.items():
        assert len(text) > 2, place
        for value in (*personal(seller.body), *personal(buyer.body)):
            assert value not in text, f"{place} says who a party is"


def test_operations_and_an_erased_party(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer)
    path = f"/v1/trades/{sold.trade_id}/parties"
    both = sold.user("operations").get(path).body["data"]
    assert [one["side"] for one in both] == ["seller", "buyer"]
    assert [one["bank_account"] for one in both] == [None, None]
    seller.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
    client.settle()
    client.post("/_local/clock", {"advance": "PT40M"})
    found = sold.counterparty("buyer")
    assert (found["legal_name"], found["gstin"], found["bank_account"]) == (None, None, None)
    assert (found["partner_id"], found["status"]) == (str(seller.id), "erased")
    assert sold.trade()["seller_status"] == "erased"
