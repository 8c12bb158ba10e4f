"""The month's bill for a load, item by item, from the catalog, what production is set to, and the prices.

Free tiers are counted, also those of a billing account (Cloud Run, Cloud Scheduler, Cloud Tasks, Cloud Build); discounts
for commitment and tax are not.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.catalog import ROOT, Catalog
from tools.cost.prices import Prices
from tools.cost.usage import HOURS, Load, running

SEED = Load("seed", 10_000_000, 100_000, 1_000_000, vcpus=1, memory_gib=3.75, disk_gib=20)
LOADS = (
    SEED,
    Load("10x", 100_000_000, 1_000_000, 10_000_000, vcpus=2, memory_gib=7.5, disk_gib=100),
    Load("100x", 1_000_000_000, 10_000_000, 100_000_000, vcpus=8, memory_gib=30, disk_gib=1000),
)
LIMIT_INR = 18_900
"""What the seed load may cost a month."""

MESSAGE_KIB = 1.0
"""Of an event with its envelope; Pub/Sub bills no less."""
ANSWER_KIB = 6.0
WEBHOOK_KIB = 2.0
LOG_KIB = {"request": 3.0, "message": 1.5, "task": 1.5}
"""The load balancer's, Cloud Run's and the function's entries for one call."""
ARMOR_RULES = 7
NAT_INSTANCES = 2
KEY_VERSIONS = 33
"""Seven keys of services and one of personal data after four rotations, and the key of receipts."""
RELEASES, RELEASE_MINUTES, IMAGE_MINUTES, MIGRATION_MINUTES = 20, 35, 2, 5
"""A release's two builds and an image of each function run in the default pool, its migrations in the private one."""
FREE_BUILD_MINUTES = 2500
"""Of the default pool, a month."""
SERIES_READS = 86_400
"""A condition of an alert is evaluated every 30 seconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the bill, in US dollars a month."""

    group: str
    what: str
    usd: float


@dataclass(frozen=True, slots=True)
class Production:
    """What `terraform/envs/prod.tfvars` says of what costs money."""

    regional: bool
    backups: int
    log_days: int
    warm: dict[str, int]


def production() -> Production:
    """Read from the settings of production, and from their defaults where it is silent."""
    text = (ROOT / "terraform/envs/prod.tfvars").read_text()
    warm = re.search(r"^min_instances\s*=\s*\{(.*?)\}", text, re.DOTALL | re.MULTILINE)
    return Production(
        regional=_setting(text, "database_availability", '"ZONAL"') == '"REGIONAL"',
        backups=int(_setting(text, "database_backups", "14")),
        log_days=int(_setting(text, "log_retention_days", "180")),
        warm={name: int(count) for name, count in re.findall(r"([\w-]+)\s*=\s*(\d+)", warm[1] if warm else "")},
    )


def bill(catalog: Catalog, load: Load, prices: Prices, set_to: Production) -> list[Item]:
    """Every item of a month under this load."""
    return [
        Item(group, what, usd)
        for group, items in (
            ("Functions", _functions(catalog, load, prices, set_to)),
            ("Database", _database(load, prices, set_to)),
            ("Edge", _edge(load, prices)),
            ("Network outwards", _outwards(load, prices)),
            ("Events, tasks, schedules", _events(catalog, load, prices)),
            ("Documents, files, images", _files(catalog, load, prices)),
            ("Logs and alerts", _watching(catalog, load, prices, set_to)),
            ("Keys, names, builds", _rest(catalog, prices)),
        )
        for what, usd in items
    ]


def total(items: list[Item]) -> float:
    return sum(item.usd for item in items)


def _functions(catalog: Catalog, load: Load, prices: Prices, set_to: Production) -> Iterator[tuple[str, float]]:
    months = running(catalog, load, set_to.warm)
    busy, calls = sum(m.busy for m in months.values()), sum(m.calls for m in months.values())
    yield f"{busy:,.0f} vCPU-seconds of calls", busy * prices.usd("run_cpu_second")
    memory = sum(m.busy * m.memory_gib for m in months.values())
    yield f"{memory:,.0f} GiB-seconds of calls", memory * prices.usd("run_memory_second")
    cpu, gib = prices.usd("run_idle_cpu_second"), prices.usd("run_memory_second")
    warm = sum(m.idle * (cpu + m.memory_gib * gib) for m in months.values())
    names = [name for name, f in catalog.functions.items() if set_to.warm.get(name, f.min_instances)]
    yield f"kept warm: {', '.join(names) or 'nothing'}", warm
    # A discount at the prices of the cheaper regions: 180,000 vCPU-seconds and 360,000 GiB-seconds.
    yield "Cloud Run's free tier", -prices.usd("run_free_tier")
    yield f"{calls / 1e6:,.1f}M calls", max(0.0, calls / 1e6 - 2) * prices.usd("run_million_requests")


