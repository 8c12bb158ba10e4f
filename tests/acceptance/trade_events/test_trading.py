"""Trading over HTTP: the good path, who may do what, versions, and what a repeated request does."""

import threading
from uuid import uuid4

import pytest

from local_cloud.client import ANY, Answer, Client
from tests.journeys.partners import ASK, Partner, active_partner, bid, contracted, lot, offer, register


@pytest.fixture
def seller(client: Client) -> Partner:
    return active_partner(client)


@pytest.fixture
def buyer(client: Client) -> Partner:
    return active_partner(client, type="spinning_mill")


def leave(client: Client, partner: Partner, how: str) -> None:
    """It trades no more: its erasure was asked for, or operations suspend it."""
    if how == "erasure":
        partner.owner.post("/v1/erasures", {"confirm": "erase"}, expect=202)
        return
    operations, path = client.as_user("operations", None, "ops"), f"/v1/partners/{partner.id}"
    reason = {"reason_code": "under_inquiry"}
    operations.post(f"{path}/suspend", reason, if_match=operations.get(path).etag, expect=200)


def test_a_lot_is_offered_bid_for_matched_and_contracted(seller: Partner, buyer: Partner) -> None:
    trade = contracted(seller, buyer)

    assert (trade["status"], trade["version"]) == ("CONTRACTED", 4)
    assert trade["buyer_id"] == str(buyer.id)
    # 16,350 kg x 61,200 rupees / 355.62 kg = 28,13,733.7607... rupees, to the paisa.
    assert trade["amount"] == {"paise": 28_13_733_76, "currency": "INR"}
    timeline = buyer.owner.get(f"/v1/trades/{trade['id']}/events").body["data"]
    assert [(e["sequence"], e["type"]) for e in timeline] == [
        (1, "lot_offered"),
        (2, "bid_placed"),
        (3, "bid_accepted"),
        (4, "contract_signed"),
    ]


def test_a_step_needs_the_version_last_read(seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    answer = buyer.owner.post(f"/v1/trades/{trade['id']}/events", bid(7), expect=409)
    assert answer.body["type"].endswith("/version-conflict")
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body == trade


def test_of_two_bids_at_the_same_version_one_wins(client: Client, seller: Partner) -> None:
    trade = offer(seller)
    bidders = [active_partner(client) for _ in range(4)]
    answers: list[Answer] = []

    def place(bidder: Partner) -> None:
        answers.append(bidder.owner.post(f"/v1/trades/{trade['id']}/events", bid(1), expect=ANY))

    threads = [threading.Thread(target=place, args=(bidder,)) for bidder in bidders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body["version"] == 2


@pytest.mark.parametrize("party", ["seller_bids", "buyer_accepts", "stranger_signs"])
def test_each_step_belongs_to_one_party(client: Client, seller: Partner, buyer: Partner, party: str) -> None:
    trade = offer(seller)
    events = f"/v1/trades/{trade['id']}/events"
    accept = {"event": {"type": "bid_accepted", "expected_version": 2, "bid_sequence": 2}}
    if party == "seller_bids":
        seller.owner.post(events, bid(1), expect=403)
        return
    buyer.owner.post(events, bid(1))
    if party == "buyer_accepts":
        buyer.owner.post(events, accept, expect=403)
        return
    seller.owner.post(events, accept)
    stranger = active_partner(client)
    stranger.owner.post(events, {"event": {"type": "contract_signed", "expected_version": 3}}, expect=404)


def test_a_step_out_of_turn_is_refused_and_changes_nothing(seller: Partner, buyer: Partner) -> None:
    trade = offer(seller)
    sign = {"event": {"type": "contract_signed", "expected_version": 1}}
    answer = buyer.owner.post(f"/v1/trades/{trade['id']}/events", sign, expect=409)
    assert "MATCHED" in answer.body["detail"]
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body == trade


def test_a_partner_that_is_not_active_does_not_trade(client: Client) -> None:
    newcomer, _ = register(client)
    newcomer.owner.post("/v1/trades", {"lot": lot(), "ask": ASK}, expect=403)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"lot": lot(bales=0), "ask": ASK}, "/lot/bales"),
        ({"lot": lot(net_weight={"value": "400", "unit": "maund"}), "ask": ASK}, "/lot/net_weight"),
        ({"lot": lot(net_weight={"value": "-1", "unit": "kg"}), "ask": ASK}, "/lot/net_weight"),
        ({"lot": lot(), "ask": {"paise": 1.5, "unit": "candy_trade"}}, "/ask/paise"),
        ({"lot": lot(), "ask": ASK, "discount": 5}, "/discount"),
        ({"lot": lot(quality={"micronaire": 42}), "ask": ASK}, "/lot/quality/micronaire"),
        ([], ""),
    ],
)
def test_a_bad_lot_is_told_field_by_field(seller: Partner, body: object, pointer: str) -> None:
    answer = seller.owner.post("/v1/trades", body, expect=422)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert pointer in [error["pointer"] for error in answer.body["errors"]]


