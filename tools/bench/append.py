"""Figure a: appending a trade event with everything on, against the same two inserts and nothing else."""

import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import UUID

from pg8000.native import Connection

from tools.bench import market, processes, quiet
from tools.bench.load import LoadGenerator, Outcome, request
from tools.bench.report import Bound, Figure
from tools.bench.statistics import Sample, percentile, ratios
from tools.catalog import ROOT, catalog
from tools.local.environment import DATABASE, Addresses, environment
from tools.local.oidc import Issuer
from tools.local.postgres import Postgres
from tools.local.provision import prepare_database
from tools.local.state import State

FUNCTION = "trade-events"
WARM_UP = 400
REQUESTS = 2000
"""A side and round: one to two seconds."""
BOUND = Bound(1.0, aim=1.5)
PEER = "FastAPI + SQLAlchemy async ORM + asyncpg, uvicorn"

_PEER_TABLES = (
    "CREATE SCHEMA peer",
    "CREATE TABLE peer.trade_events (LIKE public.trade_events INCLUDING ALL)",
    "CREATE TABLE peer.outbox (LIKE public.outbox INCLUDING ALL)",
)
"""The columns, keys, indexes and checks of the real ones, but neither foreign keys nor policies."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Ports of what is measured; every server has one worker process."""

    ours: int
    unwoken: int
    """Ours without a relay to wake."""
    peer: int
    stand_in: int
    pids: dict[int, int]
    """The process behind each port; its workers are below it."""
    access_tokens: list[str]
    trade_ids: Iterator[UUID]

    def bids(self, count: int) -> list[bytes]:
        """So many bids, each for a lot that nobody has bid for."""
        return market.bids(tuple(islice(self.trade_ids, count)), self.access_tokens)


def measure(rounds: int = 5) -> list[Figure]:
    """Throughput over the peer's, in interleaved rounds on the same PostgreSQL."""
    connections = catalog().functions[FUNCTION].concurrency
    with servers(3 * WARM_UP + (2 * rounds + 1) * REQUESTS) as at, LoadGenerator() as generator:

        def run(port: int, count: int) -> Outcome:
            return generator.run(port, at.bids(count), connections).require(201)

        for port in (at.ours, at.unwoken, at.peer):
            run(port, WARM_UP)
        outcomes: dict[int, list[Outcome]] = {at.ours: [], at.peer: []}
        cpu: dict[int, list[float]] = {at.ours: [], at.peer: []}
        usage = quiet.Usage()
        for n in range(rounds):
            # Whoever comes second meets a larger table: they take turns.
            for port in (at.ours, at.peer) if n % 2 == 0 else (at.peer, at.ours):
                before = quiet.tree_cpu(at.pids[port])
                with quiet.watch(usage):
                    outcomes[port].append(run(port, REQUESTS))
                cpu[port].append((quiet.tree_cpu(at.pids[port]) - before) / REQUESTS * 1000)
        unwoken = run(at.unwoken, REQUESTS)
        ceiling = generator.run(at.stand_in, [request("POST", "/")] * 10 * REQUESTS, connections).require(204)

    ours, peer = (Sample(tuple(outcome.rate for outcome in outcomes[port])) for port in (at.ours, at.peer))
    return [
        Figure(
            name="a append",
            what="POST of a trade event, throughput",
            unit="x",
            measured=ratios(ours, peer),
            bound=BOUND,
            peer=PEER,
            absolute={
                "ours, requests/s": ours,
                "peer, requests/s": peer,
                "ours, server CPU ms/request": Sample(tuple(cpu[at.ours])),
                "peer, server CPU ms/request": Sample(tuple(cpu[at.peer])),
                "ours, p99 ms": _p99(outcomes[at.ours]),
                "peer, p99 ms": _p99(outcomes[at.peer]),
                "ours without waking a relay, requests/s": Sample((unwoken.rate,)),
                "load generator against bare sockets, requests/s": Sample((ceiling.rate,)),
            },
            others=usage.cores,
        )
    ]


def _p99(outcomes: list[Outcome]) -> Sample:
    return Sample(tuple(percentile(outcome.latencies, 99) * 1000 for outcome in outcomes))


@contextmanager
def servers(trades: int) -> Generator[Servers]:
    """Ours and the peer's server, both on one PostgreSQL with durable commits and `trades` open lots."""
    described = catalog()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="kapas-bench-")))
        postgres = stack.enter_context(Postgres(folder / "postgres", durable=True))
        prepare_database(described, postgres.port)
        prepared = market.prepare(postgres.port, trades)
        issuer = Issuer(State(), lambda: datetime.now(UTC))
        answers = {"/_local/jwks/platform": issuer.jwks("platform"), "/_local/metadata": issuer.token("f", "relay")}
        base_url = stack.enter_context(processes.stand_in(answers))

        at = Addresses(base_url, "", postgres.port)
        variables = environment(described, FUNCTION, at)
        pids: dict[int, int] = {}
        yield Servers(
            pids=pids,
            ours=_start_ours(stack, variables, pids),
            unwoken=_start_ours(stack, {**variables, "RELAY_URL": ""}, pids),
            peer=_start_peer(stack, postgres.port, pids),
            stand_in=urlsplit(base_url).port or 0,
            access_tokens=market.tokens(issuer, prepared),
            trade_ids=iter(prepared.trade_ids),
        )


def _start_ours(stack: ExitStack, variables: dict[str, str], pids: dict[int, int]) -> int:
    function, port = catalog().functions[FUNCTION], processes.free_port()
    command = processes.function_command(ROOT / "functions" / function.capability / "main.py", function.entry_point)
    environ = processes.function_environment(port, function.concurrency, variables)
    process = stack.enter_context(processes.running(command, environ))
    processes.first_answer(process, port, request("GET", "/v1/trades"), status=401)
    pids[port] = process.pid
    return port


def _start_peer(stack: ExitStack, postgres_port: int, pids: dict[int, int]) -> int:
    with Connection("postgres", host="127.0.0.1", port=postgres_port, database=DATABASE) as connection:
        for statement in _PEER_TABLES:
            connection.run(statement)
    port = processes.free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tools.bench.peers.fastapi_app:app",
        "--port",
        str(port),
        "--no-access-log",
        "--log-level",
        "warning",
    ]
    variables = {
        "PEER_DATABASE_URL": f"postgresql+asyncpg://postgres@127.0.0.1:{postgres_port}/{DATABASE}",
        "PEER_POOL": str(catalog().functions[FUNCTION].concurrency),
    }
    process = stack.enter_context(processes.running(command, variables))
    processes.first_answer(process, port, request("GET", "/openapi.json"))
    pids[port] = process.pid
    return port
