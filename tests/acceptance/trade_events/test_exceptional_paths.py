"""Where a deal does not go as planned: who acts first, until when, and each end that it can have."""

from typing import Any

import pytest

from local_cloud.client import Client
from tests.journeys.deals import CANDY, Deal, deal, in_days, lot, matched, offer
from tests.journeys.partners import Partner, active_partner

CHEAPER: dict[str, Any] = {**CANDY, "paise": 60_000_00}


def passed(client: Client, seller: Partner, buyer: Partner, **changes: Any) -> Deal:
    """Ten bales contracted ex gin, the advance paid, the lot passed."""
    sold = deal(client, seller, buyer, lot=lot(10), **changes)
    sold.pay("1", 40_000_00)
    sold.offer_lots(("L1", 10))
    sold.pass_lots("L1")
    return sold


def lift(sold: Deal, bales: int, number: int = 1) -> None:
    """Weighed, invoiced, paid, dispatched and arrived."""
    sold.weigh_twice(str(164.5 * bales), bales, number)
    sold.invoice(number)
    sold.pay(f"2.{number}", 1_00_000_00)
    sold.dispatch("buyer", bales, number)
    sold.arrive(bales, number)


def suspend(client: Client, partner: Partner) -> None:
    operations, path = client.as_user("operations", None, "ops"), f"/v1/partners/{partner.id}"
    reason = {"reason_code": "under_inquiry"}
    operations.post(f"{path}/suspend", reason, if_match=operations.get(path).etag, expect=200)
    client.settle()


# A partial lift


