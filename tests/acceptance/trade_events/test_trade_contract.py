"""A contract over HTTP, from the signatures to the settlement and to its other ends."""

import json
from uuid import uuid4

import pytest
from google.cloud import pubsub_v1

from kapas.messaging import events
from kapas.values import clock, ids
from local_cloud.client import Client
from local_cloud.cloud import LocalCloud
from tests.journeys.partners import (
    ASK,
    Deal,
    Partner,
    active_partner,
    bales,
    bid,
    deal,
    invoice,
    invoiced,
    lot,
    offer,
    registration,
    settled,
)
from tests.times import PATIENCE


@pytest.fixture
def seller(client: Client) -> Partner:
    return active_partner(client)


@pytest.fixture
def buyer(client: Client) -> Partner:
    return active_partner(client, type="spinning_mill")


@pytest.fixture
def contract(client: Client, seller: Partner, buyer: Partner) -> Deal:
    return deal(client, seller, buyer)


def test_from_the_contract_to_the_settlement(cloud: LocalCloud, client: Client, contract: Deal) -> None:
    trade = settled(client, contract)
    assert (trade["status"], trade["version"]) == ("SETTLED", 12)
    # 10 bales of 163.5 kg at 61,200 rupees a candy are 2,81,373.38 rupees, and 5 % of that.
    assert trade["payable"] == {"paise": 2_95_442_05, "currency": "INR"}
    statement = contract.buyer.owner.get(f"/v1/trades/{contract.trade_id}/settlement").body
    assert sum(line["paise"] for line in statement["lines"]) == statement["total"]["paise"] == 2_95_442_05
    assert all(line["rule"] and line["source"] for line in statement["lines"])
    pass_time(client, "PT2M")  # the relay's sweep has come, whatever a wake that was asked for meanwhile did
    document = dict(cloud.firestore.documents("trades/"))[f"trades/{contract.trade_id}"]
    assert (document["status"], document["sequence"], document["payable"]) == ("SETTLED", 12, trade["payable"])


def test_a_farmers_cotton_settles_under_reverse_charge(client: Client, buyer: Partner) -> None:
    pan = registration()["identifiers"]["pan"]
    identifiers = {"pan": f"{pan[:3]}P{pan[4:]}"}
    farmer = active_partner(client, type="farmer", constitution="individual", identifiers=identifiers)
    trade = invoiced(client, deal(client, farmer, buyer))
    statement = buyer.owner.get(f"/v1/trades/{trade['id']}/settlement").body
    assert [line["code"] for line in statement["lines"]] == ["cotton"]
    assert statement["liabilities"][0]["payable_paise"] % 100 == 0


def test_both_sides_negotiate(client: Client, seller: Partner, buyer: Partner) -> None:
    rival = active_partner(client)
    trade = offer(seller)
    path = f"/v1/trades/{trade['id']}/events"
    buyer.owner.post(path, bid(1, 60_000_00), expect=201)
    rival.owner.post(path, bid(2, 60_100_00), expect=201)
    counter = {"type": "price_countered", "counters_sequence": 2, "price": {**ASK, "paise": 61_000_00}}
    answer = seller.owner.post(path, {"event": counter | {"expected_version": 3}}, expect=201)
    assert answer.body["status"] == "NEGOTIATING"
    seen = {p.id: [e["sequence"] for e in p.owner.get(path).body["data"]] for p in (seller, buyer, rival)}
    assert seen == {seller.id: [1, 2, 3, 4], buyer.id: [2, 4], rival.id: [3]}
    accept = {"type": "counter_accepted", "counter_sequence": 4, "expected_version": 4}
    rival.owner.post(path, {"event": accept}, expect=422)
    matched = buyer.owner.post(path, {"event": accept}, expect=201).body
    assert (matched["status"], matched["price"]["paise"], matched["signed_by"]) == ("MATCHED", 61_000_00, "buyer")
    assert [e["sequence"] for e in rival.owner.get(path).body["data"]] == [3]
    sign = {"type": "contract_signed", "expected_version": 5}
    assert seller.owner.post(path, {"event": sign}, expect=201).body["status"] == "CONTRACTED"


