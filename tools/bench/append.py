"""Figure a: appending a trade event with everything on, against the same three writes and nothing else."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import urlsplit
from uuid import UUID

from pg8000.native import Connection

from local_cloud.environment import DATABASE, Addresses, environment
from local_cloud.oidc import Issuer
from local_cloud.state import State
from tools.bench import market, processes, race, served
from tools.bench.load import LoadGenerator, request
from tools.bench.report import Bound, Figure
from tools.bench.served import Server
from tools.bench.statistics import Sample
from tools.catalog import catalog

FUNCTION = "trade-events"
WARM_UP = 400
REQUESTS = 2000
"""A side and round: one to two seconds."""
BOUND = Bound(1.0, aim=1.5)
PEER = "FastAPI + SQLAlchemy async ORM + asyncpg, uvicorn"
PEER_APP = "tools.bench.peers.fastapi_app:app"

_PEER_TABLES = (
    "CREATE SCHEMA peer",
    "CREATE TABLE peer.trades (LIKE public.trades INCLUDING ALL)",
    "INSERT INTO peer.trades SELECT * FROM public.trades",
    "CREATE TABLE peer.trade_events (LIKE public.trade_events INCLUDING ALL)",
    "CREATE TABLE peer.outbox (LIKE public.outbox INCLUDING ALL)",
)
"""The rows, columns, keys, indexes and checks of the real ones, but neither foreign keys nor policies."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What is measured; every server has one worker process."""

    ours: Server
    unwoken: Server
    """Ours without a relay to wake."""
    peer: Server
    stand_in: int
    """Its port."""
    access_tokens: list[str]
    trade_ids: Iterator[UUID]

    def bids(self, count: int) -> list[bytes]:
        """So many bids, each for a lot that nobody has bid for."""
        return market.bids(tuple(islice(self.trade_ids, count)), self.access_tokens)


def measure(rounds: int = 5) -> list[Figure]:
    """Throughput over the peer's, in interleaved rounds on the same PostgreSQL."""
    connections = catalog().functions[FUNCTION].concurrency
    with servers(3 * WARM_UP + (2 * rounds + 1) * REQUESTS) as at, LoadGenerator() as generator:
        for server in (at.ours, at.unwoken, at.peer):
            generator.run(server.port, at.bids(WARM_UP), connections).require(race.CREATED)
        raced = race.run(generator, at.ours, at.peer, at.bids, connections=connections, count=REQUESTS, rounds=rounds)
        unwoken = generator.run(at.unwoken.port, at.bids(REQUESTS), connections).require(race.CREATED)
        ceiling = generator.run(at.stand_in, [request("POST", "/")] * 10 * REQUESTS, connections).require(204)

    return [
        Figure(
            name="a append",
            what="POST of a trade event, throughput",
            unit="x",
            measured=raced.throughput,
            bound=BOUND,
            peer=PEER,
            absolute={
                **raced.absolute,
                "ours without waking a relay, requests/s": Sample((unwoken.rate,)),
                "load generator against bare sockets, requests/s": Sample((ceiling.rate,)),
            },
            others=raced.others,
        )
    ]


@contextmanager
def servers(trades: int) -> Generator[Servers]:
    """Ours and the peer's server, both on one PostgreSQL with durable commits and `trades` open lots."""
    described = catalog()
    with ExitStack() as stack:
        postgres = stack.enter_context(served.database())
        prepared = market.prepare(postgres, trades)
        with Connection("postgres", host="127.0.0.1", port=postgres, database=DATABASE) as connection:
            for statement in _PEER_TABLES:
                connection.run(statement)
            connection.run("VACUUM ANALYZE")
        issuer = Issuer(State(), lambda: datetime.now(UTC))
        answers = {"/_local/jwks/platform": issuer.jwks("platform"), "/_local/metadata": issuer.token("f", "relay")}
        base_url = stack.enter_context(processes.stand_in(answers))

        ours = environment(described, FUNCTION, Addresses(base_url, "", postgres))
        yield Servers(
            ours=served.function(stack, FUNCTION, ours),
            unwoken=served.function(stack, FUNCTION, {**ours, "RELAY_URL": ""}),
            peer=served.peer(stack, PEER_APP, FUNCTION, postgres),
            stand_in=urlsplit(base_url).port or 0,
            access_tokens=market.tokens(issuer, prepared),
            trade_ids=iter(prepared.trade_ids),
        )
