"""What is tested here: what Terraform applied against the stand-in, which `make terraform-test` left behind."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.configuration import Module
from tests.terraform.deployed import Deployed, read
from tools.terraform.proof import STATES

FOLDER = Path(os.environ.get("KAPAS_TERRAFORM_STATES", STATES))
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def pytest_configure() -> None:
    if not NAMES and not (FOLDER / "configuration.plan").exists():
        raise pytest.UsageError("nothing is applied: run `make terraform-test`")


@pytest.fixture(scope="session", params=NAMES)
def deployed(request: pytest.FixtureRequest) -> Deployed:
    """Everything that is applied in one environment."""
    return read(FOLDER, request.param)


@pytest.fixture(scope="session")
def replacement() -> list[dict[str, Any]]:
    """The changes of a plan that makes the relay's function anew."""
    return json.loads(Path(FOLDER, "replacement.plan").read_text())


@pytest.fixture(scope="session")
def restored() -> list[dict[str, Any]]:
    """The changes of a plan that takes over the instance of a restore."""
    return json.loads(Path(FOLDER, "restored.plan").read_text())


@pytest.fixture(scope="session")
def configuration() -> Module:
    """The configuration itself, as prod's plan tells it: the same for every environment."""
    return Module("", json.loads((FOLDER / "configuration.plan").read_text())["root_module"])
