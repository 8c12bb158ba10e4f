"""What one process needs to run seeds: a database of its own, and the functions."""

import gc
import tempfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pg8000.native import Connection, identifier

from local_cloud.environment import DATABASE
from local_cloud.postgres import Postgres
from local_cloud.provision import prepare_database
from tests.simulation import invariants, workload, yesterday
from tests.simulation.faults import Fault
from tests.simulation.fleet import Functions
from tests.simulation.sql import OutOfConnections, Server
from tests.simulation.world import Result, run
from tools.catalog import catalog

CONNECTIONS = 1000
"""Of all benches: each keeps those of every role that a run has had open at once. Three need more than the usual hundred."""
TIDY_EVERY = 50
"""Runs between two removals of dead rows, which make every statement slower."""


@contextmanager
def postgres() -> Generator[int]:
    """A PostgreSQL with the schema and the triggers, for benches to copy; its port."""
    with (
        tempfile.TemporaryDirectory(prefix="kapas-simulation-") as folder,
        Postgres(Path(folder), max_connections=CONNECTIONS) as server,
    ):
        prepare_database(catalog(), server.port)
        with Connection("postgres", host="127.0.0.1", port=server.port, database=DATABASE) as admin:
            invariants.prepare(admin)
        yield server.port


class Bench:
    """Runs seeds, one after the other."""

    def __init__(self, port: int, name: str) -> None:
        """`name` is that of its database."""
        with Connection("postgres", host="127.0.0.1", port=port, database="postgres") as admin:
            admin.run(f"CREATE DATABASE {identifier(name)} TEMPLATE {identifier(DATABASE)}")
        self.server = Server(port, name)
        self.functions = Functions(catalog(), workload.CAPABILITIES)
        self.frequent: tuple[str, ...] = ()
        """Kinds of fault that every seed has many of."""
        self.stories: tuple[str, ...] = ()
        """What every day has, whatever its seed says."""
        self.yesterday = yesterday.live(self.server, self.functions)
        self._runs = 0
        gc.collect()
        gc.freeze()  # looking through what the functions are made of takes longer than a run's garbage is worth

    def run(
        self,
        seed: int,
        *,
        suppressed: Collection[Fault] = (),
        keep: bool = False,
    ) -> Result:
        self._runs += 1
        if self._runs % TIDY_EVERY == 0:
            self.server.admin.run("VACUUM")
        try:
            return run(
                seed,
                self.server,
                self.functions,
                lambda world: workload.day(world, self.yesterday, self.stories),
                template=yesterday.SCHEMA,
                suppressed=suppressed,
                frequent=self.frequent,
                keep=keep,
            )
        except OutOfConnections as failure:
            raise RuntimeError("PostgreSQL has no connection left for the simulation: raise CONNECTIONS") from failure

    def close(self) -> None:
        self.server.close()


_bench: Bench | None = None


def start(port: int, number: Any) -> None:
    """Make this process's bench; `number` is a counter that the processes share."""
    global _bench
    with number.get_lock():
        number.value += 1
        name = f"simulation_{number.value}"
        _bench = Bench(port, name)  # one at a time: a template may have no other reader


def here() -> Bench:
    """This process's bench."""
    if _bench is None:
        raise RuntimeError("this process has no bench: start one")
    return _bench


def run_here(seed: int) -> Result:
    """Run a seed on this process's bench."""
    return here().run(seed)
