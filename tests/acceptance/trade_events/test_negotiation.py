"""From the offer to the contract over HTTP: who may say what, to whom, on which version, and what a repetition does."""

import threading
from typing import Any
from uuid import uuid4

import pytest

from local_cloud.client import ANY, Answer, Client
from tests.journeys.deals import CANDY, bid, contracted, in_days, lot, matched, offer, offering, take
from tests.journeys.partners import Partner, active_partner, register


def price(paise: int) -> dict[str, Any]:
    return {**CANDY, "paise": paise}


def leave(client: Client, partner: Partner, how: str) -> None:
    """It trades no more: its erasure was asked for, or operations suspend it."""
    if how == "erasure":
        partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
        return
    operations, path = client.as_user("operations", None, "ops"), f"/v1/partners/{partner.id}"
    reason = {"reason_code": "under_inquiry"}
    operations.post(f"{path}/suspend", reason, if_match=operations.get(path).etag, expect=200)


def synced(partner: Partner, trade: dict[str, Any], *steps: dict[str, Any]) -> list[dict[str, Any]]:
    """The outcomes of steps that a device kept."""
    kept = [{"event_id": str(uuid4()), "step": step} for step in steps]
    batch = {"device_id": "owners-phone-1", "steps": kept}
    return partner.owner.post(f"/v1/trades/{trade['id']}/steps:batch", batch, expect=200).body["outcomes"]


def test_a_lot_is_offered_bid_for_matched_and_contracted(seller: Partner, buyer: Partner) -> None:
    trade = contracted(seller, buyer)
    assert (trade["status"], trade["version"], trade["buyer_id"]) == ("contracted", 5, str(buyer.id))
    timeline = buyer.owner.get(f"/v1/trades/{trade['id']}/events").body["data"]
    assert [(event["sequence"], event["type"], event["side"]) for event in timeline] == [
        (1, "trade.offered.v1", "seller"),
        (2, "trade.bid_placed.v1", "buyer"),
        (3, "trade.matched.v1", "seller"),
        (4, "trade.signed.v1", "buyer"),
        (5, "trade.contracted.v1", "buyer"),
    ]


def test_templates_say_what_an_offer_starts_from(seller: Partner) -> None:
    found = seller.owner.get("/v1/trade-terms").body
    names = [template["name"] for template in found["templates"]]
    assert names == ["kapas_spot", "ex_gin_passing", "delivered_mill_weight", "cci_auction"]
    assert [table["version"] for table in found["quality_tables"]] == ["NCDEX-2015-01", "MCX-2021-11"]
    assert offer(seller)["terms"] == found["templates"][1]["terms"]


