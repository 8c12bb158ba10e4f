"""What more money buys, and what less money costs: production with one thing changed, and the difference to its bill."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tools.catalog import Catalog
from tools.cost.model import SEED, Production, bill, total
from tools.cost.prices import Prices
from tools.cost.usage import HOURS, SECONDS, Load


@dataclass(frozen=True, slots=True)
class Option:
    """One change, what it does to a month of the seed load in rupees, and what one gets or loses."""

    change: str
    inr: float
    effect: str


def purchases(catalog: Catalog, prices: Prices, set_to: Production) -> list[Option]:
    """What can be bought, cheapest first."""
    larger: tuple[tuple[str, Load, str], ...] = (
        (
            "10 GiB more SSD",
            replace(SEED, disk_gib=SEED.disk_gib + 10),
            "a few months of events; disk speed grows with size",
        ),
        (
            "1 GiB more memory of the database",
            replace(SEED, memory_gib=SEED.memory_gib + 1),
            "a larger share of the tables in its cache",
        ),
        ("a second vCPU of the database", replace(SEED, vcpus=2), "twice as many statements before they queue"),
    )
    now = total(bill(catalog, SEED, prices, set_to))
    bought = [
        Option(change, prices.inr(total(bill(catalog, load, prices, set_to)) - now), effect)
        for change, load, effect in larger
    ]
    zones = total(bill(catalog, SEED, prices, replace(set_to, regional=True))) - now
    bought.append(
        Option("a second zone of the database", prices.inr(zones), "a zone failure costs a minute instead of a restore")
    )
    rule = prices.usd("armor_rule")
    bought.append(
        Option("one more managed Cloud Armor rule", prices.inr(rule), "protection against another OWASP attack class")
    )
    warm = SECONDS * (prices.usd("run_idle_cpu_second") + 0.5 * prices.usd("run_memory_second"))
    bought.append(Option("one more function kept warm", prices.inr(warm), "no cold start on its first instance"))
    nat = HOURS * (prices.usd("nat_instance_hour") + prices.usd("nat_address_hour"))
    bought.append(
        Option(
            "a second address for webhooks",
            prices.inr(nat),
            "partners with address allow-lists keep one during a change",
        )
    )
    return sorted(bought, key=lambda option: option.inr)


def savings(catalog: Catalog, prices: Prices, set_to: Production) -> Iterator[Option]:
    """What could be given up, one warm function at a time."""
    now = total(bill(catalog, SEED, prices, set_to))
    for name, function in sorted(catalog.functions.items()):
        if set_to.warm.get(name, function.min_instances):
            cold = replace(set_to, warm=set_to.warm | {name: 0})
            inr = prices.inr(total(bill(catalog, SEED, prices, cold)) - now)
            yield Option(f"`min_instances` 0 for {name}", inr, "a cold start after 15 minutes without a call")
