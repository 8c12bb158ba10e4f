"""What `make terraform-test` runs: the configuration through all of Terraform, offline, then the policies over its result.

It is a stand-in with the real schema, not a run on Google Cloud: docs/operations/first-apply.md says what it does not show.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tools.catalog import ROOT
from tools.terraform.standin import (
    BUILD,
    PYTHON,
    RULES,
    TerraformFailed,
    Workspace,
    copy_catalog,
    schemas,
    stand_in,
    terraform_binary,
    workspace,
    write_bundles,
)
from tools.terraform.walkthrough import follow

STATES = BUILD / "states"
"""What is applied in each environment, as JSON: what the policies are tested on."""

MODULES = sorted(path.parent for path in (ROOT / "terraform/modules").glob("*/main.tf"))
RESTORE = ROOT / "docs/operations/restore.md"
REPLACED = 'module.function["outbox-relay"].google_cloudfunctions2_function.this'

GROWTH = {
    "topics": ["growth-events"],
    "queues": {
        "growth-tasks": {
            "max_dispatches_per_second": 5,
            "max_concurrent_dispatches": 1,
            "max_attempts": 20,
            "min_backoff_seconds": 10,
            "max_backoff_seconds": 600,
        }
    },
    "functions": {
        "growth-api": {
            "trigger": {"routes": ["/v1/growth"]},
            "database": {"role": "growth", "pool": 1},
            "publishes": ["growth-events"],
            "encrypts": True,
            "signs": True,
            "secrets": ["growth-secret"],
            "buckets": ["exports", "growth"],
            "enqueues": {"growth-tasks": "growth-task"},
        },
        "growth-consumer": {"trigger": {"topics": ["growth-events", "trade-events"]}, "documents": True},
        "growth-task": {"trigger": {"queue": "growth-tasks"}, "fixed_egress": True},
        "growth-sweep": {"trigger": {"schedule": "30 2 * * *"}, "database": {"role": "growth", "pool": 1}},
    },
}
"""A capability with everything that a catalog entry can ask for: it must come to be without a change of Terraform."""


def grow(folder: Path) -> None:
    """Add `GROWTH` to the catalog in a workspace."""
    path = folder / "functions/common.yaml"
    common = yaml.safe_load(path.read_text())
    common["database"]["max_connections"] += len(GROWTH["functions"])
    path.write_text(yaml.safe_dump(common, sort_keys=False))
    limits = {"concurrency": 1, "memory_mb": 512, "timeout_seconds": 60}
    limits |= {"min_instances": 0, "max_instances": 1, "import_budget_modules": 600}
    functions = {
        name: {**limits, "entry_point": name.replace("-", "_"), **entry} for name, entry in GROWTH["functions"].items()
    }
    path = folder / "functions/growth/function.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({**GROWTH, "functions": functions}, sort_keys=False))
    write_bundles(folder, capabilities(folder))


def thin(folder: Path) -> None:
    """Leave functions out of the catalog that are like others, for each costs seconds: with routes all but the first."""
    served = False
    for path in sorted(folder.glob("functions/*/function.yaml")):
        own = yaml.safe_load(path.read_text())
        for name, entry in list(own["functions"].items()):
            routes = "routes" in entry["trigger"]
            if (routes and served) or ("topics" in entry["trigger"] and not entry.get("documents")):
                del own["functions"][name]
            served = served or routes
        path.write_text(yaml.safe_dump(own, sort_keys=False))


def capabilities(folder: Path) -> set[str]:
    """The capabilities of a workspace's catalog."""
    return {path.parent.name for path in folder.glob("functions/*/function.yaml")}


def prove_dev() -> None:
    """By the walkthrough, from nothing; then the plan must be empty, and everything can be destroyed."""
    with stand_in() as environment:
        space = workspace(BUILD / "dev", environment, "dev")
        (STATES / "first-apply.walk").write_text(json.dumps(follow(space)))
        keep(space, STATES, "dev")
        space.terraform("plan", "-detailed-exitcode", "-no-color")
        keep_replacement(space, STATES)
        keep_restored(space, STATES)
        space.terraform("destroy", "-auto-approve", "-refresh=false", "-no-color")