def test_each_counter_is_a_difference_and_both_see_the_terms_side_by_side(seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    wanted = {"delivery": {"period": {"count": 30}}, "payment": {"instalments": PAID_LATER}}
    trade = bid(buyer, trade, price=price(60_000_00), differs=wanted).body
    seen = seller.owner.get(f"/v1/trades/{trade['id']}").body["bids"][0]["differences"]
    assert seen == trade["bids"][0]["differences"]
    assert {one["pointer"]: (one["offer"], one["bid"]) for one in seen}["/delivery/period/count"] == (15, 30)
    until = trade["valid_until"]
    counter = {"to": 2, "price": price(61_000_00), "differs": {"delivery": {"period": {"count": 20}}}}
    trade = take(seller, trade, "counter", **counter, valid_until=until).body
    [word] = trade["bids"]
    assert (word["by"], word["price"]["paise"]) == ("seller", 61_000_00)
    assert [one["pointer"] for one in word["differences"]] == ["/delivery/period/count"]
    take(buyer, trade, "accept", to=2, expect=422)  # answered by the counter
    trade = take(buyer, trade, "accept", to=3).body
    assert (trade["status"], trade["price"]["paise"], trade["signed"]) == ("matched", 61_000_00, ["buyer"])
    assert trade["terms"]["delivery"]["period"]["count"] == 20
    assert take(seller, trade, "sign").body["status"] == "contracted"


PAID_LATER = [{"share_pct": "100", "after": "dispatch", "within": {"count": 30}}]


def test_a_bid_is_withdrawn_or_declined(seller: Partner, buyer: Partner) -> None:
    trade = bid(buyer, offer(seller)).body
    trade = take(buyer, trade, "end_bid").body
    assert trade["status"] == "offered"
    take(seller, trade, "accept", to=2, expect=422)
    trade = bid(buyer, trade).body
    trade = take(seller, trade, "end_bid", bidder_id=str(buyer.id)).body
    assert [talk["open"] for talk in trade["bids"]] == [False]


def test_a_step_needs_the_version_last_read(seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    answer = bid(buyer, trade | {"version": 7}, expect=409)
    assert answer.body["type"].endswith("/version-conflict")
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body == trade


def test_of_bids_at_the_same_version_one_wins(client: Client, seller: Partner) -> None:
    trade = offer(seller)
    bidders, answers = [active_partner(client) for _ in range(4)], list[Answer]()
    threads = [
        threading.Thread(target=lambda bidder=bidder: answers.append(bid(bidder, trade, expect=ANY)))
        for bidder in bidders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body["version"] == 2


def test_each_step_belongs_to_one_party(client: Client, seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    bid(seller, trade, expect=403)
    trade = bid(buyer, trade).body
    take(buyer, trade, "accept", to=2, expect=422)  # its own word
    trade = take(seller, trade, "accept", to=2).body
    take(active_partner(client), trade, "sign", expect=404)
    client.as_user("viewer", buyer.id, "viewer").post(f"/v1/trades/{trade['id']}/steps", SIGN, expect=403)
    take(seller, trade, "sign", expect=409)  # it signed by accepting


SIGN = {"step": {"type": "sign", "expected_version": 3}}


def test_a_step_out_of_turn_is_refused_and_changes_nothing(seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    refused = take(buyer, trade, "sign", expect=409).body
    assert refused["against"] == "negotiation"
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body == trade


def test_a_partner_that_is_not_active_does_not_trade(client: Client) -> None:
    newcomer, _ = register(client)
    newcomer.owner.post("/v1/trades", offering(client), expect=403)


def test_an_ambiguous_unit_is_refused_with_what_to_send(seller: Partner) -> None:
    ask = {"paise": 61_200_00, "unit": "candy"}
    (error,) = seller.owner.post("/v1/trades", offering(seller.owner, ask=ask), expect=422).body["errors"]
    assert "candy_trade" in error["message"]


# Repetitions


def test_a_repeated_request_gets_the_first_answer_and_does_nothing_again(seller: Partner, buyer: Partner) -> None:
    trade, key = offer(seller), str(uuid4())
    path, terms = f"/v1/trades/{trade['id']}/steps", {"price": CANDY, "valid_until": in_days(buyer.owner, 1)}
    body = {"step": {"type": "bid", "expected_version": 1, **terms}}
    first = buyer.owner.post(path, body, key=key, expect=201)
    again = buyer.owner.post(path, body, key=key, expect=201)
    assert again.body == first.body
    assert again.headers["ETag"] == first.headers["ETag"] == '"2"'
    assert again.headers["Idempotent-Replayed"] == "true"
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body["version"] == 2
    # Also when the lot went to another meanwhile.
    rival = active_partner(seller.owner)
    trade = bid(rival, first.body).body
    take(seller, trade, "accept", to=3)
    buyer.owner.get(f"/v1/trades/{trade['id']}", expect=409)
    assert buyer.owner.post(path, body, key=key, expect=201).body == first.body


def test_a_creation_sent_many_times_at_once_happens_once(seller: Partner) -> None:
    key, answers = str(uuid4()), list[Answer]()
    body = offering(seller.owner, lot=lot(station=f"Rajkot {key[:8]}"))
    threads = [
        threading.Thread(target=lambda: answers.append(seller.owner.post("/v1/trades", body, key=key, expect=201)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.body["id"] for answer in answers}) == 1
    assert len(answers) == 6
    trades = seller.owner.get("/v1/trades?limit=100").body["data"]
    assert sum(trade["lot"]["station"] == body["lot"]["station"] for trade in trades) == 1


def test_a_key_with_another_request_is_refused(seller: Partner, buyer: Partner) -> None:
    key, body = str(uuid4()), offering(seller.owner)
    first = seller.owner.post("/v1/trades", body, key=key, expect=201)
    answer = seller.owner.post("/v1/trades", {**body, "lot": lot(50)}, key=key, expect=422)
    assert answer.body["type"].endswith("/idempotency-key-reused")
    # Keys of two callers never meet.
    second = buyer.owner.post("/v1/trades", body, key=key, expect=201)
    assert first.body["id"] != second.body["id"]


# Lists


def test_trades_are_listed_newest_first_page_by_page(seller: Partner) -> None:
    made = [offer(seller)["id"] for _ in range(5)]
    seen, path = list[str](), "/v1/trades?limit=2"
    while True:
        page = seller.owner.get(path).body
        assert len(page["data"]) <= 2
        seen += [trade["id"] for trade in page["data"] if trade["seller_id"] == str(seller.id)]
        if not page["has_more"]:
            break
        path = f"/v1/trades?limit=2&after={page['next']}"
    assert seen == made[::-1]


def test_trades_are_filtered(seller: Partner, buyer: Partner) -> None:
    sold = contracted(seller, buyer)["id"]
    offer(seller, lot=lot(station="Gondal"), template="delivered_mill_weight")

    def listed(query: str) -> list[str]:
        return [trade["id"] for trade in seller.owner.get(f"/v1/trades?{query}").body["data"]]

    assert listed("party=seller&status=contracted") == [sold]
    assert listed("party=buyer") == listed("party=broker") == []
    assert len(listed("party=seller&variety=Shankar-6&crop_year=2026-27")) == 2
    assert len(listed("party=seller&template=delivered_mill_weight&station=Gondal")) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=%21%21", "colour=red", "status=SOLD"])
def test_a_bad_query_is_refused(seller: Partner, query: str) -> None:
    answer = seller.owner.get(f"/v1/trades?{query}", expect=422)
    assert answer.body["errors"][0]["pointer"].startswith("query:")


def test_a_timeline_is_read_page_by_page(seller: Partner, buyer: Partner) -> None:
    path = f"/v1/trades/{contracted(seller, buyer)['id']}/events"
    first = buyer.owner.get(f"{path}?limit=3").body
    assert ([e["sequence"] for e in first["data"]], first["has_more"], first["next"]) == ([1, 2, 3], True, 3)
    rest = buyer.owner.get(f"{path}?limit=3&after={first['next']}").body
    assert ([e["sequence"] for e in rest["data"]], rest["has_more"]) == ([4, 5], False)


@pytest.mark.parametrize("end", ["sold", "withdrawn"])
def test_a_bidder_that_did_not_get_the_lot_hears_that_and_no_more(
    client: Client, seller: Partner, buyer: Partner, end: str
) -> None:
    trade, loser = offer(seller), active_partner(client)
    path = f"/v1/trades/{trade['id']}"
    trade = bid(buyer, bid(loser, trade).body).body
    last = ("accept", {"to": 3}) if end == "sold" else ("withdraw_offer", {})
    take(seller, trade, last[0], **last[1])
    read = loser.owner.get(path, expect=409)
    assert "no longer on the market" in read.body["detail"]
    assert bid(loser, trade, expect=409).body["detail"] == read.body["detail"]
    own = loser.owner.get(f"{path}/events").body
    assert [(event["sequence"], event["type"]) for event in own["data"]] == [(2, "trade.bid_placed.v1")]
    assert loser.owner.get(f"{path}/events?after=2").body["data"] == []
    assert trade["id"] not in [one["id"] for one in loser.owner.get("/v1/trades?limit=100").body["data"]]
    stranger = active_partner(client)
    for hidden in (path, f"{path}/events", f"{path}/settlement", f"{path}/parties"):
        stranger.owner.get(hidden, expect=404)


# Who trades no more


@pytest.mark.parametrize("how", ["erasure", "suspension"])
def test_a_lot_whose_seller_has_left_takes_no_bid_and_is_not_listed(
    client: Client, seller: Partner, buyer: Partner, how: str
) -> None:
    trade, other = offer(seller), offer(buyer)
    leave(client, seller, how)
    refused = bid(buyer, trade, expect=409)
    assert "seller" in refused.body["detail"]
    step = {"type": "bid", "expected_version": 1, "price": CANDY, "valid_until": in_days(client, 1)}
    assert [outcome["outcome"] for outcome in synced(buyer, trade, step)] == ["refused"]
    listed = [one["id"] for one in buyer.owner.get("/v1/trades").body["data"]]
    assert (other["id"] in listed, trade["id"] in listed) == (True, False)
    operations = client.as_user("operations", None, "ops")
    assert trade["id"] in [one["id"] for one in operations.get("/v1/trades").body["data"]]


@pytest.mark.parametrize("who", ["seller", "buyer"])
def test_nothing_is_contracted_with_who_has_left(client: Client, seller: Partner, buyer: Partner, who: str) -> None:
    talking, agreed = bid(buyer, offer(seller)).body, matched(seller, buyer)
    leave(client, seller if who == "seller" else buyer, "suspension")
    steps = [
        (seller, talking, "counter", {"to": 2, "price": price(61_400_00), "valid_until": talking["valid_until"]}),
        (seller, talking, "accept", {"to": 2}),
        (buyer, agreed, "sign", {}),
    ]
    client.settle()
    for partner, read, step, fields in steps:
        trade = partner.owner.get(f"/v1/trades/{read['id']}").body
        refused = take(partner, trade, step, **fields, expect=409).body
        assert refused["against"] == f"the {who}'s status"
        [outcome] = synced(partner, trade, {"type": step, "expected_version": trade["version"], **fields})
        assert (outcome["outcome"], outcome["problem"]["code"]) == ("refused", "conflict")
    for trade, step in ((talking, "end_bid"), (agreed, "decline_contract")):
        now = buyer.owner.get(f"/v1/trades/{trade['id']}").body
        take(buyer, now, step)
