"""The first apply as terraform/README.md has it: its commands, what is run of them offline, and why the rest is not."""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from tools.catalog import ROOT
from tools.terraform.standin import TerraformFailed, Workspace

README = ROOT / "terraform/README.md"

NOT_RUN = {
    "gcloud logging settings update": "sets where the logs of an organisation's folder are, and there is no organisation",
    "gcloud projects create": "makes a project at Google",
    "gcloud billing projects link": "names an account that Google would bill",
    "gcloud config set project": "a setting of gcloud, which is not installed",
    "gcloud auth application-default login": "a person logs in, in a browser",
    "gcloud services enable": "switches on services at Google; the stand-in has no others",
    "gcloud storage buckets create": "the state is in a file here; the bucket's name is tested",
    "gcloud storage buckets update": "the state is in a file here; the bucket's name is tested",
    "gcloud storage cp": "there is nowhere to upload to; the bucket's name is tested",
    "gcloud secrets versions add": "no secret of Google's is here; that each is there by then, with its reader, is tested",
    "gcloud builds submit": "no build runs here; what it names is tested, and the migrations are applied by other tests",
    "curl": "no domain leads to the stand-in; what the function answers is tested",
}
"""How a command begins that no test runs -> why. A command of the README that is neither here nor run fails a test."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command, with the shell's variables filled in."""

    words: list[str]

    def __str__(self) -> str:
        return shlex.join(self.words)

    @property
    def is_run(self) -> bool:
        return self.words[0] in ("export", "terraform") or self.words == ["make", "bundle"]

    def options(self) -> dict[str, str]:
        """`--name=value` and `-name=value`, by name."""
        return {
            name.lstrip("-"): value
            for name, sign, value in (word.partition("=") for word in self.words)
            if name.startswith("-") and sign
        }


def commands() -> list[Command]:
    """Every command of the first apply, in order: of its blocks, and those within its sentences."""
    text = README.read_text().partition("## First apply")[2].partition("\n## ")[0]
    found, variables = [], dict[str, str]()
    for block, within in re.findall(r"```sh\n(.*?)```|`((?:curl|gcloud|make|terraform) [^`\n]+)`", text, re.S):
        for line in (block or within).replace("\\\n", " ").splitlines():
            for name, value in variables.items():
                line = line.replace(f"${name}", value)
            for words in _split(shlex.split(line)):
                if words[0] == "export":
                    variables |= dict([words[1].split("=", 1)])
                found.append(Command(words))
    return found


def follow(space: Workspace) -> list[dict[str, Any]]:
    """Run what is run, in a workspace of dev; for each command whether it was, and the state that another found.

    Only the backend is another, and nothing waits for Google or for a yes. Raises `TerraformFailed` where a command fails.
    """
    folder = space.folder / "terraform"
    # The README's own options must say where the variables are.
    (folder / "terraform.tfvars").rename(folder / "aside.tfvars")
    (folder / "bundles.auto.tfvars.json").unlink()
    followed = []
    for command in commands():
        if command.words[0] == "terraform":
            space.terraform(*_offline(command.words[1:]))
        elif command.words[0] == "make":
            _bundle(space)
        step: dict[str, Any] = {"command": str(command), "run": command.is_run}
        if not command.is_run:
            step["state"] = space.state() if (folder / "terraform.tfstate").exists() else {}
        followed.append(step)
    (folder / "aside.tfvars").rename(folder / "terraform.tfvars")
    shutil.copy(space.folder / "build/bundles.tfvars.json", folder / "bundles.auto.tfvars.json")
    return followed


def _split(words: list[str]) -> list[list[str]]:
    """What `&&` joins."""
    joined: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            joined.append([])
        else:
            joined[-1].append(word)
    return [part for part in joined if part]


def _offline(words: list[str]) -> list[str]:
    """Terraform's arguments, here: a workspace runs it in the folder already."""
    action, *rest = [word for word in words if not word.startswith(("-chdir=", "-backend-config="))]
    quiet = [] if action == "output" else ["-no-color"]
    return [action, *quiet, *(["-auto-approve"] if action == "apply" else []), *rest]


def _bundle(space: Workspace) -> None:
    result = subprocess.run(["make", "bundle"], cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise TerraformFailed(f"make bundle\n{result.stdout}{result.stderr}")
    (space.folder / "build").mkdir()
    shutil.copy(ROOT / "build/bundles.tfvars.json", space.folder / "build")
