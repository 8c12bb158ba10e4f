"""Whole deals over HTTP, from the offer to the closing, each by the terms of its trade."""

from typing import Any

from local_cloud.client import Client
from tests.journeys.deals import CANDY, MAUND, Deal, bid, deal, kapas, lot, offer, take
from tests.journeys.partners import Partner, active_partner, gstin, registration

SMALL = {"lot": lot(10)}


def closed(deal: Deal) -> dict[str, Any]:
    """The trade after both have agreed that nothing is open."""
    assert [(step["step"], step["track"]) for step in deal.trade()["next"]] == [("accept_closing", "documents")]
    deal.take("seller", "accept_closing")
    trade = deal.take("buyer", "accept_closing").body
    assert (trade["status"], trade["next"]) == ("completed", [])
    return trade


def lines(deal: Deal, paper: str = "invoice", lift: int = 1) -> dict[str, int]:
    """Code -> paise of one paper of the settlement."""
    papers = deal.settlement()["papers"]
    [found] = [one for one in papers if (one["paper"], one["lift"]) == (paper, lift)]
    assert sum(line["paise"] for line in found["lines"]) == found["total_paise"]
    return {line["code"]: line["paise"] for line in found["lines"]}


def test_kapas_is_sold_by_the_maund_in_a_yard(client: Client, farmer: Partner, buyer: Partner) -> None:
    trade = offer(farmer, lot=kapas(), ask={**MAUND, "paise": 1_480_00}, template="kapas_spot")
    trade = bid(buyer, trade, price=MAUND, differs={"charges": [HAMALI, MANDI_FEE]}).body
    assert [one["pointer"] for one in trade["bids"][0]["differences"]] == ["/charges"]
    trade = take(farmer, trade, "accept", to=2).body
    trade = take(buyer, trade, "sign").body
    assert (trade["tax"]["kind"], trade["tax"]["reverse_charge"]) == ("within_state", True)
    sold = Deal(client, trade["id"], farmer, buyer)

    # The farmer's slip alone counts when the buyer has accepted it.
    sold.weigh("seller", "2720", at="yard", bridge="APMC 1")
    waiting = sold.open("answer_weight", "1")
    assert (waiting["who"], waiting["what_happens_then"]) == ("buyer", "Operations decide the weight")
    sold.take("buyer", "sample", samples=1, lift=1, seal="K1")
    sold.take("buyer", "test", figures={"moisture_pct": "9", "trash_pct": "3.5"}, laboratory="meter")
    sold.take("seller", "answer_reading", answer="accepted")
    sold.take("seller", "answer_weight", answer="accepted", kg="2720", expect=403)
    sold.take("buyer", "answer_weight", answer="accepted", kg="2720")

    # 2,720 kg less 1 % for moisture above 8 and 0.5 % for trash above 3 are 2,679.2 kg: 1,94,242 rupees.
    assert lines(sold)["cotton"] == 1_94_242_00
    assert lines(sold)["hamali"] == -272_00
    assert "igst" not in lines(sold)
    sold.take("seller", "record_document", kind="tax_invoice", number="F/1", lift=1, expect=403)
    sold.invoice(who="buyer", kind="self_invoice")
    sold.take("buyer", "record_document", kind="eway_bill", number="131000000001", lift=1)
    due = sold.open("pay", "1.1")
    assert due["who"] == "buyer"
    trade = sold.pay("1.1", 1_93_970_00)
    assert (trade["dues"][0]["settled"], trade["status"]) == (True, "contracted")
    sold.take("buyer", "record_document", kind="committee_receipt", number="APMC/77", lift=1)
    closed(sold)


HAMALI = {"code": "hamali", "payer": "seller", "to": "buyer", "rate": {"paise_per_100kg": 10_00}, "source": "Gondal"}
MANDI_FEE = {"code": "mandi_fee", "payer": "buyer", "to": "committee", "rate": {"pct": "0.5"}, "source": "APMC Gondal"}


