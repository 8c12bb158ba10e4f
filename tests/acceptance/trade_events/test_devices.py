"""What a device kept while it was offline, corrections, and readings of gradings."""

import json
from typing import Any
from uuid import uuid4

import pytest
from google.cloud import pubsub_v1

from kapas.messaging import events
from kapas.values import clock, ids
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from tests.journeys.deals import Deal, deal, lot
from tests.journeys.gradings import lab
from tests.journeys.partners import Partner
from tests.times import PATIENCE


@pytest.fixture
def sold(client: Client, seller: Partner, buyer: Partner) -> Deal:
    return deal(client, seller, buyer, lot=lot(10))


def slip(net: int, **changes: Any) -> dict[str, Any]:
    read = {"serial": f"D{net}", "gross_kg": str(8000 + net), "tare_kg": "8000", "bales": 10}
    return {"type": "weigh", "slip": {"at": "gin", "bridge": "B1", **read, **changes}}


def test_a_device_syncs_what_it_kept_and_syncs_it_again(client: Client, sold: Deal) -> None:
    kept_at = sold.timeline()[-1]["recorded_at"]
    sold.wait(hours=6)
    steps = [
        slip(1645) | {"occurred_at": kept_at},
        {"type": "offer_lots", "expected_version": 1, "lots": [{"no": "L1", "bales": 10}]},
        slip(1645, bridge="B2", gross_kg="18"),
        slip(1645, bridge="B2"),
    ]
    event_ids = [str(uuid4()) for _ in steps]
    items = [{"event_id": event_id, "step": step} for event_id, step in zip(event_ids, steps, strict=True)]
    batch, path, key = (
        {"device_id": "ginners-scale-1", "steps": items},
        f"/v1/trades/{sold.trade_id}/steps:batch",
        "k" * 20,
    )
    user = sold.user("seller")
    first = user.post(path, batch, key=key, expect=200)
    outcomes = first.body["outcomes"]
    assert [one["outcome"] for one in outcomes] == ["recorded", "refused", "refused", "recorded"]
    assert outcomes[1]["problem"]["code"] == "version-conflict"
    [error] = outcomes[2]["problem"]["errors"]
    assert error["pointer"] == "/steps/2/step/slip"
    assert "tare" in error["message"]
    assert first.body["trade"]["lifts"][0]["weight"]["state"] == "agreed"
    assert user.post(path, batch, key=key, expect=200).body == first.body
    again = user.post(path, batch, expect=200).body  # the answer was lost, and its key with it
    assert [one["outcome"] for one in again["outcomes"]] == ["duplicate", "refused", "refused", "duplicate"]
    assert [one["sequence"] for one in again["outcomes"]] == [6, None, None, 7]
    weighed = sold.timeline()[5]
    assert (weighed["occurred_at"], weighed["recorded_at"] > kept_at) == (kept_at, True)
    assert weighed["client"] == {"device_id": "ginners-scale-1", "event_id": event_ids[0]}


def test_a_correction_stands_beside_what_it_corrects(sold: Deal) -> None:
    sold.weigh_twice("1645", 10)
    fixed = {"reason": "incorrect_data", "replacement": slip(1640, bridge="B2")}
    sold.take("buyer", "correct", corrects=7, **fixed, expect=403)
    sold.take("seller", "correct", corrects=2, **fixed, expect=422)
    sold.take("seller", "correct", corrects=7, **fixed)
    assert sold.types()[-2:] == ["corrected", "weighed"]
    assert [one["slip"]["gross_kg"] for one in sold.lift()["slips"]] == ["9645", "9640"]
    assert sold.lift()["weight"]["kg"] == "1637.5"


@pytest.mark.parametrize("occurred_at", ["1999-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-11-24"])
def test_a_step_says_when_it_happened_within_what_can_be(sold: Deal, occurred_at: str) -> None:
    refused = sold.weigh("seller", "1645", bales=10)  # without a time it is now
    assert refused.status == 201
    step = slip(1645) | {"occurred_at": occurred_at}
    answer = sold.user("seller").post(f"/v1/trades/{sold.trade_id}/steps", {"step": step}, expect=422)
    assert [error["pointer"] for error in answer.body["errors"]] == ["/step/occurred_at"]


def test_an_invoice_number_is_given_once_in_a_financial_year(client: Client, seller: Partner, buyer: Partner) -> None:
    for expect, number in ((201, "KP/1"), (409, "kp/1")):
        sold = deal(client, seller, buyer, lot=lot(10))
        sold.weigh_twice("1645", 10)
        papers = {"kind": "tax_invoice", "lift": 1}
        answer = sold.take("seller", "record_document", number=number, **papers, expect=expect)
    assert "financial year" in answer.body["detail"]
    sold.take("seller", "record_document", number="KP/2", **papers)


def test_a_grading_is_the_reading_of_who_ordered_it_once(cloud: LocalCloud, client: Client, sold: Deal) -> None:
    client.post("/_local/faults", {"edge": "push", "kind": "duplicate", "match": "trade-quality", "times": 2})
    grading_id = ids.uuid7()
    data = {
        "grading_id": str(grading_id),
        "partner_id": str(sold.buyer.id),
        "kind": "lab",
        "trade_id": sold.trade_id,
        "result": {"measured": [{"axis": "rd", "value": "76.5"}], "platform_grade": {"grade": "B"}},
    }
    message = events.encode(
        id=str(ids.uuid7()),
        type="grading.completed.v1",
        source="/grading_requests",
        subject=str(grading_id),
        sequence=1,
        time=clock.rfc3339(clock.now()),
        data=json.dumps(data),
        partner_ids=str(sold.buyer.id),
        traceparent=None,
    )
    publisher = pubsub_v1.PublisherClient()
    for _ in range(2):
        publisher.publish("projects/kapas-local/topics/quality-events", message).result(PATIENCE)
    cloud.driver.settle()
    trade = sold.trade()
    assert trade["version"] == 6
    [reading] = trade["lifts"][0]["readings"]
    assert (reading["by"], reading["figures"]["rd"]) == ("buyer", "76.5")


def test_a_grading_of_a_party_decides_nothing_by_itself(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, lot=lot(10), differs={"quality": {"table": "MCX-2021-11"}})
    sold.take("inspector", "sample", samples=1)
    seller.owner.post("/v1/gradings", {**lab(rd=78.4), "trade_id": sold.trade_id}, expect=201)
    client.settle()
    [reading] = sold.lift()["readings"]
    assert (reading["by"], reading["laboratory"]) == ("seller", "laboratory")
    answer = sold.open("answer_reading", "1")
    assert (answer["who"], answer["what_happens_then"]) == ("buyer", "An inspector reads again")
    sold.take("seller", "answer_reading", answer="accepted", expect=409)
    sold.take("buyer", "answer_reading", answer="contested")
    assert sold.open("test", "1")["who"] == "inspector"
    sold.take("inspector", "test", figures={"rd": "76"})
    assert not sold.is_open("test")
