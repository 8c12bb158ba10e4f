"""The table of every IAM grant in terraform/README.md: who may do what on what, from the applied state, and why, from the
comment before each resource."""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tools.catalog import ROOT
from tools.terraform.proof import STATES

README = ROOT / "terraform/README.md"
BEGIN, END = "<!-- grants -->\n", "<!-- end of grants -->"

_GRANT = re.compile(r"((?:^# .*\n)+)^resource \"(google_\w+_iam_member)\" \"(\w+)\"", re.M)
_TARGETS = {
    "google_artifact_registry_repository_iam_member": "repository",
    "google_cloud_run_v2_service_iam_member": "name",
    "google_cloud_tasks_queue_iam_member": "name",
    "google_kms_crypto_key_iam_member": "crypto_key_id",
    "google_pubsub_subscription_iam_member": "subscription",
    "google_pubsub_topic_iam_member": "topic",
    "google_secret_manager_secret_iam_member": "secret_id",
    "google_service_account_iam_member": "service_account_id",
    "google_storage_bucket_iam_member": "bucket",
}

_KINDS = {
    "artifact_registry_repository": "repository",
    "cloud_run_v2_service": "function",
    "cloud_tasks_queue": "queue",
    "kms_crypto_key": "key",
    "pubsub_subscription": "subscription",
    "pubsub_topic": "topic",
    "secret_manager_secret": "secret",
    "service_account": "account",
    "storage_bucket": "bucket",
}


def reasons() -> dict[tuple[str, str], str]:
    """(resource type, name) -> the comment before it, for every grant in the configuration."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted((ROOT / "terraform").rglob("*.tf")):
        for comment, kind, name in _GRANT.findall(path.read_text()):
            found[kind, name] = " ".join(line.removeprefix("# ") for line in comment.splitlines())
    return found


def resources(module: dict[str, Any]) -> list[dict[str, Any]]:
    """Every resource of a module of `terraform show -json`, and of the modules within."""
    inner = [resource for child in module.get("child_modules", []) for resource in resources(child)]
    return [r for r in module.get("resources", []) if r["mode"] == "managed"] + inner


def table(state: dict[str, Any]) -> str:
    """The table: one row for what the same members may do, for the same reason, on the same resources."""
    why = reasons()
    members: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for resource in resources(state["values"]["root_module"]):
        if resource["type"].endswith("_iam_member"):
            values, reason = resource["values"], why[resource["type"], resource["name"]]
            members[reason, _role(values["role"]), _target(resource)].add(_member(values["member"]))
    targets: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for (reason, role, target), who in members.items():
        targets[reason, ", ".join(sorted(who)), role].add(target)
    roles: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for (reason, who, role), on in targets.items():
        roles[reason, who, _listed(on)].add(role)
    lines = ["| who | may | on | why |", "|---|---|---|---|"]
    lines += [f"| {who} | {', '.join(sorted(may))} | {on} | {why} |" for (why, who, on), may in sorted(roles.items())]
    return "\n".join(lines) + "\n"


def document(text: str, state: dict[str, Any]) -> str:
    """The README's text with the table of this state."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}{table(state)}{END}{rest.partition(END)[2]}"


def _role(name: str) -> str:
    return name.rpartition("/")[2]


def _target(resource: dict[str, Any]) -> str:
    """What a grant is on: its kind and, after a colon, its name."""
    kind = resource["type"].removeprefix("google_").removesuffix("_iam_member")
    if kind == "project":
        return "project, with a condition:" if resource["values"].get("condition") else "project:"
    name = resource["values"][_TARGETS[resource["type"]]].rpartition("/")[2].partition("@")[0]
    return f"{_KINDS[kind]}:{name}"


def _listed(targets: set[str]) -> str:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for target in sorted(targets):
        kind, _, name = target.partition(":")
        by_kind[kind] += [f"`{name}`"] if name else []
    return "; ".join(f"{kind} {', '.join(names)}".strip() for kind, names in by_kind.items())


def _member(member: str) -> str:
    kind, _, name = member.partition(":")
    if not name:
        return member
    account, _, host = name.partition("@")
    if kind == "group":
        return "the operators"
    return f"agent {host.split('.')[0].removeprefix('gcp-sa-')}" if re.fullmatch(r"service-\d+", account) else account


def main() -> int:
    state = json.loads(Path(STATES, "prod.json").read_text())
    README.write_text(document(README.read_text(), state))
    print(README.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