def test_ex_gin_with_passing_in_two_lifts(client: Client, seller: Partner, distant_buyer: Partner) -> None:
    sold = deal(client, seller, distant_buyer)
    assert sold.trade()["tax"]["kind"] == "between_states"
    sold.take("seller", "record_document", kind="contract_note", number="CN/1")
    assert sold.open("pay", "1")["who"] == "buyer"
    sold.pay("1", 4_23_000_00)

    # Lots of 120 bales are shown; one is rejected, and replaced.
    sold.offer_lots(("L1", 60), ("L2", 60))
    assert sold.open("pass_lots")["what_happens_then"] == "The lots are deemed passed"
    sold.take("buyer", "sample", samples=2, lot="L1", seal="A1")
    sold.pass_lots("L1")
    sold.pass_lots("L2", verdict="rejected")
    assert sold.open("offer_lots", "replacement")["who"] == "seller"
    sold.offer_lots(("L3", 40))
    trade = sold.pass_lots("L3")
    assert [(one["no"], one["verdict"]) for one in trade["lots"]] == [
        ("L1", "passed"),
        ("L2", "rejected"),
        ("L3", "passed"),
    ]

    for lift, (bales, net) in enumerate(((60, "9870"), (40, "6580")), 1):
        sold.weigh("seller", net, bridge="B1", bales=bales, lift=lift)
        assert sold.lift(lift)["weight"]["state"] == "missing"  # the terms ask for two bridges
        sold.weigh("seller", net, bridge="B2", bales=bales, lift=lift)
        sold.invoice(lift)
        sold.pay(f"2.{lift}", 10_00_000_00)
        sold.dispatch("buyer", bales, lift, eway_bill="131000000001")
        sold.arrive(bales, lift)
        trade = sold.take("buyer", "accept_quality", lift=lift).body
        assert trade["status"] == "in_delivery"

    # Each bale's 0.5 kg of packing is off: 9,840 and 6,560 kg, at 61,200 rupees a candy of 355.62 kg, and 5 % IGST.
    assert [lift["weight"]["kg"] for lift in sold.trade()["lifts"]] == ["9840.0", "6560.0"]
    assert lines(sold, lift=1) == {"cotton": 16_93_403_07, "igst": 84_670_15}
    assert lines(sold, lift=2) == {"cotton": 11_28_935_38, "igst": 56_446_77}
    delivery = closed(sold)["delivery"]
    assert (delivery["lifted_bales"], delivery["complete"], delivery["rest"]) == (100, True, None)


def test_delivered_with_the_mills_weight_and_a_shortage(client: Client, seller: Partner, buyer: Partner) -> None:
    sold = deal(client, seller, buyer, template="delivered_mill_weight")
    sold.weigh("seller", "16450", bales=100)
    sold.invoice()
    sold.dispatch("seller", 100, eway_bill="131000000002")
    sold.arrive(100)
    assert sold.open("weigh", "1")["what_happens_then"] == "The weight at the gin stands"
    trade = sold.weigh("buyer", "16330", at="mill", bridge="M1", bales=100).body

    # 120 kg are short, of which the buyer bears 50: the claim opens by itself, and silence accepts it.
    assert trade["lifts"][0]["weight"] | {"kg": "", "source": ""} == {
        "state": "agreed",
        "kg": "",
        "waits_for": None,
        "source": "",
        "short_kg": "120.0",
        "claimed_kg": "70.0",
    }
    [claim] = trade["claims"]
    assert (claim["kind"], claim["by"], claim["stage"]) == ("short_weight", "buyer", "raised")
    assert sold.open("answer_claim", "1")["what_happens_then"] == "The shortage counts as accepted"
    trade = sold.take("seller", "answer_claim", claim=1, answer="accept").body
    assert trade["claims"][0]["moves"] == {"paise": 0, "to": "buyer", "kg": "70.0", "goods": "none", "bales": 0}
    assert sold.open("record_document", "claim 1")["who"] == "seller"
    sold.take("seller", "record_document", kind="credit_note", number="CN/1", claim=1)
    assert lines(sold, "credit_note")["short_weight"] == -12_046_57  # 70 kg at the price
    sold.take("buyer", "test", figures={"rd": "76", "micronaire": "4.1"}, laboratory="the mill's")
    sold.take("buyer", "accept_quality")

    # Payment comes 15 days after the arrival: first the buyer's word, then the seller's.
    assert not sold.trade()["dues"][0]["before_dispatch"]
    sold.pay("1.1", 29_00_000_00)
    closed(sold)


