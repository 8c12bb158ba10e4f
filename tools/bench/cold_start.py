"""Figure b: from starting a process to its first 200, of each HTTP function, against the smallest function there is.

A function starts as it does when deployed: the first 200 needs a token from the metadata server and a connection to the
database, over TLS and with that token as its password.
"""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from local_cloud.cloud_sql import TOKEN_PATH, CloudSql, cloud_sql
from local_cloud.environment import DATABASE, TOKEN_AUDIENCE, TOKEN_ISSUER, Addresses, environment
from local_cloud.oidc import Issuer
from local_cloud.postgres import Postgres
from local_cloud.provision import prepare_database
from local_cloud.state import State
from tools.bench import market, processes, quiet
from tools.bench.load import LoadError, drive, request
from tools.bench.report import Bound, Figure
from tools.bench.statistics import Sample, ratios
from tools.catalog import ROOT, catalog

BOUND = Bound(2.5, "at_most")
PEER = "functions-framework hello world"
PEER_SOURCE = ROOT / "tools/bench/peers/hello.py"


@dataclass(frozen=True, slots=True)
class Case:
    """A function, what it is asked first, and what it needs in its environment."""

    source: Path
    target: str
    threads: int
    first: bytes
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Start:
    """What it took to the first 200: wall time and CPU of all its processes, in milliseconds."""

    wall: float
    cpu: float


def measure(rounds: int = 5) -> list[Figure]:
    """Wall time over the peer's, started right before; every file was read and compiled before, in a round of its own."""
    with _cases() as (peer, ours, bid):
        _start(peer)
        figures = [_figure(name, case, peer, rounds) for name, case in ours.items()]
        first_post = Sample((_first_post(ours["trade-events"], bid),))
    return [
        replace(figure, absolute=figure.absolute | {"first POST after the first GET, ms": first_post})
        if figure.name.endswith("trade-events")
        else figure
        for figure in figures
    ]


def _figure(name: str, case: Case, peer: Case, rounds: int) -> Figure:
    usage = quiet.Usage()
    with quiet.watch(usage):
        pairs = [(_start(peer), _start(case)) for _ in range(rounds)]
    hello, ours = ([pair[side] for pair in pairs] for side in (0, 1))
    return Figure(
        name=f"b cold start, {name}",
        what="process start to first 200",
        unit="x",
        measured=ratios(Sample(tuple(s.wall for s in ours)), Sample(tuple(s.wall for s in hello))),
        bound=BOUND,
        peer=PEER,
        absolute={
            "ours, ms": Sample(tuple(s.wall for s in ours)),
            "peer, ms": Sample(tuple(s.wall for s in hello)),
            "ours, CPU ms": Sample(tuple(s.cpu for s in ours)),
            "peer, CPU ms": Sample(tuple(s.cpu for s in hello)),
        },
        others=usage.cores,
    )


def _start(case: Case) -> Start:
    with _served(case) as (start, _):
        return start


def _first_post(case: Case, bid: bytes) -> float:
    """Milliseconds of the first POST to a process that has answered one GET."""
    with _served(case) as (_, port):
        return drive(port, [bid], 1).require(201).seconds * 1000


@contextmanager
def _served(case: Case) -> Generator[tuple[Start, int]]:
    port = processes.free_port()
    environ = processes.function_environment(port, case.threads, case.variables)
    started = time.perf_counter()
    with processes.running(processes.function_command(case.source, case.target), environ, cpu=0) as process:
        processes.first_answer(process, port, case.first)
        wall = time.perf_counter() - started
        yield Start(wall * 1000, quiet.tree_cpu(process.pid) * 1000), port


def _with_list(case: Case, candidates: list[bytes]) -> Case:
    """`case`, asked first for whichever of `candidates` it answers with 200: not every route of a function is a list.

    This start is also the one that is not counted. Raises `LoadError` if it answers none so.
    """
    port = processes.free_port()
    environ = processes.function_environment(port, case.threads, case.variables)
    with processes.running(processes.function_command(case.source, case.target), environ, cpu=0) as process:
        processes.first_answer(process, port, candidates[0], status=None)
        for candidate in candidates:
            if set(drive(port, [candidate], 1).statuses) == {200}:
                return replace(case, first=candidate)
    raise LoadError(f"{case.target} has no list that answers 200 at any of its routes")


@contextmanager
def _prepared(postgres: Postgres) -> Generator[tuple[market.Market, CloudSql]]:
    """A market of one trade, in an instance of Cloud SQL whose users' tokens are the names of their functions."""
    described = catalog()
    prepare_database(described, postgres.port)
    prepared = market.prepare(postgres.port, 1)
    with cloud_sql(postgres, DATABASE) as sql:
        for name, function in described.functions.items():
            if function.database:
                sql.admit(name, name, function.database.role)
        yield prepared, sql


@contextmanager
def _cases() -> Generator[tuple[Case, dict[str, Case], bytes]]:
    """The peer, every HTTP function of the catalog by name, and a bid for a trade."""
    described = catalog()
    with (
        TemporaryDirectory(prefix="kapas-bench-") as folder,
        Postgres(Path(folder) / "postgres") as postgres,
        _prepared(postgres) as (prepared, sql),
    ):
        issuer = Issuer(State(), lambda: datetime.now(UTC))
        access_tokens = market.tokens(issuer, prepared)
        ops = issuer.user_token("ops", None, "ops", "free", issuer=TOKEN_ISSUER, audience=TOKEN_AUDIENCE)
        served = {name: function for name, function in described.functions.items() if function.trigger.kind == "http"}
        tokens = {f"/_local/metadata/{name}{TOKEN_PATH}": {"access_token": name, "expires_in": 3600} for name in served}
        relay = {"/_local/metadata": issuer.token("f", "relay")}
        with processes.stand_in({"/_local/jwks/platform": issuer.jwks("platform"), **tokens, **relay}) as base_url:
            at = Addresses(base_url, "", postgres.port)
            ours = {
                name: _with_list(
                    Case(
                        ROOT / "functions" / function.capability / "main.py",
                        function.entry_point,
                        function.concurrency,
                        b"",
                        environment(described, name, at) | sql.variables(name),
                    ),
                    [
                        request("GET", route, {"Authorization": f"Bearer {token}"})
                        for route in function.trigger.routes
                        for token in (access_tokens[0], ops)
                    ],
                )
                for name, function in served.items()
            }
            peer = Case(PEER_SOURCE, "hello", described.functions["trade-events"].concurrency, request("GET", "/"), {})
            yield peer, ours, market.bids(prepared.trade_ids, access_tokens)[0]
