"""What is applied, in a form that policies are easily written over."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.catalog import ROOT, Catalog, Function, catalog
from tools.terraform.grants import resources


@dataclass(frozen=True, slots=True)
class Resource:
    address: str
    type: str
    index: str | int | None
    values: dict[str, Any]
    after: tuple[str, ...]
    """What it was made after."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Who (`member`, as IAM writes it) may do what (`role`) on what (`target`; empty for the whole project)."""

    address: str
    kind: str
    member: str
    role: str
    target: str
    condition: str


KEYS: dict[str, str] = {
    "artifact_registry_repository": "kms_key_name",
    "cloudfunctions2_function": "kms_key_name",
    "firestore_database": "cmek_config.kms_key_name",
    "logging_project_bucket_config": "cmek_settings.kms_key_name",
    "pubsub_topic": "kms_key_name",
    "secret_manager_secret": "replication.user_managed.replicas.customer_managed_encryption.kms_key_name",
    "sql_database_instance": "encryption_key_name",
    "storage_bucket": "encryption.default_kms_key_name",
}
"""Type -> where it names its key: every type that holds data and can."""

_TARGETS = ("service_account_id", "crypto_key_id", "secret_id", "subscription", "topic", "bucket", "repository", "name")


@dataclass(frozen=True)
class Deployed:
    name: str
    catalog: Catalog
    rules: str
    """The live feed's rules of Firestore, as this was applied from."""
    resources: list[Resource]

    def of(self, kind: str) -> list[Resource]:
        """The resources of a type, without the provider's prefix."""
        return [resource for resource in self.resources if resource.type == f"google_{kind}"]

    def values(self, kind: str) -> list[dict[str, Any]]:
        return [resource.values for resource in self.of(kind)]

    def one(self, kind: str) -> dict[str, Any]:
        (resource,) = self.of(kind)
        return resource.values

    def functions(self, trigger: str) -> dict[str, Function]:
        """The catalog's functions with a kind of trigger."""
        return {name: f for name, f in self.catalog.functions.items() if f.trigger.kind == trigger}

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        """Function -> its service configuration."""
        return {values["name"]: values["service_config"][0] for values in self.values("cloudfunctions2_function")}

    @cached_property
    def environments(self) -> dict[str, dict[str, str]]:
        return {name: service["environment_variables"] for name, service in self.services.items()}

    @cached_property
    def project(self) -> str:
        return self.one("artifact_registry_repository")["project"]

    def account(self, name: str) -> str:
        return f"serviceAccount:{name}@{self.project}.iam.gserviceaccount.com"

    @cached_property
    def grants(self) -> list[Grant]:
        return [
            Grant(
                resource.address,
                resource.type.removeprefix("google_").removesuffix("_iam_member"),
                resource.values["member"],
                resource.values["role"],
                next((resource.values[name] for name in _TARGETS if resource.values.get(name)), ""),
                "".join(condition["expression"] for condition in resource.values.get("condition") or []),
            )
            for resource in self.resources
            if resource.type.endswith("_iam_member")
        ]

    def granted(self, role: str, kind: str | None = None) -> set[tuple[str, str]]:
        """(member, last part of the target's name) of each grant of a role."""
        return {
            (grant.member, grant.target.rpartition("/")[2])
            for grant in self.grants
            if grant.role == role and kind in (None, grant.kind)
        }


def read(folder: Path, name: str) -> Deployed:
    state = json.loads((folder / f"{name}.json").read_text())
    found = [
        Resource(r["address"], r["type"], r.get("index"), r["values"], tuple(r.get("depends_on", ())))
        for r in resources(state["values"]["root_module"])
    ]
    rules = (folder / f"{name}.firestore.rules").read_text()
    return Deployed(name, catalog(folder / f"{name}.catalog/functions"), rules, found)


def seconds(duration: str) -> float:
    """`90s` -> 90."""
    return float(duration.removesuffix("s"))


def with_code(deployed: Deployed) -> list[str]:
    """The functions that have code: all but those that prove the catalog's growth."""
    functions = deployed.catalog.functions.items()
    return [name for name, function in functions if Path(ROOT, "functions", function.capability, "main.py").exists()]
