"""A farmer sells kapas by the unit of 20 kg to the ginner, in the yard: weighed, tested, paid the same day."""

from kapas.values.money import Money
from tools.demo import deal
from tools.demo.cast import KAPAS, KAPAS_ASK
from tools.demo.day import Day
from tools.demo.screen import expect

MARKET_FEE = {
    "code": "mandi_fee",
    "payer": "buyer",
    "to": "committee",
    "rate": {"pct": "0.5"},
    "source": "Rajkot market committee, market charges",
}
READ = {"moisture_pct": "9", "trash_pct": "3"}
WEIGHED_KG = 2_712


def play(day: Day) -> None:
    day.screen.act("Kapas")
    farmer, ginner = day.farmer.owner, day.ginner.owner
    with day.screen.step("The farmer offers kapas by the maund of 20 kg; the ginner takes it") as seen:
        sold = deal.offer(
            day,
            farmer,
            ginner,
            lot=KAPAS,
            ask=KAPAS_ASK,
            template="kapas_spot",
            differs={"charges": [MARKET_FEE]},
        )
        bid = sold.take(ginner, "bid", price=KAPAS_ASK, valid_until=deal.in_days(day, 1))
        sold.take(farmer, "accept", to=bid["version"])
        signed = sold.take(ginner, "sign")
        seen.append(f"136 maunds at {Money(KAPAS_ASK['paise'])} for 20 kg, {deal.kilograms(signed['quantity']['kg'])}")
        seen.append(f"tax: {signed['tax']['rule']}")
    with day.screen.step("The yard weighs it, the ginner tests it, and both accept the other's figure") as seen:
        sold.weigh(farmer, "yard", "Gondal yard", WEIGHED_KG)
        seen.append(deal.open_step(sold.trade()))
        sold.take(ginner, "answer_weight", answer="accepted", kg=str(WEIGHED_KG))
        sold.take(ginner, "test", figures=READ, laboratory="Moisture meter")
        read = sold.take(farmer, "answer_reading", answer="accepted")
        seen.append(f"{deal.kilograms(read['lifts'][0]['weight']['kg'])} net, moisture {READ['moisture_pct']} %")
    with day.screen.step("The ginner makes the invoice itself and pays; the farmer confirms") as seen:
        owed = sold.invoice(ginner, "self_invoice", "SI/26-27/0001")
        sold.pay("1.1", owed)
        closed = sold.close()
        expect(closed["status"] == "completed", f"the trade is {closed['status']}")
        seen += sold.statement()
        seen.append(f"the trade is {closed['status']}, version {closed['version']}")