def test_through_a_broker_of_both_sides(client: Client, seller: Partner, buyer: Partner) -> None:
    broker = active_partner(client, type="broker")
    half = {"pct": "0.5"}
    trade = offer(seller, **SMALL, differs={"brokerage": {"seller": half, "buyer": half, "earned": "on_payment"}})
    sold = Deal(client, trade["id"], seller, buyer, broker)
    until = trade["valid_until"]

    # Without a mandate it binds nobody.
    sold.take("broker", "bid", principal=buyer.id, price=CANDY, valid_until=until, expect=403)
    for side, principal, rights in (
        ("seller", seller, ["negotiate", "sign", "perform"]),
        ("buyer", buyer, ["negotiate", "sign"]),
    ):
        mandate = {"principal_id": str(principal.id), "broker_id": str(broker.id), "side": side, "rights": rights}
        sold.take(side, "give_mandate", mandate=mandate)
    refused = sold.take("broker", "bid", price=CANDY, valid_until=until, expect=422).body
    assert refused["errors"][0]["pointer"] == "/principal_id"
    trade = sold.take("broker", "bid", principal=buyer.id, price=CANDY, valid_until=until).body
    assert trade["bids"][0]["bidder_id"] == str(buyer.id)
    trade = sold.take("broker", "accept", principal=seller.id, to=trade["version"]).body
    trade = sold.take("broker", "sign", principal=buyer.id).body
    assert (trade["status"], trade["buyer_id"]) == ("contracted", str(buyer.id))
    signed = next(one for one in sold.timeline() if one["type"] == "trade.signed.v1")
    assert (signed["role"], signed["partner_id"], signed["principal_id"]) == ("broker", str(broker.id), str(buyer.id))

    # Its note goes to both; what it has no right to stays its principal's.
    assert sold.open("record_document", "note")["who"] == "broker"
    trade = sold.take("broker", "record_document", kind="brokers_note", number="BN/1").body
    assert [paper["kind"] for paper in trade["documents"]] == ["brokers_note"]
    claim = {"kind": "other", "asked": {}}
    sold.take("broker", "raise_claim", principal=buyer.id, **claim, expect=403)
    sold.take("broker", "offer_lots", principal=seller.id, lots=[{"no": "L1", "bales": 10}])
    sold.pass_lots("L1")
    sold.pay("1")
    sold.weigh_twice("1645", 10)
    sold.invoice()
    sold.pay("2.1")
    sold.dispatch("buyer", 10)
    sold.arrive(10)
    sold.take("buyer", "accept_quality")
    closed(sold)
    sold.take("broker", "record_document", kind="brokerage_invoice", number="BI/1", paise=1_400_00)
    assert sold.trade("broker")["documents"][-1]["kind"] == "brokerage_invoice"


def test_an_auction_of_the_corporation(client: Client, buyer: Partner) -> None:
    known = registration()["identifiers"]["pan"]
    pan = f"{known[:3]}G{known[4:]}"
    identifiers = {"pan": pan, "gstin": gstin(pan)}
    corporation = active_partner(client, type="trader", constitution="government", identifiers=identifiers)
    sold = deal(client, corporation, buyer, **SMALL, template="cci_auction")
    trade = sold.trade()
    assert (trade["terms"]["quality"]["passing"], trade["terms"]["delivery"]["carrying"]["free_days"]) == ("none", 45)

    # All of it is paid first. Goods that leave before are recorded, with what stands against it.
    sold.pay("1", 3_00_000_00)
    sold.take("seller", "record_document", kind="delivery_order", number="DO/1")
    sold.weigh("seller", "1640", bales=10)
    sold.invoice()
    trade = sold.dispatch("buyer", 10)
    assert sold.timeline()[-1]["data"]["against"] == []
    sold.arrive(10)
    refused = sold.take("buyer", "raise_claim", kind="quality", lift=1, asked={}, expect=409).body
    assert refused["against"] == "terms.quality.passing"
    closed(sold)