def test_an_ambiguous_unit_is_refused_with_what_to_send(seller: Partner) -> None:
    body = {"lot": lot(net_weight={"value": "400", "unit": "maund"}), "ask": ASK}
    (error,) = seller.owner.post("/v1/trades", body, expect=422).body["errors"]
    assert "send kg or quintal" in error["message"]


def test_a_repeated_request_gets_the_first_answer_and_does_nothing_again(seller: Partner, buyer: Partner) -> None:
    trade, key = offer(seller), str(uuid4())
    events = f"/v1/trades/{trade['id']}/events"
    first = buyer.owner.post(events, bid(1), key=key, expect=201)
    again = buyer.owner.post(events, bid(1), key=key, expect=201)

    assert again.body == first.body
    assert again.headers["ETag"] == first.headers["ETag"] == '"2"'
    assert again.headers["Idempotent-Replayed"] == "true"
    assert seller.owner.get(f"/v1/trades/{trade['id']}").body["version"] == 2


def test_a_repeated_request_is_answered_even_when_the_trade_is_hidden_by_now(client: Client, seller: Partner) -> None:
    trade, key = offer(seller), str(uuid4())
    events = f"/v1/trades/{trade['id']}/events"
    loser, winner = active_partner(client), active_partner(client)
    first = loser.owner.post(events, bid(1), key=key, expect=201)
    winner.owner.post(events, bid(2), expect=201)
    seller.owner.post(events, {"event": {"type": "bid_accepted", "expected_version": 3, "bid_sequence": 3}}, expect=201)
    loser.owner.get(f"/v1/trades/{trade['id']}", expect=409)
    assert loser.owner.post(events, bid(1), key=key, expect=201).body == first.body


@pytest.mark.parametrize("end", ["sold", "withdrawn"])
def test_a_bidder_that_did_not_get_the_lot_is_told_so(
    client: Client, seller: Partner, buyer: Partner, end: str
) -> None:
    trade, loser = offer(seller), active_partner(client)
    path = f"/v1/trades/{trade['id']}"
    loser.owner.post(f"{path}/events", bid(1), expect=201)
    buyer.owner.post(f"{path}/events", bid(2), expect=201)
    last = {"type": "bid_accepted", "bid_sequence": 3} if end == "sold" else {"type": "offer_withdrawn"}
    seller.owner.post(f"{path}/events", {"event": last | {"expected_version": 3}}, expect=201)

    read = loser.owner.get(path, expect=409)
    assert "no longer on the market" in read.body["detail"]
    again = loser.owner.post(f"{path}/events", bid(4), expect=409)
    assert again.body["detail"] == read.body["detail"]
    kept = {"device_id": "losers-phone-1", "events": [{"event_id": str(uuid4()), "event": bid(4)["event"]}]}
    loser.owner.post(f"{path}/events:batch", kept, expect=409)
    own = loser.owner.get(f"{path}/events").body
    assert [(step["sequence"], step["type"]) for step in own["data"]] == [(2, "bid_placed")]
    assert loser.owner.get(f"{path}/events?after=2").body["data"] == []
    assert trade["id"] not in [one["id"] for one in loser.owner.get("/v1/trades?limit=100").body["data"]]
    stranger = active_partner(client)
    for hidden in (path, f"{path}/events"):
        stranger.owner.get(hidden, expect=404)


def test_a_creation_sent_many_times_at_once_happens_once(seller: Partner) -> None:
    key, answers = str(uuid4()), list[Answer]()
    body = {"lot": lot(station=f"Rajkot {key[:8]}"), "ask": ASK}

    def create() -> None:
        answers.append(seller.owner.post("/v1/trades", body, key=key, expect=201))

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({answer.body["id"] for answer in answers}) == 1
    assert len(answers) == 6
    trades = seller.owner.get("/v1/trades?limit=100").body["data"]
    assert sum(trade["lot"]["station"] == body["lot"]["station"] for trade in trades) == 1


def test_a_key_with_another_request_is_refused(seller: Partner) -> None:
    key = str(uuid4())
    seller.owner.post("/v1/trades", {"lot": lot(), "ask": ASK}, key=key, expect=201)
    answer = seller.owner.post("/v1/trades", {"lot": lot(bales=50), "ask": ASK}, key=key, expect=422)
    assert answer.body["type"].endswith("/idempotency-key-reused")


def test_keys_of_two_callers_never_meet(seller: Partner, buyer: Partner) -> None:
    key, body = str(uuid4()), {"lot": lot(), "ask": ASK}
    first = seller.owner.post("/v1/trades", body, key=key, expect=201)
    second = buyer.owner.post("/v1/trades", body, key=key, expect=201)
    assert first.body["id"] != second.body["id"]


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


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=%21%21", "colour=red"])
def test_a_bad_query_is_refused(seller: Partner, query: str) -> None:
    answer = seller.owner.get(f"/v1/trades?{query}", expect=422)
    assert answer.body["errors"][0]["pointer"].startswith("query:")


# Lots of a seller that trades no more


