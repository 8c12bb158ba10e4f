"""The estimate follows the catalog, the settings and the prices, and cannot rise unseen."""

from dataclasses import replace

import pytest

from tools.catalog import catalog
from tools.cost import __main__ as command
from tools.cost import acknowledged, model, prices
from tools.cost.document import document, seed_inr
from tools.cost.options import purchases, savings
from tools.cost.usage import SECONDS, running, runs

PRICES = prices.read()
PRODUCTION = model.production()


def test_the_committed_page_is_current_and_accepted() -> None:
    assert command.main(["--check"]) == 0
    assert document(catalog(), PRICES, PRODUCTION) == command.OUTPUT.read_text()


def test_the_seed_load_is_within_the_limit() -> None:
    assert seed_inr(catalog(), PRICES, PRODUCTION) <= model.LIMIT_INR


def test_a_page_over_the_limit_says_what_brings_it_within() -> None:
    # The rupee falls until the seed load is a little over.
    rate = PRICES.inr_per_usd * (model.LIMIT_INR + 300) / seed_inr(catalog(), PRICES, PRODUCTION)
    dearer = PRICES.model_copy(update={"inr_per_usd": rate})
    over = seed_inr(catalog(), dearer, PRODUCTION) - model.LIMIT_INR
    assert over > 0
    assert any(option.inr <= -over for option in savings(catalog(), dearer, PRODUCTION))
    page = document(catalog(), dearer, PRODUCTION)
    assert f"INR {over:,} over the limit" in page
    assert "`min_instances` 0 for" in page


@pytest.mark.parametrize(
    ("seed", "agreed", "told"),
    [
        (10_500, 10_000, None),
        (10_501, 10_000, "rises by 5.0%"),
        (18_900, 18_500, None),
        (18_901, 18_500, "over the limit"),
    ],
)
def test_a_rise_needs_a_line(seed: int, agreed: int, told: str | None) -> None:
    objection = acknowledged.objection(seed, model.LIMIT_INR, agreed)
    assert (objection is None) if told is None else (told in (objection or ""))


def test_a_dearer_catalog_fails_the_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    warm = dict.fromkeys(catalog().functions, 1)
    monkeypatch.setattr(model, "production", lambda: replace(PRODUCTION, warm=warm))
    assert command.main(["--check"]) == 1
    assert "acknowledged.txt" in capsys.readouterr().err


def test_items_add_up_and_grow_with_the_load() -> None:
    totals = [model.total(model.bill(catalog(), load, PRICES, PRODUCTION)) for load in model.LOADS]
    assert totals == sorted(totals)
    groups = [{item.group for item in model.bill(catalog(), load, PRICES, PRODUCTION)} for load in model.LOADS]
    assert groups[0] == groups[1] == groups[2]
    seed = model.bill(catalog(), model.SEED, PRICES, PRODUCTION)
    assert round(PRICES.inr(sum(item.usd for item in seed))) == seed_inr(catalog(), PRICES, PRODUCTION)


def test_calls_are_all_counted_and_no_instance_is_busier_than_the_month() -> None:
    months = running(catalog(), model.SEED, {})
    wakes = model.SEED.requests + model.SEED.tasks
    scheduled = sum(runs(f.trigger.schedule) for f in catalog().functions.values() if f.trigger.schedule)
    expected = model.SEED.messages + model.SEED.tasks + model.SEED.requests + wakes + scheduled
    assert sum(month.calls for month in months.values()) == pytest.approx(expected)
    for name, month in months.items():
        assert month.busy + month.idle <= SECONDS * max(1, catalog().functions[name].min_instances) * (1 + 1e-9), name


@pytest.mark.parametrize(("schedule", "count"), [("* * * * *", 43_200), ("*/5 * * * *", 8_640), ("30 2 * * *", 30)])
def test_runs_of_a_schedule(schedule: str, count: int) -> None:
    assert runs(schedule) == count


def test_every_price_is_used_and_says_where_it_is_from() -> None:
    used: set[str] = set()

    class Watched(prices.Prices):
        def usd(self, name: str) -> float:
            used.add(name)
            return super().usd(name)

    watched = Watched.model_validate(PRICES.model_dump())
    model.bill(catalog(), model.SEED, watched, PRODUCTION)
    assert used == set(PRICES.prices)
    assert all(price.usd > 0 and price.source and price.date for price in PRICES.prices.values())


def test_what_money_buys_is_dearer_and_what_is_given_up_is_cheaper() -> None:
    assert all(option.inr > 0 for option in purchases(catalog(), PRICES, PRODUCTION))
    assert all(option.inr < 0 for option in savings(catalog(), PRICES, PRODUCTION))
