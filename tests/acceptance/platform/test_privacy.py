"""Personal identifiers stay where they are encrypted: in no log, event, task, document, URL or dead letter."""

import json
from pathlib import Path

from google.cloud import pubsub_v1
from pg8000.native import Connection

from local_cloud.client import ANY, Client, running
from tests.journeys.deals import contracted
from tests.journeys.partners import active_partner, personal

SEARCHED = """SELECT coalesce(string_agg(t.row, ' '), '') FROM (
  SELECT o::text AS row FROM outbox o UNION ALL SELECT a::text FROM audit_log a UNION ALL SELECT i::text FROM inbox i
  UNION ALL SELECT m::text FROM webhook_messages m UNION ALL SELECT w::text FROM webhook_attempts w
  UNION ALL SELECT e::text FROM webhook_endpoints e UNION ALL SELECT k::text FROM idempotency_keys k
  UNION ALL SELECT p::text FROM partners p UNION ALL SELECT c::text FROM partner_checks c
  UNION ALL SELECT d::text FROM partner_decisions d UNION ALL SELECT t::text FROM trades t
  UNION ALL SELECT x::text FROM trade_events x) AS t (row)"""


def test_no_identifier_leaves_its_column(tmp_path: Path) -> None:
    log = tmp_path / "kapas.platform.log"
    with running(log, "--port", "0", "--folder", str(tmp_path / "data")) as (client, _):
        # Every delivery to the live feed fails until its messages are dead letters.
        client.post("/_local/faults", {"edge": "push", "kind": "fail", "match": "live-feed", "times": 10_000})
        seller, buyer = active_partner(client), active_partner(client)
        url = f"{client.url}/_local/receiver/buyer"
        endpoint = buyer.owner.post("/v1/webhook-endpoints", {"url": url, "event_types": ["*"]}).body
        client.call("PUT", "/_local/receiver/buyer", {"secret": endpoint["secret"]})
        trade = contracted(seller, buyer)
        for party, other in ((seller, buyer), (buyer, seller)):
            [counterparty] = party.owner.get(f"/v1/trades/{trade['id']}/parties").body["data"]
            assert counterparty["legal_name"] == other.body["legal_name"]
        seller.owner.get(f"/v1/partners/{seller.id}")
        pan = seller.body["identifiers"]["pan"]
        for broken in ({**seller.body, "type": pan}, {**seller.body, "surprise": pan}):
            seller.owner.post("/v1/partners", broken, expect=422)
        seller.owner.post("/v1/partners", seller.body, expect=409)
        buyer.owner.get(f"/v1/partners/{pan}", expect=ANY)
        client.post("/_local/clock", {"advance": "PT2H"})

        places = _texts(client, tmp_path)
        values = [*personal(seller.body), *personal(buyer.body)]
        assert "partner.activated.v1" in places["dead letters"]
        for place, text in places.items():
            assert len(text) > 2, place
            for value in values:
                assert value not in text, f"{place} has a personal identifier"


def _texts(client: Client, folder: Path) -> dict[str, str]:
    """Every place that is looked through, by name."""
    endpoints = client.get("/_local/endpoints").body
    port = int(endpoints["DATABASE"].rsplit(":", 1)[1].split("/")[0])
    with Connection("postgres", host="127.0.0.1", port=port, database="kapas") as sql:
        rows = sql.run(SEARCHED)[0][0]
    pending = {view: client.get(f"/_local/{view}").body for view in ("topics", "tasks", "documents", "outbox")}
    return {
        "log": (folder / "kapas.platform.log").read_text(),
        "PostgreSQL's log": "".join(path.read_text() for path in (folder / "data").rglob("*.log")),
        "tables": rows,
        "pending": json.dumps(pending),
        "webhooks": json.dumps(client.get("/_local/receiver/buyer", expect=ANY).body),
        "dead letters": _dead_letters(endpoints["PUBSUB_EMULATOR_HOST"]),
    }


def _dead_letters(host: str) -> str:
    import grpc
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    with grpc.insecure_channel(host) as channel:
        subscriber = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        text = ""
        for topic in ("partner-events", "trade-events"):
            name = f"projects/kapas-local/subscriptions/live-feed.{topic}.dead-letter"
            for received in subscriber.pull(subscription=name, max_messages=100).received_messages:
                text += received.message.data.decode() + str(dict(received.message.attributes))
    return text