def _database(load: Load, prices: Prices, set_to: Production) -> Iterator[tuple[str, float]]:
    zones = 2 if set_to.regional else 1
    compute = load.vcpus * prices.usd("sql_vcpu_hour") + load.memory_gib * prices.usd("sql_memory_hour")
    yield (
        f"{load.vcpus} vCPU and {load.memory_gib:g} GiB in {'two zones' if set_to.regional else 'one zone'}",
        compute * HOURS * zones,
    )
    yield f"{load.disk_gib} GiB of SSD", load.disk_gib * prices.usd("sql_disk_gib") * zones
    # The first is whole, the others hold what changed: about a tenth a day.
    kept = load.disk_gib * (1 + 0.1 * (set_to.backups - 1))
    yield f"{set_to.backups} backups, {kept:.0f} GiB", kept * prices.usd("sql_backup_gib")


def _edge(load: Load, prices: Prices) -> Iterator[tuple[str, float]]:
    yield "load balancer", HOURS * prices.usd("balancer_hour")
    processed = _gib(load.requests, 2 * ANSWER_KIB)
    yield f"{processed:.1f} GiB through it", processed * prices.usd("balancer_gib")
    yield f"Cloud Armor, {ARMOR_RULES} rules", prices.usd("armor_policy") + ARMOR_RULES * prices.usd("armor_rule")
    yield "requests through Cloud Armor", load.requests / 1e6 * prices.usd("armor_million_requests")


def _outwards(load: Load, prices: Prices) -> Iterator[tuple[str, float]]:
    hour = NAT_INSTANCES * prices.usd("nat_instance_hour") + prices.usd("nat_address_hour")
    yield "Cloud NAT and its address", HOURS * hour
    webhooks = _gib(load.tasks, 2 * WEBHOOK_KIB)
    yield "data through Cloud NAT", webhooks * prices.usd("nat_gib")
    yield "data to the internet", (_gib(load.requests, ANSWER_KIB) + webhooks) * prices.usd("egress_gib")


def _events(catalog: Catalog, load: Load, prices: Prices) -> Iterator[tuple[str, float]]:
    published = _gib(load.messages, MESSAGE_KIB)
    yield "Pub/Sub, published and delivered", max(0.0, 2 * published - 10) / 1024 * prices.usd("pubsub_tib")
    yield "Pub/Sub, a week retained", published * 7 / 30 * prices.usd("pubsub_retained_gib")
    yield "Cloud Tasks", max(0.0, 2 * load.tasks / 1e6 - 1) * prices.usd("tasks_million")
    jobs = sum(function.trigger.kind == "schedule" for function in catalog.functions.values())
    yield f"Cloud Scheduler, {jobs} jobs", max(0, jobs - 3) * prices.usd("scheduler_job")


def _files(catalog: Catalog, load: Load, prices: Prices) -> Iterator[tuple[str, float]]:
    writers = sum(1 for _, name in catalog.subscriptions().values() if catalog.functions[name].documents)
    writes = load.messages * writers / len(catalog.subscriptions())
    yield "Firestore writes", max(0.0, writes - 600_000) / 1e5 * prices.usd("firestore_100k_writes")
    yield "Cloud Storage", load.disk_gib * prices.usd("storage_gib")
    yield "images of functions, 20 GiB", 19.5 * prices.usd("registry_gib")


def _watching(catalog: Catalog, load: Load, prices: Prices, set_to: Production) -> Iterator[tuple[str, float]]:
    calls = {"request": load.requests, "message": load.messages, "task": load.tasks}
    logged = sum(_gib(calls[kind], size) for kind, size in LOG_KIB.items())
    yield f"{logged:.0f} GiB of logs", max(0.0, logged - 50) * prices.usd("log_gib")
    yield (
        f"logs for {set_to.log_days} days",
        logged * max(0, set_to.log_days - 30) / 30 * prices.usd("log_retained_gib"),
    )
    conditions = alert_conditions(catalog)
    yield f"{conditions} conditions of alerts", conditions * prices.usd("alert_condition")
    yield "time series they read", conditions * SERIES_READS / 1e6 * prices.usd("alert_million_series")


def alert_conditions(catalog: Catalog) -> int:
    """Conditions of `terraform/alerts.tf` and `slos.tf`: two of each burn rate of a capability, one of each other alert."""
    capabilities = {function.capability for function in catalog.functions.values()}
    scheduled = sum(function.trigger.kind == "schedule" for function in catalog.functions.values())
    return 4 * len(capabilities) + scheduled + 9


def _rest(catalog: Catalog, prices: Prices) -> Iterator[tuple[str, float]]:
    yield f"{KEY_VERSIONS} key versions", KEY_VERSIONS * prices.usd("kms_version")
    yield "a private zone", prices.usd("dns_zone")
    built = RELEASES * (RELEASE_MINUTES + IMAGE_MINUTES * len(catalog.functions))
    yield f"{RELEASES} releases, {built:,} minutes", max(0, built - FREE_BUILD_MINUTES) * prices.usd("build_minute")
    migrating = RELEASES * MIGRATION_MINUTES
    yield f"their migrations, {migrating} minutes in the network", migrating * prices.usd("build_private_minute")


def _gib(count: float, kib: float) -> float:
    return count * kib / 1024**2


def _setting(text: str, name: str, default: str) -> str:
    found = re.search(rf"^{name}\s*=\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else default
