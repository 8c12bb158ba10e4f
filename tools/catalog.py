"""The typed reading of `functions/catalog.yaml`."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

ROOT = Path(__file__).resolve().parents[1]
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
    """The folder under functions/."""
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


@cache
def catalog(path: Path = ROOT / "functions/catalog.yaml") -> Catalog:
    """The catalog, validated."""
    return Catalog.model_validate(yaml.safe_load(path.read_text()))
