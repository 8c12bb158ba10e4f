"""A lot's quality over HTTP: what a party's own grading decides, what it only claims, and who decides then."""

from typing import Any

import pytest
from pg8000.native import Connection

from local_cloud.client import Client
from tests.journeys.gradings import HVI
from tests.journeys.partners import Deal, Partner, active_partner, bales, deal, invoice, offer

GOOD: dict[str, Any] = HVI
BAD: dict[str, Any] = HVI | {"rd": 60.0, "micronaire": 2.9}


@pytest.fixture
def seller(client: Client) -> Partner:
    return active_partner(client)


@pytest.fixture
def buyer(client: Client) -> Partner:
    return active_partner(client, type="spinning_mill")


@pytest.fixture
def contract(client: Client, seller: Partner, buyer: Partner) -> Deal:
    return deal(client, seller, buyer)


@pytest.fixture
def sampled(contract: Deal) -> Deal:
    contract.take("inspector", "sample_drawn", samples=1)
    return contract


def graded(client: Client, partner: Partner, trade: Deal, figures: dict[str, Any]) -> dict[str, Any]:
    """The trade, when what the partner had graded for it has had its effect."""
    body = {"kind": "lab", "figures": figures, "trade_id": trade.trade_id}
    before = trade.trade()["version"]
    partner.owner.post("/v1/gradings", body, expect=201)
    client.settle()
    after = trade.trade()
    assert after["version"] > before, "the grading had no effect"
    return after


def last(trade: Deal) -> dict[str, Any]:
    return trade.timeline()[-1]


# What a party says against itself decides, what it says for itself is a claim


@pytest.mark.parametrize(
    ("side", "figures", "status"),
    [
        ("seller", GOOD, "SAMPLED"),
        ("seller", BAD, "QUALITY_FAILED"),
        ("buyer", GOOD, "QUALITY_PASSED"),
        ("buyer", BAD, "SAMPLED"),
    ],
)
def test_a_partys_own_grading_decides_only_against_it(
    client: Client, sampled: Deal, side: str, figures: dict[str, Any], status: str
) -> None:
    assert graded(client, getattr(sampled, side), sampled, figures)["status"] == status
    step = last(sampled)
    if status == "SAMPLED":
        assert (step["type"], step["party"]) == ("quality_claimed", side)
        assert step["data"]["verdict"] == ("passed" if figures is GOOD else "failed")
        assert step["data"]["figures"]["rd"] == str(figures["rd"])
    else:
        assert (step["type"], step["party"]) == (status.lower(), "system")


def test_a_buyer_is_not_free_by_figures_of_its_own(client: Client, sampled: Deal) -> None:
    graded(client, sampled.buyer, sampled, BAD)
    sampled.take("buyer", "lot_rejected", expect=409)
    sampled.take("buyer", "failure_accepted", expect=403)
    sampled.take("buyer", "quality_accepted", expect=409)
    assert sampled.take("seller", "failure_accepted").body["status"] == "QUALITY_FAILED"
    assert sampled.take("buyer", "lot_rejected").body["status"] == "CANCELLED"


def test_both_parties_read_why_a_trade_waits(client: Client, sampled: Deal) -> None:
    graded(client, sampled.seller, sampled, GOOD)
    path = f"/v1/trades/{sampled.trade_id}/events"
    seen = [partner.owner.get(path).body["data"][-1] for partner in (sampled.seller, sampled.buyer)]
    assert seen[0] == seen[1]
    assert seen[0]["data"]["grade"] == "A"
    told = [e for e in client.get("/_local/outbox").body["events"] if e["subject"] == sampled.trade_id][-1]
    assert told["type"] == "trade.quality_claimed.v1"


# A claim is accepted by the other party