def prove_prod() -> None:
    """Plan, apply, an empty plan; a destroy is refused until the data is no longer protected."""
    with stand_in() as environment:
        space = workspace(BUILD / "prod", environment, "prod")
        space.terraform("init", "-input=false", "-no-color")
        space.terraform("validate", "-no-color")
        space.terraform("plan", "-out=plan", "-no-color")
        keep_configuration(space, STATES)
        space.terraform("apply", "-no-color", "plan")
        keep(space, STATES, "prod")
        space.terraform("plan", "-detailed-exitcode", "-no-color")
        database = "-target=google_sql_database_instance.this"
        refused = space.terraform("destroy", "-auto-approve", "-refresh=false", "-no-color", database, ok=(0, 1))
        if refused.returncode == 0:
            raise TerraformFailed("prod could be destroyed while its data is protected")
        unprotected = ("-auto-approve", "-refresh=false", "-no-color", "-var=protect_data=false")
        space.terraform("apply", *unprotected)
        space.terraform("destroy", *unprotected)


def second_opinion() -> None:
    """What checkov says; terraform/.checkov.yaml has the exceptions, with reasons."""
    configuration = ROOT / "terraform"
    command = [PYTHON.with_name("checkov"), "--config-file", configuration / ".checkov.yaml", "-d", configuration]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise TerraformFailed(f"checkov\n{result.stdout}{result.stderr}")


def prove_growth() -> None:
    """A catalog with one more capability is applied as it is."""
    with stand_in() as environment:
        space = workspace(BUILD / "grown", environment, "dev")
        thin(space.folder)
        grow(space.folder)
        space.terraform("init", "-input=false", "-no-color")
        space.terraform("apply", "-auto-approve", "-no-color")
        keep(space, STATES, "grown")


def prove_modules() -> None:
    """`terraform test` in each module."""
    with stand_in() as environment:
        for module in MODULES:
            folder = BUILD / "modules" / module.name
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(module, folder / "terraform")
            space = Workspace(folder, environment)
            space.terraform("init", "-input=false", "-no-color")
            space.terraform("test", "-no-color")


def keep(space: Workspace, states: Path, name: str) -> None:
    """Write what is applied, and the catalog and the rules that it was made from, for the policy tests."""
    (states / f"{name}.json").write_text(json.dumps(space.state()))
    shutil.rmtree(states / f"{name}.catalog", ignore_errors=True)
    copy_catalog(space.folder, states / f"{name}.catalog")
    shutil.copy(space.folder / RULES, states / f"{name}.firestore.rules")


def keep_configuration(space: Workspace, states: Path) -> None:
    """Write the configuration that the file `plan` was made from: what is there after what, said and not happened on."""
    shown = space.terraform("show", "-json", "plan").stdout
    (states / "configuration.plan").write_text(json.dumps(json.loads(shown)["configuration"]))


def keep_replacement(space: Workspace, states: Path) -> None:
    """Write what a plan changes that makes the relay's function anew."""
    space.terraform("plan", "-no-color", "-out=replacement", f"-replace={REPLACED}")
    shown = space.terraform("show", "-json", "replacement").stdout
    (states / "replacement.plan").write_text(json.dumps(json.loads(shown)["resource_changes"]))


def keep_restored(space: Workspace, states: Path) -> None:
    """Write what a plan changes after a restore, once Terraform was told to forget the lost instance as RESTORE says."""
    (forget,) = re.findall(r"^ *terraform -chdir=terraform (state rm .*)$", RESTORE.read_text(), re.M)
    state = space.folder / "terraform/terraform.tfstate"
    known = state.read_bytes()
    space.terraform(*forget.split())
    space.terraform("plan", "-no-color", "-out=restored", "-var=database_instance=kapas-restored")
    shown = space.terraform("show", "-json", "restored").stdout
    (states / "restored.plan").write_text(json.dumps(json.loads(shown)["resource_changes"]))
    state.write_bytes(known)


def format_check() -> None:
    """Every file is formatted as `terraform fmt` would."""
    command = [terraform_binary(), "fmt", "-check", "-recursive", "-diff", ROOT / "terraform"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise TerraformFailed(f"terraform fmt\n{result.stdout}{result.stderr}")


def main() -> int:
    """Prove everything; the exit code."""
    terraform_binary()
    schemas()
    shutil.rmtree(STATES, ignore_errors=True)
    STATES.mkdir(parents=True)
    steps: list[Callable[[], None]] = [format_check, prove_dev, prove_prod, prove_growth, prove_modules, second_opinion]
    failed = False
    with ThreadPoolExecutor(2) as pool:
        for step, future in [(step, pool.submit(_timed, step)) for step in steps]:
            try:
                print(f"{step.__name__.removeprefix('prove_')}: {future.result():.0f} s", flush=True)
            except TerraformFailed as error:
                print(f"{step.__name__} failed: {error}", file=sys.stderr, flush=True)
                failed = True
    if failed:
        return 1
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/terraform"], cwd=ROOT, check=False).returncode


def _timed(step: Callable[[], None]) -> float:
    start = time.monotonic()
    step()
    return time.monotonic() - start