@pytest.mark.parametrize("how", ["erasure", "suspension"])
def test_a_lot_whose_seller_has_left_takes_no_bid_and_is_not_listed(
    client: Client, seller: Partner, buyer: Partner, how: str
) -> None:
    trade, other = offer(seller), offer(buyer)
    leave(client, seller, how)
    refused = buyer.owner.post(f"/v1/trades/{trade['id']}/events", bid(1), expect=409)
    assert "seller" in refused.body["detail"]
    kept = {"device_id": "buyers-phone-1", "events": [{"event_id": str(uuid4()), "event": bid(1)["event"]}]}
    synced = buyer.owner.post(f"/v1/trades/{trade['id']}/events:batch", kept, expect=200).body
    assert [outcome["outcome"] for outcome in synced["outcomes"]] == ["refused"]
    listed = [one["id"] for one in buyer.owner.get("/v1/trades").body["data"]]
    assert (other["id"] in listed, trade["id"] in listed) == (True, False)
    operations = client.as_user("operations", None, "ops")
    assert trade["id"] in [one["id"] for one in operations.get("/v1/trades").body["data"]]
    if how == "suspension":
        assert trade["id"] in [one["id"] for one in seller.owner.get("/v1/trades").body["data"]]


def test_what_a_seller_that_has_left_agreed_to_before_is_not_contracted(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    countered, matched = offer(seller), offer(seller)
    for trade in (countered, matched):
        buyer.owner.post(f"/v1/trades/{trade['id']}/events", bid(1), expect=201)
    price = {**ASK, "paise": 61_400_00}
    counter = {"type": "price_countered", "counters_sequence": 2, "price": price, "expected_version": 2}
    seller.owner.post(f"/v1/trades/{countered['id']}/events", {"event": counter}, expect=201)
    accept = {"type": "bid_accepted", "bid_sequence": 2, "expected_version": 2}
    seller.owner.post(f"/v1/trades/{matched['id']}/events", {"event": accept}, expect=201)
    leave(client, seller, "suspension")
    for trade, step in (
        (countered, {"type": "price_countered", "counters_sequence": 3, "price": ASK}),
        (countered, {"type": "counter_accepted", "counter_sequence": 3}),
        (matched, {"type": "contract_signed"}),
    ):
        event = {"event": step | {"expected_version": 3}}
        buyer.owner.post(f"/v1/trades/{trade['id']}/events", event, expect=409)
    for trade, step in ((countered, "bid_withdrawn"), (matched, "contract_declined")):
        event = {"event": {"type": step, "expected_version": 3}}
        buyer.owner.post(f"/v1/trades/{trade['id']}/events", event, expect=201)


# A bidder that trades no more


@pytest.mark.parametrize("how", ["erasure", "suspension"])
def test_the_bid_of_a_bidder_that_has_left_is_neither_countered_nor_accepted(
    client: Client, seller: Partner, buyer: Partner, how: str
) -> None:
    trade, rival = offer(seller), active_partner(client)
    events = f"/v1/trades/{trade['id']}/events"
    buyer.owner.post(events, bid(1), expect=201)
    rival.owner.post(events, bid(2), expect=201)
    leave(client, buyer, how)
    counter = {"type": "price_countered", "counters_sequence": 2, "price": ASK, "expected_version": 3}
    accept = {"type": "bid_accepted", "bid_sequence": 2, "expected_version": 3}
    for step in (counter, accept):
        refused = seller.owner.post(events, {"event": step}, expect=409)
        assert "bidder" in refused.body["detail"]
    kept = {
        "device_id": "sellers-phone-1",
        "events": [{"event_id": str(uuid4()), "event": s} for s in (counter, accept)],
    }
    synced = seller.owner.post(f"{events}:batch", kept, expect=200).body
    assert [outcome["outcome"] for outcome in synced["outcomes"]] == ["refused", "refused"]
    seller.owner.post(events, {"event": accept | {"bid_sequence": 3}}, expect=201)


@pytest.mark.parametrize("alone", [True, False])
def test_what_a_bidder_that_has_left_agreed_to_before_is_not_contracted(
    client: Client, seller: Partner, buyer: Partner, alone: bool
) -> None:
    trade = offer(seller)
    events = f"/v1/trades/{trade['id']}/events"
    buyer.owner.post(events, bid(1), expect=201)
    counter = {"type": "price_countered", "counters_sequence": 2, "price": {**ASK, "paise": 61_400_00}}
    seller.owner.post(events, {"event": counter | {"expected_version": 2}}, expect=201)
    accept = {"type": "counter_accepted", "counter_sequence": 3, "expected_version": 3}
    buyer.owner.post(events, {"event": accept}, expect=201)
    leave(client, buyer, "suspension")
    sign = {"type": "contract_signed", "expected_version": 4}
    if alone:
        seller.owner.post(events, {"event": sign}, expect=409)
    else:
        kept = {"device_id": "sellers-phone-1", "events": [{"event_id": str(uuid4()), "event": sign}]}
        (outcome,) = seller.owner.post(f"{events}:batch", kept, expect=200).body["outcomes"]
        assert (outcome["outcome"], outcome["problem"]["code"]) == ("refused", "conflict")
    declined = {"event": {"type": "contract_declined", "expected_version": 4}}
    assert seller.owner.post(events, declined, expect=201).body["status"] == "CANCELLED"
