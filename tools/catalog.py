"""What is deployed: the union of `functions/common.yaml` and every `functions/<capability>/function.yaml`.

Terraform, the local cloud, the bundler, the API document and the contract tests all read it.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

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
    imports: dict[str, list[str]]
    """Capability -> the third-party packages that it imports before its first request, besides those of every function."""

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
    """The files contradict each other; the message is one line that names the file and what to mend."""


class _Capability(Entry):
    """The shape of a `function.yaml`."""

    topics: list[Name] = []
    queues: dict[Name, Queue] = {}
    functions: dict[Name, Function]
    imports: list[str] = []
    """Third-party packages, by the name they are imported by. Every other one is imported at its first use."""


@cache
def catalog(folder: Path = ROOT / "functions") -> Catalog:
    """The catalog of the capabilities in `folder`. Raises `InvalidCatalog`."""
    common = _read(folder / "common.yaml", Common.model_validate)
    capabilities = {
        path.parent.name: _read(path, partial(_capability, path.parent.name))
        for path in sorted(folder.glob("*/function.yaml"))
    }
    _refuse_duplicates(common, capabilities)
    found = Catalog(
        region=common.region,
        database=common.database,
        topics=sorted([*common.topics, *(topic for own in capabilities.values() for topic in own.topics)]),
        queues={name: queue for own in capabilities.values() for name, queue in own.queues.items()},
        functions={name: function for own in capabilities.values() for name, function in own.functions.items()},
        imports={name: own.imports for name, own in capabilities.items()},
    )
    for capability, own in capabilities.items():
        _refuse_unknown(capability, own, found)
    return found


def _read(path: Path, parse: Callable[[Any], E]) -> E:
    name = _file(path.parent.name) if path.name == "function.yaml" else f"functions/{path.name}"
    try:
        data = yaml.load(path.read_text(), _UniqueKeys)  # noqa: S506  a SafeLoader
        if not isinstance(data, dict):
            raise InvalidCatalog(f"{name} holds no mapping: tools/catalog.py has its shape")
        return parse(data)
    except FileNotFoundError:
        raise InvalidCatalog(f"{name} is missing") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidCatalog(f"{name}:{line}: {error.problem}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise InvalidCatalog(f"{name}: {'; '.join(faults)}") from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML without repeated keys, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands here twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _capability(name: str, data: dict[str, Any]) -> _Capability:
    """A `function.yaml`, each function with the name of the folder. Raises ValidationError."""
    functions = data.get("functions")
    for key, entry in cast("dict[str, Any]", functions).items() if isinstance(functions, dict) else ():
        if isinstance(entry, dict):
            if "capability" in entry:
                raise InvalidCatalog(f"{_file(name)}: {key}: leave out capability, it is the folder's name")
            entry["capability"] = name
    return _Capability.model_validate(data)


def _refuse_duplicates(common: Common, capabilities: Mapping[str, _Capability]) -> None:
    """Raise `InvalidCatalog` for a name that two files declare."""
    declared = [("topic", topic, "functions/common.yaml") for topic in common.topics]
    for capability, own in capabilities.items():
        kinds = (("topic", own.topics), ("queue", own.queues), ("function", own.functions))
        declared += [(kind, name, _file(capability)) for kind, names in kinds for name in names]
    owners: dict[tuple[str, str], str] = {}
    for kind, name, file in declared:
        if (kind, name) in owners:
            raise InvalidCatalog(
                f"{file}: {owners[kind, name]} declares the {kind} {name} already: choose another name"
            )
        owners[kind, name] = file


def _refuse_unknown(capability: str, own: _Capability, whole: Catalog) -> None:
    """Raise `InvalidCatalog` for a name that no file declares, and for a queue that no function handles."""
    handled = {function.trigger.queue for function in whole.functions.values()}
    for queue in own.queues:
        if queue not in handled:
            raise InvalidCatalog(f"{_file(capability)}: the queue {queue} has no function that is triggered by it")
    for name, function in own.functions.items():
        where = f"{_file(capability)}: {name}"
        for topic in (*function.trigger.topics, *function.publishes):
            if topic not in whole.topics:
                raise InvalidCatalog(f"{where} names the topic {topic}, which no file declares")
        for queue in filter(None, (function.trigger.queue, *function.enqueues)):
            if queue not in whole.queues:
                raise InvalidCatalog(f"{where} names the queue {queue}, which no file declares")
        for queue, handler in function.enqueues.items():
            if handler not in whole.functions:
                raise InvalidCatalog(f"{where} enqueues for the function {handler}, which no file declares")
            if whole.functions[handler].trigger.queue != queue:
                raise InvalidCatalog(f"{where} enqueues for {handler}, which does not handle the queue {queue}")


def _file(capability: str) -> str:
    return f"functions/{capability}/function.yaml"
