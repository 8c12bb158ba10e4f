"""What is deployed: the union of `functions/common.yaml` and every `functions/<capability>/function.yaml`.

Terraform, the local cloud, the bundler, the API document and the contract tests all read it.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ROOT = Path(__file__).resolve().parents[1]
E = TypeVar("E", bound="Entry")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseLimits(Entry):
    max_connections: int
    reserved: int
    """Connections kept free of functions: migrations, backups, a person."""


class Queue(Entry):
    max_dispatches_per_second: float
    max_concurrent_dispatches: int
    max_attempts: int
    min_backoff_seconds: float
    max_backoff_seconds: float


class Trigger(Entry):
    """Exactly one of these."""

    routes: list[Annotated[str, Field(pattern=r"^/v1/[a-z-]+$")]] = []
    """Path prefixes of the public address: each path itself and everything below it."""
    topics: list[Name] = []
    queue: Name | None = None
    schedule: str | None = None
    """Cron, in Asia/Kolkata."""

    @property
    def kind(self) -> Literal["http", "pubsub", "task", "schedule"]:
        if self.routes:
            return "http"
        if self.topics:
            return "pubsub"
        return "task" if self.queue else "schedule"

    @model_validator(mode="after")
    def _exactly_one(self) -> "Trigger":
        if sum(map(bool, (self.routes, self.topics, self.queue, self.schedule))) != 1:
            raise ValueError("a trigger is exactly one of routes, topics, queue, schedule")
        return self


class DatabaseUse(Entry):
    role: str
    pool: int = Field(ge=1)
    """Connections of one instance."""


class Function(Entry):
    capability: str
    """The folder under functions/ that the entry stands in."""
    entry_point: str
    """The function in its main.py: unique, for functions-framework registers targets by this name."""
    trigger: Trigger
    concurrency: int = Field(ge=1)
    """Requests at once in an instance, and so its THREADS."""
    memory_mb: int
    timeout_seconds: int
    min_instances: int
    max_instances: int = Field(ge=1)
    database: DatabaseUse | None = None
    publishes: list[Name] = []
    """Topics its events go to, through the outbox."""
    enqueues: dict[Name, Name] = {}
    """Queue -> the function that handles its tasks."""
    encrypts: bool = False
    """Whether it encrypts personal data, and so may use the KMS key."""
    signs: bool = False
    """Whether it signs receipts, and so may use the KMS key for that."""
    buckets: list[Name] = []
    """Buckets of Cloud Storage that it keeps files in: of `uploads` it is told as UPLOAD_BUCKET."""
    secrets: list[Name] = []
    """Secrets of Secret Manager it is told: `some-key` in the variable SOME_KEY."""
    documents: bool = False
    """Whether it writes Firestore documents."""
    fixed_egress: bool = False
    """Whether it calls partners' addresses, and so comes from the one address that they may allow."""
    woken: bool = False
    """Whether functions that publish may call it."""
    import_budget_modules: int
    """How many modules a fresh process may have imported by its first answer from the database."""


class Common(Entry):
    """The shape of `functions/common.yaml`."""

    region: str
    database: DatabaseLimits
    topics: list[Name]
    """Topics that several capabilities publish to."""


class Catalog(Entry):
    region: str
    database: DatabaseLimits
    topics: list[Name]
    queues: dict[Name, Queue]
    functions: dict[Name, Function]

    def buckets(self) -> list[str]:
        """Every bucket that a function keeps files in."""
        return sorted({bucket for function in self.functions.values() for bucket in function.buckets})

    def subscriptions(self) -> dict[str, tuple[str, str]]:
        """Subscription name -> (topic, function): one for each topic that a function is triggered by."""
        return {
            f"{name}.{topic}": (topic, name)
            for name, function in self.functions.items()
            for topic in function.trigger.topics
        }


class InvalidCatalog(Exception):
    """The files contradict each other; the message names the file and what to mend."""


@cache
def catalog(folder: Path = ROOT / "functions") -> Catalog:
    """The catalog of the capabilities in `folder`. Raises `InvalidCatalog`."""
    common = _read(folder / "common.yaml", Common.model_validate)
    topics, queues, functions = list(common.topics), dict[str, Queue](), dict[str, Function]()
    for path in sorted(folder.glob("*/function.yaml")):
        own = _read(path, lambda data, name=path.parent.name: _capability(name, data))
        for kind, known, added in (
            ("topic", topics, own.topics),
            ("queue", queues, own.queues),
            ("function", functions, own.functions),
        ):
            if taken := sorted(set(known) & set(added)):
                raise InvalidCatalog(f"{path}: the {kind} {taken[0]} exists already: choose another name")
        topics += own.topics
        queues |= own.queues
        functions |= own.functions
    found = Catalog(
        region=common.region, database=common.database, topics=sorted(topics), queues=queues, functions=functions
    )
    _check(found)
    return found


class _Capability(Entry):
    """The shape of a `function.yaml`."""

    topics: list[Name] = []
    queues: dict[Name, Queue] = {}
    functions: dict[Name, Function]


def _capability(name: str, data: Any) -> _Capability:
    functions = {key: {**entry, "capability": name} for key, entry in data.get("functions", {}).items()}
    return _Capability.model_validate({**data, "functions": functions})


def _read(path: Path, parse: Callable[[Any], E]) -> E:
    try:
        return parse(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise InvalidCatalog(f"{path} is missing") from None
    except (yaml.YAMLError, ValidationError, AttributeError, TypeError) as error:
        raise InvalidCatalog(f"{path}: {error}") from None


def _check(found: Catalog) -> None:
    """Raise `InvalidCatalog` for a name that nothing declares, and for a queue whose tasks nothing handles."""
    handled = {f.trigger.queue for f in found.functions.values()}
    if unhandled := sorted(found.queues.keys() - handled):
        raise InvalidCatalog(f"the queue {unhandled[0]} has no function with the trigger {{queue: {unhandled[0]}}}")
    for name, function in found.functions.items():
        where = f"functions/{function.capability}/function.yaml: {name}"
        for topic in (*function.trigger.topics, *function.publishes):
            if topic not in found.topics:
                raise InvalidCatalog(f"{where} names the topic {topic}, which no file declares")
        for queue in filter(None, (function.trigger.queue, *function.enqueues)):
            if queue not in found.queues:
                raise InvalidCatalog(f"{where} names the queue {queue}, which no file declares")
        for queue, handler in function.enqueues.items():
            if handler not in found.functions or found.functions[handler].trigger.queue != queue:
                raise InvalidCatalog(f"{where} enqueues for {handler}, which does not handle the queue {queue}")