def test_a_claim_is_accepted_by_the_other_party_and_its_figures_settle(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    trade = deal(client, seller, buyer, quality_terms="mcx_2021_11")
    trade.take("seller", "bales_weighed", bales=bales())
    trade.take("inspector", "sample_drawn", samples=1)
    trade.take("buyer", "quality_accepted", expect=409)  # nothing is claimed yet
    graded(client, seller, trade, GOOD | {"rd": 78.4})
    graded(client, seller, trade, GOOD)  # its last word counts
    trade.take("seller", "quality_accepted", expect=409)
    assert trade.take("buyer", "quality_accepted").body["status"] == "QUALITY_PASSED"
    assert last(trade)["data"]["figures"]["rd"] == "76.4"
    trade.take("seller", "payment_requested", **invoice(client))
    lines = buyer.owner.get(f"/v1/trades/{trade.trade_id}/settlement").body["lines"]
    assert next(line["description"] for line in lines if line["code"] == "rd").startswith("Rd 76.4")


def test_a_buyers_figures_set_no_price_by_themselves(client: Client, seller: Partner, buyer: Partner) -> None:
    """Where a table makes a price of figures, that the lot passed at lower ones is in the buyer's favour."""
    trade = deal(client, seller, buyer, quality_terms="mcx_2021_11")
    trade.take("inspector", "sample_drawn", samples=1)
    assert graded(client, buyer, trade, GOOD | {"rd": 75.0})["status"] == "SAMPLED"
    assert trade.take("seller", "quality_accepted").body["status"] == "QUALITY_PASSED"
    lines = seller.owner.get(f"/v1/trades/{trade.trade_id}/settlement").body["lines"]
    assert next(line["description"] for line in lines if line["code"] == "rd").startswith("Rd 75.0")


def test_a_claim_about_the_last_sample_is_none_about_the_next(client: Client, sampled: Deal) -> None:
    graded(client, sampled.seller, sampled, GOOD)
    sampled.take("inspector", "quality_failed", grade="D")
    sampled.take("seller", "quality_accepted", expect=403)  # a lot that failed is the buyer's to take
    sampled.take("inspector", "sample_drawn", samples=1)
    sampled.take("buyer", "quality_accepted", expect=409)


# Or an inspector decides


@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_an_inspector_decides_on_a_claim_whose_grading_it_reads(client: Client, sampled: Deal, verdict: str) -> None:
    graded(client, sampled.seller, sampled, GOOD)
    listed = sampled.inspector.get(f"/v1/gradings?trade_id={sampled.trade_id}", expect=200).body["data"]
    assert [one["id"] for one in listed] == [last(sampled)["data"]["grading_id"]]
    read = sampled.inspector.get(f"/v1/gradings/{listed[0]['id']}", expect=200).body
    assert read["result"]["platform_grade"]["grade"] == "A"
    after = sampled.take("inspector", f"quality_{verdict}", grade="B").body
    assert after["status"] == f"QUALITY_{verdict.upper()}"


def test_an_inspector_reads_no_grading_of_no_trade(sampled: Deal) -> None:
    grading = sampled.seller.owner.post("/v1/gradings", {"kind": "lab", "figures": GOOD}, expect=201).body
    sampled.inspector.get(f"/v1/gradings/{grading['id']}", expect=404)
    sampled.inspector.get("/v1/gradings", expect=403)


# Before the sample


def test_a_lot_that_nobody_sampled_is_not_graded(
    client: Client, sql: Connection, seller: Partner, contract: Deal
) -> None:
    body = {"kind": "lab", "figures": GOOD, "trade_id": contract.trade_id}
    for party in (contract.seller, contract.buyer):
        refused = party.owner.post("/v1/gradings", body, expect=409)
        assert refused.body["type"].endswith("/conflict")
        assert "sample" in refused.body["detail"]
    seller.owner.post("/v1/gradings", body | {"trade_id": offer(seller)["id"]}, expect=409)
    told = "SELECT type FROM outbox WHERE type LIKE 'grading.%' AND data->>'trade_id' = :id"
    assert sql.run(told, id=contract.trade_id) == []
    contract.take("inspector", "sample_drawn", samples=1)
    assert graded(client, contract.buyer, contract, GOOD)["status"] == "QUALITY_PASSED"
    assert sql.run(told, id=contract.trade_id) == [["grading.completed.v1"]]