def test_a_lot_that_fails_is_rejected(contract: Deal) -> None:
    contract.take("inspector", "sample_drawn", samples=1)
    contract.take("inspector", "quality_failed", grade="D")
    contract.take("seller", "lot_rejected", expect=403)
    assert contract.take("buyer", "lot_rejected").body["status"] == "CANCELLED"


def test_a_dispute_goes_to_arbitration_and_ends_with_an_award(client: Client, contract: Deal) -> None:
    invoiced(client, contract)
    contract.take("buyer", "dispute_raised", reason="quantity")
    contract.take("seller", "arbitration_referred", institution="CAI")
    award = {"amount": {"paise": 2_50_000_00}, "award_number": "CAI/2026/17"}
    contract.take("buyer", "dispute_settled", **award, expect=403)
    assert contract.take("operations", "dispute_settled", **award).body["status"] == "SETTLED"
    statement = contract.seller.owner.get(f"/v1/trades/{contract.trade_id}/settlement").body
    assert statement["total"]["paise"] == sum(line["paise"] for line in statement["lines"]) == 2_50_000_00


def test_the_invoice_is_by_the_inspectors_weight(client: Client, contract: Deal) -> None:
    contract.take("seller", "bales_weighed", bales=bales(gross_kg="999"))
    contract.take("inspector", "bales_weighed", bales=bales())
    contract.take("seller", "bales_weighed", bales=bales(), expect=422)
    contract.take("inspector", "sample_drawn", samples=1)
    contract.take("inspector", "quality_passed", grade="B")
    trade = contract.take("seller", "payment_requested", **invoice(client)).body
    assert trade["payable"]["paise"] == 2_95_442_05


def test_a_correction_stands_beside_what_it_corrects(contract: Deal) -> None:
    contract.take("seller", "bales_weighed", bales=bales())
    corrected = {"type": "bales_weighed", "bales": bales(gross_kg="166.400")}
    contract.take("seller", "event_corrected", corrects=5, reason="incorrect_data", replacement=corrected)
    timeline = contract.timeline()
    assert [event["type"] for event in timeline[-2:]] == ["bales_weighed", "event_corrected"]
    assert timeline[-2]["data"]["bales"][0]["gross_kg"] == "165.400"
    statement = contract.buyer.owner.get(f"/v1/trades/{contract.trade_id}/settlement").body
    assert statement["weight"]["gross"] == "1664.000"


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        ({"type": "contract_torn_up"}, "/event"),
        ({"type": "bales_weighed", "bales": []}, "/event/bales"),
        ({"type": "bales_weighed", "bales": bales(1, moisture_pct="12.1")}, "/event/bales/0/moisture_pct"),
        ({"type": "bales_weighed", "bales": bales(1, tare_kg="19", gross_kg="18")}, "/event/bales/0/tare_kg"),
        ({"type": "bales_weighed", "bales": bales(11)}, "/event/bales"),
        ({"type": "bales_weighed", "bales": bales(1), "occurred_at": "2031-01-01T00:00:00Z"}, "/event/occurred_at"),
        ({"type": "bales_weighed", "bales": bales(1), "occurred_at": "2026-11-24"}, "/event/occurred_at"),
    ],
)
def test_a_bad_step_is_told_field_by_field(contract: Deal, event: dict[str, object], pointer: str) -> None:
    answer = contract.seller.owner.post(f"/v1/trades/{contract.trade_id}/events", {"event": event}, expect=422)
    assert pointer in [error["pointer"] for error in answer.body["errors"]]
    assert contract.trade()["version"] == 4


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"invoice_number": "0/-"}, "/event/invoice_number"),
        ({"invoice_number": "-1"}, "/event/invoice_number"),
        ({"supplier_state": "00"}, "/event/supplier_state"),
        ({"place_of_supply": "42"}, "/event/place_of_supply"),
    ],
)
def test_a_bad_invoice_is_told_field_by_field(
    client: Client, contract: Deal, wrong: dict[str, str], pointer: str
) -> None:
    contract.take("seller", "bales_weighed", bales=bales())
    contract.take("inspector", "sample_drawn", samples=1)
    contract.take("inspector", "quality_passed", grade="B")
    answer = contract.take("seller", "payment_requested", **invoice(client) | wrong, expect=422)
    assert [error["pointer"] for error in answer.body["errors"]] == [pointer]


