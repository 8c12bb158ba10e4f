"""The build configurations: what Cloud Build takes, in the order that a delivery has, of steps that run here too."""

import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.catalog import ROOT

FILES = [ROOT / "cloudbuild.yaml", ROOT / "cloudbuild-release.yaml", ROOT / "cloudbuild-roll-back.yaml"]
ORDER = [
    *("lint", "types", "tests", "terraform-proof", "bundle", "sbom", "audit", "upload", "migrate", "plan", "approval"),
    *("apply", "smoke", "canary"),
]
ON_GOOGLE_CLOUD = {"terraform", "fetch", "upload", "migrate", "plan", "approval", "apply", "roll-back"}
"""Steps that are a command of gcloud or Terraform against the real project; everything else runs here."""


def steps() -> list[dict[str, Any]]:
    return [step for path in FILES for step in yaml.safe_load(path.read_text())["steps"]]


def rejected(folder: Path, text: str) -> str:
    """What the schema says of a configuration; empty where it takes it."""
    path = folder / "build.yaml"
    path.write_text(text)
    command = [ROOT / ".venv-delivery/bin/python", "-m", "tools.deliver.build_config", path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    return result.stdout if result.returncode else ""


@pytest.mark.parametrize("path", [*FILES, ROOT / "terraform/migrate.yaml"], ids=lambda path: path.name)
def test_cloud_build_would_take_it(path: Path, tmp_path: Path) -> None:
    assert not rejected(tmp_path, path.read_text())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("script: make lint", "scripts: make lint"),
        ("automapSubstitutions: true", "automapSubstitutions: false"),
        ("logging: CLOUD_LOGGING_ONLY", "logging: SOMEWHERE"),
        ("timeout: 3600s", "timeout: an hour"),
        ("_ENVIRONMENT: dev", "_ENVIRON: dev"),
        ("id: types", "id: lint"),
    ],
)
def test_cloud_build_would_not_take_it(right: str, wrong: str, tmp_path: Path) -> None:
    text = FILES[0].read_text()
    assert right in text
    assert rejected(tmp_path, text.replace(right, wrong))


def test_the_steps_are_in_the_order_of_a_delivery() -> None:
    ids = [step["id"] for step in steps()]
    assert [name for name in ids if name in ORDER] == ORDER
    assert ids.index("hold") < ids.index("apply")


def test_every_step_is_a_target_that_there_is_or_a_command_on_google_cloud() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for step in steps():
        for line in re.sub(r"\\\n", "", step["script"].removeprefix("#!/bin/sh\n")).splitlines():
            program, *arguments = shlex.split(line)
            match program:
                case "make":
                    assert arguments[0] in targets, line
                case "set":
                    assert arguments == ["-e"], line
                case "terraform" | "gcloud" | "mkdir" | "cp":
                    assert step["id"] in ON_GOOGLE_CLOUD, line
                case _:
                    pytest.fail(f"{step['id']} runs {program}")


def test_every_tool_of_a_target_is_a_module() -> None:
    for module in re.findall(r"python -m (tools\.[a-z_.]+)", (ROOT / "Makefile").read_text()):
        assert find_spec(module), module


def test_a_script_of_several_commands_stops_at_the_first_that_fails() -> None:
    for step in steps():
        lines = re.sub(r"\\\n", "", step["script"]).splitlines()
        assert len(lines) == 1 or lines[:2] == ["#!/bin/sh", "set -e"], step["id"]


def test_migrations_run_as_the_walkthrough_says() -> None:
    """Their own identity, in the network: the command of terraform/README.md, with the build's names for the project."""
    (step,) = [step for step in steps() if step["id"] == "migrate"]
    block = re.search(r"gcloud builds submit.*?\n\s*```", (ROOT / "terraform/README.md").read_text(), re.DOTALL)
    assert block
    documented = shlex.split(block[0].replace("```", "").replace("\\\n", ""))
    built = step["script"].replace("$PROJECT_ID", "$PROJECT").replace("$_DATABASE_INSTANCE", "kapas")
    assert shlex.split(built) == documented
    assert any("database-migrator@" in word for word in documented)


def test_what_is_applied_is_what_was_planned_and_approved() -> None:
    by_id = {step["id"]: step["script"] for step in steps()}
    assert "-out=../build/release.tfplan" in by_id["plan"]
    assert "releases/$BUILD_ID/" in by_id["approval"]
    assert "_PLANNED_BY=$BUILD_ID" in by_id["approval"]
    assert "releases/$_PLANNED_BY/release.tfplan" in by_id["fetch"]
    assert "../build/release.tfplan" in by_id["apply"]
    assert "auto-approve" not in by_id["apply"]
