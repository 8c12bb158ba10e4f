"""Starting the stand-in, and running Terraform against it in a copy of the configuration."""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.catalog import ROOT, catalog

BUILD = ROOT / "build/terraform"
PYTHON = ROOT / ".venv-terraform/bin/python"
RULES = "functions/live_feed/firestore.rules"
"""What Terraform reads besides its own folder and the catalog."""

_BETA = "google_project_service_identity"
_TYPE = re.compile(r"^(resource|data) \"(google_\w+)\"", re.M)

# State and bundles are local, and nothing waits for Google.
_OVERRIDE = 'terraform {\n  backend "local" {}\n}\n'
_SETTINGS = {"service_agent_wait_seconds": 0}


class TerraformFailed(Exception):
    """Terraform ended with an error; the message is its output."""


def terraform_binary() -> str:
    """Where Terraform is. Ends the program with one line if it is not installed."""
    binary = shutil.which("terraform")
    if binary is None:
        raise SystemExit(
            "terraform is not installed: get version 1.9 or later from https://developer.hashicorp.com/terraform/install"
        )
    return binary


@functools.cache
def schemas() -> Path:
    """The folder with the schemas of the types that the configuration uses, extracted once for each set of types."""
    text = "".join(path.read_text() for path in sorted((ROOT / "terraform").rglob("*.tf")))
    types = sorted({f"data.{name}" if kind == "data" else name for kind, name in _TYPE.findall(text)})
    sources = (ROOT / "requirements-terraform.txt", Path(__file__).with_name("schema.py"))
    wanted = " ".join([*types, *(path.read_text() for path in sources)])
    folder = BUILD / f"schemas-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    if not folder.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, for it may be interrupted.
        temporary = Path(tempfile.mkdtemp(dir=BUILD))
        for kind, names in {"google": [t for t in types if t != _BETA], "google-beta": [_BETA]}.items():
            command = [PYTHON, "-m", "tools.terraform.schema", kind, temporary / f"{kind}.json", *names]
            subprocess.run(command, cwd=ROOT, check=True)
        temporary.rename(folder)
    return folder


@contextlib.contextmanager
def stand_in() -> Iterator[dict[str, str]]:
    """The stand-in with an empty cloud; the environment that makes Terraform use it."""
    with tempfile.TemporaryDirectory(prefix="kapas-tf-") as sockets:
        command = [PYTHON, "-m", "tools.terraform.provider", schemas(), sockets]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None  # noqa: S101
        try:
            reattach = process.stdout.readline()
            if not reattach:
                raise SystemExit("the stand-in for Google's providers did not start")
            yield {
                **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
                "TF_REATTACH_PROVIDERS": reattach.strip(),
                "TF_CLI_CONFIG_FILE": os.devnull,
                "TF_IN_AUTOMATION": "1",
                "CHECKPOINT_DISABLE": "1",
            }
        finally:
            process.communicate()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A copy of the configuration and of the catalog, with its own state."""

    folder: Path
    environment: Mapping[str, str]

    def terraform(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run Terraform in the copy. Raises `TerraformFailed` unless its exit code is in `ok`."""
        result = subprocess.run(
            [terraform_binary(), *arguments],
            cwd=self.folder / "terraform",
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode not in ok:
            raise TerraformFailed(f"terraform {' '.join(arguments)}\n{result.stdout}{result.stderr}")
        return result

    def state(self) -> dict[str, Any]:
        """What is applied, as `terraform show -json` tells it."""
        return json.loads(self.terraform("show", "-json").stdout)


def copy_catalog(root: Path, folder: Path) -> None:
    """Copy the catalog's files of `root` to `folder`."""
    for path in sorted((root / "functions").glob("**/*.yaml")):
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def workspace(folder: Path, environment: Mapping[str, str], name: str) -> Workspace:
    """A fresh copy for the environment `name` (dev or prod) in `folder`, with a bundle for each capability."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        ROOT / "terraform", folder / "terraform", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*")
    )
    copy_catalog(ROOT, folder)
    shutil.copy(ROOT / RULES, folder / RULES)
    terraform = folder / "terraform"
    (terraform / "backend_override.tf").write_text(_OVERRIDE)
    shutil.copy(terraform / f"envs/{name}.tfvars", terraform / "terraform.tfvars")
    (terraform / "proof.auto.tfvars.json").write_text(json.dumps(_SETTINGS))
    write_bundles(folder, {function.capability for function in catalog().functions.values()})
    return Workspace(folder, environment)


def write_bundles(folder: Path, capabilities: set[str]) -> None:
    """What `make bundle` writes, with made-up contents."""
    bundles = {name: f"{name}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.zip" for name in sorted(capabilities)}
    (folder / "terraform/bundles.auto.tfvars.json").write_text(json.dumps({"bundles": bundles}))
