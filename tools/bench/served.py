"""Servers under measure, each with one worker process on one CPU, started and waited for."""

import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from local_cloud.environment import DATABASE
from local_cloud.postgres import Postgres
from local_cloud.provision import prepare_database
from tools.bench import processes
from tools.bench.load import request
from tools.catalog import ROOT, catalog


@dataclass(frozen=True, slots=True)
class Server:
    """A port of 127.0.0.1, and the process behind it; its workers are below that."""

    port: int
    pid: int


@contextmanager
def database() -> Generator[int]:
    """A PostgreSQL with the schema, which waits for the disk as the deployed one does; its port."""
    with TemporaryDirectory(prefix="kapas-bench-") as folder, Postgres(Path(folder), durable=True) as postgres:
        prepare_database(catalog(), postgres.port)
        yield postgres.port


def function(
    stack: ExitStack, name: str, variables: Mapping[str, str], port: int | None = None, *, cpu: int = 0
) -> Server:
    """A function of the catalog as it is served, once it answers a GET without a token, which it refuses."""
    described, port = catalog().functions[name], port or processes.free_port()
    command = processes.function_command(ROOT / "functions" / described.capability / "main.py", described.entry_point)
    environ = processes.function_environment(port, described.concurrency, variables)
    process = stack.enter_context(processes.running(command, environ, cpu=cpu))
    path = next(iter(described.trigger.routes), "/")
    processes.first_answer(process, port, request("GET", path), status=401)
    return Server(port, process.pid)


def peer(stack: ExitStack, app: str, function: str, postgres: int) -> Server:
    """A FastAPI application on the same PostgreSQL, without access log, with as many connections to it as the function that
    it is a peer of takes requests at once; once it answers."""
    port = processes.free_port()
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    variables = {
        "PEER_DATABASE_URL": f"postgresql+asyncpg://postgres@127.0.0.1:{postgres}/{DATABASE}",
        "PEER_POOL": str(catalog().functions[function].concurrency),
        "PYTHONWARNINGS": "ignore",  # pydantic's, of an alias that FastAPI gives a body
    }
    process = stack.enter_context(processes.running(command, variables, cpu=0))
    processes.first_answer(process, port, request("GET", "/openapi.json"))
    return Server(port, process.pid)
