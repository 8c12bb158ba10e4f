"""A cold start pays for what is imported: each function keeps to its packages and to its number of modules.

The path is the one that production takes: the entry point as functions-framework loads it, then the first connection to the
database, over TLS and with a token. Nothing here depends on the load of the machine; time is in the cold-start bench.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local_cloud.cloud_sql import TOKEN_PATH, CloudSql, cloud_sql
from local_cloud.environment import PROJECT
from local_cloud.postgres import Postgres
from tools.bench import processes
from tools.catalog import ROOT, catalog

CATALOG = catalog()
# fmt: off
FRAMEWORK = {
    "annotated_types", "blinker", "click", "cloudevents", "deprecation", "flask", "functions_framework",
    "google.cloud.functions", "google.cloud.functions_v1", "itsdangerous", "jinja2", "markupsafe", "packaging",
    "pydantic", "pydantic_core", "typing_extensions", "typing_inspection", "werkzeug",
}
# fmt: on
"""The packages that every function imports: functions-framework with what it needs, and pydantic."""
TOKEN = "a-token"

PROGRAM = """
import json, sys, threading

connected = []
sys.addaudithook(lambda event, _: connected.append(event) if event == "socket.connect" else None)

import functions_framework
functions_framework.create_app(target=sys.argv[1], source=sys.argv[2], signature_type="http")
imported = {
    "connections": len(connected),
    "threads": [thread.name for thread in threading.enumerate()],
    "modules": sorted(sys.modules),
}

if sys.argv[3]:
    from kapas.platform.db.connect import open_database
    from kapas.platform.settings import DatabaseSettings, load
    with open_database(load(DatabaseSettings)).session(None) as db:
        assert db.one("SELECT 1") == [1]
print(json.dumps({**imported, "after": sorted(sys.modules)}))
"""


@dataclass(frozen=True)
class Deployed:
    """An instance of Cloud SQL, and the metadata server that hands out tokens for it."""

    sql: CloudSql
    metadata: str


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    tokens = {TOKEN_PATH: {"access_token": TOKEN, "expires_in": 3600}}
    with (
        Postgres(tmp_path_factory.mktemp("postgres")) as postgres,
        cloud_sql(postgres, "postgres") as sql,
        processes.stand_in(tokens) as metadata,
    ):
        yield Deployed(sql, metadata)


def start(name: str, deployed: Deployed) -> dict[str, Any]:
    """What a fresh process imports and does, started as functions-framework starts it, to its first SELECT."""
    function = CATALOG.functions[name]
    # Nothing at import reads the environment, for main.py is imported before an instance knows its settings.
    environment = {"PYTHONPATH": str(ROOT / "shared")}
    if function.database:
        deployed.sql.admit(name, TOKEN)
        settings = {"FUNCTION": name, "PROJECT": PROJECT, "DATABASE_POOL": "1", "METADATA_URL": deployed.metadata}
        environment |= settings | deployed.sql.variables(name)
    source = ROOT / "functions" / function.capability / "main.py"
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        function.entry_point,
        str(source),
        "database" if function.database else "",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def packages(modules: list[str]) -> set[str]:
    """The third-party packages of `modules` by their top-level name; those of Google by the name of the library."""
    found: set[str] = set()
    for module in modules:
        first, *rest = module.split(".")
        if first in sys.stdlib_module_names or first in ("kapas", "main", "__mp_main__") or first.startswith("_"):
            continue
        depth = {"google": 2, "google.cloud": 3}.get(".".join([first, *rest[:1]]), 2) if first == "google" else 1
        found.add(".".join([first, *rest][:depth]))
    return found - {"google", "google.cloud"}


@pytest.mark.parametrize("name", CATALOG.functions)
def test_a_cold_start_imports_no_more_than_it_may(name: str, deployed: Deployed) -> None:
    function = CATALOG.functions[name]
    found = start(name, deployed)
    assert found["connections"] == 0, "clients and pools are made on first use, after the fork"
    assert found["threads"] == ["MainThread"], "a thread made at import is dead after the fork"
    assert function.trigger.kind != "http" or "grpc" not in found["after"], (
        "a function that serves clients needs no grpc"
    )

    assert packages(found["modules"]) >= FRAMEWORK
    imported, declared = packages(found["modules"]) - FRAMEWORK, set(CATALOG.imports[function.capability])
    file = f"functions/{function.capability}/function.yaml"
    more, unused = imported - declared, declared - imported
    assert not more, f"{name} imports {sorted(more)}: import it at its first use, or add it to imports in {file}"
    assert not unused, f"{name} does not import {sorted(unused)}: remove it from imports in {file}"
    # The token that the first connection logs in with is fetched by the standard library.
    more = packages(found["after"]) - packages(found["modules"])
    assert not more, f"the first connection of {name} imports {sorted(more)}"

    modules = len(found["after"])
    print(f"{name}: {modules} of {function.import_budget_modules} modules")  # noqa: T201 - the figures, with pytest -s
    assert modules <= function.import_budget_modules, f"{name} imports {modules} modules"


def test_a_package_is_named_by_its_library() -> None:
    modules = [
        "google",
        "google.cloud",
        "google.cloud.kms_v1.types",
        "google.auth.transport",
        "grpc._channel",
        "json",
        "kapas",
    ]
    assert packages(modules) == {"google.cloud.kms_v1", "google.auth", "grpc"}