def test_an_invoice_number_is_given_once_in_a_financial_year(client: Client, seller: Partner, buyer: Partner) -> None:
    invoiced(client, deal(client, seller, buyer))
    again = deal(client, seller, buyer)
    again.take("seller", "bales_weighed", bales=bales())
    again.take("inspector", "sample_drawn", samples=1)
    again.take("inspector", "quality_passed", grade="B")
    taken = invoice(client)["invoice_number"].lower()  # numbers are compared without regard to case
    facts = invoice(client) | {"invoice_number": taken}
    refused = again.take("seller", "payment_requested", **facts, expect=409)
    assert "46(b)" in refused.body["detail"]
    event = {"type": "payment_requested", "expected_version": again.trade()["version"], **facts}
    kept = {"device_id": "sellers-phone-1", "events": [{"event_id": str(uuid4()), "event": event}]}
    answer = seller.owner.post(f"/v1/trades/{again.trade_id}/events:batch", kept, expect=200)
    assert answer.body["outcomes"][0]["problem"]["code"] == "conflict"
    again.take("seller", "payment_requested", **facts | {"invoice_number": "KP/26-27/0002"})
    # Another seller counts for itself.
    invoiced(client, deal(client, buyer, seller))


def test_a_price_that_no_sum_can_hold_is_refused(client: Client, seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    path = f"/v1/trades/{trade['id']}/events"
    (error,) = buyer.owner.post(path, bid(1, 2**53 - 1), expect=422).body["errors"]
    assert error["pointer"] == "/event/price/paise"
    buyer.owner.post(path, bid(1), expect=201)
    counter = {"type": "price_countered", "counters_sequence": 2, "expected_version": 2}
    answer = seller.owner.post(path, {"event": counter | {"price": {**ASK, "paise": 2**53 - 1}}}, expect=422)
    assert answer.body["errors"][0]["pointer"] == "/event/price/paise"


def test_a_correction_says_when_it_happened_within_what_can_be(contract: Deal) -> None:
    contract.take("seller", "bales_weighed", bales=bales())
    for occurred_at in ("1999-01-01T00:00:00Z", "2031-01-01T00:00:00Z"):
        replacement = {"type": "bales_weighed", "bales": bales(), "occurred_at": occurred_at}
        facts = {"corrects": 5, "reason": "incorrect_data", "replacement": replacement}
        (error,) = contract.take("seller", "event_corrected", **facts, expect=422).body["errors"]
        assert error["pointer"] == "/event/replacement/occurred_at"


def test_a_batch_says_which_fields_of_a_refused_step_are_wrong(contract: Deal) -> None:
    steps = [{"type": "bales_weighed", "bales": bales(2)}, {"type": "bales_weighed", "bales": wet_in_the_second()}]
    kept = {"device_id": "sellers-scale-1", "events": [{"event_id": str(uuid4()), "event": step} for step in steps]}
    path = f"/v1/trades/{contract.trade_id}/events:batch"
    recorded, refused = contract.seller.owner.post(path, kept, expect=200).body["outcomes"]
    assert (recorded["outcome"], recorded["problem"]) == ("recorded", None)
    (error,) = refused["problem"]["errors"]
    assert error["pointer"] == "/events/1/event/bales/1/moisture_pct"
    assert "dry it" in error["message"]


def wet_in_the_second() -> list[dict[str, str]]:
    return [bale | {"mark": f"Q-{n}", "moisture_pct": ("7.5", "12.1")[n]} for n, bale in enumerate(bales(2))]


def test_an_offer_ends_within_90_days(client: Client, seller: Partner) -> None:
    for expires_at in ("2026-01-01T00:00:00Z", "2031-01-01T00:00:00Z"):
        body = {"lot": lot(), "ask": ASK, "expires_at": expires_at}
        assert seller.owner.post("/v1/trades", body, expect=422).body["errors"][0]["pointer"] == "/expires_at"


def test_trades_are_filtered(seller: Partner, buyer: Partner, contract: Deal) -> None:
    offer(seller)

    def listed(query: str) -> list[str]:
        return [trade["id"] for trade in seller.owner.get(f"/v1/trades?{query}").body["data"]]

    assert listed("party=seller&status=CONTRACTED") == [contract.trade_id]
    assert listed("party=buyer") == []
    assert len(listed("party=seller&variety=Shankar-6&crop_year=2026-27")) == 2
    seller.owner.get("/v1/trades?status=SOLD", expect=422)


def test_a_timeline_is_read_page_by_page(client: Client, contract: Deal) -> None:
    path = f"/v1/trades/{contract.trade_id}/events"
    first = contract.buyer.owner.get(f"{path}?limit=3").body
    assert ([e["sequence"] for e in first["data"]], first["has_more"], first["next"]) == ([1, 2, 3], True, 3)
    rest = contract.buyer.owner.get(f"{path}?limit=3&after={first['next']}").body
    assert ([e["sequence"] for e in rest["data"]], rest["has_more"]) == ([4], False)


# What a device kept


def test_a_device_syncs_what_it_kept_and_syncs_it_again(client: Client, contract: Deal) -> None:
    now = contract.timeline()[-1]["recorded_at"]
    client.post("/_local/clock", {"advance": "PT6H"})
    event_ids = [str(uuid4()) for _ in range(3)]
    kept = [
        {"type": "sample_drawn", "samples": 1, "occurred_at": now},
        {"type": "delivered", "bales": 10},
        {"type": "quality_passed", "grade": "B"},
    ]
    batch = {
        "device_id": "inspector-phone-1",
        "events": [{"event_id": i, "event": e} for i, e in zip(event_ids, kept, strict=True)],
    }
    path, key = f"/v1/trades/{contract.trade_id}/events:batch", str(uuid4())
    inspector = client.as_user("inspector", None, "inspector")
    first = inspector.post(path, batch, key=key, expect=200)
    assert [o["outcome"] for o in first.body["outcomes"]] == ["recorded", "refused", "recorded"]
    assert first.body["outcomes"][1]["problem"]["code"] == "conflict"
    assert first.body["trade"]["status"] == "QUALITY_PASSED"
    assert inspector.post(path, batch, key=key, expect=200).body == first.body
    again = inspector.post(path, batch, expect=200).body  # the answer was lost, and its key with it
    assert [o["outcome"] for o in again["outcomes"]] == ["duplicate", "refused", "duplicate"]
    assert inspector.post(path, batch | {"events": batch["events"][:1]}, key=key, expect=422)
    sampled = client.as_user("operations", None, "ops").get(f"/v1/trades/{contract.trade_id}/events").body["data"][4]
    assert sampled["occurred_at"] == now
    assert sampled["recorded_at"] > now


# Gradings


def test_a_grading_moves_the_trade_once_whatever_happens_to_its_push(
    cloud: LocalCloud, client: Client, contract: Deal
) -> None:
    contract.take("inspector", "sample_drawn", samples=1)
    client.post("/_local/faults", {"edge": "push", "kind": "duplicate", "match": "trade-quality", "times": 2})
    grading_id = ids.uuid7()
    data = {
        "grading_id": str(grading_id),
        "partner_id": str(contract.buyer.id),
        "kind": "lab",
        "trade_id": contract.trade_id,
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
        partner_ids=str(contract.buyer.id),
        traceparent=None,
    )
    publisher = pubsub_v1.PublisherClient()
    for _ in range(2):
        publisher.publish("projects/kapas-local/topics/quality-events", message).result(PATIENCE)
    cloud.driver.settle()
    trade = contract.trade()
    assert (trade["status"], trade["version"]) == ("QUALITY_PASSED", 6)
    decided = contract.timeline()[-1]
    assert (decided["party"], decided["data"]["grading_id"]) == ("system", str(grading_id))


# Deadlines, with the clock moved


def test_an_offer_expires_when_it_said(cloud: LocalCloud, client: Client, seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    cloud.driver.settle()
    pass_time(client, "P7DT1S")
    again = client.as_user("owner", seller.id, "owner")
    assert again.get(f"/v1/trades/{trade['id']}").body["status"] == "EXPIRED"
    document = dict(cloud.firestore.documents("trades/"))[f"trades/{trade['id']}"]
    assert (document["status"], document["open"]) == ("EXPIRED", False)


@pytest.mark.parametrize("kind", ["drop", "duplicate", "lose_answer", "fail"])
def test_whatever_happens_to_the_task_the_offer_expires_once(
    cloud: LocalCloud, client: Client, seller: Partner, kind: str
) -> None:
    trade = offer(seller)
    cloud.driver.settle()
    client.post("/_local/faults", {"edge": "task", "kind": kind, "match": "trade-deadline", "times": 2})
    pass_time(client, "P7DT1S")
    types = [e["type"] for e in client.get("/_local/outbox").body["events"] if e["subject"] == trade["id"]]
    assert types == ["trade.offered.v1", "trade.expired.v1"]


def test_an_offer_whose_task_was_never_made_expires_by_the_sweep(
    cloud: LocalCloud, client: Client, seller: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        scheduler = cloud.functions.module("trade-scheduler")
        broken.setattr(scheduler.deadlines, "_enqueue", lambda *_: None)
        trade = offer(seller)
        cloud.driver.settle()
    pass_time(client, "P7DT1S")
    operations = client.as_user("operations", None, "ops")
    assert operations.get(f"/v1/trades/{trade['id']}").body["status"] == "EXPIRED"


def test_a_payment_due_in_45_days_comes_due(cloud: LocalCloud, client: Client, contract: Deal) -> None:
    """Beyond the 30 days that Cloud Tasks takes."""
    trade = invoiced(client, contract, **invoice(client, days=44))
    cloud.driver.settle()
    pass_time(client, "P44DT1M")
    operations = client.as_user("operations", None, "ops")
    after = operations.get(f"/v1/trades/{trade['id']}").body
    assert (after["status"], after["due_at"]) == ("PAYMENT_PENDING", None)
    timeline = operations.get(f"/v1/trades/{trade['id']}/events").body["data"]
    assert [event["type"] for event in timeline].count("payment_overdue") == 1


def test_a_signature_in_time_leaves_its_deadline_without_effect(
    cloud: LocalCloud, client: Client, contract: Deal
) -> None:
    cloud.driver.settle()
    pass_time(client, "P4D")
    operations = client.as_user("operations", None, "ops")
    trade = operations.get(f"/v1/trades/{contract.trade_id}").body
    assert (trade["status"], trade["version"]) == ("CONTRACTED", 4)


def pass_time(client: Client, duration: str) -> None:
    """Move the clock, and then on past what sweeps by the minute: over long times they run a few times only."""
    for step in (duration, "PT10M"):
        client.post("/_local/clock", {"advance": step})
        client.settle()