def test_what_is_not_lifted_is_cancelled_by_consent_and_the_invoice_stands(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = passed(client, seller, buyer)
    lift(sold, 6)
    before = sold.settlement()
    proposal = sold.take("buyer", "propose", about="cancel_rest").body["proposals"][0]["number"]
    assert sold.open("answer_proposal", "1")["who"] == "seller"
    sold.take("buyer", "answer_proposal", proposal=proposal, answer="accepted", expect=403)
    trade = sold.take("seller", "answer_proposal", proposal=proposal, answer="accepted").body
    rest = trade["delivery"]["rest"]
    assert (rest["how"], rest["why"], rest["defaulter"]) == ("cancelled", "consent", None)
    assert (trade["delivery"]["complete"], trade["claims"]) == (True, [])
    assert sold.settlement()["papers"] == before["papers"]


def test_more_time_is_agreed_on_with_a_carrying_charge(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = passed(client, seller, buyer)
    until = in_days(client, 40)
    sold.take("seller", "propose", about="extend_delivery", until=in_days(client, 1), expect=422)
    sold.take("seller", "propose", about="extend_delivery", until=until, carrying_pct_a_month="1.25")
    trade = sold.take("buyer", "answer_proposal", proposal=1, answer="accepted").body
    assert trade["delivery"]["until"][:10] == until[:10]
    lift(sold, 10)
    assert sold.trade()["delivery"]["complete"]


def test_a_proposal_that_nobody_answers_lapses(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = passed(client, seller, buyer)
    sold.take("seller", "propose", about="cancel_rest")
    sold.wait(days=6)
    trade = sold.trade()
    assert [one["state"] for one in trade["proposals"]] == ["lapsed"]
    assert trade["delivery"]["rest"] is None


# Default and closing out


def test_the_rest_is_closed_out_when_the_notice_ran_out(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, lot=lot(10))
    sold.take("seller", "give_notice", ground="delivery", expect=409)  # the period runs
    sold.wait(days=17)
    sale = {"basis": "resale", "price": CHEAPER, "expenses_paise": 2_000_00}
    refused = sold.take("seller", "close_out", **sale, expect=409).body
    assert refused["against"] == "the notice"
    trade = sold.take("seller", "give_notice", ground="delivery").body
    assert trade["delivery"]["notice"]["by"] == "seller"
    sold.take("seller", "close_out", **sale, expect=409)
    assert sold.open("perform")["who"] == "buyer"
    sold.wait(days=8)
    trade = sold.take("seller", "close_out", **sale).body
    rest = trade["delivery"]["rest"]
    assert (rest["how"], rest["defaulter"], rest["basis"]) == ("closed_out", "buyer", "resale")
    # 1,640 kg at 1,200 rupees a candy less, and the expenses: damages, without tax.
    [claim] = trade["claims"]
    assert (claim["kind"], claim["by"], claim["asked"]["paise"]) == ("difference", "seller", 5_534_00 + 2_000_00)
    trade = sold.take("buyer", "answer_claim", claim=1, answer="accept").body
    [paper] = [one for one in sold.settlement()["papers"] if one["paper"] == "damages"]
    assert not any(line["taxed"] for line in paper["lines"])
    sold.wait(days=5)
    assert sold.trade()["status"] == "closed_out"


def test_an_unpaid_advance_lets_the_seller_go(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, lot=lot(10))
    sold.take("seller", "cancel_unpaid", expect=409)
    sold.wait(days=4)
    assert "overdue" in sold.types()
    trade = sold.take("seller", "cancel_unpaid").body
    assert (trade["delivery"]["rest"]["why"], trade["delivery"]["rest"]["defaulter"]) == ("unpaid", "buyer")


def test_who_pays_late_is_given_notice_and_may_still_pay(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = passed(client, seller, buyer)
    sold.weigh_twice("987", 6)
    sold.invoice()
    sold.wait(days=5)
    trade = sold.take("seller", "give_notice", ground="payment").body
    assert trade["delivery"]["notice"]["ground"] == "payment"
    sold.pay("2.1", 1_00_000_00)
    sold.wait(days=8)
    sale = {"basis": "resale", "price": CHEAPER}
    sold.take("seller", "close_out", **sale, expect=409)  # it was paid


# Claims


def test_a_quality_claim_is_proposed_countered_and_accepted(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = passed(client, seller, buyer)
    lift(sold, 10)
    sold.take("buyer", "test", figures={"micronaire": "3.1"}, laboratory="sealed half")
    claim = sold.claim("buyer", "quality", 1, paise=9_000_00, to="buyer")
    assert sold.open("answer_claim", "1")["who"] == "seller"
    less, between = {"paise": 3_000_00, "to": "buyer"}, {"paise": 6_000_00, "to": "buyer"}
    sold.take("seller", "answer_claim", claim=claim, answer="propose", moves=less)
    sold.take("seller", "answer_claim", claim=claim, answer="accept", expect=403)
    sold.take("buyer", "answer_claim", claim=claim, answer="propose", moves=between)
    trade = sold.take("seller", "answer_claim", claim=claim, answer="accept").body
    assert (trade["claims"][0]["stage"], trade["claims"][0]["how"]) == ("closed", "agreed")
    assert trade["claims"][0]["moves"]["paise"] == 6_000_00
    assert sold.open("record_document", "claim 1")["who"] == "seller"
    trade = sold.take("seller", "record_document", kind="credit_note", number="CN/1", claim=claim).body
    assert not [step for step in trade["next"] if step["ref"] == "claim 1"]


def test_goods_that_are_rejected_go_back(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = passed(client, seller, buyer)
    lift(sold, 10)
    moves = {"goods": "returned", "bales": 10, "paise": 3_00_000_00, "to": "buyer"}
    claim = sold.claim("buyer", "quality", 1, **moves)
    sold.take("seller", "answer_claim", claim=claim, answer="accept")
    assert sold.open("settle_goods", "1")["what_happens_then"] == "The buyer may sell the goods on the seller's account"
    sold.take("buyer", "settle_goods", claim=claim, how="taken_back")
    assert not sold.is_open("settle_goods")


def test_what_is_withdrawn_lets_every_clock_go_on(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = passed(client, seller, buyer)
    lift(sold, 10)
    window = sold.open("accept_quality", "1")["due_at"]
    claim = sold.claim("buyer", "damage", 1, paise=5_000_00, to="buyer")
    sold.take("seller", "answer_claim", claim=claim, answer="contest")
    assert not sold.is_open("accept_quality")  # the window stands still
    sold.wait(days=3)
    trade = sold.take("buyer", "answer_claim", claim=claim, answer="withdraw").body
    assert trade["claims"][0]["how"] == "withdrawn"
    assert sold.open("accept_quality", "1")["due_at"] > window


def test_a_claim_goes_to_arbitration_and_ends_by_its_award(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = passed(client, seller, buyer)
    lift(sold, 10)
    claim = sold.claim("buyer", "quality", 1, paise=9_000_00, to="buyer")
    sold.take("seller", "answer_claim", claim=claim, answer="contest")
    moves = {"paise": 4_500_00, "to": "buyer"}
    sold.take("operations", "decide_claim", claim=claim, moves=moves, expect=409)  # nobody asked it to
    trade = sold.take("seller", "refer_claim", claim=claim, to="arbitration").body
    assert (trade["status"], trade["claims"][0]["stage"]) == ("disputed", "arbitration")
    award = {"claim": claim, "award": "CAI/2026/17", "moves": moves}
    sold.take("buyer", "record_award", **award, expect=403)
    trade = sold.take("operations", "record_award", **award).body
    assert (trade["status"], trade["claims"][0]["how"]) == ("in_delivery", "awarded")
    assert trade["claims"][0]["award"] == "CAI/2026/17"


def test_a_shortage_is_weighed_again_on_an_independent_bridge(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, template="delivered_mill_weight")
    sold.weigh("seller", "16450", bales=100)
    sold.invoice()
    sold.dispatch("seller", 100)
    sold.arrive(100)
    sold.weigh("buyer", "16330", at="mill", bridge="M1", bales=100)
    sold.take("seller", "answer_claim", claim=1, answer="contest")
    for side in ("seller", "buyer"):
        sold.weigh(side, "16390", at="mill", bridge="I9", bales=100, independent=True)
    [claim] = sold.trade()["claims"]  # 60 kg short, 10 of them beyond the allowance
    assert (claim["stage"], claim["how"], claim["moves"]["kg"]) == ("closed", "decided", "10.0")


# A party that cannot act


@pytest.mark.parametrize("how", ["watch", "close_out"])
def test_a_party_that_is_suspended_leaves_the_other_a_way_on(
    client: Client, seller: Partner, buyer: Partner, how: str
) -> None:
    sold = passed(client, seller, buyer)
    suspend(client, buyer)
    trade = sold.trade("seller")
    assert (trade["buyer_status"], trade["status"]) == ("suspended", "contracted")
    assert sold.open("decide_party")["who"] == "operations"
    sold.take("operations", "decide_party", how=how)
    sale = {"basis": "resale", "price": CHEAPER}
    if how == "watch":
        sold.take("seller", "close_out", **sale, expect=409)
        lift(sold, 10)
        assert sold.trade()["delivery"]["complete"]
    else:
        trade = sold.take("seller", "close_out", **sale).body
        assert trade["delivery"]["rest"]["defaulter"] == "buyer"


def test_when_operations_decide_nothing_the_other_side_closes_out(
    client: Client, seller: Partner, buyer: Partner
) -> None:
    sold = passed(client, seller, buyer)
    suspend(client, seller)
    sold.wait(days=9)
    assert "party_decided" in sold.types()
    purchase = {"basis": "purchase", "price": {**CANDY, "paise": 62_000_00}}
    trade = sold.take("buyer", "close_out", **purchase).body
    assert (trade["delivery"]["rest"]["defaulter"], trade["claims"][-1]["kind"]) == ("seller", "difference")


# Lots and passing


def test_silence_passes_the_lots(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, lot=lot(10))
    sold.offer_lots(("L1", 10))
    sold.wait(days=5)
    assert [one["verdict"] for one in sold.trade()["lots"]] == ["passed"]
    assert next(e for e in sold.timeline() if e["type"] == "trade.lots_passed.v1")["role"] == "system"


def test_lots_that_are_not_replaced_let_the_buyer_go(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, lot=lot(10))
    sold.offer_lots(("L1", 10))
    sold.pass_lots("L1", verdict="rejected")
    sold.take("buyer", "cancel_rejected", expect=409)
    sold.wait(days=4)
    trade = sold.take("buyer", "cancel_rejected").body
    assert (trade["delivery"]["rest"]["why"], trade["delivery"]["rest"]["defaulter"]) == ("rejected", None)


# Before the contract


def test_a_contract_that_is_not_signed_in_time_is_cancelled(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = Deal(client, matched(seller, buyer)["id"], seller, buyer)
    assert sold.open("sign")["who"] == "buyer"
    sold.wait(days=3)
    trade = sold.trade()
    assert (trade["status"], trade["end_reason"]) == ("cancelled", "signature_overdue")


@pytest.mark.parametrize("kind", ["drop", "duplicate", "lose_answer", "fail"])
def test_whatever_happens_to_the_task_the_offer_expires_once(client: Client, seller: Partner, kind: str) -> None:
    sold = Deal(client, offer(seller)["id"], seller, seller)
    client.settle()
    client.post("/_local/faults", {"edge": "task", "kind": kind, "match": "trade-deadline", "times": 2})
    sold.wait(days=7, hours=1)
    client.settle()
    assert sold.types() == ["offered", "ended"]
    trade = sold.trade()
    assert (trade["status"], trade["end_reason"]) == ("expired", "offer_expired")
    active_partner(client).owner.get(f"/v1/trades/{trade['id']}", expect=404)
